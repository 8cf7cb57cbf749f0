"""The map of methods: bits of a weight and cost of a product against accuracy (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH, text_color

# Where a label starts, in points from its marker, if not to the right of it. A thin line leads to those far away.
_LABELS = {
    "uniform, 8 bits, after training": (0, 13),
    "INQ, 5 bits": (9, 5),
    "uniform, 4 bits": (8, -22),
    "learned bits": (-8, -1),
    "bits after training": (8, -1),
    "shared, 16 values": (8, -3),
    "float": (12, 0),
    "XNOR-Net": (12, 0),
    "log2, 4 bits": (0, 12),
    "exact ternary": (-8, 5),
    "TWN": (-8, -2),
    "TTQ": (7, -2),
    "BinaryConnect": (6, 4),
    "LSQ, 2 bits": (6, 2.5),
    "DoReFa-Net, 1 and 2 bits": (7, -5),
}


def bits_accuracy_tables(
    frame: pd.DataFrame,
    styles: Mapping[str, str],
    *,
    title: str = "Three prices of a method: storage, circuit, accuracy",
) -> Figure:
    """One row a method, cheapest product on top: bits of a weight, look-up tables of a product, points lost.

    Points are the test accuracy of the method minus that of "float" with the same seed: every seed as a faint dot, and
    the mean with its 95 % interval.

    Args:
        frame: one row a run: ``method``, ``seed``, ``accuracy`` (percent), ``bits_per_weight``, ``luts``.
        styles: by method, its name in `COLORS`.
    """
    means = frame.groupby("method")[["bits_per_weight", "luts"]].mean().loc[list(styles)]
    means = means.sort_values("luts", kind="stable")
    accuracies = frame.pivot(index="seed", columns="method", values="accuracy")
    figure, axes = plt.subplots(
        1, 3, figsize=(WIDTH, 0.9 + 0.25 * len(means)), sharey=True, gridspec_kw={"width_ratios": (1, 1, 1.3)}
    )
    rows = np.arange(len(means))
    ticks = {"bits_per_weight": (1, 2, 4, 8, 16, 32), "luts": (10, 30, 100, 300, 1000)}
    for axis, (column, marks), digits in zip(axes[:2], ticks.items(), (1, 0), strict=True):
        values = means[column]
        axis.set(xscale="log", xlim=(0.7 * values.min(), 3.2 * values.max()))
        axis.set_xticks(marks, [str(mark) for mark in marks])
        for row, (name, value) in enumerate(values.items()):
            axis.plot(value, row, color=COLORS[styles[name]], marker=MARKERS[styles[name]])
            axis.annotate(f"{value:.{digits}f}", (value, row), (6, 0), textcoords="offset points", va="center")
    axes[0].set(xlabel="bits of a weight", yticks=rows, yticklabels=means.index, ylim=(len(means) - 0.4, -0.6))
    axes[0].set_ylabel("method")
    axes[1].set_xlabel("LUTs of a product")
    axes[2].axvline(0, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    for row, name in enumerate(means.index):
        values = (accuracies[name] - accuracies["float"]).dropna().tolist()
        mean, half = interval(values)
        style = styles[name]
        axes[2].plot(values, [row] * len(values), ".", color=COLORS[style], alpha=0.35, markersize=4)
        axes[2].errorbar(mean, row, xerr=half, color=COLORS[style], marker=MARKERS[style], capsize=2.5)
    axes[2].set_xlabel("accuracy − float32 (points)")
    for axis in axes:
        axis.minorticks_off()
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", color="#e4e7ea", linewidth=0.6)
        axis.set_axisbelow(True)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def cost_and_accuracy(
    frame: pd.DataFrame,
    styles: Mapping[str, str],
    offsets: Mapping[str, tuple] = _LABELS,
    *,
    title: str = "Beyond ternary weights a dearer product buys next to nothing",
) -> Figure:
    """Test accuracy against look-up tables of a product; the area of a marker grows with the bits of a weight.

    A line joins the methods that no other beats in both.

    Args:
        frame, styles: as in :func:`bits_accuracy_tables`.
        offsets: by method, where its label starts, in points from the marker, if not to the right of it.
    """
    means = frame.groupby("method")[["bits_per_weight", "luts", "accuracy"]].mean().loc[list(styles)]
    figure, axes = plt.subplots(figsize=(WIDTH, 4.6))
    front = best_of(means)
    axes.plot(means.loc[front, "luts"], means.loc[front, "accuracy"], color="#c5cbd1", linewidth=4, zorder=1)
    for name, row in means.iterrows():
        colour = COLORS[styles[name]]
        size = 22 * row["bits_per_weight"] ** 0.65
        axes.scatter(
            row["luts"], row["accuracy"], s=size, color=colour, marker=MARKERS[styles[name]], zorder=3,
            edgecolor="white", linewidth=0.5,
        )  # fmt: skip
        offset = offsets.get(name, (6, 0))
        far = abs(offset[1]) > 20
        axes.annotate(
            name,
            (row["luts"], row["accuracy"]),
            offset,
            textcoords="offset points",
            va="center",
            ha="left" if offset[0] >= 0 else "right",
            color=text_color(colour),
            fontsize=SMALL,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0} if far else None,
        )
    axes.set(xscale="log", xlabel="look-up tables (LUTs) of a product", ylabel="test accuracy (%)")
    axes.set_xlim(0.45 * means["luts"].min(), 2.2 * means["luts"].max())
    ticks = [10, 30, 100, 300, 1000]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_title(title, fontweight="bold")
    return figure


def best_of(means: pd.DataFrame) -> list[str]:
    """The methods that no other beats: none is as cheap and more accurate. Cheapest first."""
    front, best = [], -np.inf
    for name, row in means.sort_values(["luts", "accuracy"], ascending=[True, False]).iterrows():
        if row["accuracy"] > best:
            front.append(name)
            best = row["accuracy"]
    return front
