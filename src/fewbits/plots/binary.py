"""Figures of binary networks: latent weights, what the scales do, accuracy by memory (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.forest import Row, forest
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import (
    COLORS,
    GRID,
    MARKERS,
    NAMES,
    NEUTRAL_MARKERS,
    NEUTRALS,
    PALE,
    SIGN_MAP,
    WIDTH,
    text_color,
)

# What a reader sees in place of the method names of the table `binary_runs`.
LADDER = {
    "float": "float",
    "binarynet, bare": "BinaryNet without output normalization",
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
CHANGES = {
    "float, output BN": "float",
    "binaryconnect": "BinaryConnect",
    "binaryconnect, scale": "with a scale for each filter",
    "binaryconnect, no clip": "without the clip",
    "binaryconnect, small start": "with the usual start",
    "binaryconnect, hinge": "with squared hinge loss",
    "binaryconnect, no output BN": "without output normalization",
    "binaryconnect, one rate": "with one learning rate",
}
SHIFTED_SCALES = {
    "xnor-net": "XNOR-Net",
    "xnor-net, shift alpha": "α a power of two",
    "xnor-net, shifts": "α and K powers of two",
    "bwn": "binary weights with α",
    "bwn, shift": "α a power of two, weights only",
}
RULES = {
    "bwn": "binary weights with α, paper's rule",
    "bwn, exact gradient": "exact gradient",
    "xnor-net, no K": "XNOR-Net without K, paper's rule",
    "xnor-net, released": "rule of the released code",
}


def _rows(frame: pd.DataFrame, names: Mapping[str, str], method: str) -> list[Row]:
    """A row for each method of ``names`` by its readable name, in the colour of ``method``; "float…" in its own."""
    runs = {key: frame.loc[frame["method"] == key, "accuracy"].tolist() for key in names}
    if missing := [key for key, values in runs.items() if not values]:
        raise ValueError(f"frame has no row of {missing[0]!r}")
    return [Row(name, runs[key], method=_style(key, method)) for key, name in names.items()]


def _style(key: str, method: str) -> str:
    if key.startswith("float"):
        return "float"
    return "xnor-net" if key.startswith(("xnor-net", "bwn")) else method


def accuracy_rows(
    frame: pd.DataFrame, names: Mapping[str, str], *, method: str, title: str, reference: str | None = None
) -> Figure:
    """A row for each method of ``names``, from the top: runs, mean and 95 % interval.

    Args:
        frame: one row a run, columns ``method`` and ``accuracy`` (percent).
        names: method in the frame -> what a reader sees; see `LADDER`, `CHANGES`, `SHIFTED_SCALES` and `RULES`.
        method: name in `COLORS` for what is neither float nor XNOR-Net.
        reference: readable name of the row whose mean becomes a dashed line.
    Raises:
        ValueError: the frame lacks a method.
    """
    rows = _rows(frame, names, method)
    return forest({"": rows}, xlabel="test accuracy (%)", title=title, reference=reference)


def rules_and_draws(frame: pd.DataFrame, *, title: str = "Rules for the gradient, and weights to test with") -> Figure:
    """The rows of `RULES`, then BinaryConnect trained with random draws: its latent weights, and their signs.

    Args:
        frame: one row a run, columns ``method``, ``accuracy`` and ``accuracy_quantized`` (percent).
    Raises:
        ValueError: the frame lacks a method.
    """
    drawn = frame[frame["method"] == "binaryconnect stochastic"]
    rows = _rows(frame, RULES, "xnor-net")
    rows.append(Row("stochastic, latent weights", drawn["accuracy"].tolist(), method="binaryconnect"))
    rows.append(
        Row("stochastic, their signs", drawn["accuracy_quantized"].tolist(), method="binaryconnect", hollow=True)
    )
    return forest({"": rows}, xlabel="test accuracy (%)", title=title)


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


def accuracy_by_memory(frame: pd.DataFrame, *, title: str = "Accuracy for the memory of the weights") -> Figure:
    """Test accuracy of float and BinaryNet perceptrons of 32 to 512 units against the memory of their weights.

    Args:
        frame: one row a run, columns ``method`` and ``accuracy`` (percent); 128 units have no number in their name.
    Raises:
        ValueError: the frame lacks a width.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    ends = []
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
        place = (-6, 6) if method == "binarynet" else (6, -12)  # to the outside of the two curves
        for x, y, units in zip(size, mean, widths, strict=True):
            side = "right" if place[0] < 0 else "left"
            axes.annotate(f"{units:.0f}", (x, y), place, textcoords="offset points", color=style["color"], ha=side)
        ends.append(End(size[-1], mean[-1], NAMES[method], style))
    axes.set_xscale("log")
    ticks = (3, 10, 30, 100, 300, 1000, 3000)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", color=GRID)
    axes.set(xlabel="memory of all weights (kB); numbers: units in a hidden layer", ylabel="test accuracy (%)")
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def shifts_by_rate(frame: pd.DataFrame, *, title: str = "Normalization and optimizer by shifts") -> Figure:
    """A panel for each learning rate: BinaryNet with batch normalization and AdaMax, ordinary or by shifts.

    Rows with shift-based normalization have a second, hollow symbol: tested with the statistics of the batch.

    Args:
        frame: one row a run, columns ``method`` ("shift BN, AdaMax, 2^-8"), ``accuracy`` and ``accuracy_batch``
            (percent).
    Raises:
        ValueError: the frame has none of these methods.
    """
    parts = frame["method"].str.extract(r"^((?:shift )?BN, (?:shift )?AdaMax), 2\^-(\d)$")
    shifts = frame.assign(name=parts[0], rate=parts[1]).dropna(subset="rate")
    if shifts.empty:
        raise ValueError("frame has no row such as 'shift BN, AdaMax, 2^-8'")
    panels: dict[str, list[Row]] = {}
    for rate, runs in shifts.groupby("rate"):
        rows = panels.setdefault(f"learning rate $2^{{-{rate}}}$", [])
        for name in ("BN, AdaMax", "BN, shift AdaMax", "shift BN, AdaMax", "shift BN, shift AdaMax"):
            these = runs[runs["name"] == name]
            rows.append(Row(name, these["accuracy"].tolist(), method="binarynet"))
            if name.startswith("shift BN"):
                rows.append(
                    Row(
                        name,
                        these["accuracy_batch"].tolist(),
                        color=NEUTRALS[0],
                        marker=NEUTRAL_MARKERS[0],
                        hollow=True,
                    )
                )
    figure = forest(panels, xlabel="test accuracy (%)", title=title)
    reach = np.array([axes.get_xlim() for axes in figure.axes])
    for axes in figure.axes:
        axes.set_xlim(reach[:, 0].min(), reach[:, 1].max())
    return figure
