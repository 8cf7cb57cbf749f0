"""Figures of logarithmic data: codes on a line, staircases, octaves, and what rounding costs (see `fewbits.plots`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.forest import Row, forest
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, MARKERS, NEUTRAL_MARKERS, NEUTRALS, PALE, WIDTH, text_color

_STYLE = {"linear": "uniform", "linear 2^k": "paper", "log2": "log2", "log-sqrt2": "log-sqrt2"}
_LABEL = {"linear": "linear", "linear 2^k": "linear, full scale $2^k$", "log2": "base 2", "log-sqrt2": "base √2"}
_LOST = (-20, -5, -1, 0, 1, 2, 5, 20, 50)  # ticks of an axis that is linear up to 2 points and logarithmic above


def code_line(
    x: Tensor, bits: int, full_scale: int, *, title: str = "Which number gets which code, on a logarithmic scale"
) -> Figure:
    """The magnitudes of a tensor on a line of octaves, the borders between the fields, and what each field stands for.

    Args:
        x: any shape, without zeros.
        bits: of the magnitude field.
        full_scale: F of base 2.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.3))
    lowest = full_scale - 2**bits
    left, right = lowest - 1.6, full_scale + 0.5
    for field in range(2**bits + 1):
        power = lowest + field
        fits = field < 2**bits
        low = left if field == 0 else power - 0.5
        shade = 0.8 if field % 2 else 0.4
        if fits:
            axes.axvspan(low, power + 0.5, color=PALE, alpha=shade, linewidth=0, zorder=0)
        value = "0" if field == 0 else f"{2.0**power:g}"
        text = f"field {field}\nstands for {value}" if fits else f"$2^F$ = {value}\ndoes not fit"
        middle = (low + power + 0.5) / 2 if fits else power
        axes.annotate(text, (middle, 0.97), ha="center", va="top", color=COLORS["float" if fits else "paper"])
        if field > 0:
            axes.plot(power, 0.08, "^", color=COLORS["log2" if fits else "paper"], markersize=7)
    for rank, magnitude in enumerate(sorted(x.abs().flatten().tolist())):
        height = 0.5 if rank % 2 else 0.3
        axes.plot(np.log2(magnitude), height, "o", color=NEUTRALS[0])
        place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(f"{magnitude:g}", (np.log2(magnitude), height), (0, 4), **place)
    ticks = range(int(np.ceil(left)), full_scale + 1)
    axes.set_xticks(ticks, [f"{2.0**tick:g}" if tick >= 0 else f"1/{2**-tick}" for tick in ticks])
    axes.set(xlim=(left, right), ylim=(0, 1), yticks=[], xlabel="magnitude")
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def log_staircase(
    quantizers: Mapping[str, Callable[[Tensor], Tensor]],
    low: float,
    high: float,
    *,
    title: str = "From input to output, on logarithmic axes",
) -> Figure:
    """Input against output of positive numbers on logarithmic axes, and the relative error below; one column each.

    What becomes 0 has no place on a logarithmic axis: the staircase starts where the output is not 0, and the relative
    error of all inputs left of it is -100 %.

    Args:
        quantizers: by method ("linear", "log2", "log-sqrt2"), maps (n,) float64 to the same.
        low, high: first and last input, 0 < low < high.
    """
    x = torch.logspace(np.log2(low), np.log2(high), 4001, base=2, dtype=torch.float64)
    figure, axes = plt.subplots(
        2, len(quantizers), figsize=(WIDTH, 4.2), sharex=True, sharey="row", squeeze=False, height_ratios=[2, 1]
    )
    for (name, quantize), (output, error) in zip(quantizers.items(), axes.T, strict=True):
        colour = COLORS[_STYLE[name]]
        with torch.no_grad():
            y = quantize(x)
        output.plot(x, x, color=COLORS["paper"], linestyle=":", linewidth=1)
        output.plot(x, torch.where(y > 0, y, torch.nan), color=colour)
        output.set(title=_LABEL[name])
        output.set_xscale("log", base=2)
        output.set_yscale("log", base=2)
        error.axhline(0, color=COLORS["paper"], linestyle=":", linewidth=1)
        error.plot(x, 100 * (y / x - 1), color=colour, linewidth=1)
        error.set_xlabel("input")
        zero = x[y == 0]
        for axis in (output, error) if len(zero) else ():
            axis.axvspan(float(x[0]), float(zero[-1]), color=PALE, alpha=0.5, linewidth=0, zorder=0)
        if len(zero) and zero[-1] > 16 * x[0]:  # else there is no room
            middle = float((x[0] * zero[-1]).sqrt())
            output.annotate("all 0", (middle, float(x[0])), (0, 4), textcoords="offset points", ha="center")
    axes[0, 0].set_ylabel("output")
    axes[1, 0].set_ylabel("relative error (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def octaves(
    tensors: Mapping[str, Tensor], reach: Mapping[str, float], *, lowest: int = -24, title: str = "Octaves"
) -> Figure:
    """Histogram of log2 of magnitudes below the largest one, a panel per tensor, and how far down each code reaches.

    Args:
        tensors: by name; zeros do not count.
        reach: by method ("linear", "log2", "log-sqrt2"), octaves from the largest number down to what becomes 0.
        lowest: left end of the axis, in octaves.
    """
    figure, axes = plt.subplots(1, len(tensors), figsize=(WIDTH, 3.0), sharex=True, sharey=True, squeeze=False)
    for axis, (name, tensor) in zip(axes.flat, tensors.items(), strict=True):
        magnitudes = tensor.detach().double().abs().flatten().numpy()
        below = np.log2(magnitudes[magnitudes > 0] / magnitudes.max())
        counts, edges = np.histogram(below, bins=np.arange(lowest, 1))
        axis.bar(edges[:-1] + 0.5, 100 * counts / below.size, width=0.9, color=PALE, linewidth=0)
        axis.set(xlabel="octaves below the largest", title=name)
    top = axes[0, 0].get_ylim()[1]
    for axis in axes.flat:
        for rank, (method, down) in enumerate(reach.items()):
            height = top * (1.08 + 0.1 * rank)
            colour = COLORS[_STYLE[method]]
            axis.plot([-down, 0], [height, height], color=colour, linewidth=3, solid_capstyle="butt")
            if axis is axes[0, 0]:
                place = {"textcoords": "offset points", "ha": "right", "va": "center"}
                axis.annotate(_LABEL[method], (-down, height), (-4, 0), color=text_color(colour), **place)
        axis.set_ylim(0, top * (1.08 + 0.1 * len(reach)))
        axis.set_xlim(lowest, 0.3)
    axes[0, 0].set_ylabel("share of the numbers (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def signal_to_noise(
    ladders: Mapping[str, Mapping[str, Mapping[int, float]]],
    floors: Mapping[str, float],
    *,
    title: str = "What does one more bit buy?",
) -> Figure:
    """Signal-to-noise ratio against bits, one line a method, and the limit that a method cannot pass, dashed.

    Args:
        ladders: by panel and method, decibel by bits.
        floors: by method, the limit in decibel.
    """
    figure, axes = plt.subplots(1, len(ladders), figsize=(WIDTH, 3.2), sharey=True, squeeze=False)
    for axis, (panel, ladder) in zip(axes.flat, ladders.items(), strict=True):
        for method, values in ladder.items():
            style = {"color": COLORS[_STYLE[method]], "marker": MARKERS[_STYLE[method]]}
            axis.plot(list(values), list(values.values()), **style)
            if axis is axes[0, 0]:
                last, value = list(values.items())[-1]
                place: dict[str, Any] = {
                    "textcoords": "offset points",
                    "ha": "right",
                    "color": text_color(style["color"]),
                }
                axis.annotate(_LABEL[method], (last, value), (-10, -2) if method == "linear" else (0, -14), **place)
        for method, limit in floors.items():
            axis.axhline(limit, color=COLORS[_STYLE[method]], linestyle=(0, (4, 3)), linewidth=0.8)
        axis.set(xlabel="bits, sign included", title=panel)
    axes[0, 0].set_ylabel("signal-to-noise ratio (dB)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def clipped_range(
    x: Tensor, grids: Mapping[str, tuple[Tensor, float]], *, title: str = "What the range does to a linear grid"
) -> Figure:
    """Histogram of numbers, and below it the levels of each grid on the same axis, with its signal-to-noise ratio.

    Args:
        x: (n,) numbers.
        grids: by the rule of the range, the levels (k,) and the signal-to-noise ratio in decibel.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 2.9), sharex=True, height_ratios=[1.4, 1])
    above.hist(x.numpy(), bins=120, color=PALE, linewidth=0)
    above.set(ylabel="numbers", yticks=[])
    bound = 1.08 * float(x.abs().max())
    for row, (rule, (levels, ratio)) in enumerate(grids.items()):
        colour = NEUTRALS[3 if row else 0]
        below.plot(levels, [row] * len(levels), "|", color=colour, markersize=13, markeredgewidth=1.6)
        below.plot([levels.min(), levels.max()], [row, row], color=colour, linewidth=0.8)
        step = float(levels.sort().values.diff().max())
        note = f"{rule}\n{ratio:.1f} dB, steps of {step:.2f}"
        below.annotate(note, (1.01, row), xycoords=below.get_yaxis_transform(), va="center", color=text_color(colour))
    below.set(ylim=(len(grids) - 0.4, -0.6), yticks=[], xlabel="number", xlim=(-bound, bound))
    for axis in (above, below):
        axis.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def two_readings(
    powers: Sequence[int], logarithms: Sequence[float], *, title: str = "The same logarithm, read in two ways"
) -> Figure:
    """Running sums of powers of two: exact, and the two readings of the accumulated logarithm, as relative errors.

    Args:
        powers: exponents, in the order in which they are added.
        logarithms: the accumulated logarithm after each.
    """
    exact = np.cumsum(2.0 ** np.asarray(powers))
    s = np.asarray(logarithms)
    floor = np.floor(s)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    axes.axhline(0, color=COLORS["paper"], linewidth=0.8, linestyle=(0, (4, 3)))
    places = np.arange(len(exact))
    readings = {"$2^s$": 2**s, "mantissa": 2**floor * (1 + s - floor)}
    ends = []
    for (name, values), colour, marker in zip(
        readings.items(), (NEUTRALS[0], NEUTRALS[1]), NEUTRAL_MARKERS, strict=False
    ):
        error = 100 * (values / exact - 1)
        axes.plot(places, error, color=colour, marker=marker)
        ends.append(End(float(places[-1]), float(error[-1]), name, {"color": colour, "marker": marker}))
        for place, value, height in zip(places, values, error, strict=True):
            if abs(height) > 0.05:
                up = 5 if name == "mantissa" or height < error[max(place - 1, 0)] - 1 else -14
                axes.annotate(
                    f"{value:.4g}", (place, height), (0, up if name == "mantissa" else -14), ha="center",
                    textcoords="offset points", color=text_color(colour),
                )  # fmt: skip
    axes.set_xticks(places, [f"+{2**power:g}\n= {total:g}" for power, total in zip(powers, exact, strict=True)])
    axes.set(xlabel="term and exact sum", ylabel="error of the reading (%)")
    axes.margins(y=0.2)
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axes, ends)
    return figure


def accumulated_errors(frame: pd.DataFrame, *, title: str = "Sums without leaving the logarithm") -> Figure:
    """Root mean square error of a sum against the number of its terms, for both readings, a panel for each width.

    Args:
        frame: columns ``terms``, ``fraction_bits``, ``reading`` and ``root mean square`` (percent).
    """
    widths = sorted(frame["fraction_bits"].unique())
    figure, axes = plt.subplots(1, len(widths), figsize=(WIDTH, 2.8), sharey=True, squeeze=False)
    names = {"2^s": "$2^s$", "1 + fraction": "mantissa"}
    for axis, width in zip(axes.flat, widths, strict=True):
        chosen = frame[frame["fraction_bits"] == width]
        ends = []
        for (reading, name), colour, marker in zip(
            names.items(), (NEUTRALS[0], NEUTRALS[1]), NEUTRAL_MARKERS, strict=False
        ):
            line = chosen[chosen["reading"] == reading].groupby("terms")["root mean square"].mean()
            axis.plot(line.index, line, color=colour, marker=marker)
            ends.append(End(float(line.index[-1]), float(line.iloc[-1]), name, {"color": colour, "marker": marker}))
        axis.set(title=f"{width} fraction bits", xlabel="terms", xscale="log", yscale="log")
        axis.set_xticks(sorted(frame["terms"].unique()), [f"{terms:,}" for terms in sorted(frame["terms"].unique())])
        axis.set_yticks((1, 3, 10, 30), ("1", "3", "10", "30"))
        axis.minorticks_off()
        if axis is axes.flat[-1]:
            label_ends(axis, ends)
    axes[0, 0].set_ylabel("error of the sum (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def rounded_losses(frame: pd.DataFrame, rule: str = "least error", *, title: str = "What rounding costs") -> Figure:
    """Accuracy lost by rounding, a row for each number of bits and method, a panel for each placement.

    Each network is compared with itself before rounding. Losses above 2 points are on a logarithmic scale.

    Args:
        frame: rows of ``data/results/logarithmic_bits.csv``.
        rule: of the ranges, "max" or "least error".
    """
    real = frame[frame["method"] == "float"].set_index("seed")["accuracy"]
    rows = frame[frame["rule"] == rule]
    rows = rows.assign(lost=rows["seed"].map(real) - rows["accuracy"])
    panels: dict[str, list[Row]] = {}
    for placement in dict.fromkeys(rows["placement"]):
        chosen = rows[rows["placement"] == placement]
        panels[f"{placement} rounded"] = [
            Row(
                f"{bits:g} bits, {_LABEL[name]}",
                chosen.loc[(chosen["bits"] == bits) & (chosen["method"] == name), "lost"].tolist(),
                method=_STYLE[name],
            )
            for bits in sorted(rows["bits"].unique())
            for name in _LABEL
        ]
    figure = forest(panels, xlabel="points lost", title=title, reference=0)
    _lost_scale(figure, "x")
    return figure


def trained_losses(frame: pd.DataFrame, *, title: str = "Training with quantized gradients") -> Figure:
    """Accuracy lost by training with quantized gradients: by bits, and by headroom of a range that is fixed.

    Each run is compared with the float run of its seed. Losses above 2 points are on a logarithmic scale.

    Args:
        frame: rows of ``data/results/logarithmic_training.csv``.
    """
    real = frame[frame["method"] == "float"].set_index("seed")["accuracy"]
    gradients = frame[frame["bits"].isna() & (frame["method"] != "float")]
    gradients = gradients.assign(lost=gradients["seed"].map(real) - gradients["accuracy"])
    panels = {
        "gradient_bits": gradients[gradients["headroom"].isna()],
        "headroom": gradients[gradients["headroom"].notna()],
    }
    labels = {
        "gradient_bits": ("bits of the gradients", "range follows each step"),
        "headroom": ("octaves above the largest gradient", "5 bits, range fixed before training"),
    }
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for axis, (column, rows) in zip(axes, panels.items(), strict=True):
        axis.axhline(0, color=COLORS["float"], linewidth=0.8, linestyle=(0, (4, 3)))
        ends = []
        for rank, name in enumerate(("linear", "log2")):
            by = rows[rows["method"] == name].groupby(column)["lost"].apply(list)
            mean, half = np.array([interval(values) for values in by]).T
            at = by.index.to_numpy() + 0.05 * (rank - 0.5)  # so that error bars do not hide each other
            style = {"color": COLORS[_STYLE[name]], "marker": MARKERS[_STYLE[name]]}
            axis.errorbar(at, mean, yerr=half, capsize=2, elinewidth=0.8, **style)
            ends.append(End(float(at[-1]), float(mean[-1]), _LABEL[name], style))
        axis.set_xticks(sorted(rows[column].unique()))
        axis.set(xlabel=labels[column][0], title=labels[column][1])
    axes[0].set_ylabel("points lost")
    figure.suptitle(title, x=0.01, ha="left")
    for axis in axes:
        axis.set_ymargin(0)
    low, high = axes[0].get_ylim()
    _lost_scale(figure, "y")
    axes[0].set_ylim(min(low, -1) - 0.2, 1.3 * high)  # the scale is not linear, and its markers have a size
    label_ends(axes[1], ends)
    return figure


def weights_paper_and_here(
    frame: pd.DataFrame,
    papers: Mapping[str, Mapping[str, float]],
    *,
    title: str = "Weights of 5 and 4 bits: paper and here",
) -> Figure:
    """Points of top-5 accuracy lost by rounding the weights: a panel for our networks, and one for each of the paper's.

    Args:
        frame: rows of ``data/results/logarithmic_mobilenet.csv``; those with rounded activations do not count.
        papers: by network of the paper, top-5 accuracy by method, "float" among them: hollow.
    """
    rounded = frame[frame["activations"] == "float"]
    top5 = rounded.pivot(index="network", columns="weights", values="top5")
    here = top5.rsub(top5["float"], axis=0)
    methods = [method for method in next(iter(papers.values())) if method != "float"]
    panels = {
        "MobileNets, here": [
            Row(_LABEL[name], here[name].tolist(), method=_STYLE[name], note=f"{here[name].mean():.1f}")
            for name in methods
        ]
    }
    for network, accuracy in papers.items():
        lost = {name: accuracy["float"] - accuracy[name] for name in methods}
        panels[f"{network}, paper"] = [
            Row(_LABEL[name], ends=(value,) * 3, method=_STYLE[name], hollow=True, note=f"{value:.1f}")
            for name, value in lost.items()
        ]
    figure = forest(panels, xlabel="points of top-5 lost", title=title, reference=0)
    _lost_scale(figure, "x")
    return figure


def _lost_scale(figure: Figure, which: str) -> None:
    """Axes of points lost: linear up to 2, logarithmic above, the same for all panels."""
    ends = [getattr(axes, f"get_{which}lim")() for axes in figure.axes]
    limits = min(low for low, _ in ends), max(high for _, high in ends)
    for axes in figure.axes:
        getattr(axes, f"set_{which}scale")("symlog", linthresh=2, linscale=1)
        ticks = [tick for tick in _LOST if limits[0] <= tick <= limits[1]]
        axis = getattr(axes, f"{which}axis")
        axis.set_ticks(ticks, [str(tick).replace("-", "−") for tick in ticks])
        axis.set_ticks([], minor=True)
        getattr(axes, f"set_{which}lim")(limits)
