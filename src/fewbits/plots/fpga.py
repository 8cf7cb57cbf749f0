"""Figures of fixed point and shift-adders (see `fewbits.plots`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from fewbits.plots.mixed_precision_latency import KINDS
from fewbits.plots.theme import COLORS, GRID, NEUTRAL_MARKERS, NEUTRALS, PALE, SMALL, WIDTH, text_color

_INK = COLORS["float"]
_NOTE = text_color(COLORS["paper"])  # words that are no part of a circuit


# --- One product ------------------------------------------------------------------------------------------------------


def shift_by_hand(
    x: int,
    n: int,
    negative: bool,
    integer_bits: int,
    fraction_bits: int,
    *,
    title: str = "One product: shift, drop, negate",
) -> Figure:
    """The bits of x, of x shifted by n places, and of its negative if the weight is, a row each; the point is a line.

    Args:
        x: integer of ``integer_bits + fraction_bits`` bits in two's complement, not the minimum.
        n: 0 or more, less than the bits.
    """
    width = integer_bits + fraction_bits
    rows = [("x", x, 0), (f"x >> {n}", x >> n, n)]
    if negative:
        rows.append((f"-(x >> {n})", -(x >> n), 0))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.7 + 0.55 * len(rows)))
    for row, (name, value, copies) in enumerate(rows):
        bits = [value >> place & 1 for place in reversed(range(width))]
        for column, bit in enumerate(bits):
            _box(axis, column, row, str(bit), copy=column < copies)
        if copies:
            dropped = [x >> place & 1 for place in reversed(range(n))]
            for place, bit in enumerate(dropped):
                axis.text(width + 0.4 + place, row, str(bit), ha="center", va="center", color=_NOTE, family="monospace")
            axis.text(width + 0.6 + n, row, "dropped", va="center", color=_NOTE)
        axis.text(-0.9, row, name, ha="right", va="center", family="monospace")
        scale = 1 << fraction_bits
        axis.text(width + 5.0, row, f"{value} / {scale} = {value / scale:g}".replace("-", "−"), va="center")
    point = integer_bits - 0.5
    axis.plot([point, point], [-0.55, len(rows) - 0.45], color=_INK, linewidth=2)
    axis.set(xlim=(-4, width + 11), ylim=(len(rows) - 0.4, -0.6))
    axis.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _box(axis: Axes, column: float, row: int, text: str, *, copy: bool) -> None:
    face, ink = (NEUTRALS[3], "white") if copy else (PALE, _INK)
    axis.add_patch(plt.Rectangle((column - 0.45, row - 0.38), 0.9, 0.76, facecolor=face, edgecolor="none"))
    axis.text(column, row, text, ha="center", va="center", color=ink, family="monospace")


def processing_element(*, title: str = "One processing element: no multiplier in it") -> Figure:
    """The block diagram: shifter, zero, negation, adder, accumulator; with the width of each wire."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.4))
    blocks = {  # left edge, text
        "shift": (2.2, "shift right\n$n$ places"),
        "zero": (4.6, "0 where\n$e = 0$"),
        "negate": (7.0, "negate\nwhere $s = 1$"),
        "add": (9.4, "+"),
        "sum": (11.3, "sum\n(register)"),
    }
    for name, (left, text) in blocks.items():
        wide = 1.0 if name == "add" else 1.7
        face = PALE if name == "sum" else "white"
        style: dict[str, Any] = {"facecolor": face, "edgecolor": NEUTRALS[0], "linewidth": 1.4}
        axis.add_patch(plt.Rectangle((left, 1.0), wide, 1.0, **style))
        axis.text(left + wide / 2, 1.5, text, ha="center", va="center")
    wires = [
        (0.7, 2.2, "32"),
        (3.9, 4.6, "32"),
        (6.3, 7.0, "32"),
        (8.7, 9.4, "33"),
        (10.4, 11.3, "32"),
        (13.0, 13.8, "32"),
    ]
    for start, end, width in wires:
        _arrow(axis, (start, 1.5), (end, 1.5))
        axis.text((start + end) / 2, 1.58, width, ha="center", va="bottom", fontsize=SMALL, color=_NOTE)
    axis.text(0.6, 1.5, "$x$", ha="right", va="center")
    axis.text(2.65, 0.2, "field of the weight", ha="right", va="center")
    for left, text in ((3.05, "$n = 8 - n_1 - e$"), (5.45, "$e$"), (7.85, "$s$")):
        axis.plot([left, left], [0.2, 0.6], color=_INK, linewidth=0.8)
        _arrow(axis, (left, 0.5), (left, 1.0))
        axis.text(left + 0.1, 0.66, text, ha="left", va="center")
    axis.plot([2.75, 7.85], [0.2, 0.2], color=_INK, linewidth=0.8)
    axis.plot([12.15, 12.15, 9.9], [2.0, 2.4, 2.4], color=_INK, linewidth=0.8)
    _arrow(axis, (9.9, 2.4), (9.9, 2.0))
    axis.text(11.0, 2.46, "the sum so far, at first the bias", ha="center", va="bottom")
    axis.set(xlim=(0, 14), ylim=(0, 2.8))
    axis.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=_INK, linewidth=0.8, shrinkA=0, shrinkB=0)
    )


# --- The network ------------------------------------------------------------------------------------------------------


def accuracy_by_format(
    frames: Mapping[str, pd.DataFrame], *, title: str = "How many bits does a number between two layers need?"
) -> Figure:
    """Points of accuracy lost against Q16.16: with fewer fraction bits, and with fewer integer bits by overflow.

    The axis of the points is linear up to 1 and logarithmic beyond; it runs down.

    Args:
        frames: by network, rows with ``integer_bits``, ``fraction_bits``, ``overflow`` and ``lost`` (points).
            16 integer bits and sums that wrap make the left panel, 16 fraction bits the others.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.4), sharey=True, width_ratios=(1.15, 1, 1))
    for index, (name, frame) in enumerate(frames.items()):
        style: dict[str, Any] = {"color": NEUTRALS[index], "marker": NEUTRAL_MARKERS[index], "label": name}
        rows = frame[(frame.integer_bits == 16) & (frame.overflow == "wrap")].sort_values("fraction_bits")
        axes[0].plot(rows.fraction_bits, rows.lost, **style)
        for axis, overflow in zip(axes[1:], ("wrap", "saturate"), strict=True):
            rows = frame[(frame.fraction_bits == 16) & (frame.overflow == overflow)].sort_values("integer_bits")
            axis.plot(rows.integer_bits, rows.lost, **style)
    for axis, heading, label in zip(
        axes,
        ("16 bits before the point", "16 after it, sums wrap", "16 after it, sums saturate"),
        ("bits after the point", "bits before the point", "bits before the point"),
        strict=True,
    ):
        axis.axhline(0, color=_INK, linewidth=0.8, zorder=1)
        axis.set_yscale("symlog", linthresh=1, linscale=0.6)
        axis.set(title=heading, xlabel=label, xlim=(13 if axis is axes[0] else 9, 1.5), ylim=(110, -0.6))
        axis.set_xticks(range(12 if axis is axes[0] else 8, 1, -2))
        axis.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axis.minorticks_off()
        axis.grid(axis="y", color=GRID)
    axes[0].set_ylabel("points lost against Q16.16")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def largest_shifts(
    places: Mapping[str, Sequence[int]], *, title: str = "How far does the smallest weight of a layer shift?"
) -> Figure:
    """Layers counted by the places of their largest shift: a panel a network.

    Args:
        places: by network, one number for each layer.
    """
    figure, axes = plt.subplots(1, len(places), figsize=(WIDTH, 2.3), sharex=True, sharey=True, squeeze=False)
    for axis, (name, shifts) in zip(axes.flat, places.items(), strict=True):
        counts = Counter(shifts)
        bars = axis.bar(list(counts), list(counts.values()), 0.8, color=NEUTRALS[0])
        axis.bar_label(bars, padding=1)
        axis.set(title=name, xlabel="places")
        axis.spines["left"].set_visible(False)
        axis.set_yticks([])
    everything = [shift for shifts in places.values() for shift in shifts]
    axes.flat[0].set_xticks(range(min(everything), max(everything) + 1))
    axes.flat[0].set_ylabel("layers")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def integer_bits_by_layer(
    needs: pd.DataFrame, provided: int = 16, *, title: str = "Bits before the point that the sums of a layer need"
) -> Figure:
    """A dot for each layer and network, and a dashed line for what the format provides.

    Args:
        needs: rows with ``network``, ``layer`` and ``integer_bits``, the layers of a network in their order.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.9))
    for index, (name, rows) in enumerate(needs.groupby("network", sort=False)):
        places = np.arange(1, len(rows) + 1)
        style: dict[str, Any] = {"color": NEUTRALS[index], "marker": NEUTRAL_MARKERS[index], "label": str(name)}
        axis.plot(places + 0.14 * (index - 1), rows.integer_bits, linewidth=0.8, **style)
    axis.axhline(provided, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axis.text(1, provided - 0.4, f"Q16.16 has {provided}", va="top", color=_NOTE)
    axis.set(xlabel="layer, in order", ylabel="bits before the point", ylim=(0, provided + 1))
    axis.set_yticks(range(0, provided + 1, 4))
    figure.legend(loc="outside lower center", ncols=3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def time_on_processors(
    frame: pd.DataFrame,
    metrics: Sequence[str] = ("weight_bits_total", "macs_bits"),
    *,
    title: str = "Does MACs × bits predict the time? It depends on the processor",
) -> Figure:
    """Cycles of layers against two numbers (columns of panels) on each processor (rows of panels), with Pearson's r.

    Both axes are logarithmic, r is that of the numbers. The narrower weights have hollow markers; a thin line joins the
    two widths of a layer.

    Args:
        frame: rows of the table ``fpga_layers`` of one network.
    """
    labels = {"weight_bits_total": "weight data size (bits)", "macs_bits": "MACs × bits", "macs": "MACs"}
    processors = list(frame.processor.unique())
    figure, panels = plt.subplots(len(processors), 2, figsize=(WIDTH, 2.3 * len(processors)), sharex="col", sharey=True)
    narrow = frame.bits.min()
    for axes_row, processor in zip(np.atleast_2d(panels), processors, strict=True):
        rows = frame[frame.processor == processor]
        for axis, metric in zip(axes_row, metrics, strict=True):
            for _, pair in rows.groupby("layer", sort=False):
                axis.plot(pair[metric], pair.cycles, color=PALE, linewidth=0.9, zorder=1)
            for row in rows.itertuples():
                colour, marker = KINDS[row.kind]
                face = "white" if row.bits == narrow else colour
                axis.plot(getattr(row, metric), row.cycles, marker, color=colour, markerfacecolor=face)
            r = np.corrcoef(rows[metric].astype(float), rows.cycles.astype(float))[0, 1]
            axis.set(xscale="log", yscale="log", title=f"{processor}: r = {r:.2f}")
        axes_row[0].set_ylabel("time (cycles)")
    for axis, metric in zip(np.atleast_2d(panels)[-1], metrics, strict=True):
        axis.set_xlabel(labels[metric])
    kinds = [kind for kind in KINDS if kind in set(frame.kind)]
    handles = [
        Line2D([], [], linestyle="none", color=KINDS[kind][0], marker=KINDS[kind][1], label=kind) for kind in kinds
    ]
    for bits in sorted(frame.bits.unique()):
        face = "white" if bits == narrow else COLORS["paper"]
        handles.append(
            Line2D(
                [], [], linestyle="none", color=COLORS["paper"], marker="o", markerfacecolor=face, label=f"{bits} bits"
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle(title, x=0.01, ha="left")
    return figure
