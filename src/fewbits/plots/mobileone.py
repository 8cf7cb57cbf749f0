"""Figures of the chapter on MobileOne (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.theme import COLORS, SMALL, WIDTH


def kernels(branches: Mapping[str, Tensor], total: Tensor, *, title: str = "Branches add up to one kernel") -> Figure:
    """The kernel of every branch, and the one that they add up to; blue is positive, red negative.

    Args:
        branches: by name, (H, W) kernels as they count in the sum.
        total: (H, W), shown behind the equals sign.
    """
    panels = [*branches.items(), ("one kernel", total)]
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 1.9), squeeze=False)
    largest = max(kernel.abs().max().item() for _, kernel in panels)
    for index, (axis, (name, kernel)) in enumerate(zip(axes.flat, panels, strict=True)):
        values = kernel.detach().double().numpy()
        axis.imshow(values, cmap="RdBu", vmin=-2 * largest, vmax=2 * largest)  # pale, so that black text reads
        for (row, column), value in np.ndenumerate(values):
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=SMALL - 1)
        axis.set_title(name)
        axis.axis("off")
        if index:
            sign = "=" if index == len(branches) else "+"
            axis.text(-0.13, 0.5, sign, transform=axis.transAxes, ha="center", va="center")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def step_times(frame: pd.DataFrame, *, title: str = "What a training step takes") -> Figure:
    """A bar for each form of a training step, with the range over the rounds of the race.

    Args:
        frame: one row a form; columns ``form``, and ``ratio``, ``low``, ``high`` to the form whose ratio is 1.
    """
    frame = frame.sort_values("ratio")
    reference = frame.form[(frame.ratio == 1).idxmax()]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.35 * len(frame)))
    colours = [COLORS["inq"] if form == reference else to_rgba(COLORS["float"], 0.4) for form in frame.form]
    error = np.abs(frame[["low", "high"]].to_numpy() - frame[["ratio"]].to_numpy()).T
    axis.barh(frame.form, frame.ratio, xerr=error, color=colours, error_kw={"elinewidth": 1, "capsize": 2.5})
    axis.invert_yaxis()
    axis.set(xlabel=f"time of a training step, {reference} = 1")
    axis.set_title(title, fontweight="bold")
    return figure


_KINDS = {"full": "s", "depthwise": "o", "pointwise": "D", "linear": "^"}


def by_layer(frame: pd.DataFrame, column: str, *, label: str, title: str, log: bool = False) -> Figure:
    """A panel a network, layers in their order from left to right; the marker tells what kind of layer it is.

    Args:
        frame: one row a layer and network; columns ``network``, ``kind`` and the one to draw.
        column: to draw.
        label: of the vertical axis.
        log: make that axis logarithmic.
    """
    networks = list(dict.fromkeys(frame.network))
    figure, axes = plt.subplots(1, len(networks), figsize=(WIDTH, 2.9), sharey=True, squeeze=False)
    foot = frame[column].min() / 2 if log else 0
    for axis, network in zip(axes.flat, networks, strict=True):
        rows = frame[frame.network == network]
        if log:
            axis.set_yscale("log")
        else:
            axis.axhline(foot, color=COLORS["paper"], linewidth=0.8)
        axis.vlines(range(1, len(rows) + 1), foot, rows[column], color=COLORS["float"], linewidth=0.6, alpha=0.5)
        for kind, marker in _KINDS.items():
            places = 1 + np.flatnonzero(rows.kind == kind)
            values = rows[column][rows.kind == kind]
            colour = COLORS["inq"] if kind == "depthwise" else COLORS["float"]
            name = kind if axis is axes.flat[0] else None
            axis.plot(places, values, marker, color=colour, markersize=4.5, linestyle="none", label=name)
        axis.set(xlabel="layer", title=network)
    axes.flat[0].set_ylabel(label)
    figure.legend(loc="outside lower center", ncols=len(_KINDS), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
