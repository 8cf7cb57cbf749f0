"""Figures of batch normalization folding: ranges of channels, and what they cost (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRAL_MARKERS, NEUTRALS, PALE, WIDTH

_FORMS = {"before folding": NEUTRALS[0], "after folding": NEUTRALS[1]}


def channel_ranges_by_layer(
    networks: Mapping[str, tuple[Sequence[Tensor], Sequence[Tensor]]],
    bits: int,
    *,
    title: str = "The range of every channel, on the ruler of its layer",
) -> Figure:
    """One dot a channel: its range in steps of the grid that its layer would have with one scale; a panel per network.

    A layer's ruler has 2^(bits - 1) - 1 steps, from 0 to the widest of its channels. A channel below half a step (the
    shaded band) rounds to nothing but zeros, and is circled.

    Args:
        networks: by name, the (C,) channel ranges of each layer, before and after folding.
        bits: 2 to 16.
    """
    figure, axes = plt.subplots(1, len(networks), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    steps = 2 ** (bits - 1) - 1
    for axis, (name, forms) in zip(axes.flat, networks.items(), strict=True):
        for step in range(steps + 1):
            axis.axhline(step, color=GRID, linewidth=0.8, zorder=0)
        axis.axhspan(0, 0.5, color=PALE, linewidth=0, zorder=0)
        for (form, colour), offset, layers in zip(_FORMS.items(), (-0.19, 0.19), forms, strict=True):
            for index, ranges in enumerate(layers, start=1):
                height = steps * ranges.detach().double().numpy() / ranges.max().item()
                # Spread sideways by rank, so that equal values do not hide each other and no draw is random.
                x = index + offset + np.linspace(-0.12, 0.12, len(height))
                axis.plot(x, height, ".", color=colour, markersize=3.6, label=form if index == 1 else None)
                lost = height < 0.5
                if lost.any():
                    ring = {"color": colour, "markerfacecolor": "none", "linestyle": "none"}
                    axis.plot(x[lost], height[lost], "o", markersize=8, clip_on=False, **ring)
        axis.set(xticks=range(1, len(layers) + 1), xlabel="layer", title=name)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0, 0].set(ylim=(0, steps + 0.2), yticks=range(steps + 1), ylabel=f"range in {bits}-bit steps of the layer")
    within = axes[0, 0].get_yaxis_transform()
    axes[0, 0].annotate("all weights become 0", (0.02, 0.25), xycoords=within, va="center")
    handles = [
        Line2D([], [], marker=".", markersize=8, color=colour, linestyle="none", label=form)
        for form, colour in _FORMS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


SPREADS = {"median": "widest / median channel", "narrowest": "widest / narrowest channel"}


def accuracy_by_spread(
    frame: pd.DataFrame, *, title: str = "One wide channel costs much, one narrow channel little"
) -> Figure:
    """Accuracy with one layer quantized against two measures of the spread of its channels, a panel each.

    Args:
        frame: one row a layer; columns ``network``, the keys of `SPREADS` (ratios), ``accuracy`` (percent), and
            ``label``, which is written beside the dot ("" for none).
    """
    figure, axes = plt.subplots(1, len(SPREADS), figsize=(WIDTH, 2.9), sharey=True, squeeze=False)
    styles = list(zip(frame.network.unique(), NEUTRALS, NEUTRAL_MARKERS, strict=False))
    for axis, (column, name) in zip(axes.flat, SPREADS.items(), strict=True):
        for network, colour, marker in styles:
            rows = frame[frame.network == network]
            axis.plot(rows[column], rows.accuracy, marker, color=colour, linestyle="none")
            for x, y, text in rows.loc[rows.label != "", [column, "accuracy", "label"]].itertuples(index=False):
                below = y > 90  # among the others, where there is room below only
                place = {"ha": "center", "va": "top"} if below else {"ha": "right", "va": "center"}
                offset = (0, -16) if below else (-7, 0)
                line = {"arrowstyle": "-", "color": colour, "shrinkA": 0, "shrinkB": 3} if below else None
                axis.annotate(text, (x, y), offset, textcoords="offset points", arrowprops=line, **place)
        ticks = [2**k for k in range(9) if 2**k <= 1.5 * frame[column].max()]
        axis.set(xscale="log", xlabel=name)
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
    axes[0, 0].set(ylabel="test accuracy (%)", ylim=(None, 100))
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="none", label=network)
        for network, colour, marker in styles
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(styles), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def points_lost_by_folding(
    frame: pd.DataFrame, *, title: str = "Folding costs nothing per channel; per tensor it depends on the seed"
) -> Figure:
    """Accuracy before folding less accuracy after it, against weight bits; a line for each seed, a panel per network.

    Args:
        frame: one row a run, columns ``network``, ``form`` ("unfolded", "folded"), ``scales`` ("per channel", "per
            tensor"; others are left out), ``bits``, ``seed``, ``accuracy`` (in percent).
    """
    styles = {"per tensor": ("ptq per tensor", 0.9, 1), "per channel": ("ptq", 2.5, 3)}
    networks = list(dict.fromkeys(frame.network))
    figure, axes = plt.subplots(1, len(networks), figsize=(WIDTH, 3.3), sharey=True, squeeze=False)
    for axis, network in zip(axes.flat, networks, strict=True):
        for scales, (method, width, order) in styles.items():
            rows = frame[(frame.network == network) & (frame.scales == scales)]
            accuracy = rows.pivot(index=["seed", "bits"], columns="form", values="accuracy")
            lost = (accuracy.unfolded - accuracy.folded).unstack("bits")
            style = {"color": COLORS[method], "marker": MARKERS[method], "markersize": 3, "linewidth": width}
            for _, points in lost.iterrows():
                axis.plot(points.index, points, zorder=order, **style)
        axis.set(xlabel="weight bits", title=network, xticks=sorted(lost.columns))
        axis.axhline(0, color=GRID, linewidth=0.8, zorder=0)
    axes[0, 0].set_ylabel("points lost by folding")
    handles = [
        Line2D([], [], color=COLORS[method], marker=MARKERS[method], markersize=3.5, linewidth=width, label=name)
        for name, (method, width, _) in zip(
            ("one scale per tensor, one line per seed", "one scale per channel, all seeds"),
            styles.values(),
            strict=True,
        )
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
