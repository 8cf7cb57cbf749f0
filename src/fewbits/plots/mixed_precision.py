"""Figures of mixed precision: learned grids, sensitive layers, where bits go, what they cost (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from fewbits.core.macs import LayerWork
from fewbits.evidence import interval
from fewbits.mixed_precision import LearnedBits
from fewbits.plots.forest import Row, draw_reference, draw_rows, forest_height
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRAL_MARKERS, NEUTRALS, PALE, WIDTH, shades, text_color

# Method in the tables -> name in COLORS, how it is called in a figure.
NAMES = {
    "fixed": ("uniform", "fixed bits"),
    "uhlich": ("uhlich", "size penalty, per layer"),
    "uhlich filter-wise": ("uhlich", "size penalty, per filter"),
    "nakata": ("nakata", "MAC × bit penalty"),
    "post-training": ("ptq per tensor", "fixed bits, not trained"),
    "sasaki": ("sasaki", "σ steps, not trained"),
}
COSTS = {"bits_per_weight": "bits per weight", "bits_per_mac": "bits per MAC", "cycles": "cycles (thousands)"}


def layer_names(works: Sequence[LayerWork]) -> dict[str, str]:
    """What a reader calls the layers: "conv 1", "conv 2", … and "linear", by their names in the model.

    Raises:
        ValueError: there are several linear layers.
    """
    convolutions = [work.name for work in works if work.kind == "conv"]
    linear = [work.name for work in works if work.kind == "linear"]
    if len(linear) > 1:
        raise ValueError(f"works must have at most one linear layer, got {linear}")
    return {name: f"conv {place}" for place, name in enumerate(convolutions, 1)} | dict.fromkeys(linear, "linear")


def step_gradients(
    quantizers: Mapping[str, LearnedBits], *, title: str = "How does a weight pull on the step?"
) -> Figure:
    """Left the staircase of the first quantizer, right the derivative of each for its step, against the input.

    Args:
        quantizers: "paper" and "released" -> a :class:`fewbits.mixed_precision.LearnedBits` of one step and range.
    """
    figure, (stairs, slopes) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    looks = {"paper": (COLORS["uhlich"], "-", "paper"), "released": (NEUTRALS[1], (0, (3, 2)), "released\ncode")}
    for rule, quantizer in quantizers.items():
        limit = 1.6 * quantizer.q_max.item()
        x = torch.linspace(-limit, limit, 529, dtype=quantizer.step_size.dtype)
        slope = torch.stack([torch.autograd.grad(quantizer(v), quantizer.step_size)[0] for v in x])
        colour, style, name = looks[rule]
        slopes.plot(x, slope, color=colour, linestyle=style)
        # Named where the two differ: outside the range.
        slopes.annotate(name, (-limit, float(slope[0])), (0, 4), textcoords="offset points", color=text_color(colour))
        if rule == next(iter(quantizers)):
            stairs.plot(x, x, color=COLORS["paper"], linewidth=0.8, linestyle=":")
            stairs.plot(x, quantizer(x).detach(), color=COLORS["uhlich"])
    for axes in (stairs, slopes):
        for side in (-1, 1):
            axes.axvline(side * quantizer.q_max.item(), color=COLORS["paper"], linestyle=(0, (3, 2)), linewidth=0.8)
    stairs.set(xlabel="weight x", ylabel="Q(x)")
    slopes.set(xlabel="weight x", ylabel="rule for ∂Q/∂d")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def sensitivity(
    layers: Mapping[int, Mapping[str, float]],
    float_loss: float,
    names: Mapping[str, str],
    *,
    title: str = "Which layer suffers when it alone is quantized?",
) -> Figure:
    """Loss of the network with one layer at few bits, one row a layer, one marker for each number of bits.

    Args:
        layers: bits -> layer name -> loss.
        float_loss: the same loss of the float network, drawn as a line.
        names: of the layers, as a reader knows them.
    """
    rows = list(next(iter(layers.values())))
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(rows))))
    # From just above the first row, where the labels stand, down to the axis.
    axes.vlines(float_loss, -0.3, len(rows) - 0.5, color=COLORS["float"], linewidth=0.9, linestyle=(0, (4, 3)))
    for place in range(len(rows)):
        axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
    # Fewer bits are darker: they do more.
    looks = zip(sorted(layers, reverse=True), shades(len(layers)), NEUTRAL_MARKERS, strict=False)
    for bits, colour, marker in looks:
        losses = [layers[bits][name] for name in rows]
        axes.plot(losses, range(len(rows)), marker, color=colour)
        axes.annotate(
            f"{bits} bits", (losses[0], 0), (0, 10), textcoords="offset points", ha="center", color=text_color(colour)
        )
    axes.set(xscale="log", xlabel="cross-entropy on the test images (dashed: float)")
    low, high = axes.get_xlim()
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(rows)), [names[name] for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.9)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def weights_and_macs(
    works: Sequence[LayerWork], *, title: str = "Where are the weights, and where is the work?"
) -> Figure:
    """Share of each layer in the weights and in the MACs, in percent, one pair of bars a layer."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.4 * len(works)))
    place = np.arange(len(works))
    for offset, attribute, colour, unit in (
        (-0.19, "weights", NEUTRALS[2], "weights"),
        (0.19, "macs", NEUTRALS[3], "MACs"),
    ):
        counts = np.array([getattr(work, attribute) for work in works])
        bars = axes.barh(place + offset, 100 * counts / counts.sum(), 0.36, color=colour)
        axes.bar_label(bars, [f"{count:,} {unit}" for count in counts], padding=3, color=text_color(colour))
    names = layer_names(works)
    axes.set_yticks(place, [f"{names[work.name]}, {work.output_positions}×" for work in works])
    axes.set(xlabel="share of the network (%)", ylabel="layer, uses of each weight", ylim=(len(works) - 0.5, -0.5))
    axes.margins(x=0.2)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bills(
    works: Sequence[LayerWork],
    bits: Mapping[str, tuple[str, Mapping[str, Sequence[int]]]],
    *,
    title: str = "The area is the bill",
) -> Figure:
    """A block for each layer, as wide as its weights (left) or its MACs (right), as high as the bits of its filters.

    The filters of a layer stand side by side, the most bits first, so the area of a row is the size of all weights on
    the left and the sum of MACs × bits on the right. Both are written above it. Wide blocks of the first row are
    numbered like the convolutions.

    Args:
        works: of the network, from the first layer.
        bits: title of a row -> name in `COLORS`, and the bits of the filters of each layer.
    """
    names = {name: label.removeprefix("conv ") for name, label in layer_names(works).items()}
    top = max(max(row) for _, by_layer in bits.values() for row in by_layer.values())
    above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
    figure, panels = plt.subplots(
        len(bits), 2, figsize=(WIDTH, 0.8 + 1.25 * len(bits)), sharex="col", sharey=True, squeeze=False
    )
    columns = (
        ("weights_per_filter", 1, "weights", "{:,.1f} kbit to store"),
        ("macs_per_filter", 1000, "MACs (thousands)", "{:,.0f} thousand MACs × bits"),
    )
    for row, (name, (style, by_layer)) in enumerate(bits.items()):
        for axes, (attribute, scale, _, bill) in zip(panels[row], columns, strict=True):
            whole = sum(getattr(work, attribute) * work.filters for work in works) / scale
            left, area = 0.0, 0.0
            for place, work in enumerate(works):
                start, width = left, getattr(work, attribute) / scale
                for bit in sorted(by_layer[work.name], reverse=True):
                    alpha = (0.8, 0.55)[place % 2]
                    block = Rectangle((left, 0), width, bit, facecolor=COLORS[style], alpha=alpha, linewidth=0)
                    axes.add_patch(block)
                    left, area = left + width, area + width * bit
                axes.axvline(left, color="white", linewidth=1, zorder=2)
                if row == 0 and left - start > 0.04 * whole:
                    middle = ((start + left) / 2, top)
                    axes.annotate(names[work.name], middle, (0, 2), annotation_clip=False, **above)
            if row == 0:
                axes.annotate("conv", (0, top), (-4, 2), annotation_clip=False, **above | {"ha": "right"})
            axes.set(xlim=(0, left), ylim=(0, top))
            heading = bill.format(area * scale / 1000)
            axes.set_title(f"{name}: {heading}" if axes is panels[row, 0] else heading, pad=20 if row == 0 else 6)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        panels[row, 0].set_ylabel("bits")
    for axes, (_, _, label, _) in zip(panels[-1], columns, strict=True):
        axes.set_xlabel(label)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def front(frame: pd.DataFrame, cost: str, xlabel: str, *, title: str = "What does a point of accuracy cost?") -> Figure:
    """Mean accuracy against mean cost, one panel a method through its settings, with 95 % intervals over seeds.

    Behind each method is the pale line of fixed bits. What lies below the panels is an arrow with its accuracy.

    Args:
        frame: the table ``mixed_precision_runs``; methods in `NAMES`, and "float", which becomes a dashed line.
        cost: column on the horizontal axis.
    """
    means = {}
    for method in NAMES:
        settings = [rows for _, rows in frame[frame.method == method].groupby("setting")]
        settings.sort(key=lambda rows: rows[cost].mean())
        found = [(rows[cost].mean(), *interval(list(rows.accuracy))) for rows in settings]
        means[method] = np.array(found)
    floats = frame[frame.method == "float"].accuracy.mean()
    trained = np.concatenate([means[method][:, 1] for method in ("fixed", "nakata", "uhlich filter-wise")])
    bottom, top = float(np.floor(trained.min() - 1)), floats + 1.2
    figure, panels = plt.subplots(2, 3, figsize=(WIDTH, 4.4), sharex=True, sharey=True)
    fixed = means["fixed"]
    for axes, (method, (style, label)) in zip(panels.flat, NAMES.items(), strict=True):
        axes.axhline(floats, color=COLORS["float"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        if method != "fixed":
            axes.plot(fixed[:, 0] / 1000, fixed[:, 1], color=PALE, linewidth=2.5, zorder=0)
        colour, marker = COLORS[style], MARKERS[style]
        costs, accuracy, half = means[method].T
        shown = accuracy >= bottom
        axes.plot(costs / 1000, accuracy, color=colour, linewidth=1, zorder=2)
        axes.errorbar(
            costs[shown] / 1000,
            accuracy[shown],
            yerr=half[shown],
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=2,
            elinewidth=1,
            zorder=3,
        )
        for x, value in zip(costs[~shown] / 1000, accuracy[~shown], strict=True):
            axes.plot(x, bottom + 0.15, "v", color=colour, zorder=3)
            axes.annotate(
                f"{value:.0f}",
                (x, bottom + 0.15),
                (0, 8),
                textcoords="offset points",
                ha="center",
                color=text_color(colour),
            )
        axes.set(title=label, ylim=(bottom, top))
    panels[0, 0].annotate(
        f"float {floats:.1f}",
        (1.0, floats),
        (0, 4),
        xycoords=panels[0, 0].get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
    )
    for axes in panels[-1]:
        axes.set_xlabel(xlabel)
    for axes in panels[:, 0]:
        axes.set_ylabel("test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def fronts(frame: pd.DataFrame, level: float, *, title: str = "Which price pays for a larger network?") -> Figure:
    """Accuracy against each of `COSTS`, a panel each: a small dot a network, a line through the means of each setting.

    Args:
        frame: as recorded; methods in `NAMES`, and "float", which is a dashed line.
        level: points below float, a dotted line.
    """
    figure, panels = plt.subplots(1, len(COSTS), figsize=(WIDTH, 3.0), sharey=True)
    floats = frame[frame.method == "float"].accuracy.mean()
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        unit = 1000 if cost == "cycles" else 1
        axes.axhline(floats, color=COLORS["float"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        axes.axhline(floats - level, color=COLORS["paper"], linestyle=":", linewidth=1, zorder=1)
        for method in dict.fromkeys(frame.method[frame.method != "float"]):
            style, name = NAMES[method]
            rows, look = frame[frame.method == method], {"color": COLORS[style], "marker": MARKERS[style]}
            means = rows.groupby("setting")[[cost, "accuracy"]].mean().sort_values(cost)
            axes.plot(rows[cost] / unit, rows.accuracy, **look, linestyle="none", markersize=3, alpha=0.5)
            axes.plot(means[cost] / unit, means.accuracy, **look, label=name)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for height, name, side in ((floats, "float", "bottom"), (floats - level, f"−{level:g}", "top")):
        panels[-1].annotate(name, (1.02, height), xycoords=("axes fraction", "data"), va=side)
    panels[0].set_ylabel("test accuracy (%)")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def equal_accuracy(
    costs: pd.DataFrame, *, title: str = "What does it cost to come within one point of float?"
) -> Figure:
    """Costs at equal accuracy, one row a method, a dot for each seed below its mean and 95 % interval.

    Args:
        costs: columns ``method`` (in `NAMES`) and those of `COSTS`, one row for each method and seed.
    """
    figure, panels = plt.subplots(1, len(COSTS), figsize=(WIDTH, forest_height(len(NAMES)) + 0.1), sharey=True)
    for axes, (column, label) in zip(panels, COSTS.items(), strict=True):
        unit = 1000 if column == "cycles" else 1
        rows = [
            Row(name, runs=list(costs[costs.method == method][column] / unit), method=style)
            for method, (style, name) in NAMES.items()
        ]
        draw_rows(axes, rows)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def savings(
    changes: Mapping[str, Sequence[float]],
    notes: Mapping[str, str],
    *,
    title: str = "What the MAC × bit penalty saves against the size penalty",
) -> Figure:
    """Changes in percent, one row each: a dot for each seed below mean and 95 % interval, a note to the right.

    Args:
        changes: name -> one change a seed, in percent.
        notes: name -> what stands beside it; names without one are left out.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(changes))))
    rows = [Row(name, runs=runs, method="nakata", note=notes.get(name, "")) for name, runs in changes.items()]
    draw_rows(axes, rows)
    draw_reference(axes, rows, 0)
    axes.set_xlabel("change (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bits_without_training(
    frame: pd.DataFrame, float_accuracy: float, *, title: str = "Rounding without training: which grid keeps more?"
) -> Figure:
    """Accuracy against bits per weight, one line a method, and the float network as a dashed line.

    Args:
        frame: columns ``method`` (in `NAMES`), ``bits`` and ``accuracy`` (percent).
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    axes.axhline(float_accuracy, color=COLORS["float"], linestyle=(0, (6, 3)), linewidth=1.2)
    axes.annotate(
        f"float {float_accuracy:.1f}",
        (0, float_accuracy),
        (4, 4),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
    )
    ends = []
    for method, rows in frame.groupby("method", sort=False):
        style, label = NAMES[method]
        look: dict[str, Any] = {"color": COLORS[style], "marker": MARKERS[style]}
        ordered = rows.sort_values("bits")
        axes.plot(ordered.bits, ordered.accuracy, **look)
        name = "uniform grid" if method == "post-training" else label.split(",")[0]
        ends.append(End(ordered.bits.iloc[-1], ordered.accuracy.iloc[-1], name, look))
    axes.set(xlabel="bits per weight", ylabel="test accuracy (%)")
    axes.set_ylim(top=float_accuracy + 6)
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def remedies(
    accuracies: Mapping[str, tuple[str, float]], float_accuracy: float, *, title: str = "What wins the loss back?"
) -> Figure:
    """Accuracy of one network after each remedy, a dot a row, and the float network as a dashed line.

    Args:
        accuracies: name -> method (in `NAMES`) and accuracy in percent.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(accuracies))))
    rows = [
        Row(name, ends=(value,) * 3, method=NAMES[method][0], note=f"{value:.1f} %")
        for name, (method, value) in accuracies.items()
    ]
    draw_rows(axes, rows)
    draw_reference(axes, rows, float_accuracy)
    axes.annotate(
        f"float {float_accuracy:.1f} ",
        (float_accuracy, 1),
        xycoords=axes.get_xaxis_transform(),
        ha="right",
        va="bottom",
        color=text_color(COLORS["paper"]),
    )
    axes.set_xlabel("test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def distribution_steps(
    filters: Mapping[str, tuple[Tensor, float, int]], *, title: str = "A step for each filter"
) -> Figure:
    """Histograms of filters, with the grid of each.

    Args:
        filters: name -> (weights, step, bits).
    """
    figure, panels = plt.subplots(1, len(filters), figsize=(WIDTH, 2.6), squeeze=False)
    for axes, (name, (weight, step, bits)) in zip(panels.flat, filters.items(), strict=True):
        values = weight.flatten().double()
        last = int((values.abs().max() / step + 0.5).floor())
        axes.hist(values.numpy(), 30, color=PALE)
        for k in range(-last, last + 1):
            axes.axvline(k * step, color=COLORS["sasaki"], linewidth=0.8)
        axes.set(title=f"{name}:\n{2 * last + 1} levels, {bits} bits", xlabel="weight")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0, 0].set_ylabel("weights")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
