"""Figures of low-bit gradients and networks: what rounding does, and what it costs (see `fewbits.plots`)."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.forest import Row, forest
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, NEUTRALS, OUTLINE, PALE, WIDTH, text_color

# How gradients are rounded: colour, marker, line, and what it is called in a figure.
_ROUNDINGS: dict[str, tuple[str, str, Any, str]] = {
    "noise": (COLORS["dorefa"], "P", "-", "with noise"),
    "nearest": (NEUTRALS[3], "o", (0, (4, 2)), "nearest, no 0"),
    "zero": (COLORS["uniform"], "s", (0, (1, 1)), "nearest, with 0"),
}
_LOST = (0, 1, 3, 10, 30, 80)  # ticks of an axis that is linear up to 1 point and logarithmic above


def rounded_numbers(
    x: Tensor, draws: Mapping[str, Tensor], *, title: str = "Noise trades a bias for a variance"
) -> Figure:
    """What a number becomes, one column for each way to round: mean and spread above, mean squared error below.

    The dotted diagonal is "unchanged". The squared error is the square of the bias plus the variance.

    Args:
        x: (n,) numbers in [-1, 1], in increasing order.
        draws: "noise", "nearest" or "zero" to (draws, n) results; one draw where nothing is random.
    """
    figure, axes = plt.subplots(
        2, len(draws), figsize=(WIDTH, 4.3), sharex=True, sharey="row", squeeze=False, height_ratios=[1.7, 1]
    )
    for (above, below), (rounding, results) in zip(axes.T, draws.items(), strict=True):
        colour, _, _, name = _ROUNDINGS[rounding]
        mean, spread = results.mean(0), results.std(0, correction=0)
        above.plot(x, x, color=COLORS["paper"], linestyle=":", linewidth=1)
        above.fill_between(x, mean - spread, mean + spread, color=PALE, linewidth=0)
        above.plot(x, mean, color=colour)
        above.set_title(name)
        bias = (mean - x).square()
        below.fill_between(x, 0, bias, color=colour, alpha=0.6, linewidth=0)
        below.fill_between(x, bias, bias + spread.square(), color=PALE, linewidth=0)
        below.set(xlabel="gradient / m", xlim=(-1, 1), xticks=(-1, 0, 1))
        for what, size, place in (("bias²", bias, 0.30), ("variance", spread.square(), 0.19)):
            if size.max() > 0.01:
                ink = text_color(colour if what == "bias²" else COLORS["paper"])
                below.annotate(what, (0, place), ha="center", va="center", color=ink)
    first = next(iter(draws))
    if draws[first].std(0, correction=0).max() > 0.01:
        text = "grey: ± one standard\ndeviation of a draw"
        axes[0, 0].annotate(text, (0.97, 0.03), xycoords="axes fraction", ha="right", color=text_color(COLORS["paper"]))
    axes[0, 0].set(ylabel="result / m", yticks=(-1, 0, 1))
    axes[1, 0].set(ylabel="squared error / m²", ylim=(0, 0.36))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def relative_sizes(
    sizes: Mapping[str, Tensor], smallest: Mapping[int, float], *, title: str = "Most gradients are small"
) -> Axes:
    """Share of the gradients that are at most so large, a curve for each layer.

    Args:
        sizes: by the name of the layer, magnitudes divided by the largest of their sample, any shape.
        smallest: by bits, the smallest magnitude on the grid: a vertical line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    for bits, value in smallest.items():
        axes.axvline(value, color=PALE, linewidth=1, zorder=0)
        place: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "ha": "center"}
        axes.annotate(f"{bits} bits", (value, 100), (0, 2), color=COLORS["paper"], **place)
    styles = zip(NEUTRALS, ("-", (0, (5, 2)), (0, (1.5, 1.5))), strict=False)
    curves = []
    for (name, values), (colour, dashes) in zip(sizes.items(), styles, strict=False):
        ordered = np.sort(values.flatten().numpy())
        shares = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
        axes.plot(ordered, shares, color=colour, linestyle=dashes)
        curves.append((ordered, name, colour))
    # The curves meet at the right and come close to each other: the last is named on its right, others on their left.
    curves.sort(key=lambda curve: np.median(curve[0]))
    for rank, (ordered, name, colour) in enumerate(curves, 1):
        height, side = (35, "left") if rank == len(curves) else (56, "right")
        axes.annotate(
            name,
            (np.percentile(ordered, height), height),
            (10, -4) if side == "left" else (-8, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            color=text_color(colour),
            path_effects=OUTLINE,
        )
    axes.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 100))
    axes.set(xlabel="size of a gradient, of the largest of its sample", ylabel="gradients that are smaller (%)")
    figure.suptitle(title, x=0.01, ha="left")
    return axes


def by_gradient_bits(frame: pd.DataFrame, *, ylabel: str, title: str, points_lost: bool = False) -> Axes:
    """A value against the bits of the gradients: every run as a dot, a line through the means for each way to round.

    Args:
        frame: columns ``rounding`` ("noise", "nearest", "zero"), ``bits`` and ``value``; one row a run.
        points_lost: the values are points of accuracy lost: linear up to 1, logarithmic above, 0 marked.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    if points_lost:
        axes.axhline(0, color=COLORS["paper"], linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.set_yscale("symlog", linthresh=1, linscale=0.6)
        axes.set_yticks(_LOST, [str(tick) for tick in _LOST])
        axes.minorticks_off()
    ends = []
    for rank, (rounding, rows) in enumerate(frame.groupby("rounding", sort=False)):
        colour, marker, line, name = _ROUNDINGS[str(rounding)]
        means = rows.groupby("bits")["value"].mean()
        aside = 0.06 * (rank - 1)  # so that equal values do not hide each other
        axes.plot(rows["bits"] + aside, rows["value"], ".", color=colour, markersize=4, alpha=0.5)
        axes.plot(means.index + aside, means, color=colour, marker=marker, linestyle=line, label=name)
        ends.append(End(means.index[-1] + aside, means.iloc[-1], name, {"color": colour, "marker": marker}))
    axes.set_xticks(sorted(frame["bits"].unique()))
    axes.set(xlabel="bits of the gradients", ylabel=ylabel)
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axes, ends)
    return axes


def losses_by_gradient_bits(frame: pd.DataFrame, *, title: str = "Without noise, a grid without 0 fails") -> Axes:
    """Points of accuracy lost against the bits of the gradients; weights and activations have 8 bits.

    Each run is compared with the one of its seed that does not round gradients.

    Args:
        frame: rows of ``data/results/low_bitwidth_cnn.csv``.
    """
    runs = frame[(frame["method"] == "dorefa") & (frame["weight_bits"] == 8)]
    unrounded = runs[runs["gradient_bits"] == 32].set_index("seed")["accuracy"]
    rounded = runs.dropna(subset="rounding").rename(columns={"gradient_bits": "bits"})
    rounded = rounded.assign(value=rounded["seed"].map(unrounded) - rounded["accuracy"])
    return by_gradient_bits(rounded, ylabel="points lost", title=title, points_lost=True)


def costs_of_settings(frame: pd.DataFrame, *, title: str = "What each setting costs") -> Figure:
    """Points of accuracy lost against float, a row for each number of bits and each start of DoReFa-Net.

    Gradients are rounded with noise. The setting of 2 bits for gradients is left out: it belongs to
    :func:`losses_by_gradient_bits`, and its loss would set the scale of all others.

    Args:
        frame: rows of ``data/results/low_bitwidth_cnn.csv``.
    """
    starts = {"scratch": "", "scratch, twice as long": ", 16 epochs", "float": ", float start"}
    floats = frame[frame["method"] == "float"].set_index("seed")["accuracy"]
    runs = frame[frame["method"].isin(["clipped", "dorefa"]) & (frame["gradient_bits"] > 2)]
    runs = runs[runs["rounding"].isna() | (runs["rounding"] == "noise")]
    bits = runs[["weight_bits", "activation_bits", "gradient_bits"]].astype(str).agg("/".join, axis=1)
    trained = "DoReFa-Net " + bits + runs["start"].map(starts)
    costs = runs.assign(
        setting=trained.mask(runs["method"] == "clipped", "float, clipped to [0, 1]"),
        method=runs["method"].replace("clipped", "float"),
        value=runs["seed"].map(floats) - runs["accuracy"],
    )
    return by_setting(costs, xlabel="points lost against float with ReLU", title=title, unit="points")


def costs_of_lstms(frame: pd.DataFrame, *, title: str = "What 4 bits cost the LSTM") -> Figure:
    """Bits per character that LSTMs of 4 bits take more than the float network of their seed, a row for each grid.

    Args:
        frame: rows of ``data/results/low_bitwidth_lstm.csv``.
    """
    names = {
        "qnn linear": "linear, one M",
        "qnn ap2": "powers of two (AP2), one M",
        "uniform": "linear, a real scale a row",
    }
    floats = frame[frame["method"] == "float"].set_index("seed")["bits_per_character"]
    runs = frame[(frame["bits"] == 4) & frame["method"].isin(names)]
    costs = runs.assign(
        setting=runs["method"].map(names),
        method=runs["method"].replace({"qnn linear": "qnn", "qnn ap2": "qnn"}),
        value=runs["bits_per_character"] - runs["seed"].map(floats),
    )
    return by_setting(costs, xlabel="bits per character more than float", title=title, unit="bits", digits=3)


def by_setting(frame: pd.DataFrame, *, xlabel: str, title: str, unit: str, digits: int = 1) -> Figure:
    """One row a setting, in the order of the frame: every seed as a small dot, mean and 95 % interval over seeds.

    Args:
        frame: columns ``setting``, ``method`` (a name in `COLORS`) and ``value``, a cost; one row a run. The
            line of no cost is dashed.
        unit: head of the column of means.
        digits: after the point of these means.
    """
    rows = [
        Row(
            str(setting),
            runs["value"].tolist(),
            method=runs["method"].iloc[0],
            note=f"{runs['value'].mean():+.{digits}f}".replace("-", "−"),
        )
        for setting, runs in frame.groupby("setting", sort=False)
    ]
    return forest({"": rows}, xlabel=xlabel, title=title, reference=0, note=unit)
