"""Figures of chance in training: runs that part, spread over seeds and settings, seeds needed (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewbits.plots.forest import forest_height
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRALS, PALE, WIDTH, ink_on, text_color

_STYLE = {"float": "float", "binary": "xnor-net", "2-bit": "uniform"}


def runs_part(frame: pd.DataFrame, *, title: str = "Same seed, two ways to compute") -> Axes:
    """Distance between the weights of two runs against the training step, a line for each kind of weights.

    Args:
        frame: columns ``method`` ("float", "binary", "2-bit"), ``step`` and ``distance`` (relative to the weights).
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    ends = []
    for method, style in _STYLE.items():
        run = frame[frame["method"] == method].sort_values("step")
        axes.semilogy(run["step"], run["distance"], color=COLORS[style])
        last = run.iloc[-1]
        ends.append(End(last["step"], last["distance"], method, {"color": COLORS[style], "marker": "none"}))
    axes.margins(x=0.01)
    axes.set(xlabel="training step", ylabel="relative distance of the weights")
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axes, ends)
    return axes


def settings_tried(frame: pd.DataFrame, *, title: str = "What each setting makes the libraries use") -> Figure:
    """A row for each setting: threads and instructions of each library; filled where they differ from the first row.

    Args:
        frame: columns ``setting``, ``threads``, ``aten``, ``onednn`` and ``mkl`` of ``noise_settings.csv``.
    """
    columns = {"threads": "threads", "aten": "ATen", "onednn": "oneDNN", "mkl": "MKL"}
    cells = frame[list(columns)].astype(str)
    # oneDNN writes a sentence: "AVX-512 with Intel DL Boost and bfloat16 support".
    short = cells.onednn.str.split(" with ").str[0]
    cells = cells.assign(onednn=short.where(~cells.onednn.str.contains("bfloat16"), short + ", bfloat16"))
    differs = cells.ne(cells.iloc[0]).to_numpy()
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.25 * len(cells)))
    for (row, column), text in np.ndenumerate(cells.to_numpy()):
        colour = NEUTRALS[3] if differs[row, column] else "white"
        axes.barh(row, 0.96, 0.86, left=column, color=colour, edgecolor=PALE, linewidth=0.8)
        axes.text(column + 0.48, row, text, ha="center", va="center", color=ink_on(colour))
    axes.set_yticks(range(len(cells)), frame.setting)
    axes.set_xticks([place + 0.48 for place in range(len(columns))], list(columns.values()))
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set(xlim=(-0.02, len(columns)), ylim=(len(cells) - 0.4, -0.6))
    axes.spines[["left", "bottom"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def pooled_runs(frame: pd.DataFrame, *, title: str = "Max-pooling and averaging") -> Figure:
    """Largest distance of two runs that start a last bit apart: a column for each pooling, a row for each precision.

    Args:
        frame: rows of ``data/results/noise_pooling.csv``: ``precision``, ``method``, ``pooling``, and a column
            "step n" for each step.
    """
    columns = [column for column in frame.columns if column.startswith("step ")]
    steps = [int(column.split()[1]) for column in columns]
    largest = frame.groupby(["precision", "pooling", "method"])[columns].max()
    precisions, poolings = ("float64", "float32"), ("maximum", "average")
    figure, grid = plt.subplots(len(precisions), len(poolings), figsize=(WIDTH, 4.4), sharex=True, sharey=True)
    for precision, row in zip(precisions, grid, strict=True):
        for pooling, axes in zip(poolings, row, strict=True):
            ends = []
            for method, style in _STYLE.items():
                values = largest.loc[(precision, pooling, method)].to_numpy()
                look: dict[str, Any] = {"color": COLORS[style], "marker": MARKERS[style]}
                axes.semilogy(steps, values, **look)
                ends.append(End(steps[-1], values[-1], method, look))
            axes.set(title=f"{pooling}, {precision}", xticks=(1, *steps[2:]))
            if pooling == poolings[-1]:
                label_ends(axes, ends)
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    figure.supylabel("relative distance of the weights", fontsize=plt.rcParams["axes.labelsize"])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def spread(
    seeds: pd.DataFrame, settings: pd.DataFrame, *, title: str = "A setting of the machine can matter as much as a seed"
) -> Figure:
    """Test accuracies as dots, a panel for each recipe: of all seeds in one setting, and of all settings at one seed.

    The number at the right of a row is its range, best minus worst, in points.

    Args:
        seeds, settings: one row a run: ``recipe``, ``method`` ("float", "binary", "2-bit"), ``seed``, ``accuracy``
            (percent). ``settings`` has several rows for each seed.
    """
    recipes = sorted(seeds["recipe"].unique())
    kept = sorted(settings["seed"].unique())
    per_seed = settings.groupby(["recipe", "method", "seed"]).size().max()
    names = [f"{seeds['seed'].nunique()} seeds", *(f"seed {seed}, {per_seed} settings" for seed in kept)]
    figure, panels = plt.subplots(
        1,
        len(recipes),
        figsize=(WIDTH, forest_height(len(_STYLE) * len(names))),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    labels = [f"{method}: {name}" for method in _STYLE for name in names]
    for axes, recipe in zip(panels.flat, recipes, strict=True):
        rows = []
        for method in _STYLE:
            many = seeds[(seeds["recipe"] == recipe) & (seeds["method"] == method)]
            few = settings[(settings["recipe"] == recipe) & (settings["method"] == method)]
            rows += [(method, many["accuracy"])] + [(method, few.loc[few["seed"] == seed, "accuracy"]) for seed in kept]
        for place, (method, values) in enumerate(rows):
            colour = COLORS[_STYLE[method]]
            whole = place % len(names) == 0
            axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
            axes.plot([values.min(), values.max()], [place] * 2, color=colour, linewidth=1, alpha=0.6)
            face = colour if whole else "white"
            axes.plot(values, [place] * len(values), "o", color=colour, markerfacecolor=face, markersize=4.5, alpha=0.8)
            note = f"{values.max() - values.min():.1f}"
            axes.annotate(
                note, (1, place), (4, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points", va="center",
                color=text_color(colour),
            )  # fmt: skip
        axes.annotate("range", (1, 1), (4, 3), xycoords="axes fraction", textcoords="offset points", va="bottom")
        axes.set(title=f"{recipe} learning rate", xlabel="test accuracy (%)", ylim=(len(rows) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    panels[0, 0].set_yticks(range(len(labels)), labels)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def seeds_for_gain(
    gains: Sequence[float],
    needed: Mapping[str, Sequence[int]],
    *,
    usual: int = 5,
    title: str = "Seeds needed to see a gain",
) -> Axes:
    """Seeds of each method against the true gain, on logarithmic axes, with a line at the usual number of seeds.

    Args:
        gains: in points, ascending.
        needed: by method ("float", "binary", "2-bit"), seeds for each gain.
        usual: where the dashed line is.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    ends = []
    for method, seeds in needed.items():
        style: dict[str, Any] = {"color": COLORS[_STYLE[method]], "marker": MARKERS[_STYLE[method]]}
        axes.loglog(gains, seeds, **style)
        ends.append(End(gains[-1], seeds[-1], method, style))
        for gain, count in zip(gains, seeds, strict=True):
            axes.annotate(
                str(count),
                (gain, count),
                (0, -13 if method == "float" else 5),
                textcoords="offset points",
                ha="center",
                color=text_color(style["color"]),
            )
    axes.axhline(usual, color=NEUTRALS[3], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    at = (gains[0], usual)
    axes.annotate(f"{usual} seeds", at, (-4, -12), textcoords="offset points", color=NEUTRALS[3])
    axes.set_xticks(list(gains), [f"{gain:g}" for gain in gains])
    ticks = [tick for tick in (2, 5, 10, 30, 100, 300, 1000) if tick <= 1.3 * max(map(max, needed.values()))]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=1.2)
    axes.set(xlabel="true gain (points)", ylabel="seeds of each method")
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axes, ends)
    return axes
