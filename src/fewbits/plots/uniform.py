"""Figures of uniform grids: what a bit buys, where to clip, what the network loses (see `fewbits.plots`)."""

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
from fewbits.plots.theme import COLORS, GRID, MARKERS, NAMES, NEUTRAL_MARKERS, NEUTRALS, PALE, WIDTH, shades, text_color


def signal_to_noise(
    bits: Sequence[int], ratios: Mapping[str, Sequence[float]], *, title: str = "What one bit buys"
) -> Figure:
    """Signal-to-noise ratio against bits, a line for each kind of data, and a line of 6.02 dB per bit beside them.

    Args:
        bits: increasing.
        ratios: (bits,) in decibel by the name of the data; at most four.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    ends = []
    for (name, values), colour, marker in zip(ratios.items(), NEUTRALS, NEUTRAL_MARKERS, strict=False):
        style: dict[str, Any] = {"color": colour, "marker": marker}
        axes.plot(list(bits), list(values), **style)
        ends.append(End(bits[-1], values[-1], name, style))
    lowest = min(values[-1] for values in ratios.values())
    rule = [lowest - 10 - 6.02 * (bits[-1] - each) for each in bits]
    dashed: dict[str, Any] = {"color": COLORS["paper"], "linestyle": (0, (4, 3)), "linewidth": 1}
    shown = [(each, value) for each, value in zip(bits, rule, strict=True) if value >= 0]
    axes.plot(*zip(*shown, strict=True), **dashed)
    ends.append(End(bits[-1], rule[-1], "6 dB per bit", {"color": COLORS["paper"]}))
    axes.set(xlabel="bits", ylabel="signal-to-noise ratio (dB)", xticks=list(bits), ylim=(-3, None))
    axes.grid(axis="y", color=GRID)
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def error_by_clip(
    values: Tensor,
    clips: Tensor,
    errors: Mapping[int, Tensor],
    rules: Mapping[int, Mapping[str, float]],
    *,
    title: str = "The best clip moves left as the bits fall",
) -> Figure:
    """Histogram of activations, and below it the squared error against the clip, a curve for each number of bits.

    A dot marks the minimum of each curve, symbols what each calibration rule chooses.

    Args:
        values: any shape, >= 0; zeros are not drawn.
        clips: (n,) increasing.
        errors: (n,) mean squared errors by bits, from few bits to many.
        rules: the clip by the name of the rule, by bits; at most four rules.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 5.0), sharex=True, height_ratios=[1, 2.4])
    array = values.detach().flatten().numpy()
    above.hist(array[array > 0], bins=80, log=True, color=PALE, linewidth=0)
    above.set_ylabel("count")
    places = clips.numpy()
    ends = []
    for (bits, error), colour in zip(errors.items(), reversed(shades(len(errors))), strict=True):
        curve = error.numpy()
        below.plot(places, curve, color=colour)
        best = curve.argmin()
        below.plot(places[best], curve[best], "o", color=colour, markersize=9)
        below.annotate(
            f"best clip {places[best]:.1f}",
            (places[best], curve[best]),
            (0, 10),
            textcoords="offset points",
            ha="center",
            color=text_color(colour),
        )
        for (_, clip), marker in zip(rules[bits].items(), ("s", "D", "^", "v"), strict=False):
            height = np.exp(np.interp(clip, places, np.log(curve)))
            below.plot(clip, height, marker, color=colour, markerfacecolor="white", markersize=6, zorder=4)
        ends.append(End(places[-1], curve[-1], f"{bits} bits", {"color": colour}))
    for name, marker in zip(next(iter(rules.values())), ("s", "D", "^", "v"), strict=False):
        open_symbol: dict[str, Any] = {"color": COLORS["float"], "markerfacecolor": "white", "linestyle": "none"}
        below.plot([], [], marker, label=name, **open_symbol)
    below.legend(loc="upper center", ncols=len(rules), handletextpad=0.2)
    lows = [float(error.min()) for error in errors.values()]
    highs = [float(error.max()) for error in errors.values()]
    below.set(xlabel="clip: where the range ends", ylabel="mean squared error", yscale="log")
    below.set_ylim(min(lows) / 4, max(highs) * 3)
    label_ends(below, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def gains_of_clipping(
    frame: pd.DataFrame, *, reference: str = "max", title: str = "What clipping gains in accuracy"
) -> Figure:
    """A panel for each number of bits: how much each calibration rule gains over one of them, network by network.

    Args:
        frame: one row a run, columns ``bits``, ``calibration``, ``seed`` and ``accuracy`` (percent).
        reference: the rule that all others are compared with.
    """
    table = frame.pivot_table(index=["bits", "seed"], columns="calibration", values="accuracy")
    gains = table.drop(columns=reference).sub(table[reference], axis=0)
    few = sorted(gains.index.get_level_values("bits").unique())
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    rules = list(gains.columns)
    axes.axhline(0, color=COLORS["float"], linewidth=0.8)
    for rank, (rule, colour, marker) in enumerate(zip(rules, NEUTRALS, NEUTRAL_MARKERS, strict=False)):
        shift = 0.24 * (rank - (len(rules) - 1) / 2)
        for place, bits in enumerate(few):
            runs = gains.loc[bits, rule]
            axes.plot([place + shift] * len(runs), runs, ".", color=colour, alpha=0.4, markersize=5)
            label = rule if place == 0 else None
            axes.plot(place + shift, runs.median(), marker, color=colour, markersize=7, label=label)
    axes.set_yscale("symlog", linthresh=2, linscale=1.2)
    axes.set_yticks([-1, 0, 1, 2, 5, 10, 20], ["−1", "0", "1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_xticks(range(len(few)), [f"{bits:g}" for bits in few])
    axes.set(xlabel="bits of activations", ylabel=f"points gained over {reference}")
    axes.legend(loc="upper right", title="large: median of the networks")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def points_lost(frame: pd.DataFrame, *, title: str = "Points lost against the float network") -> Figure:
    """Loss of accuracy against bits, from many to few; each quantized network is compared with its own float network.

    The axis is linear up to one point and logarithmic beyond.

    Args:
        frame: one row a run, columns ``method`` (a name in `COLORS`, and ``float``), ``bits``, ``seed`` and
            ``accuracy`` (percent).
    """
    base = frame[frame["method"] == "float"].set_index("seed")["accuracy"]
    others = frame[frame["method"] != "float"]
    lost = others.assign(lost=base.loc[others["seed"]].to_numpy() - others["accuracy"])
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    axes.axhline(0, color=COLORS["float"], linestyle=(0, (6, 3)), linewidth=1.2)
    methods = list(dict.fromkeys(lost["method"]))
    ends = []
    for rank, method in enumerate(methods):
        grouped = lost[lost["method"] == method].groupby("bits")["lost"].apply(lambda runs: interval(list(runs)))
        mean, half = np.array(list(grouped)).T
        places = grouped.index.to_numpy() + 0.08 * (rank - (len(methods) - 1) / 2)
        style: dict[str, Any] = {"color": COLORS[method], "marker": MARKERS[method]}
        axes.errorbar(places, mean, half, capsize=2.5, elinewidth=1, **style)
        ends.append(End(places[0], mean[0], NAMES[method], style))
    axes.set_yscale("symlog", linthresh=1)
    bits = sorted(lost["bits"].unique())
    axes.set(xticks=bits, xlim=(bits[-1] + 0.3, bits[0] - 0.3), ylim=(100, -1.6))
    axes.set_yticks([-1, 0, 1, 3, 10, 30, 100], ["−1", "0", "1", "3", "10", "30", "100"])
    axes.minorticks_off()
    axes.grid(axis="y", color=GRID)
    axes.set(xlabel="bits of weights and activations", ylabel="points lost")
    axes.annotate("float", (7, 0), (0, 5), textcoords="offset points", ha="center", color=COLORS["float"])
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def sensitivity_of_layers(frame: pd.DataFrame, *, title: str = "One part of the network at 2 bits") -> Figure:
    """A row for each layer whose weights or outputs are quantized alone.

    Args:
        frame: one row a run, columns ``part`` ("weights", "activations" or "none"), ``layer`` and ``accuracy``
            (percent). Part "none" is the float network.
    """
    kinds = {"weights": NEUTRALS[0], "activations": NEUTRALS[1]}
    rows = [Row("float", frame.loc[frame["part"] == "none", "accuracy"].tolist(), method="float")]
    for (part, colour), marker in zip(kinds.items(), NEUTRAL_MARKERS, strict=False):
        for layer, runs in frame[frame["part"] == part].groupby("layer")["accuracy"]:
            what = "weights" if part == "weights" else "outputs"
            rows.append(Row(f"{what} of layer {layer}", runs.tolist(), color=colour, marker=marker))
    return forest({"": rows}, xlabel="test accuracy (%)", title=title, reference="float")
