"""Figures of integer-only networks: rounding, bounds, causes of differences, depthwise networks saved, speed."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fewbits.integer import IntegerNetwork
from fewbits.integer.steps import Layer
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, NEUTRAL_MARKERS, NEUTRALS, PALE, SMALL, WIDTH, text_color

# Names of the tables, as a reader knows them. A name that is missing here reads well as it is.
NETWORKS = {
    "dense": "VGG-small",
    "separable": "separable network",
    "separable, strong decay": "separable, strong decay",
    "residual": "small ResNet",
}
CAUSES = {
    "exact": "the same biases, float64",
    "ties: upward": "ties upward",
    "ties: away": "ties away from zero",
    "ties: double": "two roundings",
    "float32 sums": "sums in float32",
    "real biases": "biases on no grid",
}
WAYS = {
    "per tensor": "one scale per tensor",
    "per tensor, equalized": "one scale per tensor, equalized",
    "per channel": "one scale per channel",
    "per channel, equalized": "one scale per channel, equalized",
    "frozen from the start": "trained, frozen from the start",
    "frozen halfway": "trained, frozen halfway",
    "never frozen": "trained, never frozen",
}
_FORMS = ("simulated", "integer", "integer, 16-bit sums", "integer, our kernels")
# A marker's colour for each form; forms of one figure differ in both.
_STYLES = dict(
    zip(_FORMS, zip((NEUTRALS[2], NEUTRALS[0], NEUTRALS[1], NEUTRALS[3]), NEUTRAL_MARKERS, strict=True), strict=True)
)
_INT32_BITS = 31  # of a magnitude


def tie_rules(
    x: Sequence[int],
    divisor: int,
    results: Mapping[str, Sequence[int]],
    *,
    title: str = "Four ways to round the same quotients",
) -> Figure:
    """Integers divided by ``divisor`` and rounded: result minus true quotient, a panel a rule; ties are filled.

    Args:
        x: integers.
        divisor: a power of two.
        results: by rule, one integer for each of ``x``.
    """
    figure, axes = plt.subplots(1, len(results), figsize=(WIDTH, 2.6), sharey=True)
    numbers = np.asarray(x)
    quotients, ties = numbers / divisor, 2 * (numbers % divisor) == divisor
    style: dict[str, Any] = {"color": NEUTRALS[0], "marker": "o", "linestyle": "none"}
    for axis, (rule, rounded) in zip(axes, results.items(), strict=True):
        error = np.asarray(rounded) - quotients
        axis.axhline(0, color=COLORS["paper"], linewidth=0.8)
        for low, high in ((0.5, 0.9), (-0.9, -0.5)):
            axis.axhspan(low, high, color=GRID, linewidth=0)
        axis.plot(quotients[~ties], error[~ties], **style, markerfacecolor="white", clip_on=False)
        axis.plot(quotients[ties], error[ties], **style, clip_on=False)
        axis.set(title=rule, xlabel="true quotient", ylim=(-0.85, 0.9), yticks=[-0.5, 0, 0.5])
    axes[0].set_ylabel("result − quotient")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def two_roundings(
    shares: Mapping[int, float], *, title: str = "Each further place halves the cost of rounding twice"
) -> Figure:
    """Percent of the results in which one rounding and two disagree, by shift, on a logarithmic axis with "none" below.

    Args:
        shares: by shift, between 0 and 1.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.4))
    none = 0.06
    shifts, percent = np.array(list(shares)), 100 * np.array(list(shares.values()))
    law = shifts[shifts > 0]
    axis.plot(law, 50.0 / 2**law, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axis.annotate("$2^{-(n+1)}$", (law[1], 50 / 2.0 ** law[1]), (10, 2), textcoords="offset points")
    axis.plot(shifts, np.where(percent > 0, percent, none), "o", color=NEUTRALS[0], clip_on=False)
    for shift, value in zip(shifts, percent, strict=True):
        text, height, place = (f"{value:.2g}", value, (-4, -4)) if value > 0 else ("none", none, (0, 15))
        side: dict[str, Any] = {"ha": "right" if value > 0 else "center", "va": "top"}
        axis.annotate(text, (shift, height), place, textcoords="offset points", fontsize=SMALL, **side)
    axis.set_yscale("log")
    axis.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axis.minorticks_off()
    axis.set(xlabel="shift n", ylabel="results that differ (%)", xlim=(-0.5, shifts.max() + 0.5), ylim=(none, 60))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bounds(network: IntegerNetwork, *, title: str = "No sum can come near the end of an int32") -> Figure:
    """The steps of a network, what they read, and a bar for the bits that the bound of each layer needs.

    Args:
        network: its layers have a ``bound``; the other steps have a row without a bar.
    """
    steps = list(network.steps.items())
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.25 * len(steps)))
    for row, (name, step) in enumerate(steps):
        words = _words(type(step).__name__)
        if isinstance(step, Layer):
            bits = step.bound.bit_length()
            axis.barh(row, bits, 0.62, color=PALE)
            axis.text(bits + 0.4, row, f"{bits}", va="center")
        axis.text(0.3, row, f"{words} of {' and '.join(network.inputs[name])}", va="center", fontsize=SMALL)
    axis.axvline(_INT32_BITS, color=COLORS["float"], linewidth=1)
    axis.text(_INT32_BITS - 0.3, 0, "int32: 31 bits and a sign", ha="right", va="center")
    axis.set_yticks(range(len(steps)), [name for name, _ in steps])
    axis.tick_params(axis="y", length=0)
    axis.set(xlim=(0, 32), ylim=(len(steps) - 0.4, -0.6), xlabel="bits of the largest magnitude")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _words(name: str) -> str:
    """``GlobalAverage`` as "global average"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def causes(frame: pd.DataFrame, *, title: str = "What changes a code by one") -> Figure:
    """Codes in a million that differ, by cause and network; on the left those of which none does.

    Args:
        frame: one row a step, columns ``network``, ``cause``, ``off`` and ``elements``.
    """
    totals = frame.groupby(["cause", "network"], sort=False)[["off", "elements"]].sum()
    rate = (1e6 * totals.off / totals.elements).unstack()
    rate = rate.loc[rate.mean(axis=1).sort_values().index]
    figure, axis = plt.subplots(figsize=(WIDTH, 1.0 + 0.36 * len(rate)))
    networks = list(dict.fromkeys(frame["network"]))
    none = 0.05
    for index, network in enumerate(networks):
        y = np.arange(len(rate)) + 0.14 * (index - (len(networks) - 1) / 2)
        value = rate[network].to_numpy()
        shown = np.where(value > 0, value, none)
        style: dict[str, Any] = {"color": NEUTRALS[index], "marker": NEUTRAL_MARKERS[index], "linestyle": "none"}
        axis.plot(shown, y, **style, label=NETWORKS.get(network, network), clip_on=False)
    axis.set_xscale("log")
    ticks = [none, *10.0 ** np.arange(0, 4)]
    axis.set_xticks(ticks, ["none", *(f"{int(tick):,}" for tick in ticks[1:])])
    axis.set_xlim(none, 3e3)
    axis.minorticks_off()
    axis.set_yticks(range(len(rate)), [CAUSES.get(cause, cause) for cause in rate.index])
    axis.tick_params(axis="y", length=0, pad=9)
    axis.grid(axis="y", color=GRID)
    axis.spines["left"].set_visible(False)
    axis.set(xlabel="codes in a million that differ", ylim=(-0.6, len(rate) - 0.4))
    figure.legend(loc="outside lower center", ncols=len(networks), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def agreement(frame: pd.DataFrame, *, title: str = "Fewer bits set simulation and integers apart") -> Figure:
    """A row for each network and width: accuracy against float, predictions that change, and the largest difference.

    Args:
        frame: one row a network and width, columns ``network``, ``weight_bits``, ``images``, ``float``, ``simulated``
            and ``integer`` (percent), ``changed`` (predictions) and ``largest`` (units of an output code).
    """
    names = [f"{NETWORKS.get(row.network, row.network)}, {row.weight_bits} bits" for row in frame.itertuples()]
    names = [name.replace(", trained at 2 bits, 2 bits", ", trained at 2 bits") for name in names]
    figure, axes = plt.subplots(
        1, 3, figsize=(WIDTH, 1.1 + 0.25 * len(names)), sharey=True, width_ratios=(1.6, 1, 1), layout="constrained"
    )
    rows = np.arange(len(names))
    simulated, integer = (frame[kind] - frame["float"] for kind in ("simulated", "integer"))
    for row, ends in enumerate(zip(simulated, integer, strict=True)):
        axes[0].plot(ends, [row, row], color=PALE, linewidth=2, zorder=1)
    axes[0].axvline(0, color=COLORS["paper"], linewidth=0.8, zorder=1)
    axes[0].plot(simulated, rows, "o", color=NEUTRALS[2], markerfacecolor="white", markersize=7, label="simulated")
    axes[0].plot(integer, rows, "o", color=NEUTRALS[0], markersize=4, label="integer")
    axes[0].legend(loc="upper left", handletextpad=0.2, fontsize=SMALL)
    axes[0].set_xlabel("accuracy against\nfloat (points)")
    for axis, values, label in (
        (axes[1], 100 * frame.changed / frame.images, "predictions that\nchange (%)"),
        (axes[2], frame.largest, "largest difference\nof a code"),
    ):
        axis.plot(values, rows, "o", color=NEUTRALS[0])
        for row, value in enumerate(values):
            text = f"{value:g}" if value in (0, round(value)) else f"{value:.1f}"
            axis.annotate(text, (value, row), (6, 0), textcoords="offset points", va="center", fontsize=SMALL)
        axis.set(xlabel=label, xlim=(-0.06 * max(values), 1.3 * max(values)))
    for axis in axes:
        axis.grid(axis="y", color=GRID)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(rows, names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def bias_fractions(
    differences: Mapping[tuple[str, int], tuple[float, int]],
    *,
    title: str = "Fraction bits in the biases bring the integers to the simulation",
) -> Figure:
    """Percent of the output codes that differ, against fraction bits, a line a network; the number is the largest.

    Args:
        differences: by network and fraction bits, the share of the codes, 0 to 1, and the largest difference in units.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.7))
    ends = []
    for index, network in enumerate(dict.fromkeys(name for name, _ in differences)):
        line = {fraction: values for (name, fraction), values in differences.items() if name == network}
        percent = [100 * share for share, _ in line.values()]
        style: dict[str, Any] = {"color": NEUTRALS[index], "marker": NEUTRAL_MARKERS[index]}
        axis.plot(list(line), percent, **style)
        for fraction, (share, largest) in line.items():
            axis.annotate(
                f"{largest}",
                (fraction, 100 * share),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL,
                color=text_color(NEUTRALS[index]),
            )
        ends.append(End(max(line), percent[-1], network, style))
    axis.set_yscale("log")
    ticks = [0.1, 1, 10, 100]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel="fraction bits of the biases", ylabel="output codes that differ (%)", ylim=(0.08, 150))
    axis.set_xticks(sorted({fraction for _, fraction in differences}))
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axis, ends)
    return figure


def ways(frame: pd.DataFrame, *, title: str = "Ways to save a depthwise network at 4 bits") -> Figure:
    """Accuracy of each way: a dot a seed, and an upright line for their mean; equal seeds are one above the other.

    Args:
        frame: one row a seed and way, columns ``way``, ``seed`` and ``accuracy`` (in percent).
    """
    names = list(dict.fromkeys(frame["way"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.3 * len(names)))
    for row, name in enumerate(names):
        values = frame.loc[frame["way"] == name, "accuracy"]
        axis.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=NEUTRALS[1], linewidth=2, zorder=2)
        counts = values.groupby(values)
        places = row + 0.2 * (counts.cumcount() - (counts.transform("size") - 1) / 2)
        axis.plot(values, places, "o", color=NEUTRALS[0], markerfacecolor="white", zorder=3)
    axis.set_yticks(range(len(names)), [WAYS.get(name, name) for name in names])
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", color=GRID)
    axis.spines["left"].set_visible(False)
    axis.set(xlabel="test accuracy (%)", ylim=(len(names) - 0.5, -0.5))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def speed(frame: pd.DataFrame, *, title: str = "Speed against floating point") -> Figure:
    """Float time over each form's time, a panel a batch size; a dot a repeat, and the mean as a number.

    Args:
        frame: one row a measurement, columns ``network``, ``batch``, ``form`` and ``speedup``; rows of form ``float``
            become the line at 1.
    """
    batches, networks = sorted(frame["batch"].unique()), list(dict.fromkeys(frame["network"]))
    forms = [form for form in _FORMS if (frame["form"] == form).any()]
    figure, axes = plt.subplots(1, len(batches), figsize=(WIDTH, 3.0), sharey=True)
    for axis, batch in zip(axes, batches, strict=True):
        axis.axhline(1, color=COLORS["float"], linewidth=1)
        for index, form in enumerate(forms):
            colour, marker = _STYLES[form]
            for place, network in enumerate(networks):
                here = (frame["batch"] == batch) & (frame["form"] == form) & (frame["network"] == network)
                rows = frame.loc[here, "speedup"]
                x = place + 0.27 * (index - (len(forms) - 1) / 2) + np.linspace(-0.05, 0.05, len(rows))
                axis.plot(x, rows, color=colour, marker=marker, linestyle="none", markersize=3.5)
                if len(rows) > 0:  # the number is on the side that is away from the line at 1
                    above = rows.mean() >= 1
                    axis.annotate(
                        f"{rows.mean():.2f}",
                        (x.mean(), rows.max() if above else rows.min()),
                        (0, 4 if above else -4),
                        textcoords="offset points",
                        ha="center",
                        va="bottom" if above else "top",
                        color=text_color(colour),
                        fontsize=SMALL,
                    )
        axis.set_yscale("log", base=2)
        axis.set_xticks(range(len(networks)), [NETWORKS.get(network, network) for network in networks])
        axis.tick_params(axis="x", length=0)
        low, high = min(0.35, frame["speedup"].min() / 1.4), max(2.9, 1.4 * frame["speedup"].max())  # with the numbers
        axis.set(title=f"batch of {batch}", xlim=(-0.5, len(networks) - 0.5), ylim=(low, high))
    ticks = [1 / 2, 1, 2]
    axes[0].set_yticks(ticks, ["1/2", "1", "2"])
    axes[0].set_ylabel("times as fast as float")
    handles = [
        Line2D([], [], linestyle="none", color=_STYLES[form][0], marker=_STYLES[form][1], label=form) for form in forms
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(forms), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
