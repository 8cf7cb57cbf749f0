"""Figures of low-bit gradients and networks: what rounding does on average, and accuracies (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, SMALL, WIDTH, text_color

# How gradients are rounded: colour, marker, line, and what it is called in a figure.
_ROUNDINGS = {
    "noise": (COLORS["dorefa"], "P", "-", "with noise"),
    "nearest": (COLORS["paper"], "o", (0, (4, 2)), "to the nearest, no 0"),
    "zero": (COLORS["uniform"], "s", (0, (1, 1)), "to the nearest, with 0"),
}


def mean_rounded(x: Tensor, means: Mapping[str, Tensor], *, title: str = "Rounding, on average") -> Figure:
    """What a number becomes on average, one panel for each way to round; the dotted diagonal is "unchanged".

    Args:
        x: (n,) numbers in [-1, 1], in increasing order.
        means: "noise", "nearest" or "zero" to (n,) averages over many draws.
    """
    figure, axes = plt.subplots(1, len(means), figsize=(WIDTH, 2.95), sharey=True, squeeze=False)
    for axis, (rounding, mean) in zip(axes.flat, means.items(), strict=True):
        colour, _, _, name = _ROUNDINGS[rounding]
        axis.plot(x, x, color=COLORS["paper"], linestyle=":", linewidth=1)
        axis.fill_between(x, x, mean, color=colour, alpha=0.2, linewidth=0)
        axis.plot(x, mean, color=colour)
        axis.set(title=name, xlabel="gradient / m", aspect="equal")
    axes[0, 0].set_ylabel("average result / m")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def by_gradient_bits(
    frame: pd.DataFrame, *, ylabel: str, title: str, reference: tuple[str, float] | None = None
) -> Axes:
    """A value against the bits of the gradients: every run as a dot, a line through the means for each way to round.

    Args:
        frame: columns ``rounding`` ("noise", "nearest", "zero"), ``bits`` and ``value``; one row a run.
        reference: name and value of a horizontal line.
    """
    _, axes = plt.subplots(figsize=(WIDTH, 3.2))
    all_bits = sorted(frame["bits"].unique())
    if reference is not None:
        axes.axhline(reference[1], color=COLORS["float"], linewidth=0.8, zorder=1)
        axes.annotate(
            reference[0], (np.mean(all_bits[:2]), reference[1]), (0, 3), textcoords="offset points", ha="center"
        )
    for rank, (rounding, rows) in enumerate(frame.groupby("rounding", sort=False)):
        colour, marker, line, name = _ROUNDINGS[rounding]
        means = rows.groupby("bits")["value"].mean()
        aside = 0.06 * (rank - 1)  # so that equal values do not hide each other
        axes.plot(rows["bits"] + aside, rows["value"], ".", color=colour, markersize=4, alpha=0.5)
        axes.plot(means.index + aside, means, color=colour, marker=marker, linestyle=line, label=name)
    axes.set_xticks(all_bits)
    axes.set(xlabel="bits of the gradients", ylabel=ylabel)
    axes.set_title(title, fontweight="bold")
    axes.legend(title="rounding", loc="lower right", title_fontsize=SMALL)
    return axes


def dots_by_setting(frame: pd.DataFrame, *, xlabel: str, title: str) -> Axes:
    """One row a setting, in the order of the frame: every seed as a small dot, mean and 95 % interval over seeds.

    Args:
        frame: columns ``setting``, ``method`` (a name in `COLORS`) and ``value``; one row a run.
    """
    settings = list(dict.fromkeys(frame["setting"]))
    _, axes = plt.subplots(figsize=(WIDTH, 0.75 + 0.24 * len(settings)))
    for row, setting in enumerate(settings):
        runs = frame[frame["setting"] == setting]
        colour = COLORS[runs["method"].iloc[0]]
        mean, half = interval(list(runs["value"]))
        axes.axhline(row, color="#e4e7ea", linewidth=0.8, zorder=0)
        axes.plot(runs["value"], [row] * len(runs), ".", color=colour, markersize=4, alpha=0.5)
        axes.errorbar(mean, row, xerr=half, color=colour, marker="D", capsize=2.5, elinewidth=1)
        axes.annotate(
            f"{mean:#.3g}", (1.01, row), xycoords=axes.get_yaxis_transform(), va="center", color=text_color(colour)
        )
    axes.set_yticks(range(len(settings)), settings)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(settings) - 0.4, -0.6)
    axes.set(xlabel=xlabel, ylabel="setting")
    axes.set_title(title, fontweight="bold")
    return axes
