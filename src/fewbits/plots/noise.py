"""Figures of noise: runs that drift apart, spreads over settings and seeds, seeds for a gain (see `fewbits.plots`)."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, SMALL, WIDTH, text_color

# Names in the records of the experiment -> names in COLORS.
_STYLES = {"float": "float", "binary": "xnor-net", "2-bit": "uniform"}
_PRECISIONS = {"float32": "-", "float64": (0, (3, 1.5))}


def run_divergence(frame: pd.DataFrame, *, title: str = "Two runs from the same start") -> Figure:
    """Relative distance of two runs' weights against steps, one panel a method, one line a seed and precision.

    Args:
        frame: columns ``method`` ("float", "binary", "2-bit"), ``precision`` ("float32", "float64"), ``seed``, ``step``
            and ``distance``; a distance of 0 is drawn at the foot of the axis.
    """
    floor = 1e-17
    methods = [method for method in _STYLES if method in set(frame["method"])]
    figure, axes = plt.subplots(1, len(methods), figsize=(WIDTH, 3.0), sharey=True, squeeze=False)
    for axis, method in zip(axes.flat, methods, strict=True):
        colour = COLORS[_STYLES[method]]
        for (precision, _), run in frame[frame["method"] == method].groupby(["precision", "seed"]):
            style = {"color": colour, "linestyle": _PRECISIONS[precision], "linewidth": 1.1}
            axis.plot(run["step"], run["distance"].clip(lower=floor), **style)
        axis.set(yscale="log", ylim=(floor / 2, 5), xlabel="training step", title=method)
        axis.set_yticks(10.0 ** np.arange(-16, 1, 4))
        axis.yaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel("distance / norm of the weights")
    handles = [Line2D([], [], color="black", linestyle=style, label=name) for name, style in _PRECISIONS.items()]
    axes[0, 0].legend(handles=handles, loc="center right", handlelength=3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def settings_and_seeds(
    hardware: pd.DataFrame, seeds: pd.DataFrame, *, title: str = "Accuracy over settings and over seeds"
) -> Figure:
    """Test accuracy of each method, a panel a recipe: a column of dots per seed run in all settings, then all seeds.

    A dot of the first columns is one setting of the machine at one seed; a dot of the last column is one seed. The bar
    beside it is the 95 % interval of the mean over seeds.

    Args:
        hardware: columns ``recipe``, ``method``, ``seed``, ``accuracy`` (percent), one row a setting and seed.
        seeds: the same columns, one row a seed.
    """
    recipes = list(dict.fromkeys(seeds["recipe"]))
    figure, axes = plt.subplots(1, len(recipes), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    for axis, recipe in zip(axes.flat, recipes, strict=True):
        ticks = []
        for place, (method, name) in enumerate(_STYLES.items()):
            colour = COLORS[name]
            settings, many = (
                frame[(frame["recipe"] == recipe) & (frame["method"] == method)] for frame in (hardware, seeds)
            )
            for column, (_, runs) in enumerate(settings.groupby("seed")):
                x = 5 * place + 0.55 * column
                axis.plot(
                    _spread(x, runs["accuracy"], 0.12), runs["accuracy"], "o", color=colour, markersize=3, alpha=0.7
                )
            x = 5 * place + 2.4
            axis.plot(_spread(x, many["accuracy"], 0.3), many["accuracy"], "D", color=colour, markersize=2.6, alpha=0.6)
            mean, half = interval(list(many["accuracy"]))
            axis.errorbar(x + 0.75, mean, yerr=half, color=colour, capsize=2.5, marker="_", markersize=7)
            ticks.append((5 * place + 1.55, method))
        axis.set_xticks(*zip(*ticks, strict=True))
        axis.set(title=f"learning rate: {recipe}", xlabel="weights", xlim=(-0.8, 14.2))
    axes[0, 0].set_ylabel("test accuracy (%)")
    black = {"color": "#444444", "linestyle": ""}
    handles = [
        Line2D([], [], marker="o", markersize=3, label="one setting (a column per seed)", **black),
        Line2D([], [], marker="D", markersize=3, label="one seed", **black),
        Line2D([], [], marker="_", markersize=8, label="mean and 95 % interval", **black),
    ]
    axes[0, 0].legend(handles=handles, loc="lower left", handletextpad=0.3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _spread(x: float, values: pd.Series, width: float) -> np.ndarray:
    """``x`` for each value, spread sideways by rank in turns, so that equal values do not hide each other."""
    ranks = values.rank(method="first").to_numpy()
    return x + width * (ranks % 3 - 1)


def seeds_for_gain(
    spreads: Mapping[str, float],
    seeds_needed: Callable[[float, float], int],
    *,
    usual: int = 5,
    title: str = "Seeds needed to see a gain",
) -> Figure:
    """Seeds per method against the gain to be seen, a line a spread, both axes logarithmic.

    Args:
        spreads: standard deviation over seeds, in points, by method ("float", "binary", "2-bit").
        seeds_needed: of the gain and the standard deviation, in points.
        usual: number of seeds at the dashed line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    gains = np.geomspace(0.2, 10, 60)
    for method, spread in spreads.items():
        colour = COLORS[_STYLES[method]]
        needed = np.array([seeds_needed(gain, spread) for gain in gains])
        axes.plot(gains, needed, color=colour)
        # The lowest line is labelled on its free side, below; the others above.
        below = spread == min(spreads.values())
        at = int(np.argmin(np.abs(np.log(needed / (25 if below else 120)))))
        offset, side = ((-6, -6), "right") if below else ((6, 4), "left")
        style = {"textcoords": "offset points", "ha": side, "color": text_color(colour)}
        axes.annotate(f"{method}: spread {spread:.1f} pt", (gains[at], needed[at]), offset, **style)
    axes.axhline(usual, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(f"{usual} seeds", (gains[0], usual), (0, 3), textcoords="offset points", fontsize=SMALL)
    axes.set(xscale="log", yscale="log", ylim=(1.7, 1000))
    axes.set_xticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
    axes.set_yticks([2, 5, 10, 20, 50, 100, 200, 500, 1000], map(str, [2, 5, 10, 20, 50, 100, 200, 500, 1000]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set(xlabel="true gain (points of accuracy)", ylabel="seeds per method")
    axes.set_title(title, fontweight="bold")
    return figure
