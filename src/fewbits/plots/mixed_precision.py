"""Figures of mixed precision: learned grids, sensitive layers, where bits go, what they cost (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor

from fewbits.core.macs import LayerWork
from fewbits.evidence import interval
from fewbits.mixed_precision import LearnedBits
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH

# Method in the tables -> name in COLORS, how it is called in a figure.
NAMES = {
    "fixed": ("uniform", "fixed bits"),
    "uhlich": ("uhlich", "size penalty, per layer"),
    "uhlich filter-wise": ("qat", "size penalty, per filter"),
    "nakata": ("nakata", "MAC×bit penalty"),
    "post-training": ("ptq per tensor", "fixed, not trained"),
    "sasaki": ("sasaki", "σ steps, not trained"),
}


def step_gradients(quantizers: Mapping[str, LearnedBits], *, title: str = "A grid that learns") -> Figure:
    """Left the staircase of the first quantizer, right the derivative of each for its step, against the input.

    Args:
        quantizers: "paper" and "released" -> a :class:`fewbits.mixed_precision.LearnedBits` of one step and range.
    """
    figure, (stairs, slopes) = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    for (rule, quantizer), style in zip(quantizers.items(), ("-", "--"), strict=False):
        limit = 1.6 * quantizer.q_max.item()
        x = torch.linspace(-limit, limit, 529, dtype=quantizer.step_size.dtype)
        slope = torch.stack([torch.autograd.grad(quantizer(v), quantizer.step_size)[0] for v in x])
        colour = COLORS["uhlich" if rule == "paper" else "qat"]
        slopes.plot(x, slope, color=colour, linestyle=style, label=rule.replace("released", "released code"))
        if rule == next(iter(quantizers)):
            stairs.plot(x, x, color=COLORS["paper"], linewidth=0.8, linestyle=":")
            stairs.plot(x, quantizer(x).detach(), color=COLORS["uhlich"])
    for axes in (stairs, slopes):
        for side in (-1, 1):
            axes.axvline(side * quantizer.q_max.item(), color=COLORS["paper"], linestyle=(0, (3, 2)), linewidth=0.8)
    stairs.set(xlabel="weight x", ylabel="Q(x)")
    slopes.set(xlabel="weight x", ylabel="rule for ∂Q/∂d")
    slopes.set_ylim(-0.8, 1.0)
    slopes.legend(loc="upper center", ncols=2, frameon=True, facecolor="white", edgecolor="none", framealpha=1)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def sensitivity(
    layers: Mapping[int, Mapping[str, float]], float_loss: float, *, title: str = "One layer alone is quantized"
) -> Figure:
    """Loss of the network with one layer at few bits, one row a layer, one marker for each number of bits.

    Args:
        layers: bits -> layer name -> loss.
        float_loss: the same loss of the float network, drawn as a line.
    """
    names = list(next(iter(layers.values())))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.26 * len(names)))
    axes.axvline(float_loss, color=COLORS["float"], linewidth=0.9, linestyle=(0, (4, 3)))
    styles = (("sasaki", ">"), ("nakata", "o"), ("uhlich", "s"), ("twn", "d"))
    for (bits, losses), (colour, marker) in zip(layers.items(), styles, strict=False):
        axes.plot(
            [losses[name] for name in names], range(len(names)), marker, color=COLORS[colour], label=f"{bits} bits"
        )
    axes.set(xscale="log", xlabel="cross-entropy on the test images (dashed: float)", ylabel="layer")
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", color="#e4e7ea", linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def weights_and_macs(
    works: Sequence[LayerWork], *, title: str = "Where the weights are, and where the work is"
) -> Figure:
    """Share of each layer in the weights and in the MACs, in percent, one pair of bars a layer."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.36 * len(works)))
    place = np.arange(len(works))
    for offset, attribute, colour, label in (
        (-0.19, "weights", COLORS["uhlich"], "weights"),
        (0.19, "macs", COLORS["nakata"], "MACs"),
    ):
        counts = np.array([getattr(work, attribute) for work in works])
        bars = axes.barh(place + offset, 100 * counts / counts.sum(), 0.36, color=colour, label=label)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=SMALL)
    axes.set_yticks(place, [f"{work.name} ({work.output_positions}×)" for work in works])
    axes.set(xlabel="share of the network (%)", ylabel="layer (uses of each weight)", ylim=(len(works) - 0.5, -0.5))
    axes.margins(x=0.12)
    axes.legend(loc="lower right")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def size_and_work(layers: pd.DataFrame, time: str = "cycles", *, title: str = "Which number predicts time?") -> Figure:
    """Time of single layers against weight size (left) and MACs × bits (right), with Pearson's r of the points drawn.

    Args:
        layers: columns ``bits`` (of all weights of a layer), ``weight_bits_total``, ``macs_bits`` and ``time``.
        time: name of the column of times, "cycles" or "milliseconds".
    """
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    columns = (("weight_bits_total", 8e6, "weight size (MB)"), ("macs_bits", 1e9, "MACs × bits (10⁹)"))
    styles = {8: (COLORS["uniform"], "o"), 16: (COLORS["inq"], "D")}
    scale, label = {"cycles": (1e6, "time of a layer (10⁶ cycles)"), "milliseconds": (1, "time of a layer (ms)")}[time]
    for axes, (column, unit, name) in zip(panels, columns, strict=True):
        for bits, rows in layers.groupby("bits"):
            colour, marker = styles[bits]
            axes.plot(rows[column] / unit, rows[time] / scale, marker, color=colour, label=f"{bits} bits", alpha=0.8)
        r = np.corrcoef(layers[column], layers[time])[0, 1]
        axes.set(xlabel=name, title=f"r = {r:.2f}", xlim=(0, None), ylim=(0, None))
    panels[0].set_ylabel(label)
    panels[1].legend(loc="lower right")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def front(frame: pd.DataFrame, cost: str, xlabel: str, *, title: str = "Accuracy and cost") -> Figure:
    """Mean accuracy against mean cost, one line a method through its settings, with 95 % intervals over seeds.

    Args:
        frame: the table ``mixed_precision_runs``; methods in `NAMES`, and "float", which becomes a dashed line.
        cost: column on the horizontal axis.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.9))
    floats = frame[frame.method == "float"].accuracy
    axes.axhline(floats.mean(), color=COLORS["float"], linestyle=(0, (4, 3)), linewidth=1)
    for method, (style, label) in NAMES.items():
        settings = [rows for _, rows in frame[frame.method == method].groupby("setting")]
        settings.sort(key=lambda rows: rows[cost].mean())
        means = np.array([interval(list(rows.accuracy)) for rows in settings])
        costs = [rows[cost].mean() for rows in settings]
        look: dict[str, Any] = {"color": COLORS[style], "marker": MARKERS[style], "markersize": 6}
        axes.errorbar(costs, means[:, 0], yerr=means[:, 1], capsize=2, elinewidth=0.8, linewidth=1, label=label, **look)
    bottom = frame[frame.method.isin(["fixed", "nakata", "uhlich filter-wise"])].groupby(["method", "setting"])
    lowest = bottom.accuracy.mean().min()
    axes.set_ylim(lowest - 3, floats.mean() + 1)  # what rounding without training loses beyond is not the question
    axes.annotate(
        "float",
        (1.0, floats.mean()),
        (-2, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
    )
    axes.set(xlabel=xlabel, ylabel="test accuracy (%)")
    axes.legend(loc="lower right")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bits_of_filters(bits: Mapping[str, Mapping[str, Sequence[int]]], *, title: str = "Bits of every filter") -> Figure:
    """One panel a method, one row a layer, one cell a filter (the most bits first), coloured and labelled by its bits.

    Args:
        bits: title of a panel -> layer -> bits of its filters; the same layers in all.
    """
    layers = list(next(iter(bits.values())))
    shown = ListedColormap(["#f3ecd2", "#e8c86a", "#d99a2b", "#b5651d", "#882255", "#4a1668", "#22104a"])
    norm = BoundaryNorm(np.arange(1.5, 9), shown.N)
    widest = max(len(row) for panel in bits.values() for row in panel.values())
    figure, panels = plt.subplots(1, len(bits), figsize=(WIDTH, 0.9 + 0.27 * len(layers)), sharey=True, squeeze=False)
    for axes, (name, by_layer) in zip(panels.flat, bits.items(), strict=True):
        cells = np.full((len(layers), widest), np.nan)
        for row, layer in enumerate(layers):
            filters = sorted(by_layer[layer], reverse=True)
            cells[row, : len(filters)] = filters
            for column, bit in enumerate(filters):
                colour = "white" if bit >= 5 else "#212121"
                axes.text(column, row, bit, ha="center", va="center", color=colour, fontsize=SMALL)
        axes.pcolormesh(
            np.ma.masked_invalid(cells), cmap=shown, norm=norm, edgecolor="white", linewidth=1.2, shading="nearest"
        )
        axes.set(title=name, xlabel="filter, by bits", ylim=(len(layers) - 0.5, -0.5))
        axes.set_xticks([])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    panels[0, 0].set_yticks(range(len(layers)), layers)
    panels[0, 0].set_ylabel("layer")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def distribution_steps(
    filters: Mapping[str, tuple[Tensor, float, int]], *, title: str = "A step for each filter"
) -> Figure:
    """Histograms of filters, with the grid of each.

    Args:
        filters: name -> (weights, step, bits).
    """
    figure, panels = plt.subplots(1, len(filters), figsize=(WIDTH, 2.5), squeeze=False)
    for axes, (name, (weight, step, bits)) in zip(panels.flat, filters.items(), strict=True):
        values = weight.flatten().double()
        last = int((values.abs().max() / step + 0.5).floor())
        axes.hist(values.numpy(), 30, color="#b8c0c8")
        for k in range(-last, last + 1):
            axes.axvline(k * step, color=COLORS["sasaki"], linewidth=0.8)
        axes.set(title=f"{name}: {2 * last + 1} levels, {bits} bits", xlabel="weight")
    panels[0, 0].set_ylabel("weights")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
