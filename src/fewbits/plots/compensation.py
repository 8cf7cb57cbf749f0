"""Figures of rounding without training: what each form of each grid reaches, and errors within blocks."""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.theme import COLORS, GRID, NEUTRALS, WIDTH, text_color

# Form -> colour, marker, name in the legend.
FORMS = {
    "nearest": (NEUTRALS[2], "o", "nearest point"),
    "nearest + means": (NEUTRALS[2], "s", "nearest, means put back"),
    "AdaRound": (NEUTRALS[1], "D", "AdaRound"),
    "GPTQ": (NEUTRALS[0], "^", "GPTQ"),
    "GPTQ + means": (NEUTRALS[3], "v", "GPTQ, means put back"),
    "trained": (COLORS["float"], "h", "trained"),
}
_NAMES = {"uniform 4": "uniform, 4 bits"}
# Of the numbers beside the rows: right end, heading, column, how it is written.
_BESIDE = (
    (0.18, "kB", "bytes", lambda bytes_: f"{bytes_ / 1000:.0f}"),
    (0.6, "LUTs per\nproduct", "tables", lambda tables: f"{tables:,.0f}"),
    (1.0, "minutes", "seconds", lambda seconds: "< 0.1" if seconds < 6 else f"{seconds / 60:.2g}"),
)


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
    size = (WIDTH, 1.6 + 0.3 * len(grids))
    figure, (axes, side) = plt.subplots(1, 2, figsize=size, width_ratios=[2.7, 1], sharey=True)
    side.axis("off")
    for form, (colour, marker, label) in FORMS.items():
        rows = frame[frame.form == form]
        if not len(rows):
            continue
        places = [grids.index(grid) for grid in rows.grid]
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
