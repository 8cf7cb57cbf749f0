"""Figures of binary networks: latent weights, what the scales do, accuracy by memory (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.forest import Row, draw_reference, draw_rows, forest_height
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import (
    COLORS,
    GRID,
    MARKERS,
    NAMES,
    NEGATIVE,
    NEUTRALS,
    PALE,
    POSITIVE,
    SIGN_MAP,
    WIDTH,
    text_color,
)

_ABOVE: dict[str, Any] = {"textcoords": "offset points", "va": "bottom"}
# What a reader sees in place of the method names of the table `binary_runs`.
LADDER = {
    "float": "float",
    "binarynet, bare": "BinaryNet, no output normalization",
    "binarynet, + output BN": "+ output normalization",
    "binarynet, + start": "+ start in [−1, 1]",
    "binarynet": "+ rate for each layer = BinaryNet",
    "+ real first layer": "+ real first layer",
    "+ real last layer": "+ real last layer",
    "+ blocks": "+ XNOR-Net's blocks",
    "+ usual start, one rate": "+ usual start, one rate",
    "xnor-net, no K": "+ scale α",
    "xnor-net": "+ scale K = XNOR-Net",
}
# By network: what a reader sees of each change -> what it is compared with, what is changed, and the column of that.
CHANGES: dict[str, dict[str, tuple[str, str, str]]] = {
    "binaryconnect": {
        "a scale for each filter": ("binaryconnect", "binaryconnect, scale", "accuracy"),
        "no clip": ("binaryconnect", "binaryconnect, no clip", "accuracy"),
        "usual start": ("binaryconnect", "binaryconnect, small start", "accuracy"),
        "squared hinge loss": ("binaryconnect", "binaryconnect, hinge", "accuracy"),
        "no output normalization": ("binaryconnect", "binaryconnect, no output BN", "accuracy"),
        "random draws, tested with latent weights": ("binaryconnect", "binaryconnect stochastic", "accuracy"),
        "one learning rate": ("binaryconnect", "binaryconnect, one rate", "accuracy"),
        "random draws, tested with signs": ("binaryconnect", "binaryconnect stochastic", "accuracy_quantized"),
    },
    "binarynet": {
        "AdaMax by shifts": ("BN, AdaMax, 2^-8", "BN, shift AdaMax, 2^-8", "accuracy"),
        "normalization by shifts": ("BN, AdaMax, 2^-8", "shift BN, AdaMax, 2^-8", "accuracy"),
        "both by shifts": ("BN, AdaMax, 2^-8", "shift BN, shift AdaMax, 2^-8", "accuracy"),
        "both, statistics of the batch": ("BN, AdaMax, 2^-8", "shift BN, shift AdaMax, 2^-8", "accuracy_batch"),
        "both, at the rate $2^{-7}$": ("BN, AdaMax, 2^-7", "shift BN, shift AdaMax, 2^-7", "accuracy"),
    },
    "xnor-net": {
        "α a power of two, weights only": ("bwn", "bwn, shift", "accuracy"),
        "exact gradient of α, weights only": ("bwn", "bwn, exact gradient", "accuracy"),
        "released code's gradient of α": ("xnor-net, no K", "xnor-net, released", "accuracy"),
        "α a power of two": ("xnor-net", "xnor-net, shift alpha", "accuracy"),
        "α and K powers of two": ("xnor-net", "xnor-net, shifts", "accuracy"),
    },
}


def _by_seed(frame: pd.DataFrame, method: str, column: str = "accuracy") -> pd.Series:
    """A column of the runs of one method, indexed by seed."""
    runs = frame[frame["method"] == method].set_index("seed")[column]
    if runs.empty:
        raise ValueError(f"frame has no row of {method!r}")
    if not runs.index.is_unique:  # pandas would compare each run with every other one of its seed
        raise ValueError(f"frame has two rows of {method!r} with the same seed")
    return runs


def ladder(
    frame: pd.DataFrame, names: Mapping[str, str], *, title: str = "From BinaryNet to XNOR-Net, one change at a time"
) -> Figure:
    """A bar for each change, from the mean accuracy before it to the mean after it, with the difference in points.

    Args:
        frame: one row a run, columns ``method``, ``seed`` and ``accuracy`` (percent).
        names: method in the frame -> what a reader sees; see `LADDER`. The first one is a dashed line, the second one
            is where the bars start.
    Raises:
        ValueError: the frame lacks a method.
    """
    means = {key: _by_seed(frame, key).mean() for key in names}
    (reference, goal), (first, start), *_ = means.items()
    figure, axes = plt.subplots(figsize=(WIDTH, forest_height(len(names) - 1)))
    axes.plot(start, 0, color=COLORS["binarynet"], marker=MARKERS["binarynet"], linestyle="none")
    axes.annotate(f"{start:.1f} %", (start, 0), (8, 0), textcoords="offset points", va="center")
    axes.annotate("points", (1.1, 1), (0, 3), **_ABOVE | {"xycoords": "axes fraction", "ha": "right"})
    before, at = first, start
    for place, key in enumerate(list(names)[2:], start=1):
        mean, half = interval((_by_seed(frame, key) - _by_seed(frame, before)).dropna().tolist())
        now = means[key]
        colour = NEGATIVE if now > at else POSITIVE  # blue gains, red loses
        axes.plot([at, at], [place - 1, place], color=COLORS["paper"], linewidth=0.8, zorder=0)
        axes.barh(place, now - at, 0.55, left=at, color=colour)
        # The interval is that of the difference, seed by seed, drawn at the end that the bar moves.
        axes.errorbar(now, place, xerr=half, color="black", capsize=2.5, elinewidth=1)
        written = f"{mean:+.1f}".replace("-", "−") if abs(mean) >= 0.05 else "0.0"
        axes.annotate(written, (1.1, place), xycoords=axes.get_yaxis_transform(), ha="right", va="center")
        before, at = key, now
    axes.axvline(goal, color=COLORS[reference], linestyle=(0, (4, 3)), linewidth=1)
    heading = f"{names[reference]} {goal:.1f} %"
    axes.annotate(heading, (goal, 1), (0, 3), **_ABOVE | {"xycoords": axes.get_xaxis_transform(), "ha": "right"})
    axes.set_yticks(range(len(names) - 1), list(names.values())[1:])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="test accuracy (%)", ylim=(len(names) - 1.5, -0.6))
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def effects(frame: pd.DataFrame, *, title: str = "What single changes do to the accuracy") -> Figure:
    """A panel for each network of `CHANGES`, a row for each change: difference in accuracy, seed by seed.

    Args:
        frame: one row a run, columns ``method``, ``seed``, ``accuracy``, ``accuracy_quantized`` and ``accuracy_batch``
            (percent).
    Raises:
        ValueError: the frame lacks a method.
    """
    counts = [len(changes) for changes in CHANGES.values()]
    figure, panels = plt.subplots(
        len(counts), 1, figsize=(WIDTH, 1.0 + 0.3 * len(counts) + 0.25 * sum(counts)), height_ratios=counts, sharex=True
    )
    for axes, (method, changes) in zip(panels, CHANGES.items(), strict=True):
        rows = []
        for name, (base, changed, column) in changes.items():
            runs = (_by_seed(frame, changed, column) - _by_seed(frame, base)).dropna().tolist()
            rows.append(Row(name, runs, method=method))
        draw_rows(axes, rows)
        draw_reference(axes, rows, 0.0)
        axes.set_title(NAMES[method], color=text_color(COLORS[method]))
    panels[-1].xaxis.set_major_locator(MultipleLocator(2))
    panels[-1].set_xlabel("change of test accuracy (points)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def latent_weights(latents: Sequence[Tensor], *, title: str = "Where latent weights end") -> Figure:
    """Histogram of latent weights in [-1, 1], a panel for each layer; the outermost bins are dark, with their share.

    Args:
        latents: of each layer, any shape.
    """
    figure, panels = plt.subplots(1, len(latents), figsize=(WIDTH, 2.4), sharey=True, squeeze=False)
    edges = np.linspace(-1, 1, 42)
    for number, (axes, latent) in enumerate(zip(panels.flat, latents, strict=True), start=1):
        counts, _ = np.histogram(latent.flatten().numpy().clip(-1, 1), edges)
        shares = 100 * counts / counts.sum()
        outer = np.isin(np.arange(41), (0, 40))
        colours = np.where(outer, COLORS["binaryconnect"], PALE)
        axes.bar((edges[1:] + edges[:-1]) / 2, shares, width=np.diff(edges), color=colours, linewidth=0)
        for place, side in ((0, "left"), (40, "right")):
            axes.annotate(
                f"{shares[place]:.0f} %",
                (edges[place + (side == "right")], shares[place]),
                (0, 2),
                textcoords="offset points",
                ha=side,
                color=COLORS["binaryconnect"],
            )
        axes.set(title=f"layer {number}", xlabel="latent weight", xticks=(-1, 0, 1))
    panels[0, 0].set_ylabel("share of weights (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def filter_outputs(outputs: Mapping[str, Tensor], *, index: int = 0, title: str = "One filter, four ways") -> Figure:
    """What one of several filters makes of an image, computed exactly and approximately, in one colour scale.

    Args:
        outputs: (1, filters, height, width) by name; the first one is exact. The heading of every other one has its
            squared error over all filters, relative to the squares of the exact output.
        index: which filter is shown.
    """
    exact = next(iter(outputs.values()))
    bound = exact[0, index].abs().max().item()
    figure, panels = plt.subplots(1, len(outputs), figsize=(WIDTH, 2.3), squeeze=False)
    for axes, (name, output) in zip(panels.flat, outputs.items(), strict=True):
        image = axes.imshow(output[0, index].numpy(), cmap=SIGN_MAP, vmin=-bound, vmax=bound)
        error = ((output - exact).square().sum() / exact.square().sum()).item()
        axes.set_title(name if output is exact else f"{name}\nerror {error:.2f}")
        axes.set(xticks=[], yticks=[])
    panels[0, 0].set(ylabel="row", xlabel="column")
    figure.colorbar(image, ax=panels, label="output", fraction=0.02, pad=0.02, extend="both")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def input_scales(scales: Mapping[str, Tensor], *, title: str = "The scale K varies from image to image") -> Figure:
    """Outlined histograms of K, one for each layer, with its mean and relative standard deviation.

    Args:
        scales: (images,) K of each image by the name of the layer; at most four layers.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.8))
    edges = np.histogram_bin_edges(np.concatenate([k.numpy() for k in scales.values()]), bins=32).tolist()
    for rank, ((name, k), colour) in enumerate(zip(scales.items(), NEUTRALS, strict=False)):
        axes.hist(k.numpy(), bins=edges, histtype="stepfilled", color=colour, alpha=0.25)
        axes.hist(k.numpy(), bins=edges, histtype="step", color=colour, linewidth=1.6)
        text = f"{name}: mean {k.mean():.2f}, standard deviation {(k.std() / k.mean()).item():.0%} of it"
        axes.text(
            0.99, 0.95 - 0.1 * rank, text, transform=axes.transAxes, ha="right", va="top", color=text_color(colour)
        )
    axes.set(xlabel="K of an image", ylabel="images", ylim=(0, 1.35 * axes.get_ylim()[1]))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def accuracy_by_memory(frame: pd.DataFrame, *, title: str = "One bit a weight, or 32") -> Figure:
    """Test accuracy of float and BinaryNet perceptrons of 32 to 512 units against the memory of their weights.

    Args:
        frame: one row a run, columns ``method`` and ``accuracy`` (percent); 128 units have no number in their name.
    Raises:
        ValueError: the frame lacks a width.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    ends, alike = [], []  # alike: the widest of one and the narrowest of the other take about the same memory
    for method, bits in (("binarynet", 1), ("float", 32)):
        points = []
        for units in (32, 64, 128, 256, 512):
            name = method if units == 128 else f"{method}, {units} units"
            runs = frame.loc[frame["method"] == name, "accuracy"].tolist()
            if not runs:
                raise ValueError(f"frame has no row of {name!r}")
            points.append(((784 * units + 2 * units**2 + 10 * units) * bits / 8000, *interval(runs), units))
        size, mean, half, widths = np.array(points).T
        style: dict[str, Any] = {"color": COLORS[method], "marker": MARKERS[method]}
        axes.errorbar(size, mean, half, capsize=2.5, elinewidth=1, **style)
        beside = (-6, 6) if method == "binarynet" else (6, -12)  # to the outside of the two curves
        for x, y, units in zip(size, mean, widths, strict=True):
            side = "right" if beside[0] < 0 else "left"
            axes.annotate(f"{units:.0f}", (x, y), beside, textcoords="offset points", color=style["color"], ha=side)
        ends.append(End(size[-1], mean[-1], NAMES[method], style))
        alike.append(size[-1] if method == "binarynet" else size[0])
    axes.axvspan(*sorted(alike), color=PALE, linewidth=0, zorder=0)
    place: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
    axes.annotate("about equal memory", (max(alike), 0.06), (4, 0), **place)
    axes.set_xscale("log")
    ticks = (3, 10, 30, 100, 300, 1000, 3000)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", color=GRID)
    axes.set(xlabel="memory of all weights (kB); numbers: units in a hidden layer", ylabel="test accuracy (%)")
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
