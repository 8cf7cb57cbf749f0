"""Figures of incremental network quantization (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH

_FROZEN, _FREE = COLORS["inq"], COLORS["float"]


def power_label(value: float) -> str:
    """``value``, 0 or ± a power of two, as a power of two in mathtext: ``$-2^{-3}$``."""
    if value == 0:
        return "0"
    return f"${'-' if value < 0 else ''}2^{{{round(np.log2(abs(value)))}}}$"


def partition(steps: Sequence[tuple[str, Tensor, Tensor]], *, title: str = "The largest are frozen first") -> Figure:
    """A small matrix after each step: frozen elements filled and written as powers of two, the others as they are.

    Args:
        steps: (panel title, (R, C) weights, (R, C) mask of the frozen) for each panel.
    """
    figure, axes = plt.subplots(1, len(steps), figsize=(WIDTH, 1.6), squeeze=False)
    for axis, (name, weights, frozen) in zip(axes.flat, steps, strict=True):
        rows, columns = weights.shape
        for (row, column), value in np.ndenumerate(weights.detach().double().numpy()):
            fixed = bool(frozen[row, column])
            colour = _FROZEN if fixed else "white"
            axis.add_patch(
                plt.Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.35 if fixed else 1, edgecolor="none")
            )
            axis.add_patch(plt.Rectangle((column, row), 1, 1, fill=False, edgecolor=_FREE, linewidth=0.6))
            text = power_label(value) if fixed else f"{value:.2f}"
            axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=SMALL - 0.5)
        axis.set(xlim=(-0.03, columns + 0.03), ylim=(rows + 0.03, -0.03), aspect="equal", title=name)
        axis.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def weights_by_stage(
    steps: Sequence[tuple[str, Tensor, Tensor]], *, title: str = "The weights of one layer on their way to the codebook"
) -> Figure:
    """A histogram for each stage: weights that still train in bins, frozen ones as one bar for each codeword.

    Args:
        steps: (panel title, (n,) weights, (n,) mask of the frozen) for each panel.
    """
    figure, axes = plt.subplots(1, len(steps), figsize=(WIDTH, 2.4), squeeze=False, sharex=True, sharey=True)
    largest = max(weights.detach().abs().max().item() for _, weights, _ in steps)
    bins = np.linspace(-largest, largest, 61)
    for axis, (name, weights, frozen) in zip(axes.flat, steps, strict=True):
        values, mask = weights.detach().double().numpy(), frozen.numpy()
        axis.hist(values[~mask], bins, color=_FREE, alpha=0.6)
        words, counts = np.unique(values[mask], return_counts=True)
        axis.vlines(words, 0, counts, color=_FROZEN, linewidth=1.5)
        axis.set(title=f"{name}\n{mask.mean():.0%} frozen", xlabel="weight", yscale="symlog", ylim=(0, None))
    axes[0, 0].set_ylabel("weights")
    handles = [
        Line2D([], [], color=_FREE, alpha=0.6, linewidth=5, label="still training"),
        Line2D([], [], color=_FROZEN, linewidth=2, label="frozen on a codeword"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def signal_to_noise(
    curves: Mapping[str, Mapping[int, float]], *, title: str = "What the codebook keeps of a tensor"
) -> Figure:
    """Signal to quantization noise against bits, a line for each name.

    Args:
        curves: by name, decibels by bits.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8))
    for (name, curve), method in zip(curves.items(), ("inq", "uniform", "log2", "float", "nakata"), strict=False):
        bits = sorted(curve)
        axis.plot(bits, [curve[b] for b in bits], color=COLORS[method], marker=MARKERS[method], label=name)
    axis.set_xticks(sorted({b for curve in curves.values() for b in curve}))
    axis.set(xlabel="bits per weight", ylabel="signal to noise (dB)")
    axis.legend()
    axis.set_title(title, fontweight="bold")
    return figure


def accuracy_by_stage(
    frame: pd.DataFrame,
    by: str,
    start: float | None = None,
    *,
    title: str = "Down at each freezing, up at each training",
) -> Figure:
    """Mean test accuracy after freezing and after training at each stage; a line for each value of column ``by``.

    Args:
        frame: one row a stage and seed; columns ``by``, ``fraction``, ``frozen`` and ``trained`` (in percent; NaN after
            the last stage). All lines have the same fractions.
        start: mean accuracy of the network before INQ, in percent.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
    methods = ("inq", "uniform", "binarynet", "xnor-net", "nakata", "float")
    for (name, rows), method in zip(frame.groupby(by, sort=False), methods, strict=False):
        means = rows.groupby("fraction")[["frozen", "trained"]].mean()
        y = means.to_numpy().flatten()[:-1]  # nothing is trained after the last stage
        x = np.arange(1, len(y) + 1)
        if start is not None:
            x, y = np.r_[0, x], np.r_[start, y]
        axis.plot(x, y, color=COLORS[method], marker=MARKERS[method], label=str(name))
    steps = [step for fraction in means.index for step in (f"freeze {100 * fraction:g} %", "train")]
    axis.set_xticks(range(len(steps)), ["float", *steps[:-1]])
    axis.set_xlim(-0.2 if start is not None else 0.8, len(steps) - 0.8)
    axis.set(xlabel="step of INQ", ylabel="test accuracy (%)")
    axis.set_title(title, fontweight="bold")
    axis.legend()
    return figure


def scores(
    results: Mapping[str, Sequence[float]],
    paper: Mapping[str, float] | None = None,
    *,
    xlabel: str = "test accuracy (%)",
    title: str = "Paper and here",
) -> Figure:
    """One line for each name: the result of each seed, their mean with its 95 % interval, and the paper's value.

    Args:
        results: by name, one number a seed. "float" and names that end in ", float" are networks before INQ.
        paper: by name, what the paper reports.
    """
    paper = paper or {}
    figure, axis = plt.subplots(figsize=(WIDTH, 1.1 + 0.32 * len(results)))
    for row, (name, values) in enumerate(results.items()):
        mean, half = interval(list(values))
        colour = COLORS["float"] if name == "float" or name.endswith(", float") else COLORS["inq"]
        axis.plot(values, [row] * len(values), "|", color=colour, markersize=8, alpha=0.6)
        axis.errorbar(mean, row, xerr=half, color=colour, marker=MARKERS["inq"], capsize=2.5, elinewidth=1)
        if name in paper:
            axis.plot(paper[name], row, color=COLORS["paper"], marker=MARKERS["paper"], markerfacecolor="white")
    axis.set_yticks(range(len(results)), list(results))
    axis.set_ylim(len(results) - 0.5, -0.5)
    axis.set(xlabel=xlabel)
    axis.set_title(title, fontweight="bold")
    handles = [Line2D([], [], color=COLORS["inq"], marker=MARKERS["inq"], label="here: mean, 95 % interval, seeds")]
    if paper:
        style: dict[str, Any] = {"color": COLORS["paper"], "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], marker=MARKERS["paper"], label="paper", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
