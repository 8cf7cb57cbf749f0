"""Figures of the network on photographs: pictures and answers, methods, layers (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.forest import Row, forest
from fewbits.plots.theme import COLORS, NEUTRALS, SMALL, WIDTH

_LONGEST = 19  # letters of a name beside a bar
# What the name of a method has in it, and how its row looks; the first that fits counts.
_LOOKS: dict[str, dict[str, Any]] = {
    "GPTQ": {"color": NEUTRALS[0], "marker": "^"},
    "corrected": {"color": NEUTRALS[1], "marker": "s"},
    "equalized": {"color": NEUTRALS[2], "marker": "D"},
    "too": {"color": NEUTRALS[3], "marker": "o"},
    "MXFP": {"color": NEUTRALS[3], "marker": "s"},
    "NVFP4": {"color": NEUTRALS[3], "marker": "s"},
    "k-means": {"method": "k-means"},
    "powers of 2": {"method": "log2"},
    "powers of √2": {"method": "log-sqrt2"},
    "distribution": {"method": "sasaki"},
    "per tensor": {"method": "ptq per tensor"},
    "per channel": {"method": "uniform"},
    "ReLU": {"method": "float"},
}
_KINDS = {"dense": NEUTRALS[0], "depthwise": NEUTRALS[1], "linear": COLORS["float"]}


def five_most_likely(
    images: Mapping[str, Tensor],
    answers: Mapping[str, Tensor],
    names: Sequence[str],
    *,
    title: str = "Does it still see what it saw? The five most likely classes",
) -> Figure:
    """Each photograph, and beside it for each network its five most likely classes, underlined by their probability.

    The most likely class of the first network is bold wherever it stands.

    Args:
        images: (3, H, W) uint8 by name.
        answers: by network, (N, classes) probabilities, in the order of ``images``.
        names: of the classes.
    """
    figure, axes = plt.subplots(
        len(images),
        1 + len(answers),
        figsize=(WIDTH, 1.05 * len(images) + 0.5),
        width_ratios=[0.62] + [1] * len(answers),
    )
    axes = np.array(axes).reshape(len(images), -1)
    first = next(iter(answers.values())).argmax(1).tolist()
    for row, image in enumerate(images.values()):
        axes[row, 0].imshow(image.permute(1, 2, 0).numpy())
        axes[row, 0].axis("off")
        for column, (network, probabilities) in enumerate(answers.items(), start=1):
            axis, found = axes[row, column], probabilities[row].topk(5)
            axis.barh(np.arange(5) + 0.31, found.values.double().numpy(), color=NEUTRALS[0], height=0.2)
            for place, index in enumerate(found.indices.tolist()):
                name = names[index] if len(names[index]) <= _LONGEST else names[index][: _LONGEST - 1] + "…"
                weight = "bold" if index == first[row] else "normal"
                axis.text(0.02, place - 0.12, name, va="center", fontsize=SMALL, fontweight=weight)
            axis.set(xlim=(0, 1), ylim=(4.6, -0.6), xticks=[], yticks=[])
            if row == 0:
                axis.set_title(network)
    for axis in axes[-1, 1:]:
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axis.set_xlabel("probability")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def look_of(method: str) -> dict[str, Any]:
    """How the row of a method of the chapter's table looks: arguments of `fewbits.plots.Row`.

    Raises:
        ValueError: no look fits the name.
    """
    for word, look in _LOOKS.items():
        if word in method:
            return look
    raise ValueError(f"no look for {method!r}")


def changes_of_methods(table: pd.DataFrame, *, title: str = "Change of accuracy against float") -> Figure:
    """A row for each method: the change of its accuracy in points with its interval, and the bytes of its file.

    Args:
        table: columns ``method``, ``change``, ``low``, ``high`` (points) and ``bytes``; drawn from the top.
    Raises:
        ValueError: no look fits the name of a method.
    """
    rows = [
        Row(
            str(row.method),
            ends=(row.low, row.change, row.high),
            note=f"{row.bytes / 1e6:.1f} MB",
            **look_of(str(row.method)),
        )
        for row in table.itertuples()
    ]
    return forest({"": rows}, xlabel="change of top-1 accuracy (points)", title=title, reference=0.0, note="file")


def loss_of_layers(
    table: pd.DataFrame, *, title: str = "One layer alone at 4 bits", ylabel: str = "growth of the loss (nats)"
) -> Figure:
    """What the loss grows by if one layer alone is rounded, a bar for each layer in its order, coloured by its kind.

    Args:
        table: columns ``kind`` ("dense", "depthwise", "linear"), ``loss`` and ``float_loss``.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    growth = table.loss - table.float_loss
    for kind, colour in _KINDS.items():
        chosen = (table.kind == kind).to_numpy()
        axes.bar(np.flatnonzero(chosen) + 1, growth[chosen], color=colour, label=kind)
    axes.axhline(0, color=COLORS["float"], linewidth=0.8)
    axes.set(xlabel="layer, from the image to the classes", ylabel=ylabel)
    axes.legend()
    figure.suptitle(title, x=0.01, ha="left")
    return figure
