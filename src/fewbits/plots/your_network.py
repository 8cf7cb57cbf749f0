"""Figures of a network of your own: accuracy and bytes, what a file holds, what mistakes cost (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from torch import nn

from fewbits.core.codes import Codes
from fewbits.core.quantizer import stored_state
from fewbits.core.size import size_report
from fewbits.plots.forest import forest_height
from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRALS, PALE, WIDTH, text_color

# What a file holds -> colour.
PARTS = {
    "codes of weights": NEUTRALS[0],
    "scales": NEUTRALS[2],
    "other floats": NEUTRALS[1],
    "names, shapes, checksum": PALE,
}


def accuracy_by_file(
    points: Mapping[str, tuple[float, int]],
    styles: Mapping[str, tuple[str, tuple[float, float]]],
    *,
    title: str = "One network, every method: accuracy and bytes on disk",
) -> Figure:
    """Test accuracy against the size of the file, on a logarithmic axis; each marker has its name beside it.

    Args:
        points: by name, test accuracy in percent and bytes.
        styles: by the same names, a name in `COLORS` for colour and marker, and where the label starts, in points from
            the marker: it goes to the left if the first number is negative.
    Raises:
        ValueError: a name has no style, or a size is not positive.
    """
    if missing := [name for name in points if name not in styles]:
        raise ValueError(f"styles lack {missing}")
    figure, axes = plt.subplots(figsize=(WIDTH, 4.4))
    for name, (accuracy, size) in points.items():
        if size <= 0:
            raise ValueError(f"{name}: bytes must be positive, got {size}")
        style, offset = styles[name]
        axes.plot(size / 1000, accuracy, color=COLORS[style], marker=MARKERS[style], markersize=7, linestyle="none")
        axes.annotate(
            name,
            (size / 1000, accuracy),
            offset,
            textcoords="offset points",
            va="center",
            ha="left" if offset[0] >= 0 else "right",
            color=text_color(COLORS[style]),
        )
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([8, 10, 16, 25, 50, 100])
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 5, 10]))
    axes.set(xlabel="file (kB, logarithmic)", ylabel="test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def file_parts(networks: Mapping[str, nn.Module], *, title: str = "What does the file hold?") -> Figure:
    """The bytes of each file as a bar in four parts: codes of weights, their scales, other floats, and the rest.

    Args:
        networks: by name, what :func:`fewbits.core.size.size_report` takes, with codes of one width a tensor.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.35 + forest_height(len(networks))))
    for place, network in enumerate(networks.values()):
        report = size_report(network)
        stored = stored_state(network)
        sizes = dict.fromkeys(PARTS, 0.0)
        for row in report.rows:
            item = stored[row.name]
            codes = row.count * item.bits if isinstance(item, Codes) else 0
            sizes["codes of weights"] += codes / 8
            sizes["scales" if codes else "other floats"] += (row.bits - codes) / 8
        sizes["names, shapes, checksum"] = report.file_bytes - report.bits / 8
        left = 0.0
        for part, size in sizes.items():
            axes.barh(place, size / 1000, 0.62, left=left / 1000, color=PARTS[part], edgecolor="white", linewidth=0.6)
            left += size
        axes.annotate(f"{left / 1000:.1f} kB", (left / 1000, place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(networks)), list(networks))
    axes.set(xlabel="file (kB)", ylim=(len(networks) - 0.4, -0.6))
    axes.margins(x=0.1)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour, label=part) for part, colour in PARTS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1, columnspacing=1.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def shared_ranges(
    own: Mapping[str, float], shared: Mapping[str, float], *, title: str = "Two calls of one ReLU, one range or two?"
) -> Figure:
    """The largest value of each activation, and the range that it gets where quantizers follow modules.

    Args:
        own: name -> largest value of this activation alone.
        shared: name -> range of the module that computes it; an activation without one stays in floating point.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(own))))
    _rows(axes, list(own))
    for place, (name, value) in enumerate(own.items()):
        if name in shared:
            axes.plot([value, shared[name]], [place, place], color=PALE, linewidth=4, solid_capstyle="butt", zorder=1)
            axes.plot(shared[name], place, "s", color=NEUTRALS[1], markerfacecolor="white", markersize=8, zorder=2)
        axes.plot(value, place, "o", color=NEUTRALS[0], markersize=5, zorder=3)
        if name not in shared:
            axes.annotate("no quantizer", (value, place), (9, 0), textcoords="offset points", va="center")
    first = next(name for name in own if name in shared and shared[name] > own[name])
    for value, text, colour, side in (
        (own[first], "own range", NEUTRALS[0], "right"),
        (shared[first], "shared range", NEUTRALS[1], "left"),
    ):
        axes.annotate(
            text,
            (value, list(own).index(first)),
            (-8 if side == "right" else 9, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            color=text_color(colour),
        )
    axes.set(xlabel="largest value of the activation", xlim=(0, None))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def mistakes(
    accuracies: Mapping[str, tuple[float, float]],
    *,
    title: str = "What a mistake costs, and what the remedy restores",
) -> Figure:
    """A line from the accuracy with a mistake to the accuracy after its remedy, one row each.

    Args:
        accuracies: name -> accuracy with the mistake, and after the remedy, both in percent.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.2 + forest_height(len(accuracies))))
    _rows(axes, list(accuracies))
    for place, (wrong, right) in enumerate(accuracies.values()):
        axes.plot([wrong, right], [place, place], color=PALE, linewidth=4, solid_capstyle="butt", zorder=1)
        ends: Sequence[tuple[float, str, str, int]] = [(wrong, "X", NEUTRALS[1], -9), (right, "o", NEUTRALS[0], 9)]
        for value, marker, colour, offset in ends:
            style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": text_color(colour)}
            axes.plot(value, place, marker, color=colour, markersize=7, zorder=2)
            axes.annotate(f"{value:.1f}", (value, place), (offset, 0), ha="right" if offset < 0 else "left", **style)
    axes.set(xlabel="test accuracy (%)", xlim=(0, 108))
    axes.set_xticks(range(0, 101, 20))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _rows(axes: Axes, names: Sequence[str]) -> None:
    for place in range(len(names)):
        axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
