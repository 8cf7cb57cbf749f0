"""Figures of the accelerator for a whole network: its blocks, its time table, its cycles and its area."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewbits.plots.theme import COLORS, NEUTRALS, PALE, WIDTH, text_color

_ARRAY, _INK, _PAPER = NEUTRALS[0], COLORS["float"], COLORS["paper"]
# What a step of a layer passes through, and how many cycles it takes there.
STAGES = (
    ("feature memory", 2),
    ("order of the rows", 1),
    ("shift by n1", 1),
    ("lanes", 1),
    ("32 shifts", 1),
    ("two trees of adders", 4),
    ("sum of the halves", 1),
    ("sum over words, ReLU", 1),
    ("average pool", 1),
)


def blocks(*, title: str = "One array, and two halves of a memory that take turns") -> Figure:
    """The accelerator: memories, what orders the pixels, the array, and the way back."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.5))
    top, low = 2.3, 0.55
    _box(axis, -0.1, top, 1.75, 0.9, "image\nmemory", "memory")
    _box(axis, -0.1, low, 1.75, 0.9, "feature memory\n2 halves", "memory")
    _box(axis, 2.2, 1.4, 1.2, 0.9, "four rows\nin order", "order")
    _box(axis, 4.1, top, 1.3, 0.9, "windows\n3 × 3", "order")
    _box(axis, 4.1, low, 1.3, 0.9, "shift\nby $n_1$", "order")
    _box(axis, 5.75, top, 1.95, 0.9, "32 × 9 elements\n1,312 only", "array", dashed=True)
    _box(axis, 6.15, low, 1.85, 0.9, "array: columns\nof 32 elements", "array")
    _box(axis, 8.5, low, 1.5, 0.9, "sums, ReLU,\naverage pool", "order")
    _box(axis, 8.3, top, 1.85, 0.9, "weight memory\na word a cycle", "memory")
    arrows = [
        ((1.65, top + 0.45), (2.2, 2.0)), ((1.65, low + 0.45), (2.2, 1.7)), ((3.4, 2.0), (4.1, top + 0.45)),
        ((3.4, 1.7), (4.1, low + 0.45)), ((5.4, low + 0.45), (6.15, low + 0.45)),
        ((5.4, top + 0.45), (5.75, top + 0.45)), ((5.1, top), (6.6, low + 0.9)), ((6.9, top), (7.0, low + 0.9)),
        ((8.3, top + 0.2), (7.7, low + 0.9)), ((8.0, low + 0.45), (8.5, low + 0.45)),
        ((10.0, low + 0.45), (10.5, low + 0.45)),
    ]  # fmt: skip
    style = {"arrowstyle": "->", "color": _INK, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    for start, end in arrows:
        axis.annotate("", end, start, arrowprops=style)
    axis.text(10.55, low + 0.45, "logits", va="center")
    axis.plot([9.3, 9.3, 0.75], [low, 0.1, 0.1], color=_INK, linewidth=1.1)
    axis.annotate("", (0.75, low), (0.75, 0.1), arrowprops=style)
    axis.text(5.0, 0.13, "feature maps, into the other half", ha="center", va="bottom")
    axis.text(5.0, 3.45, "the program, one instruction a layer, sets all of it", ha="center")
    axis.set(xlim=(-0.15, 11.2), ylim=(0, 3.7))
    axis.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _box(axis: Axes, x: float, y: float, width: float, height: float, text: str, kind: str, dashed=False) -> None:
    face, edge = {"memory": (PALE, PALE), "array": ("white", _ARRAY), "order": ("white", _INK)}[kind]
    style: dict[str, Any] = {"facecolor": face, "edgecolor": edge, "linewidth": 2.2 if kind == "array" else 1.2}
    axis.add_patch(plt.Rectangle((x, y), width, height, linestyle="--" if dashed else "-", **style))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def time_table(steps: int = 4, *, title: str = "A step takes 13 cycles, and one begins in each") -> Figure:
    """Where each of the first steps of a layer is, cycle by cycle: a row for each stage of the pipeline."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.3))
    begin = 0
    for row, (_, cycles) in enumerate(STAGES):
        for step in range(steps):
            for cycle in range(cycles):
                place = (begin + step + cycle, row + 0.1 + 0.8 * cycle / cycles)
                colour = NEUTRALS[step % len(NEUTRALS)]
                axis.add_patch(plt.Rectangle(place, 1, 0.8 / cycles, facecolor=colour, edgecolor="white"))
        begin += cycles
    axis.set_yticks(np.arange(len(STAGES)) + 0.5, [name for name, _ in STAGES])
    axis.set_xticks(np.arange(0, begin + steps), minor=False)
    axis.set(
        xlim=(0, begin + steps - 1), ylim=(len(STAGES), 0), xlabel="clock cycle after the counters of the first step"
    )
    axis.tick_params(axis="y", length=0)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def cycles_by_layer(
    names: Sequence[str], cycles: Sequence[int], shares: Sequence[float], *, title: str = "Cycles of each layer"
) -> Figure:
    """A bar for each layer, as long as its cycles; its dark part is the share of the shift-adders that have work.

    Args:
        names: of the layers.
        cycles: of each.
        shares: utilization of the array in each, 0 to 1.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.19 * len(names)))
    places, lengths = np.arange(len(names)), np.asarray(cycles)
    axis.barh(places, lengths, 0.75, facecolor="white", edgecolor=_ARRAY, linewidth=1.0)
    axis.barh(places, lengths * np.asarray(shares), 0.75, color=_ARRAY)
    for place, length, share in zip(places, lengths, shares, strict=True):
        axis.annotate(f"{100 * share:.0f} %", (length, place), (4, 0), textcoords="offset points", va="center")
    axis.set_yticks(places, names)
    axis.tick_params(axis="y", length=0)
    axis.set(
        ylim=(len(names) - 0.4, -0.6),
        xlim=(0, 1.12 * lengths.max()),
        xlabel="cycles; filled: what the same products would take with all elements at work",
    )
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def area_against_speed(
    table: pd.DataFrame,
    layer: int,
    chip: int,
    *,
    title: str = "The whole network needs less than the one layer of the paper",
) -> Figure:
    """Images a second against LUTs, a point for each array; lines for one layer in parallel, and for the whole chip.

    Args:
        table: columns shift_adders, LUT, images_per_s.
        layer: LUTs of the paper's layer, all of its multipliers in parallel.
        chip: LUTs of the chip.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    x = table.LUT / 1000
    axis.plot(x, table.images_per_s / 1000, color=_ARRAY, marker="o")
    for elements, place, height in zip(table.shift_adders, x, table.images_per_s / 1000, strict=True):
        axis.annotate(f"{elements:,}", (place, height), (6, -12), textcoords="offset points", color=text_color(_ARRAY))
    for luts, text, colour in (
        (layer, "the paper's layer,\n1,312 in parallel", _PAPER),
        (chip, "the whole\nZCU102", _INK),
    ):
        axis.axvline(luts / 1000, color=colour, linestyle=(0, (4, 3)), linewidth=1.2)
        axis.annotate(text, (luts / 1000, 0), (-4, 6), textcoords="offset points", ha="right", color=text_color(colour))
    axis.annotate(
        "shift-adders\nof the array",
        (x.iloc[len(x) // 2], table.images_per_s.iloc[len(x) // 2] / 1000),
        (-8, 4),
        textcoords="offset points",
        ha="right",
        color=text_color(_ARRAY),
    )
    top = 1.15 * table.images_per_s.max() / 1000
    axis.set(xlabel="LUTs, in thousands", ylabel="images a second, in thousands")
    axis.set(xlim=(0, 1.04 * chip / 1000), ylim=(0, top))
    figure.suptitle(title, x=0.01, ha="left")
    return figure
