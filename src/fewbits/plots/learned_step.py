"""Figures of learned step sizes: slopes by the step, learned steps, pace and rate (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.forest import Row, forest, forest_height
from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRAL_MARKERS, NEUTRALS, PALE, WIDTH, text_color

_DASHES = ("-", (0, (4, 2)), (0, (1.5, 1.5)))

# What a reader sees in place of the method names of the table `learned_step_runs`, and the method of its colour.
PARTS = {
    "float": ("float", "float"),
    "uniform, 2 bits": ("uniform grid", "uniform"),
    "lsq, 2 bits": ("LSQ", "lsq"),
    "fixed start, 2 bits": ("steps fixed at the start", "lsq"),
    "fixed least error, 2 bits": ("steps fixed at the minimum error", "lsq"),
    "quarter start, 2 bits": ("LSQ from a quarter of the start", "lsq"),
    "fixed quarter start, 2 bits": ("steps fixed at a quarter", "lsq"),
    "lsq, 2 bits, no scale": ("LSQ without gradient scale", "lsq"),
    "float, sgd": ("SGD: float", "float"),
    "uniform, 2 bits, sgd": ("SGD: uniform grid", "uniform"),
    "lsq, 2 bits, sgd": ("SGD: LSQ", "lsq"),
    "fixed start, 2 bits, sgd": ("SGD: steps fixed at the start", "lsq"),
}


def slopes_by_step(
    x: Tensor,
    y: Tensor,
    slopes: Mapping[str, Tensor],
    *,
    title: str = "How the output changes with the step",
) -> Figure:
    """The staircase above, and below it the slope of each output by the step, for up to three rules.

    Args:
        x: (n,) sorted, in steps.
        y: (n,) outputs, in steps.
        slopes: the slopes (n,) by label. The first is LSQ's, drawn solid and widest, below the others.
    Raises:
        ValueError: more than three rules, or a tensor of another shape than ``x``.
    """
    if len(slopes) > len(_DASHES):
        raise ValueError(f"slopes holds {len(slopes)} rules, at most {len(_DASHES)} can be told apart")
    if any(values.shape != x.shape for values in (y, *slopes.values())):
        raise ValueError("y and all slopes need the shape of x")
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 4.6), sharex=True, height_ratios=[1, 1.5])
    inputs, outputs = x.numpy(), y.detach().numpy()
    above.plot(inputs, inputs, color=COLORS["paper"], linewidth=0.8, linestyle=(0, (4, 3)))
    above.plot(inputs, outputs, color=COLORS["lsq"])
    above.set(ylabel="output / s", ylim=(outputs.min() - 0.6, outputs.max() + 0.6))
    below.axhline(0, color=COLORS["paper"], linewidth=0.6)
    colours = (COLORS["lsq"], NEUTRALS[1], NEUTRALS[0])
    for (label, values), dashes, colour in zip(slopes.items(), _DASHES, colours, strict=False):
        width = 2.4 if dashes == "-" else 1.6
        below.plot(inputs, values.numpy(), color=colour, linestyle=dashes, linewidth=width, label=label)
    legend = below.legend(loc="upper left", handlelength=3.2)
    for text, colour in zip(legend.get_texts(), colours, strict=False):
        text.set_color(text_color(colour))
    below.set(xlabel="v / s", ylabel="slope with respect to s")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def steps_by_layer(
    learned: Sequence[float], least: Sequence[float], *, title: str = "Learned steps and steps of minimum error"
) -> Figure:
    """A line for each layer, from the step of minimum error (hollow) to the learned one; their ratio at the side.

    Args:
        learned, least: of the same length, > 0.
    """
    figure, axes = _pairs(least, learned, ("minimum error", "learned"))
    for row, (step, other) in enumerate(zip(learned, least, strict=True)):
        place = (1, row)
        at: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"× {step / other:.2f}", place, (6, 0), color=COLORS["lsq"], **at)
    axes.set(xlabel="step size of the weights", xlim=(0, None))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def paces(
    without: Sequence[float],
    scaled: Sequence[float],
    *,
    title: str = "How fast steps learn, compared with their weights",
) -> Figure:
    """A line for each layer, from the ratio R without the gradient scale (hollow) to R with it, on a logarithmic axis.

    Args:
        without, scaled: R of each layer, > 0; a dashed line marks 1.
    """
    figure, axes = _pairs(without, scaled, ("without g", "with g"))
    axes.axvline(1, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axes.set(xscale="log", xlabel="R: relative gradient of the step over that of the weights")
    ticks = (0.01, 0.1, 1, 10, 100)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _pairs(first: Sequence[float], second: Sequence[float], names: tuple[str, str]) -> tuple[Figure, Axes]:
    """A line for each layer from a hollow symbol to a solid one; the names stand above those of the first layer."""
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(first))))
    style: dict[str, Any] = {"marker": MARKERS["lsq"], "color": COLORS["lsq"], "markersize": 8}
    for row, (start, end) in enumerate(zip(first, second, strict=True)):
        axes.axhline(row, color=GRID, linewidth=0.8, zorder=0)
        axes.plot([start, end], [row, row], color=PALE, linewidth=2.5, zorder=1)
        axes.plot([start], [row], **style, markerfacecolor="white")
        axes.plot([end], [row], **style)
    for place, other, name in ((first[0], second[0], names[0]), (second[0], first[0], names[1])):
        side = "left" if place > other else "right"
        text: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "color": COLORS["lsq"]}
        axes.annotate(name, (place, 0), (0, 7), ha=side, **text)
    axes.set_yticks(range(len(first)), [f"layer {layer}" for layer in range(1, len(first) + 1)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(first) - 0.5, -0.9)
    return figure, axes


def parts(frame: pd.DataFrame, *, title: str = "LSQ with 2 bits and one change") -> Figure:
    """The rows of `PARTS`: runs, mean and 95 % interval.

    Args:
        frame: one row a run, columns ``method`` and ``accuracy`` (percent).
    Raises:
        ValueError: the frame lacks a method.
    """
    rows = []
    for key, (name, style) in PARTS.items():
        runs = frame.loc[frame["method"] == key, "accuracy"].tolist()
        if not runs:
            raise ValueError(f"frame has no row of {key!r}")
        rows.append(Row(name, runs, method=style))
    return forest({"": rows}, xlabel="test accuracy (%)", title=title, reference="float")


def accuracy_by_rate(frame: pd.DataFrame, *, title: str = "The gradient scale and the learning rate") -> Figure:
    """Every run of LSQ under SGD against its learning rate, with and without the gradient scale.

    Args:
        frame: one row a run, columns ``rate``, ``scale`` (bool) and ``accuracy`` (percent).
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.0))
    rates = sorted(frame["rate"].unique())
    for scale, colour, marker, shift in (
        (True, COLORS["lsq"], MARKERS["lsq"], -0.08),
        (False, NEUTRALS[1], NEUTRAL_MARKERS[0], 0.08),
    ):
        runs = frame[frame["scale"] == scale]
        style: dict[str, Any] = {"color": colour, "markerfacecolor": colour if scale else "white", "markersize": 7}
        places = [rates.index(rate) + shift for rate in runs["rate"]]
        axes.plot(places, runs["accuracy"], marker, label="with g" if scale else "without g", **style)
    axes.axhline(10, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate("guessing", (-0.4, 10), (4, 4), textcoords="offset points", color=COLORS["paper"])
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.grid(axis="y", color=GRID)
    axes.set(xlabel="learning rate", ylabel="test accuracy (%)", ylim=(0, 100), xlim=(-0.4, len(rates) - 0.6))
    axes.legend(loc="center left")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
