"""Figures of circuits: a floor plan, a processing element, its waves, and what it costs (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, NEUTRAL_MARKERS, NEUTRALS, OUTLINE, PALE, WIDTH

# Kinds of arithmetic are no methods: shifts have the first neutral in all figures of circuits.
_SHIFT, _FLOAT, _PAPER = NEUTRALS[0], COLORS["float"], COLORS["paper"]
_COLOURS = {"shift": _SHIFT, "float": _FLOAT}
# Designs of the record, as a reader knows them.
DESIGNS = {
    "float": "float, IEEE",
    "fixed": "fixed point",
    "fixed, no DSP": "fixed point, no DSP",
    "shift, list of cases": "shift, cases listed",
    "shift, negation by choice": "shift, negation chosen",
}


def floor_plan(
    tables: Mapping[str, float], *, title: str = "One product, true to area: a square is a look-up table"
) -> Figure:
    """Blocks side by side, one for each entry, with as many small squares as it takes look-up tables.

    Args:
        tables: by name, look-up tables; of a fraction, a part of the last square is drawn.
    """
    gap, names = 5.0, list(tables)
    sides = [int(np.ceil(np.sqrt(count))) for count in tables.values()]
    figure, axis = plt.subplots(figsize=(WIDTH, 4.0))
    left = 0.0
    for name, side in zip(names, sides, strict=True):
        count = tables[name]
        for index in range(int(np.ceil(count))):
            share = min(count - index, 1.0)
            corner = (left + index % side + 0.08, index // side + 0.08)
            axis.add_patch(plt.Rectangle(corner, 0.84 * share, 0.84, facecolor=_SHIFT, edgecolor="none"))
        height = np.ceil(count / side)
        text = f"{name}\n{count:,.0f} LUTs" if count >= 10 else f"{name}\n{count:.1f} LUTs"
        wide = side > 20  # the name of a narrow block stands over its middle
        x, place = (left, "left") if wide else (left + side / 2, "center")
        axis.text(x, height + 0.8, text, va="bottom", ha=place)
        left += max(side, 6) + gap
    axis.set(xlim=(-0.5, left - gap + 3), ylim=(-0.5, max(sides) + 5))
    axis.set_aspect("equal")
    axis.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


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
    cycles = len(next(iter(waves.values())))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8 + 0.36 * len(waves)))
    for row, values in enumerate(waves.values()):
        for cycle, value in enumerate(values):
            pair = own[row][cycle] if own else -1
            colour = NEUTRALS[pair % len(NEUTRALS)] if pair >= 0 else PALE
            # Slanted sides, as in the manuals of chips: the number changes at the clock edge.
            shape = [(0.06, 0), (0, 0.35), (0.06, 0.7), (0.94, 0.7), (1, 0.35), (0.94, 0)]
            corners = [(cycle + x, row + y) for x, y in shape]
            axis.add_patch(plt.Polygon(corners, facecolor=colour, alpha=0.3, edgecolor="none"))
            axis.add_patch(plt.Polygon(corners, fill=False, edgecolor=colour, linewidth=1.0))
            axis.text(cycle + 0.5, row + 0.37, f"{value}".replace("-", "−"), ha="center", va="center")
    axis.set_yticks(np.arange(len(waves)) + 0.35, list(waves), family="monospace")
    axis.set_xticks(np.arange(cycles) + 0.5, [str(cycle) for cycle in range(cycles)])
    axis.tick_params(length=0)
    axis.set(xlim=(-0.05, cycles + 0.05), ylim=(len(waves), -0.25), xlabel="clock cycle")
    for spine in axis.spines.values():
        spine.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
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
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    rows = table[table.circuit.str.startswith("multiplier ")]
    rows = rows.assign(width=rows.circuit.str.removeprefix("multiplier ").astype(int)).sort_values("width")
    # Logarithmic, so that a power of the width is a straight line, and its exponent the slope.
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    ends = []
    for rank, (design, label) in enumerate({"shift": "× power of two", "fixed, no DSP": "× number"}.items()):
        line = rows[rows.design == design]
        style: dict[str, Any] = {"color": NEUTRALS[rank], "marker": NEUTRAL_MARKERS[rank]}
        axis.plot(line.width, line.LUT, **style)
        for x, y in zip(line.width, line.LUT, strict=True):
            beside: dict[str, Any] = {"ha": "right", "va": "bottom", "path_effects": OUTLINE}
            axis.annotate(f"{y:,}", (x, y), (-3, 3), textcoords="offset points", **beside)
        ends.append(End(line.width.iloc[-1], line.LUT.iloc[-1], label, style))
    widths = sorted(set(rows.width))
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.set_yticks([30, 100, 300, 1000, 3000], ["30", "100", "300", "1,000", "3,000"])
    axis.minorticks_off()
    axis.set(xlabel="width of x (bits)", ylabel="LUTs", ylim=(20, 4000), xlim=(7, 34))
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axis, ends)
    return figure


def designs_against_paper(
    layers: pd.DataFrame,
    paper: Mapping[str, Mapping[str, int]],
    *,
    title: str = "One layer, written in several ways, and the paper's counts",
) -> Figure:
    """LUTs, LUTs used as memory, and flip-flops of the layer: a row a design, the paper's counts as upright bars.

    Args:
        layers: by design, rows "layer" of the table ``fpga_gates_resources``. A design whose name begins with "float"
            is compared with the paper's float, one that begins with "shift" with its shift.
        paper: by "shift" and "float", counts by resource.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 1.2 + 0.3 * len(layers)), sharey=True, width_ratios=(2, 1, 1.2))
    for axis, resource in zip(axes, ("LUT", "LUTRAM", "FF"), strict=True):
        for place, (design, row) in enumerate(layers.iterrows()):
            kind = str(design).split(",")[0]
            colour = _COLOURS[kind]
            printed = paper[kind][resource] / 1000
            axis.plot([printed, printed], [place - 0.45, place + 0.45], color=_PAPER, linewidth=4, alpha=0.75)
            if resource == "LUT":
                ends = [row.aggressive_LUT / 1000, row.LUT / 1000]
                axis.plot(ends, [place, place], color=colour, linewidth=2.0, solid_capstyle="butt")
            value = row["fair_LUT" if resource == "LUT" else resource] / 1000
            axis.plot(value, place, color=colour, marker="o", markersize=6)
        axis.set(title=resource, xlabel="thousands", xlim=(-4 if resource == "LUTRAM" else 0, None))
        axis.grid(axis="y", color=GRID)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(layers)), [DESIGNS.get(str(design), str(design)) for design in layers.index])
    axes[0].set_ylim(len(layers) - 0.4, -0.6)
    handles = [
        Line2D([], [], color=_FLOAT, marker="o", label="here: packed fairly; line from aggressive packing to none"),
        Line2D([], [], color=_PAPER, linewidth=4, alpha=0.75, label="paper"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def savings(
    layers: pd.DataFrame,
    paper: float,
    margin: float,
    *,
    title: str = "How many LUTs shifts save depends on the float circuit and on packing",
) -> Figure:
    """Percent of the LUTs that shifts save against each design of floating point: before packing, fair and aggressive.

    Args:
        layers: by design, rows "layer" of the table ``fpga_gates_resources``: "shift", and those that begin with
            "float".
        paper: its saving in percent, a line; margin: half the width of the band around it, in points.
    """
    designs = [design for design in layers.index if design.startswith("float")]
    figure, axis = plt.subplots(figsize=(WIDTH, 1.3 + 0.32 * len(designs)))
    axis.axvspan(paper - margin, paper + margin, color=GRID, linewidth=0)
    axis.axvline(paper, color=_PAPER, linewidth=1.5)
    axis.text(paper, -0.75, f"paper {paper:.1f} %, ± {margin:g} points", ha="center", va="bottom")
    packings = {"LUT": ("o", "white"), "fair_LUT": ("o", _SHIFT), "aggressive_LUT": ("|", _SHIFT)}
    for place, design in enumerate(designs):
        saved = {column: 100 * (1 - layers.loc["shift", column] / layers.loc[design, column]) for column in packings}
        axis.plot([min(saved.values()), max(saved.values())], [place, place], color=PALE, linewidth=2, zorder=1)
        for column, (marker, face) in packings.items():
            style: dict[str, Any] = {"color": _SHIFT, "markerfacecolor": face, "markersize": 7, "markeredgewidth": 1.5}
            axis.plot(saved[column], place, marker, **style)
    handles = [
        Line2D([], [], linestyle="none", color=_SHIFT, marker=marker, markerfacecolor=face, label=label, markersize=7)
        for (marker, face), label in zip(packings.values(), ("before packing", "fair", "aggressive"), strict=True)
    ]
    axis.set_yticks(range(len(designs)), [f"against {DESIGNS.get(design, design)}" for design in designs])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set(xlim=(0, 100), ylim=(len(designs) - 0.5, -0.7), xlabel="LUTs of the layer that shifts save (%)")
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def adders(frame: pd.DataFrame, *, title: str = "Adders of a layer whose weights are wires") -> Figure:
    """Adders of each form of weights, a marker a network: hollow without shared sums, filled with them.

    Args:
        frame: one row a network, columns ``form``, ``adders``, ``shared`` and ``accuracy`` (percent, or NaN); the mean
            accuracy stands to the right.
    """
    forms = list(dict.fromkeys(frame["form"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 1.3 + 0.34 * len(forms)))
    for place, form in enumerate(forms):
        rows = frame[frame["form"] == form]
        for offset, (column, face) in zip((-0.14, 0.14), (("adders", "white"), ("shared", _SHIFT)), strict=True):
            heights = np.full(len(rows), place + offset)
            axis.plot(rows[column], heights, "o", color=_SHIFT, markerfacecolor=face)
        note = f"{rows['accuracy'].mean():.1f} %"
        axis.annotate(
            note, (1, place), (8, 0), xycoords=axis.get_yaxis_transform(), textcoords="offset points", va="center"
        )
    axis.annotate("accuracy", (1, 1), (8, 0), xycoords="axes fraction", textcoords="offset points", va="bottom")
    handles = [
        Line2D([], [], linestyle="none", color=_SHIFT, marker="o", markerfacecolor=face, label=label)
        for face, label in (("white", "each row alone"), (_SHIFT, "sums shared"))
    ]
    axis.set_yticks(range(len(forms)), forms)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", color=GRID)
    axis.spines["left"].set_visible(False)
    axis.set(ylim=(len(forms) - 0.5, -0.5), xlim=(0, None), xlabel="adders, a marker for each of three networks")
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
