"""Figures of the network on photographs: pictures and answers, methods, layers (see `fewbits.plots`)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor, nn

from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH, text_color

_LONGEST = 19  # letters of a name beside a bar
# What the name of a method ends or begins with, and its colour; the first that fits counts.
_LOOKS = {
    "GPTQ": "inq",
    "corrected": "qat",
    "equalized": "nakata",
    "too": "soft weight-sharing",
    "MXFP": "lsq",
    "NVFP4": "lsq",
    "k-means": "k-means",
    "powers of 2": "log2",
    "powers of √2": "log-sqrt2",
    "distribution": "sasaki",
    "per tensor": "ptq per tensor",
    "per channel": "uniform",
    "ReLU": "float",
}
_KINDS = {"dense": "uniform", "depthwise": "inq", "linear": "float"}


def five_most_likely(
    images: Mapping[str, Tensor],
    answers: Mapping[str, Tensor],
    names: Sequence[str],
    *,
    title: str = "The five most likely classes",
) -> Figure:
    """Each photograph, and beside it for each network bars for its five most likely classes.

    Args:
        images: (3, H, W) uint8 by name.
        answers: by network, (N, classes) probabilities, in the order of ``images``.
        names: of the classes.
    """
    figure, axes = plt.subplots(
        len(images),
        1 + len(answers),
        figsize=(WIDTH, 0.95 * len(images) + 0.5),
        width_ratios=[0.62] + [1] * len(answers),
    )
    axes = np.array(axes).reshape(len(images), -1)
    for row, image in enumerate(images.values()):
        axes[row, 0].imshow(image.permute(1, 2, 0).numpy())
        axes[row, 0].axis("off")
        for column, (network, probabilities) in enumerate(answers.items(), start=1):
            axis, found = axes[row, column], probabilities[row].topk(5)
            axis.barh(range(5), found.values.double().numpy(), color=COLORS["uniform"], alpha=0.35, height=0.9)
            for place, index in enumerate(found.indices.tolist()):
                name = names[index] if len(names[index]) <= _LONGEST else names[index][: _LONGEST - 1] + "…"
                axis.text(0.02, place, name, va="center", fontsize=SMALL - 1.5)
            axis.set(xlim=(0, 1), ylim=(4.6, -0.6), xticks=[], yticks=[])
            if row == 0:
                axis.set_title(network, fontsize=SMALL)
    for axis in axes[-1, 1:]:
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axis.set_xlabel("probability", fontsize=SMALL)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def styles_of(methods: Iterable[str]) -> dict[str, str]:
    """A name in `COLORS` for each method of the chapter's table.

    Raises:
        ValueError: no style fits a name.
    """
    found = {method: next((style for word, style in _LOOKS.items() if word in method), "") for method in methods}
    if unknown := sorted(method for method, style in found.items() if not style):
        raise ValueError(f"no style for {unknown}")
    return found


def changes_of_methods(
    table: pd.DataFrame, styles: Mapping[str, str], *, title: str = "Change of accuracy against float"
) -> Figure:
    """A row for each method: the change of its accuracy in points with its interval, and the bytes of its file.

    Args:
        table: columns ``method``, ``change``, ``low``, ``high`` (points) and ``bytes``; drawn from the top.
        styles: for each method a name in `COLORS`.
    Raises:
        ValueError: a method has no style.
    """
    if missing := sorted(set(table.method) - set(styles)):
        raise ValueError(f"styles lack {missing}")
    figure, axes = plt.subplots(figsize=(WIDTH, 0.235 * len(table) + 1.1))
    for place, row in enumerate(table.itertuples()):
        style = styles[str(row.method)]
        ends = [[row.change - row.low], [row.high - row.change]]
        look: dict[str, Any] = {"color": COLORS[style], "marker": MARKERS[style], "markersize": 5, "capsize": 2}
        axes.errorbar([row.change], [place], xerr=ends, elinewidth=0.9, **look)
        megabytes = f"{row.bytes / 1e6:.1f} MB"
        axes.text(1.01, place, megabytes, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL - 0.5)
    axes.axvline(0, color=COLORS["float"], linewidth=0.8)
    axes.set_yticks(range(len(table)), table.method, fontsize=SMALL)
    for label, method in zip(axes.get_yticklabels(), table.method, strict=True):
        label.set_color(text_color(COLORS[styles[method]]))
    axes.set(xlabel="change of top-1 accuracy (points)", ylim=(len(table) - 0.4, -0.6))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def kind_of(layer: nn.Module) -> str:
    """Kind of a layer: "linear", "depthwise", or "dense" for other convolutions."""
    if isinstance(layer, nn.Conv2d):
        return "depthwise" if layer.groups > 1 else "dense"
    return "linear"


def loss_of_layers(
    table: pd.DataFrame, *, title: str = "One layer alone at 4 bits", ylabel: str = "growth of the loss (nats)"
) -> Figure:
    """What the loss grows by if one layer alone is rounded, a bar for each layer in its order, coloured by its kind.

    Args:
        table: columns ``kind`` ("dense", "depthwise", "linear"), ``loss`` and ``float_loss``.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    growth = table.loss - table.float_loss
    for kind, style in _KINDS.items():
        chosen = (table.kind == kind).to_numpy()
        axes.bar(np.flatnonzero(chosen) + 1, growth[chosen], color=COLORS[style], label=kind)
    axes.axhline(0, color=COLORS["float"], linewidth=0.8)
    axes.set(xlabel="layer, from the image to the classes", ylabel=ylabel)
    axes.legend()
    figure.suptitle(title, x=0.01, ha="left")
    return figure
