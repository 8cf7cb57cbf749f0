"""Figures of speed: the ladder of levels, ratios of speeds, few bits and the roofline (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, NEUTRAL_MARKERS, NEUTRALS, SMALL, WIDTH, text_color

# What is drawn is a way to compute, and no method of training: bits have the first neutral everywhere.
OURS, OTHERS, BAR = NEUTRALS[0], COLORS["paper"], 0.62
_INK = COLORS["float"]
_ROOF = NEUTRALS[1]


def signs_as_bits(a: np.ndarray, w: np.ndarray, *, title: str = "Eight signs, eight bits, one count") -> Figure:
    """Two rows of signs as bits, the products of the signs, and where the bits differ.

    Args:
        a, w: (n,) of -1 and +1.
    """
    rows = {"a": a, "w": w, "a · w": a * w, "bits differ": np.where(a != w, 1, -1)}
    figure, axes = plt.subplots(figsize=(WIDTH, 2.3))
    for y, (name, values) in enumerate(rows.items()):
        for x, value in enumerate(values):
            dark = value > 0
            face = _INK if dark else "white"
            axes.add_patch(plt.Rectangle((x, y), 0.9, 0.8, facecolor=face, edgecolor=_INK, linewidth=0.8))
            bit = name == "bits differ"
            text = str(int(dark)) if bit else f"{value:+.0f}".replace("-", "−")
            axes.text(x + 0.45, y + 0.4, text, ha="center", va="center", color="white" if dark else "black")
        total = f"count {int((values > 0).sum())}" if name == "bits differ" else f"bits {_bits(values)}"
        total = f"sum {int(values.sum()):+d}".replace("-", "−") if name == "a · w" else total
        axes.text(len(a) + 0.2, y + 0.4, total, va="center")
        axes.text(-0.3, y + 0.4, name, va="center", ha="right")
    axes.set(xlim=(-2, len(a) + 2.6), ylim=(len(rows), -0.1))
    axes.set_aspect("equal")
    axes.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _bits(values: np.ndarray) -> str:
    return "".join("1" if value > 0 else "0" for value in values)


def ladder(
    speeds: pd.Series, reference: float, roof: float | None = None, *, title: str = "Which step makes it faster?"
) -> Figure:
    """Speed of each level as a bar, with its ratio to ``reference``.

    Args:
        speeds: GOP/s by name, the first on top.
        reference: GOP/s of float32, drawn as a dashed line.
        roof: GOP/s that the last level's instructions allow, drawn as a solid line, or None.

    The number of a long bar is inside of it, so that it does not meet that line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.3 * len(speeds) + 1.3))
    places = np.arange(len(speeds))
    axes.barh(places, speeds, BAR, color=OURS)
    most = speeds.max() if roof is None else max(roof, speeds.max())
    for place, value in enumerate(speeds):
        side = "right" if value > 0.7 * most else "left"
        axes.text(value, place, f" {value:,.0f}  ({value / reference:.1f}×) ", va="center", ha=side)
    axes.axvline(reference, color=_INK, linestyle=(0, (4, 3)), linewidth=1)
    axes.text(reference, -0.95, " float32")
    if roof is not None:
        axes.axvline(roof, color=_ROOF, linewidth=1.4)
        axes.text(roof, -0.95, f"limit of {speeds.index[-1]} ", color=text_color(_ROOF), ha="right")
    axes.set(xlabel="speed (GOP/s, one multiply-add = 2)", xlim=(0, 1.05 * most), ylim=(len(speeds) - 0.4, -1.3))
    axes.set_yticks(places, speeds.index)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def ratios(
    panels: Mapping[str, pd.DataFrame],
    names: Mapping[str, str],
    *,
    title: str,
    xlabel: str,
    ticks: Sequence[float] = (0.1, 1, 10, 100),
) -> Figure:
    """Ratios of speeds as dots on a logarithmic axis, a row for each index of the tables, a line at 1.

    Args:
        panels: by title ("" for none), ratios with one column a contestant and the same index; cells may be empty.
        names: columns to draw -> label; at most four.
        ticks: of the axis.
    """
    index = list(next(iter(panels.values())).index)
    height = 1.25 + len(index) * (0.08 + 0.17 * len(names))  # a line of text for each dot
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False)
    for axis, (heading, table) in zip(axes.flat, panels.items(), strict=True):
        axis.axvline(1, color=_INK, linewidth=1, zorder=1)
        for rank, column in enumerate(names):
            places = np.arange(len(index)) + (rank - (len(names) - 1) / 2) * 0.86 / len(names)
            style: dict[str, Any] = {"color": NEUTRALS[rank], "marker": NEUTRAL_MARKERS[rank], "linestyle": "none"}
            values = table[column].reindex(index).to_numpy(float)
            axis.plot(values, places, **style)
            for value, place in zip(values, places, strict=True):
                if np.isfinite(value):
                    axis.annotate(
                        f"{value:.1f}" if value < 20 else f"{value:.0f}",
                        (value, place),
                        (6, 0),
                        textcoords="offset points",
                        va="center",
                        color=text_color(NEUTRALS[rank]),
                        fontsize=SMALL,
                    )
        axis.set_xscale("log")
        axis.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set(title=heading, ylim=(len(index) - 0.5, -0.5))
        axis.set_yticks(range(len(index)), index)
        axis.tick_params(axis="y", length=0)
        for border in np.arange(0.5, len(index) - 1):
            axis.axhline(border, color=GRID, linewidth=0.8, zorder=0)
    axes.flat[len(panels) // 2].set_xlabel(xlabel)
    lowest, highest = axes.flat[0].get_xlim()
    axes.flat[0].set_xlim(lowest, highest * 2)  # room for the numbers
    handles = [
        Line2D([], [], linestyle="none", color=NEUTRALS[rank], marker=NEUTRAL_MARKERS[rank], label=label)
        for rank, label in enumerate(names.values())
    ]
    if len(names) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(names), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def few_bits(
    speeds: pd.Series, lines: dict[str, float], *, title: str = "Tables of sums are faster than counting bits"
) -> Figure:
    """Speed against the width of weights and activations, bit by bit and by tables, with others as lines.

    Args:
        speeds: GOP/s by name, "planes 3×3", "tables 3×3" and so on; others are left out.
        lines: GOP/s of what does not depend on the width, by label.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    ends = []
    for rank, (kind, label) in enumerate({"planes": "counting bits", "tables": "tables of sums"}.items()):
        chosen = {name.split()[1]: v for name, v in speeds.items() if name.startswith(kind)}
        square = {int(name[0]): v for name, v in chosen.items() if name[0] == name[-1]}
        style: dict[str, Any] = {"color": NEUTRALS[rank], "marker": NEUTRAL_MARKERS[rank]}
        axes.plot(list(square), list(square.values()), **style)
        ends.append(End(max(square), square[max(square)], label, style))
    for label, value in lines.items():
        axes.axhline(value, color=OTHERS, linestyle=(0, (4, 3)), linewidth=1)
        axes.text(0.93, value * 1.04, label, color=text_color(OTHERS), ha="left", va="bottom")
    axes.set(xlabel="bits of weights, and of activations", ylabel="speed (GOP/s)", yscale="log", xlim=(0.9, 4.1))
    axes.margins(y=0.1)
    axes.set_xticks([1, 2, 3, 4])
    ticks = [50, 100, 200, 500, 1000]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axes, ends)
    return figure


def roofline(
    points: pd.DataFrame,
    roofs: dict[str, float],
    bandwidth: float,
    *,
    title: str = "Products with one vector wait for memory, products of matrices do not",
) -> Figure:
    """Speed against operations for each byte that must be moved at least once, both logarithmic.

    Args:
        points: ``label``, ``intensity`` (operations a byte) and ``gops``.
        roofs: GOP/s of each horizontal line, a limit of arithmetic, by label.
        bandwidth: GB/s, the slanted line, the limit of memory.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    x = np.geomspace(0.3, 10_000, 200)
    for label, height in roofs.items():
        axes.plot(x, np.minimum(height, bandwidth * x), color=OTHERS, linewidth=1.2)
        axes.text(9500, height * 1.05, label, color=text_color(OTHERS), ha="right", va="bottom")
    axes.text(
        0.5, bandwidth * 0.5 * 1.5, f"memory, {bandwidth:.0f} GB/s", color=text_color(OTHERS), rotation=37,
        rotation_mode="anchor",
    )  # fmt: skip
    for row in points.itertuples():
        axes.plot(row.intensity, row.gops, "o", color=OURS)
        axes.annotate(
            str(row.label), (float(row.intensity), float(row.gops)), (7, -3), textcoords="offset points", va="top"
        )
    axes.set(xscale="log", yscale="log", xlim=(0.3, 10_000), ylim=(3, 4000))
    axes.set(xlabel="operations for each byte of weights, inputs and outputs", ylabel="speed (GOP/s)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
