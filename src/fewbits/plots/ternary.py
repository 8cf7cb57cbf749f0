"""Figures of ternary weights: which weights become zero, and what the threshold costs (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH


def error_by_count(
    weight: Tensor, counts: Mapping[str, int], *, title: str = "How many weights should survive?"
) -> Figure:
    """Least squared error of ``scale * codes`` against the number of non-zero codes; above it the sorted magnitudes.

    Args:
        weight: (n,) floating point, n <= 40.
        counts: a name in `COLORS` -> how many weights this method keeps: marked on the curve.
    """
    magnitude = np.sort(weight.detach().abs().double().numpy())[::-1]
    kept = np.arange(1, len(magnitude) + 1)
    error = (magnitude**2).sum() - np.cumsum(magnitude) ** 2 / kept
    figure, (bars, curve) = plt.subplots(2, 1, figsize=(WIDTH, 3.8), sharex=True, height_ratios=[1, 1.3])
    bars.bar(kept, magnitude, color="#b8c0c8", width=0.7)
    bars.set_ylabel("magnitude")
    curve.plot(kept, error, ".-", color=COLORS["paper"])
    for name, count in counts.items():
        scale = magnitude[:count].mean()
        style = {"color": COLORS[name], "linewidth": 1.2}
        bars.plot([0.6, count + 0.4], [scale, scale], **style)
        bars.annotate(
            f"scale of {name}: {scale:.2f}", (count + 0.45, scale), va="center", color=COLORS[name], fontsize=SMALL
        )
        curve.plot(count, error[count - 1], marker=MARKERS[name], markersize=8, color=COLORS[name], linestyle="none")
        curve.annotate(
            f"{name}: {count} weights, error {error[count - 1]:.2f}",
            (count, error[count - 1]),
            (9, -4),
            textcoords="offset points",
            va="top",
            color=COLORS[name],
        )
    curve.set_ylim(bottom=0)
    curve.set(xticks=kept, xlabel="number of non-zero codes, largest magnitudes first", ylabel="squared error")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def error_by_ratio(
    distributions: Mapping[str, tuple], *, rule: float = 0.7, title: str = "Where the best threshold lies"
) -> Figure:
    """Relative squared error of infinitely many weights against threshold / mean magnitude, one curve a distribution.

    Args:
        distributions: name -> (distribution of |w| as in `fewbits.ternary.optimal_ratio`, its best ratio).
        rule: drawn as a dashed line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    ratios = np.linspace(0, 1.9, 96)
    colours = (COLORS["uniform"], COLORS["inq"], COLORS["binarynet"])
    for (name, (distribution, best)), colour in zip(distributions.items(), colours, strict=False):
        mean, square = distribution.mean(), distribution.expect(lambda w: w**2)

        def error(ratio, distribution=distribution, mean=mean, square=square):
            threshold = ratio * mean
            above = distribution.sf(threshold)
            return 1 - distribution.expect(lambda w: w, lb=threshold) ** 2 / (above * square) if above > 0 else np.nan

        axes.plot(ratios, [error(ratio) for ratio in ratios], color=colour)
        axes.plot(best, error(best), "o", color=colour)
        axes.annotate(
            f"{name}: {best:.3f}",
            (best, error(best)),
            (0, 6),
            textcoords="offset points",
            ha="center",
            color=colour,
        )
    axes.axvline(rule, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(
        f"TWN: {rule}", (rule, axes.get_ylim()[1]), (4, -9), textcoords="offset points", color=COLORS["paper"]
    )
    axes.set_ylim(bottom=0)
    axes.set(xlabel="threshold / mean magnitude", ylabel="relative squared error")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def accuracy_by_ratio(
    frame: pd.DataFrame, errors: pd.DataFrame, *, floor: float = 90, title: str = "Threshold, error and accuracy"
) -> Figure:
    """Test accuracy of trained networks (left axis, interval over seeds) and error of float weights (right axis).

    Args:
        frame: columns ``ratio`` (threshold / mean magnitude), ``seed``, ``accuracy`` (percent).
        errors: columns ``ratio`` and ``error`` (relative squared error).
        floor: mean accuracies below it become an arrow with the number, so that the others keep their scale.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    grouped = frame.groupby("ratio")["accuracy"].apply(lambda runs: interval(list(runs)))
    mean, half = np.array(list(grouped)).T
    ratio, shown = grouped.index.to_numpy(), mean >= floor
    colour = COLORS["twn"]
    axes.errorbar(ratio[shown], mean[shown], yerr=half[shown], color=colour, marker=MARKERS["twn"], capsize=2.5)
    for place, value in zip(ratio[~shown], mean[~shown], strict=True):
        bottom = axes.get_ylim()[0]
        axes.annotate(
            f"{value:.0f} %",
            (place, bottom),
            (0, 22),
            textcoords="offset points",
            ha="center",
            color=colour,
            arrowprops={"arrowstyle": "->", "color": colour},
        )
    axes.set_xlim(0, 1.05 * ratio.max())
    axes.set_xlabel("threshold / mean magnitude")
    axes.set_ylabel("test accuracy (%)", color=colour)
    other = axes.twinx()
    other.plot(errors["ratio"], errors["error"], ".--", color=COLORS["paper"], linewidth=1)
    other.set_ylabel("relative squared error (dashed)", color=COLORS["paper"])
    other.spines["right"].set_visible(True)
    other.set_ylim(bottom=0)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def accuracy_by_sparsity(
    runs: pd.DataFrame, level: float, *, title: str = "How many zeros does a network bear?"
) -> Figure:
    """Test accuracy of TTQ against the share of zeros, mean and 95 % interval over seeds.

    Args:
        runs: one row a run, with columns ``share`` (percent of zeros) and ``accuracy`` (percent).
        level: accuracy of the float network, a dashed line.
    """
    groups = runs.groupby("share")["accuracy"].apply(list)
    found = [interval(values) for values in groups]
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    axes.axhline(level, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1, label="float")
    means, halves = [mean for mean, _ in found], [half for _, half in found]
    axes.errorbar(groups.index, means, halves, color=COLORS["ttq"], marker=MARKERS["ttq"], capsize=2.5, label="TTQ")
    axes.set(xlabel="zeros in every layer (%)", ylabel="test accuracy (%)", title=title)
    axes.legend()
    return figure
