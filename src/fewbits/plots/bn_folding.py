"""Figures of batch normalization folding: channel ranges, and accuracy in several panels (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH

_FORMS = {"unfolded": COLORS["float"], "folded": COLORS["inq"]}


def channel_ranges_by_layer(
    networks: Mapping[str, tuple[Sequence[Tensor], Sequence[Tensor]]],
    bits: int,
    *,
    title: str = "Range of every channel, before and after folding",
) -> Figure:
    """One dot a channel: its range over the widest range of its layer, unfolded beside folded; a panel per network.

    Below the dashed line every weight of a channel rounds to 0 when its layer has one symmetric scale of ``bits`` bits.

    Args:
        networks: by name, the (C,) channel ranges of each layer, unfolded and folded.
        bits: 2 to 16.
    """
    figure, axes = plt.subplots(1, len(networks), figsize=(WIDTH, 3.1), sharey=True, squeeze=False)
    threshold = 0.5 / (2 ** (bits - 1) - 1)
    for axis, (name, layers_of_form) in zip(axes.flat, networks.items(), strict=True):
        for (form, colour), offset, layers in zip(_FORMS.items(), (-0.17, 0.17), layers_of_form, strict=True):
            for index, ranges in enumerate(layers, start=1):
                relative = ranges.detach().double().numpy() / ranges.max().item()
                # Spread sideways by rank, so that equal values do not hide each other and no draw is random.
                x = index + offset + np.linspace(-0.1, 0.1, len(relative))
                axis.plot(
                    x, relative, ".", color=colour, markersize=3.2, alpha=0.75, label=form if index == 1 else None
                )
        axis.axhline(threshold, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
        axis.set(xticks=range(1, len(layers) + 1), xlabel="layer", title=name, yscale="log")
    axes[0, 0].annotate(
        f"below: all weights 0 at {bits} bits", (0.6, threshold), (0, -3), textcoords="offset points", va="top"
    )
    axes[0, 0].set_ylabel("range / widest range of the layer")
    axes[0, -1].legend(loc="lower left", handletextpad=0.2, markerscale=2.5)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def folded_accuracy_by_bits(frame: pd.DataFrame, *, title: str = "Accuracy by bits, unfolded and folded") -> Figure:
    """Mean test accuracy against weight bits with its 95 % interval over seeds, a panel per network.

    Colour and marker tell the granularity of the scales; solid and filled is folded, dashed and hollow unfolded.

    Args:
        frame: one row a run, columns ``network``, ``form`` ("unfolded", "folded"), ``scales`` ("per channel", "per
            tensor", "float"), ``bits``, ``seed``, ``accuracy`` (in percent).
    """
    styles = {"per channel": "ptq", "per tensor": "ptq per tensor"}
    looks: dict[str, dict[str, Any]] = {
        "unfolded": {"linestyle": (0, (3, 2)), "markerfacecolor": "white", "zorder": 4},
        "folded": {"zorder": 3},
    }
    networks = list(dict.fromkeys(frame["network"]))
    figure, axes = plt.subplots(1, len(networks), figsize=(WIDTH, 3.3), sharey=True, squeeze=False)
    all_bits = sorted(frame.loc[frame["scales"] != "float", "bits"].unique())
    for axis, network in zip(axes.flat, networks, strict=True):
        rows = frame[frame["network"] == network]
        axis.axhline(rows.loc[rows["scales"] == "float", "accuracy"].mean(), color=COLORS["float"], linewidth=0.8)
        for scales, method in styles.items():
            for form, look in looks.items():
                runs = rows[(rows["scales"] == scales) & (rows["form"] == form)].groupby("bits")["accuracy"]
                mean, half = np.array([interval(list(values)) for _, values in runs]).T
                style = {"color": COLORS[method], "marker": MARKERS[method], "markersize": 4}
                # An interval may not reach below 0 or above 100 %.
                bars = np.minimum(half, mean), np.minimum(half, 100 - mean)
                # A step aside, so that error bars do not hide each other.
                aside = 1.012 if form == "folded" else 1 / 1.012
                axis.errorbar(np.array(all_bits) * aside, mean, yerr=bars, capsize=2, elinewidth=0.8, **style, **look)
        axis.set(xscale="log", xlabel="weight bits", title=network)
        axis.set_xscale("log", base=2)
        axis.set_xticks(all_bits, [f"{bits:g}" for bits in all_bits])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel("test accuracy (%)")
    handles = [
        Line2D([], [], color=COLORS[method], marker=MARKERS[method], markersize=4, label=f"{scales}, {form}", **look)
        for scales, method in styles.items()
        for form, look in looks.items()
    ]
    handles.append(Line2D([], [], color=COLORS["float"], linewidth=0.8, label="float"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=SMALL - 1, columnspacing=1.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
