"""Figures of circuits: a processing element, its waves, and what it costs (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH

_SHIFT, _FLOAT, _FIXED = COLORS["inq"], COLORS["float"], COLORS["uniform"]
_COLOURS = {"shift": _SHIFT, "float": _FLOAT, "fixed": _FIXED}


def processing_element(*, title: str = "The shift processing element: three steps, a register after each") -> Figure:
    """The circuit of ``shift_pe.v``: what is computed in boxes, registers as dark bars."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.1))
    for left, text in (
        (1.5, "shift right\nby 8 − e,\nor 0 if e = 0"),
        (4.7, "negate\nif the sign\nis set"),
        (7.9, "add"),
    ):
        axis.add_patch(plt.Rectangle((left, 1), 1.6, 1.3, facecolor="white", edgecolor=_SHIFT, linewidth=1.4))
        axis.text(left + 0.8, 1.65, text, ha="center", va="center")
    for x, name in ((3.5, "shifted"), (6.7, "product"), (9.9, "sum")):
        axis.add_patch(plt.Rectangle((x, 0.95), 0.22, 1.4, facecolor=_FLOAT))
        axis.text(x + 0.11, 2.45, name, ha="center", va="bottom", family="monospace")
    axis.add_patch(plt.Rectangle((3.5, 0.05), 0.22, 0.45, facecolor=_FLOAT))
    axis.text(3.61, -0.07, "negative", ha="center", va="top", family="monospace")
    style = {"arrowstyle": "->", "color": _FLOAT, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    for start, end in ((0.3, 1.5), (3.1, 3.5), (3.72, 4.7), (6.3, 6.7), (6.92, 7.9), (9.5, 9.9), (10.12, 11.2)):
        axis.annotate("", (end, 1.65), (start, 1.65), arrowprops=style)
    axis.plot([0.3, 3.5], [0.28, 0.28], color=_FLOAT, linewidth=1.1)
    axis.annotate("", (2.3, 1), (2.3, 0.28), arrowprops=style)
    axis.plot([3.72, 5.5], [0.28, 0.28], color=_FLOAT, linewidth=1.1)
    axis.annotate("", (5.5, 1), (5.5, 0.28), arrowprops=style)
    # What is in the register comes back as the second operand.
    axis.plot([10.5, 10.5, 8.7], [1.65, 0.4, 0.4], color=_FLOAT, linewidth=1.1)
    axis.annotate("", (8.7, 1), (8.7, 0.4), arrowprops=style)
    axis.text(0.2, 1.65, "x", ha="right", va="center", family="monospace")
    axis.text(0.2, 0.28, "code", ha="right", va="center", family="monospace")
    axis.text(2.4, 0.62, "e", va="center")
    axis.text(2.9, 0.33, "sign", ha="center", va="bottom")
    axis.set(xlim=(-0.7, 11.4), ylim=(-0.45, 2.85))
    axis.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def waveform(
    waves: Mapping[str, Sequence[int]],
    own: Sequence[Sequence[int]] = (),
    *,
    title: str = "A dot product on its way through the pipeline",
) -> Figure:
    """Numbers on wires, cycle by cycle: one row a wire, a box for as long as the number stays.

    Args:
        waves: by wire, one integer a cycle.
        own: for each wire the pair (counted from 0) that its number in a cycle belongs to, or -1 for none: boxes of one
            pair share a colour.
    """
    palette = [COLORS[name] for name in ("inq", "uniform", "twn", "qat", "nakata")]
    cycles = len(next(iter(waves.values())))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.7 + 0.36 * len(waves)))
    for row, values in enumerate(waves.values()):
        for cycle, value in enumerate(values):
            pair = own[row][cycle] if own else -1
            colour = palette[pair % len(palette)] if pair >= 0 else "#d5dbe1"
            # Slanted sides, as in the manuals of chips: the number changes at the clock edge.
            shape = [(0.06, 0), (0, 0.35), (0.06, 0.7), (0.94, 0.7), (1, 0.35), (0.94, 0)]
            corners = [(cycle + x, row + y) for x, y in shape]
            axis.add_patch(plt.Polygon(corners, facecolor=colour, alpha=0.3, edgecolor="none"))
            axis.add_patch(plt.Polygon(corners, fill=False, edgecolor=colour, linewidth=1.0))
            axis.text(cycle + 0.5, row + 0.37, f"{value}", ha="center", va="center", fontsize=SMALL)
    axis.set_yticks(np.arange(len(waves)) + 0.35, list(waves), family="monospace")
    axis.set_xticks(np.arange(cycles) + 0.5, [str(cycle) for cycle in range(cycles)])
    axis.tick_params(length=0)
    axis.set(xlim=(-0.05, cycles + 0.05), ylim=(len(waves), -0.25), xlabel="clock cycle")
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title(title, fontweight="bold")
    return figure


def luts_by_width(
    table: pd.DataFrame,
    *,
    title: str = "A multiplier grows with the square of its width, a shifter almost in proportion to it",
) -> Figure:
    """LUTs of one multiplier against its width, a line each for shifts and for multiplication without DSP.

    Args:
        table: rows "multiplier <width>" of the table ``fpga_gates_resources``.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8))
    rows = table[table.circuit.str.startswith("multiplier ")]
    rows = rows.assign(width=rows.circuit.str.removeprefix("multiplier ").astype(int)).sort_values("width")
    for design, name, label in (
        ("fixed, no DSP", "uniform", "width × width"),
        ("shift", "inq", "width × power of two"),
    ):
        line = rows[rows.design == design]
        axis.plot(line.width, line.LUT, color=COLORS[name], marker=MARKERS[name])
        axis.annotate(
            label, (line.width.iloc[-1], line.LUT.iloc[-1]), (6, 0), textcoords="offset points", va="center",
            color=COLORS[name],
        )  # fmt: skip
    axis.set_xticks(sorted(set(rows.width)))
    axis.set(xlabel="bits of x", ylabel="LUTs", ylim=(0, None), xlim=(7, 39))
    axis.set_title(title, fontweight="bold")
    return figure


def designs_against_paper(
    layers: pd.DataFrame,
    paper: Mapping[str, Mapping[str, int]],
    *,
    title: str = "One layer, written in several ways, and the paper's counts",
) -> Figure:
    """LUTs, LUTs used as memory, and flip-flops of the layer: a row a design, the paper's counts as upright lines.

    Args:
        layers: by design, rows "layer" of the table ``fpga_gates_resources``. A design whose name begins with "float"
            is compared with the paper's float, one that begins with "shift" with its shift.
        paper: by "shift" and "float", counts by resource.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 0.9 + 0.32 * len(layers)), sharey=True, width_ratios=(2, 1, 1.2))
    for axis, resource in zip(axes, ("LUT", "LUTRAM", "FF"), strict=True):
        for place, (design, row) in enumerate(layers.iterrows()):
            kind = str(design).split(",")[0]
            colour = _COLOURS[kind]
            if resource == "LUT":
                ends = [row.aggressive_LUT / 1000, row.LUT / 1000]
                axis.plot(ends, [place, place], color=colour, linewidth=2.0, solid_capstyle="butt")
            value = row["fair_LUT" if resource == "LUT" else resource] / 1000
            axis.plot(value, place, color=colour, marker="o", markersize=6)
            printed = paper[kind][resource] / 1000
            axis.plot([printed, printed], [place - 0.45, place + 0.45], color=COLORS["qat"], linewidth=2.2)
        axis.set(title=resource, xlabel="thousands", xlim=(-4 if resource == "LUTRAM" else 0, None))
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(layers)), list(layers.index))
    axes[0].invert_yaxis()
    handles = [
        Line2D([], [], color=_FLOAT, marker="o", label="here: fair packing, from aggressive to none"),
        Line2D([], [], color=COLORS["qat"], linewidth=2.2, label="paper"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
