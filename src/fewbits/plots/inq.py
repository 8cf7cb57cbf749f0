"""Figures of incremental network quantization (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from torch import Tensor

from fewbits.plots.forest import Row, draw_reference, draw_rows, forest_height
from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, MARKERS, NAMES, NEUTRAL_MARKERS, NEUTRALS, SMALL, WIDTH, text_color

_FROZEN, _FREE = COLORS["inq"], NEUTRALS[0]


def power_label(value: float) -> str:
    """``value``, 0 or ± a power of two, as a reader writes it: "−1/8", "0", "2"."""
    if value == 0:
        return "0"
    size = f"{abs(value):g}" if abs(value) >= 1 else f"1/{1 / abs(value):g}"
    return f"−{size}" if value < 0 else size


def weight_paths(
    weights: Tensor, frozen: Tensor, lowest: int, highest: int, *, names: bool = False, title: str
) -> Figure:
    """A line for each weight against the training step: thin while it is trained, thick from its freezing on.

    The axis is logarithmic away from 0, so that powers of two are evenly spaced.

    Args:
        weights: (T, n), the weights at each step.
        frozen: (T, n) bool. Where weights become frozen, a vertical line says which share is frozen then.
        lowest, highest: exponents of the powers of two with a tick; below the lowest the axis is linear.
        names: write the first value of each weight at its beginning.
    """
    values, mask = weights.detach().double().numpy(), frozen.numpy()
    steps = np.arange(len(values))
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8))
    powers = [2.0**exponent for exponent in range(lowest, highest + 1)]
    ticks = [*(-power for power in reversed(powers)), 0, *powers]
    axis.set_yscale("symlog", base=2, linthresh=powers[0], linscale=0.8)
    for value in ticks:
        axis.axhline(value, color=GRID, linewidth=0.8, zorder=0)
    for path, fixed in zip(values.T, mask.T, strict=True):
        begin = int(fixed.argmax()) if fixed.any() else len(path)
        jump = begin if 0 < begin < len(path) else None  # onto its codeword, drawn as an upright
        free = path[:begin] if jump is None else np.r_[path[:begin], path[begin - 1]]
        axis.plot(steps[: len(free)], free, color=_FREE, linewidth=1.2 if names else 0.6)
        if jump is not None:
            axis.plot([jump, jump], path[jump - 1 : jump + 1], color=_FROZEN, linewidth=0.8)
        axis.plot(steps[begin:], path[begin:], color=_FROZEN, linewidth=2.2 if names else 1.4, zorder=3)
    shares = mask.mean(1)
    for step in (np.flatnonzero(np.diff(shares)) + 1).tolist():
        axis.axvline(step, color=COLORS["paper"], linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axis.annotate(f"{100 * shares[step]:.3g} % frozen", (step, 1), (0, 3), ha="center", va="bottom", **place)
    axis.set_yticks(ticks, [power_label(value) for value in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set(xlabel="training step", ylabel="weight", xlim=(0, len(values) - 1))
    axis.set_xticks([])
    for value in values[0] if names else ():
        text = f"{value:.2f}".replace("-", "−")
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axis.annotate(text, (0, value), (6, 0), textcoords="offset points", va="center", fontsize=SMALL, bbox=ground)
    handles = [
        Line2D([], [], color=_FREE, linewidth=1, label="trained"),
        Line2D([], [], color=_FROZEN, linewidth=2.2, label="frozen on a power of two, or on 0"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def signal_to_noise(
    curves: Mapping[str, Mapping[int, float]], *, title: str = "From 5 bits on, INQ gains nothing"
) -> Figure:
    """Signal to quantization noise against bits, a line for each method.

    Args:
        curves: by method (of `COLORS`), decibels by bits.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8))
    ends = []
    for method, curve in curves.items():
        bits = sorted(curve)
        style: dict[str, Any] = {"color": COLORS[method], "marker": MARKERS[method]}
        axis.plot(bits, [curve[b] for b in bits], **style)
        ends.append(End(bits[-1], curve[bits[-1]], NAMES[method], style))
    axis.set_xticks(sorted({b for curve in curves.values() for b in curve}))
    axis.set(xlabel="bits per weight", ylabel="signal to noise (dB)", ylim=(0, None))
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axis, ends)
    return figure


def accuracy_by_stage(
    frame: pd.DataFrame,
    by: str,
    start: Mapping[int, float],
    *,
    title: str = "Down at each freezing, up at each training",
) -> Figure:
    """Test accuracy after freezing and after training at each stage; a line for each value of ``by``.

    Thick lines are means over the seeds, thin ones the seeds.

    Args:
        frame: one row a stage and seed; columns ``by``, ``seed``, ``stage``, ``fraction``, ``frozen`` and ``trained``
            (in percent; NaN after the last stage). All lines have the same fractions. The first value of ``by`` is INQ.
        start: by seed, the accuracy of the network before INQ, in percent.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4))
    styles: list[dict[str, Any]] = [
        {"color": COLORS["inq"], "marker": MARKERS["inq"]},
        *({"color": color, "marker": marker} for color, marker in zip(NEUTRALS, NEUTRAL_MARKERS, strict=True)),
    ]
    ends = []
    for (name, rows), style in zip(frame.groupby(by, sort=False), styles, strict=False):
        runs = []
        for seed, run in rows.groupby("seed"):
            stages = run.sort_values("stage")[["frozen", "trained"]].to_numpy().flatten()[:-1]
            runs.append(np.r_[start[seed], stages])  # nothing is trained after the last stage
            axis.plot(runs[-1], color=style["color"], linewidth=0.6, alpha=0.5)
        mean = np.mean(runs, axis=0)
        axis.plot(mean, linewidth=2, **style)
        ends.append(End(len(mean) - 1, mean[-1], str(name), style))
    fractions = sorted(frame.fraction.unique())
    steps = [step for fraction in fractions for step in (f"freeze\n{100 * fraction:g} %", "train")]
    axis.set_xticks(range(len(steps)), ["float", *steps[:-1]])
    axis.set(xlim=(-0.2, len(steps) - 0.9), xlabel="step of INQ", ylabel="test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    label_ends(axis, ends)
    return figure


def scores(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    lowest: Mapping[str, float],
    *,
    reference: float,
    title: str = "Each choice changed in turn",
) -> Figure:
    """A panel for each entry, a row for each setting: test accuracy by seed, mean and 95 % interval.

    Args:
        panels: by title, and by name, one accuracy a seed in percent. The longest panel has all names, in the order
            of the rows.
        lowest: by title, where its axis begins; a mean below is written at the edge, with an arrow, and an interval
            that goes on below ends in one.
        reference: accuracy of the float networks, a dashed line.
    """
    longest = max(panels.values(), key=len)
    names = list(longest)
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, forest_height(len(names))), sharey=True, squeeze=False)
    for axis, (heading, results) in zip(axes.flat, panels.items(), strict=True):
        rows = [Row(name, list(values), method="inq") for name, values in results.items()]
        shown = [row for row in rows if row.low_mean_high[1] >= lowest[heading]]
        draw_rows(axis, shown, names)
        draw_reference(axis, shown, reference)
        axis.set(xlabel="test accuracy (%)", title=heading, xlim=(lowest[heading], 100))
        axis.set_xticks([lowest[heading], (lowest[heading] + 100) / 2])  # one at 100 would touch that of the next panel
        for row in rows:
            if row in shown and row.low_mean_high[0] < lowest[heading]:
                axis.plot(
                    lowest[heading], names.index(row.name), "<", color=row.style["color"], markersize=5, clip_on=False
                )
            if row not in shown:
                text, place = f"◂ {row.low_mean_high[1]:.0f}", (lowest[heading], names.index(row.name))
                axis.annotate(text, place, (4, 0), textcoords="offset points", va="center", color=text_color(_FROZEN))
    figure.suptitle(title, x=0.01, ha="left")
    return figure
