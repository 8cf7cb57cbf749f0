"""Figures of ternary weights: which weights become zero, and what the threshold costs (see `fewbits.plots`)."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.evidence import interval
from fewbits.plots.forest import Row, forest
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, MARKERS, NAMES, NEUTRALS, OUTLINE, PALE, WIDTH, text_color

# What a reader sees in place of the method names of the table `ternary_runs`, and the method of its colour.
METHODS = {
    "float": ("float", "float"),
    "bwn": ("binary, with a scale", "xnor-net"),
    "twn": ("TWN", "twn"),
    "twn per channel": ("TWN, per channel", "twn"),
    "ttq": ("TTQ", "ttq"),
    "ttq, fitted start": ("TTQ, fitted start", "ttq"),
    "ttq, fitted start, threshold 0.3": ("TTQ, fitted start, threshold 0.3", "ttq"),
    "exact ternary": ("exact ternary", "exact ternary"),
    "exact per channel": ("exact, per channel", "exact ternary"),
    "exact, power of two": ("exact, scale a power of two", "exact ternary"),
}
FROM_FLOAT = {
    "float, from float": ("float, trained further", "float"),
    "bwn, from float": ("binary, with a scale", "xnor-net"),
    "twn, from float": ("TWN", "twn"),
    "ttq, from float": ("TTQ", "ttq"),
    "exact, from float": ("exact ternary", "exact ternary"),
}
# The data set and the method name of each row, and what a reader sees.
SIGNS = {
    ("mnist5k", "ttq"): "mnist5k, start at 1",
    ("mnist5k", "ttq, fitted start"): "mnist5k, fitted start",
    ("mnist", "ttq, fitted start"): "MNIST, fitted start",
}


def accuracy_rows(
    frames: Mapping[str, pd.DataFrame],
    methods: Mapping[str, tuple[str, str]],
    *,
    title: str,
    reference: str | None = "float",
) -> Figure:
    """A panel for each data set, a row for each method: runs, mean and 95 % interval.

    Args:
        frames: by the name of the data set, one row a run with columns ``method`` and ``accuracy`` (percent).
        methods: which to draw, from the top: see `METHODS` and `FROM_FLOAT`.
        reference: readable name of the row whose mean becomes a dashed line, or None.
    Raises:
        ValueError: a panel lacks a method.
    """
    panels: dict[str, list[Row]] = {}
    for data, frame in frames.items():
        for key, (name, style) in methods.items():
            runs = frame.loc[frame["method"] == key, "accuracy"].tolist()
            if not runs:
                raise ValueError(f"{data} has no row of {key!r}")
            panels.setdefault(data, []).append(Row(name, runs, method=style))
    return forest(panels, xlabel="test accuracy (%)", title=title, reference=reference)


def runs_by_sign(frame: pd.DataFrame, *, title: str = "TTQ with the right sign and with the printed one") -> Figure:
    """Every run, in a row for each of `SIGNS`: filled with the right sign, below it hollow with the printed one.

    Runs succeed or fail: a mean would show neither. A dashed line is guessing.

    Args:
        frame: one row a run, columns ``data``, ``method`` and ``accuracy`` (percent).
    Raises:
        ValueError: the frame lacks a method.
    """
    lanes = {"right sign": ("", -0.2, COLORS["ttq"]), "printed sign": (", printed sign", 0.2, "white")}
    runs = {}
    for row, (data, method) in enumerate(SIGNS):
        for name, (suffix, *_) in lanes.items():
            found = frame.loc[(frame["data"] == data) & (frame["method"] == method + suffix), "accuracy"]
            if found.empty:
                raise ValueError(f"{data} has no row of {method + suffix!r}")
            runs[row, name] = found
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
    axes.axvline(10, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate("guessing", (10, -0.5), (4, 0), color=text_color(COLORS["paper"]), **place)
    for (row, name), found in runs.items():
        _, aside, face = lanes[name]
        axes.axhline(row + aside, color=GRID, linewidth=0.8, zorder=0)
        style: dict[str, Any] = {"color": COLORS["ttq"], "markerfacecolor": face, "markersize": 7}
        axes.plot(found, [row + aside] * len(found), MARKERS["ttq"], **style)
        if row == 0:
            axes.annotate(name, (found.min(), row + aside), (-9, 0), ha="right", path_effects=OUTLINE, **place)
    axes.set_yticks(range(len(SIGNS)), list(SIGNS.values()))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel="test accuracy (%)", xlim=(0, 100), ylim=(len(SIGNS) - 0.5, -0.7))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


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
    bars.bar(kept, magnitude, color=PALE, width=0.7)
    bars.set_ylabel("magnitude")
    curve.plot(kept, error, ".-", color=NEUTRALS[0])
    for name, count in counts.items():
        scale = magnitude[:count].mean()
        style = {"color": COLORS[name], "linewidth": 1.2}
        bars.plot([0.6, count + 0.4], [scale, scale], **style)
        bars.annotate(f"scale of {NAMES[name]}: {scale:.2f}", (count + 0.45, scale), va="center", color=COLORS[name])
        curve.plot(count, error[count - 1], marker=MARKERS[name], markersize=8, color=COLORS[name], linestyle="none")
        curve.annotate(
            f"{NAMES[name]}: {count} weights, error {error[count - 1]:.2f}",
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
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    ratios = np.linspace(0, 1.9, 96)
    ends = []
    for (name, (distribution, best)), colour in zip(distributions.items(), NEUTRALS, strict=False):
        mean, square = distribution.mean(), distribution.expect(lambda w: w**2)

        def error(ratio, distribution=distribution, mean=mean, square=square):
            threshold = ratio * mean
            above = distribution.sf(threshold)
            return 1 - distribution.expect(lambda w: w, lb=threshold) ** 2 / (above * square) if above > 0 else np.nan

        curve = [error(ratio) for ratio in ratios]
        axes.plot(ratios, curve, color=colour)
        axes.plot(best, error(best), "o", color=colour, markersize=7)
        ends.append(End(ratios[-1], curve[-1], f"{name}: best {best:.3f}", {"color": colour}))
    axes.axvline(rule, color=COLORS["twn"], linestyle=(0, (4, 3)), linewidth=1.2)
    axes.set(xlabel="threshold / mean magnitude", ylabel="relative squared error", xlim=(0, ratios[-1]), ylim=(0, 0.9))
    axes.annotate(f"TWN: {rule}", (rule, 0.9), (5, -4), textcoords="offset points", va="top", color=COLORS["twn"])
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def accuracy_by_ratio(
    frame: pd.DataFrame, errors: pd.DataFrame, *, floor: float = 90, title: str = "Threshold, accuracy and error"
) -> Figure:
    """Test accuracy of trained networks, and below it the error of float weights, against the same threshold.

    Args:
        frame: columns ``ratio`` (threshold / mean magnitude), ``seed``, ``accuracy`` (percent).
        errors: columns ``ratio`` and ``error`` (relative squared error).
        floor: mean accuracies below it become an arrow with the number, so that the others keep their scale.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 4.4), sharex=True, height_ratios=[1.2, 1])
    low = {ratio: runs for ratio, runs in frame.groupby("ratio")["accuracy"] if runs.mean() < floor}
    shown = frame[~frame["ratio"].isin(list(low))]
    _draw_runs(above, shown, "ratio", "twn")
    for ratio, runs in low.items():
        above.annotate(
            f"{runs.mean():.0f} %",
            (ratio, above.get_ylim()[0]),
            (0, 24),
            textcoords="offset points",
            ha="center",
            color=COLORS["twn"],
            arrowprops={"arrowstyle": "->", "color": COLORS["twn"]},
        )
    above.set_ylabel("test accuracy (%)")
    below.plot(errors["ratio"], errors["error"], "o-", color=NEUTRALS[0])
    below.set(xlabel="threshold / mean magnitude", ylabel="relative squared error", ylim=(0, None))
    below.set_xlim(0, 1.05 * frame["ratio"].max())
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def accuracy_by_sparsity(runs: pd.DataFrame, level: float, *, title: str = "Accuracy by the share of zeros") -> Figure:
    """Test accuracy of TTQ against the share of zeros: every run, mean and 95 % interval.

    Args:
        runs: one row a run, with columns ``share`` (percent of zeros) and ``accuracy`` (percent).
        level: accuracy of the float network, a dashed line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.8))
    axes.axhline(level, color=COLORS["float"], linestyle=(0, (4, 3)), linewidth=1.2)
    _draw_runs(axes, runs, "share", "ttq")
    axes.set(xlabel="zeros in every layer (%)", ylabel="test accuracy (%)", xticks=sorted(runs["share"].unique()))
    last = runs["share"].max()
    mean = runs.loc[runs["share"] == last, "accuracy"].mean()
    ends = [End(last, level, "float", {"color": COLORS["float"]})]
    label_ends(axes, [*ends, End(last, mean, NAMES["ttq"], {"color": COLORS["ttq"], "marker": MARKERS["ttq"]})])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _draw_runs(axes: Axes, runs: pd.DataFrame, column: str, method: str) -> None:
    """At each value of ``column`` a dot for every run, and their mean with its 95 % interval; no line between them."""
    style: dict[str, Any] = {"color": COLORS[method], "marker": MARKERS[method]}
    axes.plot(runs[column], runs["accuracy"], ".", color=COLORS[method], alpha=0.35, markersize=4)
    for place, values in runs.groupby(column)["accuracy"]:
        mean, half = interval(list(values))
        axes.errorbar([place], [mean], [half], capsize=2.5, elinewidth=1.2, zorder=3, **style)
    axes.grid(axis="y", color=GRID)
