"""Figures of logarithmic data: staircases and histograms by octave, accuracy in panels (see `fewbits.plots`)."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, WIDTH

_STYLE = {"linear": "uniform", "linear 2^k": "paper", "log2": "log2", "log-sqrt2": "log-sqrt2"}
_LABEL = {"linear": "linear", "linear 2^k": "linear, full scale $2^k$", "log2": "base 2", "log-sqrt2": "base √2"}


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
        output.plot(x, x, color=COLORS["paper"], linestyle=":", linewidth=1, label="identity")
        output.plot(x, torch.where(y > 0, y, torch.nan), color=colour, label="quantized")
        output.set(title=_LABEL[name], xscale="log", yscale="log")
        output.set_xscale("log", base=2)
        output.set_yscale("log", base=2)
        error.axhline(0, color=COLORS["paper"], linestyle=":", linewidth=1)
        error.plot(x, 100 * (y / x - 1), color=colour, linewidth=1)
        error.set_xlabel("input")
    axes[0, 0].set_ylabel("output")
    axes[1, 0].set_ylabel("relative error (%)")
    axes[0, 0].legend(loc="upper left")
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
        axis.bar(edges[:-1] + 0.5, 100 * counts / below.size, width=0.9, color="#b8c0c8", linewidth=0)
        axis.set(xlabel="octaves below the largest", title=name)
    top = axes[0, 0].get_ylim()[1]
    for axis in axes.flat:
        for rank, (method, down) in enumerate(reach.items()):
            height = top * (1.08 + 0.1 * rank)
            colour = COLORS[_STYLE[method]]
            axis.plot([-down, 0], [height, height], color=colour, linewidth=3, solid_capstyle="butt")
            if axis is axes[0, 0]:
                place = {"textcoords": "offset points", "ha": "right", "va": "center"}
                axis.annotate(_LABEL[method], (-down, height), (-4, 0), color=colour, **place)
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
            style = {"color": COLORS[_STYLE[method]], "marker": MARKERS[_STYLE[method]], "label": _LABEL[method]}
            axis.plot(list(values), list(values.values()), **style)
        for method, limit in floors.items():
            axis.axhline(limit, color=COLORS[_STYLE[method]], linestyle=(0, (4, 3)), linewidth=0.8)
        axis.set(xlabel="bits, sign included", title=panel)
    axes[0, 0].set_ylabel("signal-to-noise ratio (dB)")
    axes[0, 0].legend(loc="upper left")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def rounded_losses(
    frame: pd.DataFrame, rule: str = "least error", *, worst: float = 6.0, title: str = "What rounding costs"
) -> Figure:
    """Accuracy lost by rounding against bits, with 95 % intervals over seeds; a panel per placement.

    Each network is compared with itself before rounding. Losses above ``worst`` are written at the upper end.

    Args:
        frame: rows of ``data/results/logarithmic_bits.csv``.
        rule: of the ranges, "max" or "least error".
        worst: upper end of the axis, in points.
    """
    real = frame[frame["method"] == "float"].set_index("seed")["accuracy"]
    rows = frame[frame["rule"] == rule]
    rows = rows.assign(lost=rows["seed"].map(real) - rows["accuracy"])
    placements = list(dict.fromkeys(rows["placement"]))
    figure, axes = plt.subplots(1, len(placements), figsize=(WIDTH, 3.3), sharey=True, squeeze=False)
    for axis, placement in zip(axes.flat, placements, strict=True):
        axis.axhline(0, color=COLORS["float"], linewidth=0.8, linestyle=(0, (4, 3)))
        chosen = rows[rows["placement"] == placement]
        _lines(axis, {name: chosen[chosen["method"] == name] for name in _LABEL}, "bits", "lost")
        for (name, bits), lost in chosen.groupby(["method", "bits"])["lost"].mean().items():
            if lost > worst:
                text = f"{_LABEL[name]}: {lost:.0f}"
                axis.annotate(text, (bits, worst), (12, -12), textcoords="offset points", color=COLORS[_STYLE[name]])
        axis.set(xlabel="bits", title=f"{placement} rounded", ylim=(-1, worst))
    axes[0, 0].set_ylabel("accuracy lost (points)")
    axes[0, 0].legend(loc="upper left")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def trained_accuracy(frame: pd.DataFrame, *, title: str = "Training with quantized gradients") -> Figure:
    """Test accuracy after training with quantized gradients: by bits, and by headroom of a range that is fixed.

    Args:
        frame: rows of ``data/results/logarithmic_training.csv``.
    """
    real = frame.loc[frame["method"] == "float", "accuracy"].mean()
    gradients = frame[frame["bits"].isna() & (frame["method"] != "float")]
    panels = {
        "gradient_bits": gradients[gradients["headroom"].isna()],
        "headroom": gradients[gradients["headroom"].notna()],
    }
    labels = {
        "gradient_bits": ("bits of the gradients", "range follows each step"),
        "headroom": ("octaves above the largest gradient before training", "5 bits, range fixed before training"),
    }
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), sharey=True)
    for axis, (column, rows) in zip(axes, panels.items(), strict=True):
        axis.axhline(real, color=COLORS["float"], linewidth=0.8, linestyle=(0, (4, 3)))
        _lines(axis, {name: rows[rows["method"] == name] for name in ("linear", "log2")}, column)
        axis.set(xlabel=labels[column][0], title=labels[column][1])
    axes[0].annotate("float", (5.25, real), (0, 3), textcoords="offset points", ha="right")
    axes[0].set_ylabel("test accuracy (%)")
    axes[1].legend(loc="lower left")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _lines(axis, runs_of: Mapping[str, pd.DataFrame], column: str, value: str = "accuracy") -> None:
    """Mean of ``value`` and its interval against ``column``, one line for each method that has rows."""
    present = {name: runs for name, runs in runs_of.items() if len(runs)}
    for rank, (name, runs) in enumerate(present.items()):
        by = runs.groupby(column)[value].apply(list)
        mean, half = np.array([interval(values) for values in by]).T
        aside = 0.05 * (rank - (len(present) - 1) / 2)  # so that error bars do not hide each other
        upper = np.minimum(half, 100 - mean)  # neither an accuracy nor a loss may exceed 100 %
        style = {"color": COLORS[_STYLE[name]], "marker": MARKERS[_STYLE[name]], "label": _LABEL[name]}
        axis.errorbar(
            by.index.to_numpy() + aside, mean, yerr=(half, upper), capsize=2, elinewidth=0.8, markersize=4.5, **style
        )
    axis.set_xticks(sorted({value for runs in present.values() for value in runs[column]}))
