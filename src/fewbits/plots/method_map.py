"""The map of methods: what a product costs, and bits, look-up tables and lost points (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewbits.evidence import interval
from fewbits.plots.forest import Row, draw_reference, draw_rows, forest_height
from fewbits.plots.theme import COLORS, MARKERS, NEUTRALS, OUTLINE, PALE, WIDTH, text_color

# Where the label of a method is, if not to the right of its marker: to the left, or below the band of noise, on which
# line and to which side of its leader.
_LEFT = ("BinaryNet", "DoReFa-Net, 1 and 2 bits")
_BELOW = {
    "BinaryConnect": (1, "right"),
    "BWN": (2, "right"),
    "TWN": (3, "right"),
    "exact ternary": (3, "left"),
    "log2, 4 bits": (1, "right"),
    "learned bits": (2, "right"),
    "INQ, 5 bits": (4, "left"),
    "LSQ, 2 bits": (4, "center"),
    "uniform, 4 bits": (2, "left"),
    "bits after training": (1, "left"),
    "uniform, 8 bits, after training": (3, "left"),
    "shared, 16 values": (2, "left"),
}
_TABLES = (3, 10, 30, 100, 300, 1000)  # ticks


def sum_of_products(stages: Sequence[tuple[int, int]], *, title: str = "A circuit that adds up its products") -> Figure:
    """The tree from the products down to one sum, and the look-up tables of each stage below it.

    Args:
        stages: how many circuits a stage has, and the tables of one of them. Each stage after the first has half as
            many circuits as the one before it.
    """
    figure, (tree, bill) = plt.subplots(2, 1, figsize=(WIDTH, 3.4), sharex=True, height_ratios=[1.5, 1])
    places = [(np.arange(count) + 0.5) / count for count, _ in stages]
    for stage, heights in enumerate(places):
        if stage:
            for index, before in enumerate(places[stage - 1]):
                tree.plot([stage - 1, stage], [before, heights[index // 2]], color=PALE, linewidth=0.8, zorder=1)
        tree.plot(np.full(len(heights), stage), heights, "s", color=NEUTRALS[0], markersize=4 if stage else 2.5)
    tree.axis("off")
    totals = [count * tables for count, tables in stages]
    bill.bar(range(len(stages)), totals, width=0.5, color=[NEUTRALS[0]] + [PALE] * (len(stages) - 1))
    for stage, ((count, tables), total) in enumerate(zip(stages, totals, strict=True)):
        bill.annotate(f"{count} · {tables} = {total}", (stage, total), (0, 3), textcoords="offset points", ha="center")
    names = ["products", *("adder" if count == 1 else "adders" for count, _ in stages[1:])]
    bill.set_xticks(range(len(stages)), [f"{count} {name}" for (count, _), name in zip(stages, names, strict=True)])
    bill.set(xlabel="stage", ylabel="look-up tables", ylim=(0, 1.2 * max(totals)))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def product_costs(
    costs: pd.DataFrame, marked: Sequence[str] = (), *, title: str = "What one product costs, with its share of the sum"
) -> Figure:
    """Look-up tables of one product, a row for each kind, cheapest on top.

    Args:
        costs: by kind of product, ``LUT`` and ``packed_LUT`` of one product.
        marked: the kinds that are drawn dark.
    """
    costs = costs.sort_values("LUT", kind="stable")
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(costs))))
    rows = []
    for name, (tables, packed) in costs[["LUT", "packed_LUT"]].iterrows():
        style: dict[str, Any] = {"color": NEUTRALS[3] if name in marked else NEUTRALS[0]}
        rows.append(Row(name, ends=(tables,) * 3, note=f"{tables:.{int(tables < 100)}f}", **style))
        axes.plot([packed, tables], [len(rows) - 1] * 2, **style, linewidth=1, zorder=2)
        axes.plot(packed, len(rows) - 1, "o", **style, markerfacecolor="white", zorder=3)
    draw_rows(axes, rows, note="LUTs")
    last = (costs["packed_LUT"].iloc[-1], len(costs) - 1)
    axes.annotate("estimate after packing", last, (-7, 0), textcoords="offset points", ha="right", va="center")
    _log_axis(axes, costs["packed_LUT"].min() / 1.5, 1.3 * costs["LUT"].max())
    axes.set(xlabel="look-up tables (LUTs) of a product", ylabel="weight × activation")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bits_accuracy_tables(
    frame: pd.DataFrame,
    styles: Mapping[str, str],
    inner: Mapping[str, tuple[float, float]],
    *,
    title: str = "Three prices of a method: storage, circuit, accuracy",
) -> Figure:
    """One row a method, cheapest product on top: bits of a weight, look-up tables of a product, points lost.

    Points lost are the test accuracy of "float" with the same seed minus that of the method: every seed as a small
    dot, and the mean with its 95 % interval.

    Args:
        frame: one row a run: ``method``, ``seed``, ``accuracy`` (percent), ``bits_per_weight``, ``luts``.
        styles: by method, its name in `COLORS`.
        inner: of the methods whose first and last layers are in float, the bits of a weight and the look-up tables of
            a product between them: their mean over the network is a hollow marker, joined to this one.
    """
    means, lost = _means(frame, styles), _lost(frame)
    names = [f"{name} (ends in float)" if name in inner else name for name in means.index]
    figure, axes = plt.subplots(
        1, 3, figsize=(WIDTH, forest_height(len(means))), sharey=True, gridspec_kw={"width_ratios": (1.1, 1.1, 1.3)}
    )
    for axis, column, digits in zip(axes, ("bits_per_weight", "luts"), (1, 0), strict=False):
        rows = []
        for place, (method, name, value) in enumerate(zip(means.index, names, means[column], strict=True)):
            rows.append(Row(name, ends=(value,) * 3, method=styles[method], hollow=method in inner))
            if method in inner:
                within, style = inner[method][column == "luts"], Row(name, [0.0], method=styles[method]).style
                axis.plot([within, value], [place] * 2, color=style["color"], linestyle=(0, (2, 2)), linewidth=1)
                axis.plot(within, place, **style)
            axis.annotate(f"{value:.{digits}f}", (value, place), (6, 0), textcoords="offset points", va="center")
        draw_rows(axis, rows, names)
    axes[0].set(xlabel="bits of a weight", xlim=(-1, 42), xticks=(0, 8, 16, 24, 32))
    axes[1].set_xlabel("LUTs of a product")
    lowest = min([*means["luts"], *(tables for _, tables in inner.values())])
    _log_axis(axes[1], 0.6 * lowest, 8 * means["luts"].max(), _TABLES[::2])
    rows = [
        Row(name, lost[method].dropna().tolist(), method=styles[method])
        for method, name in zip(means.index, names, strict=True)
    ]
    draw_reference(axes[2], rows, 0)
    draw_rows(axes[2], rows, names)
    axes[2].set_xlabel("points lost against float32")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def cost_and_loss(
    frame: pd.DataFrame,
    styles: Mapping[str, str],
    inner: Mapping[str, tuple[float, float]],
    band: float,
    *,
    title: str = "Which methods lose more than another seed would?",
) -> Figure:
    """Points lost against look-up tables of a product, with 95 % intervals over seeds, and a band of noise.

    Methods whose products cost the same are moved apart by a few percent.

    Args:
        frame, styles, inner: as in :func:`bits_accuracy_tables`.
        band: half of the height of the band around a loss of 0, in points.
    """
    means, lost = _means(frame, styles), _lost(frame)
    figure, axes = plt.subplots(figsize=(WIDTH, 5.2))
    axes.axhspan(-band, band, color=PALE, alpha=0.55, linewidth=0, zorder=0)
    axes.axhline(0, color=COLORS["paper"], linewidth=0.8, zorder=1)
    # Intervals of other methods pass behind a label, not through it.
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "zorder": 5}
    labels = place | {"path_effects": OUTLINE}
    lowest = min([*means["luts"], *(tables for _, tables in inner.values())])
    for (name, tables), at in zip(means["luts"].items(), _apart(means["luts"]), strict=True):
        colour, marker = COLORS[styles[name]], MARKERS[styles[name]]
        ink = text_color(colour)
        mean, half = interval(lost[name].dropna().tolist())
        axes.errorbar(at, mean, yerr=half, color=colour, capsize=2, elinewidth=0.9, alpha=0.5, zorder=2)
        axes.plot(at, mean, color=colour, marker=marker, markerfacecolor="white" if name in inner else colour)
        if name in inner:
            within = inner[name][1]
            axes.plot([within, tables], [mean, mean], color=colour, linestyle=(0, (2, 2)), linewidth=1, zorder=1)
            axes.plot(within, mean, color=colour, marker=marker)
            axes.annotate(f"{name} between its ends", (within, mean), (-4, 10), color=ink, **labels)
            axes.annotate("ends in float", (at, mean), (9, 0), color=ink, **labels)
        elif name in _BELOW:
            line, side = _BELOW[name]
            foot = -band - 0.3 * line
            axes.plot([at, at], [mean - half, foot], color=colour, linewidth=0.6, alpha=0.7, zorder=2)
            shift = {"left": 3, "right": -3, "center": 0}[side]
            axes.annotate(name, (at, foot), (shift, -6 if side == "center" else 0), color=ink, ha=side, **labels)
        else:
            side = "right" if name in _LEFT else "left"
            words = name.replace(", ", ",\n") if side == "right" else name
            axes.annotate(words, (at, mean), (-9 if side == "right" else 9, 0), color=ink, ha=side, **labels)
    _log_axis(axes, 0.6 * lowest, 4 * means["luts"].max())
    text = "noise: so far apart are means of float\nnetworks that differ in their seeds only"
    axes.annotate(
        text, (1, band), (-4, 17), xycoords=axes.get_yaxis_transform(), color=NEUTRALS[3], ha="right", **place
    )
    top = axes.get_ylim()[1]
    axes.set(ylim=(-band - 1.6, top), yticks=range(int(top) + 1))
    axes.set(xlabel="look-up tables (LUTs) of a product", ylabel="points lost against float32")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def prices_and_points(
    frame: pd.DataFrame,
    styles: Mapping[str, str],
    band: float,
    most: float,
    *,
    title: str = "What the file, the circuit and the rounding cost",
) -> Figure:
    """One row a method, smallest file on top: kilobytes, look-up tables of a product, points lost.

    Tables of a product with a variable weight are filled, those with a constant weight hollow. Points lost are drawn as
    in :func:`bits_accuracy_tables`; a mean beyond ``most`` is an arrow at the edge and a number.

    Args:
        frame: one row a run: ``method``, ``seed``, ``accuracy`` (percent), ``kilobytes``, ``luts`` and
            ``constant_luts``, NaN where there is no such circuit.
        styles: by method, its name in `COLORS`.
        band: half of the height of the band around a loss of 0, in points.
        most: the largest loss that is drawn to scale.
    """
    means = frame.groupby("method")[["kilobytes", "luts", "constant_luts"]].mean().loc[list(styles)]
    means, lost = means.sort_values("kilobytes", kind="stable"), _lost(frame)
    figure, axes = plt.subplots(
        1, 3, figsize=(WIDTH, forest_height(len(means))), sharey=True, gridspec_kw={"width_ratios": (0.8, 1, 1.5)}
    )
    names = list(means.index)
    rows = [Row(name, ends=(value,) * 3, method=styles[name]) for name, value in means["kilobytes"].items()]
    draw_rows(axes[0], rows, names)
    _log_axis(axes[0], 0.7 * means["kilobytes"].min(), 1.4 * means["kilobytes"].max(), (30, 100, 300, 1000, 3000))
    axes[0].set_xlabel("kB of the file")
    for column, hollow in (("constant_luts", True), ("luts", False)):
        found = means[column].dropna()
        rows = [Row(name, ends=(value,) * 3, method=styles[name], hollow=hollow) for name, value in found.items()]
        draw_rows(axes[1], rows, names)
    counts = means[["luts", "constant_luts"]].stack()
    _log_axis(axes[1], 0.6 * counts.min(), 2 * counts.max(), _TABLES[::2])
    axes[1].set_xlabel("LUTs of a product")
    axes[2].axvspan(-band, band, color=PALE, alpha=0.55, linewidth=0, zorder=0)
    for place, name in enumerate(names):
        runs = lost[name].dropna().tolist()
        if np.mean(runs) <= most:
            continue
        colour = COLORS[styles[name]]
        axes[2].plot(most, place, ">", color=colour)
        words, at = f"{np.mean(runs):.0f}", {"textcoords": "offset points", "ha": "right", "va": "center"}
        axes[2].annotate(words, (most, place), (-7, 0), color=text_color(colour), **at)
    rows = [Row(name, lost[name].dropna().tolist(), method=styles[name]) for name in names]
    draw_rows(axes[2], [row for row in rows if np.mean(row.runs) <= most], names)
    draw_reference(axes[2], rows, 0)
    axes[2].set(xlabel="points lost against float32", xlim=(min(-2 * band, -0.5), 1.03 * most))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _apart(values: pd.Series, factor: float = 1.09) -> list[float]:
    """Ascending numbers > 0, moved until each is at least ``factor`` times the one before, around their places."""
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _spread(groups[-1], factor)[0] < factor * _spread(groups[-2], factor)[-1]:
            last = groups.pop()
            groups[-1] += last
    return [place for group in groups for place in _spread(group, factor)]


def _spread(group: list[float], factor: float) -> list[float]:
    """As many numbers as the group has, each ``factor`` times the one before, around the group's geometric mean."""
    middle, half = np.exp(np.log(group).mean()), (len(group) - 1) / 2
    return [float(middle * factor ** (rank - half)) for rank in range(len(group))]


def _means(frame: pd.DataFrame, styles: Mapping[str, str]) -> pd.DataFrame:
    """Bits and tables of each method, cheapest product first."""
    means = frame.groupby("method")[["bits_per_weight", "luts"]].mean().loc[list(styles)]
    return means.sort_values("luts", kind="stable")


def _lost(frame: pd.DataFrame) -> pd.DataFrame:
    """Points that each method loses against "float" with the same seed: a column a method."""
    accuracies = frame.pivot(index="seed", columns="method", values="accuracy")
    return accuracies.rsub(accuracies["float"], axis="index")


def _log_axis(axes: Axes, low: float, high: float, ticks: Sequence[int] = _TABLES) -> None:
    axes.set(xscale="log", xlim=(low, high))
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
