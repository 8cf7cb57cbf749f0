"""Figures of speed: the ladder of levels, few bits, the roofline, the parts of a network (see `fewbits.plots`)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fewbits.plots.theme import COLORS, WIDTH

OURS, OTHERS, BAR = COLORS["xnor-net"], COLORS["paper"], 0.62


def signs_as_bits(a: np.ndarray, w: np.ndarray, *, title: str = "Eight signs, eight bits, one count") -> Figure:
    """Two rows of signs as bits, the products of the signs, and where the bits differ.

    Args:
        a, w: (n,) of -1 and +1.
    """
    rows = {"a": a, "w": w, "a · w": a * w, "bits differ": np.where(a != w, 1, -1)}
    figure, axes = plt.subplots(figsize=(WIDTH, 2.1))
    for y, (name, values) in enumerate(rows.items()):
        for x, value in enumerate(values):
            dark = value > 0
            face = OURS if dark else "white"
            axes.add_patch(plt.Rectangle((x, y), 0.9, 0.8, facecolor=face, edgecolor=OURS, linewidth=0.8))
            bit = name == "bits differ"
            text = str(int(dark)) if bit else f"{value:+.0f}".replace("-", "−")
            axes.text(x + 0.45, y + 0.4, text, ha="center", va="center", color="white" if dark else "black", size=9)
        total = f"count {int((values > 0).sum())}" if name == "bits differ" else f"bits {_bits(values)}"
        total = f"sum {int(values.sum()):+d}".replace("-", "−") if name == "a · w" else total
        axes.text(len(a) + 0.2, y + 0.4, total, va="center", size=9)
        axes.text(-0.3, y + 0.4, name, va="center", ha="right", size=9)
    axes.set(xlim=(-2, len(a) + 2.6), ylim=(len(rows), -0.1), title=title)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def _bits(values: np.ndarray) -> str:
    return "".join("1" if value > 0 else "0" for value in values)


def ladder(speeds: pd.Series, reference: float, roof: float | None = None) -> Figure:
    """Speed of each level as a bar, with its ratio to ``reference``.

    Args:
        speeds: GOP/s by name, the first on top.
        reference: GOP/s of float32, drawn as a dashed line.
        roof: GOP/s that the last level's instructions allow, drawn as a solid line, or None.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.36 * len(speeds) + 1.3))
    places = np.arange(len(speeds))
    axes.barh(places, speeds, BAR, color=OURS)
    for place, value in enumerate(speeds):
        label = axes.text(value, place, f" {value:,.0f}  ({value / reference:.1f}×)", va="center")
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # where it meets the roof
    axes.axvline(reference, color=OTHERS, linestyle="--", linewidth=1)
    axes.text(reference, -0.95, " float32", color=OTHERS)
    most = speeds.max() if roof is None else max(roof, speeds.max())
    if roof is not None:
        axes.axvline(roof, color=COLORS["qat"], linewidth=1)
        axes.text(roof, -0.95, f"roof of {speeds.index[-1]} ", color=COLORS["qat"], ha="right")
    axes.set(xlabel="speed (GOP/s, one multiply-add = 2)", xlim=(0, 1.25 * most), ylim=(len(speeds) - 0.4, -1.2))
    axes.set_yticks(places, speeds.index)
    return figure


def race(table: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Speed relative to float32: one group of bars a task, one bar a contestant.

    Args:
        table: index task, one column a contestant, GOP/s; "torch float32" is the reference. Not every cell is filled.
        names: contestants to draw -> label.
    """
    colours = [OURS, COLORS["inq"], COLORS["uniform"], COLORS["binarynet"], COLORS["uhlich"]]
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    width = 0.8 / len(names)
    for i, (name, label) in enumerate(names.items()):
        ratio = table[name] / table["torch float32"]
        places = np.arange(len(table)) + (i - (len(names) - 1) / 2) * width
        axes.bar(places, ratio, 0.92 * width, color=colours[i], label=label)
        for place, value in zip(places, ratio, strict=True):
            if np.isfinite(value):
                axes.text(place, value + 0.15, f"{value:.1f}", ha="center", size=7.5)
    axes.axhline(1, color=OTHERS, linestyle="--", linewidth=1)
    axes.set(ylabel="times as fast as float32")
    axes.set_xticks(np.arange(len(table)), table.index)
    figure.legend(loc="outside lower center", ncols=len(names))
    return figure


def few_bits(speeds: pd.Series, lines: dict[str, float]) -> Figure:
    """Speed against the width of weights and activations, bit by bit and by tables, with others as lines.

    Args:
        speeds: GOP/s by name, "planes 3×3", "tables 3×3" and so on; others are left out.
        lines: GOP/s of what does not depend on the width, by label.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    for kind, colour, marker in (("planes", OURS, "o"), ("tables", COLORS["inq"], "D")):
        chosen = {name.split()[1]: v for name, v in speeds.items() if name.startswith(kind)}
        square = {int(name[0]): v for name, v in chosen.items() if name[0] == name[-1]}
        axes.plot(list(square), list(square.values()), marker=marker, color=colour)
        last = max(square)
        label = "counting bits" if kind == "planes" else "tables of sums"
        axes.text(last + 0.07, square[last], label, color=colour, va="center")
    for label, value in lines.items():
        axes.axhline(value, color=OTHERS, linestyle="--", linewidth=1)
        axes.text(0.93, value * 1.04, label, color=OTHERS, ha="left", va="bottom")
    axes.set(xlabel="bits of weights, and of activations", ylabel="speed (GOP/s)", yscale="log", xlim=(0.9, 4.75))
    axes.margins(y=0.1)
    axes.set_xticks([1, 2, 3, 4])
    ticks = [50, 100, 200, 500, 1000]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    return figure


def roofline(points: pd.DataFrame, roofs: dict[str, tuple[float, str]], bandwidth: float) -> Figure:
    """Speed against operations for each byte that must be moved at least once, both logarithmic.

    Args:
        points: ``label``, ``intensity`` (operations a byte), ``gops`` and ``style`` (a name of the theme).
        roofs: GOP/s and style of each horizontal roof, by label.
        bandwidth: GB/s, the slanted roof.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    x = np.geomspace(0.3, 10_000, 200)
    for label, (height, style) in roofs.items():
        axes.plot(x, np.minimum(height, bandwidth * x), color=COLORS[style], linewidth=1)
        axes.text(9500, height * 1.05, label, color=COLORS[style], ha="right", va="bottom")
    axes.text(0.45, bandwidth * 0.45 * 1.35, f"memory, {bandwidth:.0f} GB/s", color=OTHERS, rotation=37)
    for row in points.itertuples():
        axes.plot(row.intensity, row.gops, "o", color=COLORS[row.style])
        axes.annotate(
            row.label,
            (row.intensity, row.gops),
            (6, -3),
            textcoords="offset points",
            color=COLORS[row.style],
            va="top",
            size=7.5,
        )
    axes.set(xscale="log", yscale="log", xlim=(0.3, 10_000), ylim=(3, 3000))
    axes.set(xlabel="operations for each byte of weights, inputs and outputs", ylabel="speed (GOP/s)")
    return figure


def parts(bars: dict[str, dict[str, float]], *, title: str = "Where does the time go?") -> Figure:
    """Milliseconds as stacked horizontal bars, each part labelled.

    Args:
        bars: for each bar, its parts: label -> milliseconds.
    """
    colours = [COLORS["uniform"], OURS, COLORS["inq"], COLORS["binarynet"], OTHERS]
    labels = list(dict.fromkeys(label for its_parts in bars.values() for label in its_parts))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.55 * len(bars) + 1.3))
    for place, its_parts in enumerate(bars.values()):
        left = 0.0
        for label, value in its_parts.items():
            axes.barh(place, value, BAR, left=left, color=colours[labels.index(label)])
            left += value
        axes.text(left, place, f" {left:.1f} ms", va="center")
    for label, colour in zip(labels, colours, strict=False):
        axes.barh(0, 0, color=colour, label=label)
    axes.set(xlabel="time for 1000 images (ms)", title=title, ylim=(len(bars) - 0.5, -0.5))
    axes.set_xlim(0, 1.12 * max(sum(its_parts.values()) for its_parts in bars.values()))
    axes.set_yticks(range(len(bars)), list(bars))
    figure.legend(loc="outside lower center", ncols=len(labels))
    return figure
