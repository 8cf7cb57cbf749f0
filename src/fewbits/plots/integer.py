"""Figures of integer-only networks: tie rules, causes of differences, depthwise networks saved, speed."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH

_RULES = {"upward": "uniform", "away": "inq", "even": "exact ternary", "double": "qat"}
_NETWORKS = ("uniform", "inq", "exact ternary", "qat", "nakata")
_FORMS = {"simulated": "ptq", "integer": "uniform", "integer, 16-bit sums": "inq", "integer, our kernels": "qat"}


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
    figure, axes = plt.subplots(1, len(results), figsize=(WIDTH, 2.5), sharey=True)
    numbers = np.asarray(x)
    quotients, ties = numbers / divisor, 2 * (numbers % divisor) == divisor
    for axis, (rule, rounded) in zip(axes, results.items(), strict=True):
        error = np.asarray(rounded) - quotients
        style = {"color": COLORS[_RULES[rule]], "marker": MARKERS[_RULES[rule]], "linestyle": "none"}
        axis.axhline(0, color=COLORS["paper"], linewidth=0.8)
        axis.plot(quotients[~ties], error[~ties], **style, markerfacecolor="white")
        axis.plot(quotients[ties], error[ties], **style)
        axis.set(title=rule, xlabel="true quotient", ylim=(-0.65, 0.85))
    axes[0].set_ylabel("result − quotient")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def causes(frame: pd.DataFrame, *, title: str = "What makes a code differ by one") -> Figure:
    """Codes in a million that differ, by cause and network; on the left those of which none does.

    Args:
        frame: one row a step, columns ``network``, ``cause``, ``off`` and ``elements``.
    """
    totals = frame.groupby(["cause", "network"], sort=False)[["off", "elements"]].sum()
    rate = (1e6 * totals.off / totals.elements).unstack()
    rate = rate.loc[rate.mean(axis=1).sort_values().index]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(rate)))
    networks = list(dict.fromkeys(frame["network"]))
    none = 0.05
    for index, (network, method) in enumerate(zip(networks, _NETWORKS, strict=False)):
        y = np.arange(len(rate)) + 0.13 * (index - (len(networks) - 1) / 2)
        value = rate[network].to_numpy()
        shown = np.where(value > 0, value, none)
        axis.plot(
            shown, y, color=COLORS[method], marker=MARKERS[method], linestyle="none", label=network, clip_on=False
        )
    axis.set_xscale("log")
    ticks = [none, *10.0 ** np.arange(0, 5)]
    axis.set_xticks(ticks, ["none", *(f"{int(tick):,}" for tick in ticks[1:])])
    axis.set_xlim(none, 3e4)
    axis.minorticks_off()
    axis.set_yticks(range(len(rate)), list(rate.index))
    axis.tick_params(axis="y", length=0, pad=9)
    axis.grid(axis="y", linewidth=0.4, alpha=0.5)
    axis.set(xlabel="codes in a million that differ", ylim=(-0.6, len(rate) - 0.4))
    figure.legend(loc="outside lower center", ncols=len(networks), handletextpad=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def ways(frame: pd.DataFrame, *, title: str = "Ways to save a depthwise network at 4 bits") -> Figure:
    """Accuracy of each way, a dot a seed and a bar for the mean with its 95 % interval.

    Args:
        frame: one row a seed and way, columns ``way``, ``seed`` and ``accuracy`` (in percent).
    """
    names = list(dict.fromkeys(frame["way"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8 + 0.36 * len(names)))
    for row, name in enumerate(names):
        values = frame.loc[frame["way"] == name, "accuracy"]
        mean, half = interval(list(values))
        axis.plot(values, np.full(len(values), row), "o", color=COLORS["uniform"], markerfacecolor="white", zorder=3)
        reach = [[min(half, mean)], [min(half, 100 - mean)]]
        axis.errorbar(mean, row, xerr=reach, color=COLORS["qat"], marker="|", markersize=11, capsize=3, zorder=4)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", linewidth=0.4, alpha=0.5)
    axis.set(xlabel="test accuracy (%)", ylim=(len(names) - 0.5, -0.5), xlim=(0, 100))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def speed(frame: pd.DataFrame, *, title: str = "Speed against floating point") -> Figure:
    """Float time over each form's time, a panel a batch size; a dot a repeat.

    Args:
        frame: one row a measurement, columns ``network``, ``batch``, ``form`` and ``speedup``; rows of form ``float``
            become the line at 1.
    """
    batches, networks = sorted(frame["batch"].unique()), list(dict.fromkeys(frame["network"]))
    forms = {form: method for form, method in _FORMS.items() if (frame["form"] == form).any()}
    figure, axes = plt.subplots(1, len(batches), figsize=(WIDTH, 2.9), sharey=True)
    for axis, batch in zip(axes, batches, strict=True):
        axis.axhline(1, color=COLORS["float"], linewidth=1)
        for index, (form, method) in enumerate(forms.items()):
            for place, network in enumerate(networks):
                here = (frame["batch"] == batch) & (frame["form"] == form) & (frame["network"] == network)
                rows = frame.loc[here, "speedup"]
                style = {"color": COLORS[method], "marker": MARKERS[method], "linestyle": "none"}
                label = form if place == 0 and axis is axes[0] else None
                x = place + 0.22 * (index - 1) + np.linspace(-0.05, 0.05, len(rows))
                axis.plot(x, rows, **style, markersize=4, label=label)
        axis.set_yscale("log", base=2)
        axis.set_xticks(range(len(networks)), networks)
        axis.set(title=f"batch of {batch}", xlim=(-0.5, len(networks) - 0.5))
    ticks = [1 / 4, 1 / 2, 1, 2, 4]
    axes[0].set_yticks(ticks, ["1/4", "1/2", "1", "2", "4"])
    axes[0].set_ylabel("times as fast as float")
    figure.legend(loc="outside lower center", ncols=len(forms), handletextpad=0.2, fontsize=SMALL)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
