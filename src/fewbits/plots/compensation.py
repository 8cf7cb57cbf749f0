"""Figures of rounding without training: what each form of each grid reaches, and errors within blocks."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from fewbits.plots.labels import End, label_ends
from fewbits.plots.theme import COLORS, GRID, NEUTRALS, OUTLINE, PALE, WIDTH, text_color

# Form -> colour, marker, name in the legend.
FORMS = {
    "nearest": (NEUTRALS[2], "o", "nearest point"),
    "nearest + means": (NEUTRALS[2], "s", "nearest, means put back"),
    "AdaRound": (NEUTRALS[1], "D", "AdaRound"),
    "GPTQ": (NEUTRALS[0], "^", "GPTQ"),
    "GPTQ + means": (NEUTRALS[3], "v", "GPTQ, means put back"),
    "trained": (COLORS["float"], "h", "trained"),
}
_NAMES = {
    "uniform 4": "uniform, 4 bits",
    "INQ": "powers of 2",
    "INQ, aligned": "powers of 2, aligned",
    "INQ, trained": "powers of 2, trained",
    "INQ, trained, mean-only": "powers of 2, mean only",
    "INQ, best": "powers of 2, best recipe",
}
_RESCALED = ("D", "white", "given order, new scales")
# Of the numbers beside the rows: right end, heading, column, how it is written.
_BESIDE = (
    (0.18, "kB", "bytes", lambda bytes_: f"{bytes_ / 1000:.0f}"),
    (0.6, "LUTs per\nproduct", "tables", lambda tables: f"{tables:,.0f}"),
    (1.0, "minutes", "seconds", lambda seconds: "< 0.1" if seconds < 6 else f"{seconds / 60:.2g}"),
)


def steps_of_gptq(states: Tensor, nearest: Tensor, errors: Sequence[float], *, title: str = "GPTQ, one row") -> Figure:
    """A panel for each step of GPTQ: the weight that is rounded, how far the others move, and last the nearest points.

    Args:
        states: (n + 1, n) a row of n weights at the start and after each step, in the order in which they are rounded.
        nearest: (n,) what they become if each is rounded by itself.
        errors: of the output, for GPTQ and for ``nearest``.
    """
    count = states.shape[1]
    figure, panels = plt.subplots(1, count + 1, figsize=(WIDTH, 2.7), sharey=True)
    for step, axes in enumerate(panels[:-1]):
        for place in range(count):
            _move(axes, place, states[step][place].item(), states[step + 1][place].item(), rounds=place == step)
        axes.set_title(f"round weight {step + 1}" + (f"\nerror {errors[0]:.2f}" if step == count - 1 else "\n"))
    for place, (start, end) in enumerate(zip(states[0].tolist(), nearest.tolist(), strict=True)):
        _move(panels[-1], place, start, end, rounds=True)
    panels[-1].set_title(f"or all to the nearest\nerror {errors[1]:.2f}")
    for axes in panels:
        axes.yaxis.set_major_locator(MultipleLocator(1))
        axes.grid(axis="y", color=GRID)
        axes.set_axisbelow(True)
        axes.set_xticks(range(count), [f"{place + 1}" for place in range(count)])
        axes.set(xlim=(-0.5, count - 0.1), xlabel="weight")
    panels[0].set(ylabel="value; lines: the grid", ylim=(min(0, states.min().item()) - 0.2, states.max().item() + 0.25))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _move(axes: Axes, place: int, start: float, end: float, *, rounds: bool) -> None:
    """An arrow from a hollow to a full marker: rounded to the grid (dark) or moved (pale); no arrow for what stays."""
    colour = NEUTRALS[3] if rounds else NEUTRALS[0]
    if abs(end - start) < 1e-9:
        axes.plot(place, end, "s" if end == round(end) else "o", color=PALE, markersize=7)
        return
    axes.plot(place, start, "o", color=colour, markerfacecolor="white", markersize=5)
    look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 3, "shrinkB": 1}
    axes.annotate("", (place, end), (place, start), arrowprops=look)
    axes.plot(place, end, "s" if rounds else "o", color=colour, markersize=7)
    text = f"{end:.0f}" if rounds else f"{end:.1f}"
    beside = {"textcoords": "offset points", "va": "center", "color": text_color(colour), "path_effects": OUTLINE}
    axes.annotate(text, (place, end), (7, 0), **beside)  # type: ignore[arg-type]


def error_by_column(
    curves: Mapping[str, Tensor], *, title: str = "A layer while its columns are rounded, one after the other"
) -> Figure:
    """The error of the output of a layer against the number of columns that are rounded, a line for each form.

    Args:
        curves: key of `FORMS` -> (columns + 1,) error in percent of the output's mean square, from no column to all.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    ends = []
    for form, curve in curves.items():
        colour, marker, name = FORMS[form]
        axes.plot(curve.numpy(), color=colour)
        ends.append(
            End(len(curve) - 1, curve[-1].item(), f"{name}: {curve[-1]:.1f} %", {"color": colour, "marker": marker})
        )
    axes.set(xlabel="columns rounded", ylabel="error of the output (%)", xlim=(0, len(curve) - 1), ylim=(0, None))
    label_ends(axes, ends)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def points_of_grids(grids: Mapping[str, Tensor], *, title: str = "Sixteen codes at most, three grids") -> Figure:
    """The levels of each grid on a line of its own, relative to its largest magnitude.

    Args:
        grids: name -> levels, in any order.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.4 * len(grids)))
    for place, levels in enumerate(grids.values()):
        axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
        relative = (levels / levels.abs().max()).unique().numpy()
        axes.vlines(relative, place - 0.25, place + 0.25, color=NEUTRALS[0], linewidth=1.6)
    axes.set_yticks(range(len(grids)), list(grids))
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(grids) - 0.5, -0.5), xlabel="level, relative to the largest")
    axes.spines["left"].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def orders(frame: pd.DataFrame, *, title: str = "Large inputs first") -> Figure:
    """A row for each grid: arrows from the accuracy in the given order to that with large inputs first.

    Args:
        frame: columns ``grid``, ``damping``, ``setting`` ("given", "activation", "rescale") and ``accuracy`` (percent).
            Two dampings, drawn one above the other, the larger one below.
    """
    wide = frame.pivot(index=["grid", "damping"], columns="setting", values="accuracy")
    grids = list(dict.fromkeys(wide.sort_values("activation", ascending=False).index.get_level_values("grid")))
    dampings = sorted(frame.damping.unique())
    figure, axes = plt.subplots(figsize=(WIDTH, 1.6 + 0.34 * len(grids)))
    for (grid, damping), row in wide.iterrows():
        rank = dampings.index(damping)
        place, colour = grids.index(grid) + 0.36 * rank - 0.18, NEUTRALS[3 * rank]
        look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 2, "shrinkB": 0}
        axes.annotate("", (row.activation, place), (row.given, place), arrowprops=look)
        axes.plot(row.given, place, "o", color=colour, markerfacecolor="white", markersize=5)
        axes.plot(row.activation, place, "o", color=colour, markersize=5)
        axes.plot(row.rescale, place, "D", color=colour, markerfacecolor="white", markersize=5)
    for rank, damping in enumerate(dampings):
        axes.plot([], [], "-", color=NEUTRALS[3 * rank], label=f"damping {damping:g}")
    for marker, face, label in (("o", "white", "given order"), ("o", "black", "large inputs first"), _RESCALED):
        axes.plot([], [], marker, color="black", markerfacecolor=face, label=label)
    axes.set_yticks(range(len(grids)), [_NAMES.get(grid, grid) for grid in grids])
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(grids) - 0.4, -0.6), xlabel="accuracy on held-out images (%)")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def grids_and_forms(frame: pd.DataFrame, *, title: str = "Rounding without training, and with it") -> Figure:
    """A row for each grid with a marker for each form, the most accurate grid at the top, and what it takes.

    Grids of powers of two (``INQ …``) have their names in INQ's colour. Numbers beside a row are those of its most
    accurate form; "–" stands for what is unknown.

    Args:
        frame: ``grid``, ``form`` (a key of `FORMS`), ``accuracy``, ``low`` and ``high`` in percent, ``bytes``,
            ``tables`` (look-up tables per product) and ``seconds``.
    Raises:
        ValueError: a form is unknown.
    """
    if unknown := sorted(set(frame.form) - set(FORMS)):
        raise ValueError(f"no marker for {unknown}; the forms are {', '.join(FORMS)}")
    grids = list(frame.groupby("grid", sort=False).accuracy.max().sort_values(ascending=False, kind="stable").index)
    size = (WIDTH, 1.6 + 0.34 * len(grids))
    figure, (axes, side) = plt.subplots(1, 2, figsize=size, width_ratios=[2.6, 1], sharey=True)
    side.axis("off")
    for row, grid in enumerate(grids):
        reached = frame[frame.grid == grid].accuracy
        axes.plot([reached.min(), reached.max()], [row, row], color=PALE, linewidth=4, solid_capstyle="round", zorder=1)
    lanes = pd.concat([_lanes(rows.accuracy) for _, rows in frame.groupby("grid")])
    for form, (colour, marker, label) in FORMS.items():
        rows = frame[frame.form == form]
        if not len(rows):
            continue
        places = [grids.index(grid) + lanes[at] for at, grid in rows.grid.items()]
        spread = [rows.accuracy - rows.low, rows.high - rows.accuracy]
        look = {"color": colour, "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.5}
        axes.errorbar(rows.accuracy, places, xerr=spread, fmt=marker, label=label, elinewidth=1, **look)
    for place, heading, column, written in _BESIDE:
        side.text(place, -0.7, heading, va="bottom", ha="right")
        for row, grid in enumerate(grids):
            rows = frame[frame.grid == grid]
            value = rows.loc[rows.accuracy.idxmax(), column]
            side.text(place, row, "–" if math.isnan(value) else written(value), va="center", ha="right")
    axes.set(ylim=(len(grids) - 0.5, -0.6), xlabel="test accuracy (%)")
    axes.set_yticks(range(len(grids)), [_NAMES.get(grid, grid) for grid in grids])
    for name, grid in zip(axes.get_yticklabels(), grids, strict=True):
        if grid.startswith("INQ"):
            name.set_color(text_color(COLORS["inq"]))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _lanes(accuracies: pd.Series, apart: float = 2.5) -> pd.Series:
    """How far above or below its row each marker goes, so that those within ``apart`` points do not hide each other."""
    free = {0.0: -math.inf, -0.3: -math.inf, 0.3: -math.inf}  # where the last marker of each lane is
    found = {}
    for at, accuracy in accuracies.sort_values(kind="stable").items():
        lane = next((lane for lane, last in free.items() if accuracy - last >= apart), min(free, key=lambda x: free[x]))
        free[lane], found[at] = accuracy, lane
    return pd.Series(found)


def errors_in_blocks(
    x: Tensor, forms: Mapping[str, Tensor], *, title: str = "Which weights lose precision to an outlier?"
) -> Figure:
    """The magnitude of each number of a row, and below it the error that each form makes of it, on one scale.

    Args:
        x: (n,) the numbers, in their order.
        forms: by label, what became of the numbers, (n,).
    """
    figure, rows = plt.subplots(1 + len(forms), 1, figsize=(WIDTH, 1.05 * (1 + len(forms)) + 0.3), sharex=True)
    rows[0].bar(range(len(x)), x.abs().numpy(), color=NEUTRALS[2], width=1.0)
    rows[0].set(ylabel="|w|")
    limit = max(float((rounded - x).abs().max()) for rounded in forms.values())
    for axes, (label, rounded) in zip(rows[1:], forms.items(), strict=True):
        axes.bar(range(len(x)), (rounded - x).abs().numpy(), color=NEUTRALS[0], width=1.0)
        axes.set(ylim=(0, 1.45 * limit), ylabel="error")
        axes.annotate(label, (0.99, 0.95), xycoords="axes fraction", ha="right", va="top")
    rows[-1].set(xlabel="place in the row")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
