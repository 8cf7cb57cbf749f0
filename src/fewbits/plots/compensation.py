"""Figures of rounding without training: what each form of each grid reaches, and errors within blocks."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from fewbits.plots.theme import COLORS, MARKERS, SMALL, WIDTH, text_color

# Form -> method in COLORS and MARKERS, and its name in the legend.
FORMS = {
    "nearest": ("ptq", "nearest point"),
    "nearest + means": ("ptq per tensor", "nearest, means put back"),
    "AdaRound": ("xnor-net", "AdaRound"),
    "GPTQ": ("uniform", "GPTQ"),
    "GPTQ + means": ("binarynet", "GPTQ, means put back"),
    "trained": ("inq", "trained"),
}


def grids_and_forms(frame: pd.DataFrame, *, title: str = "Rounding without training, and with it") -> Figure:
    """A row for each grid with a marker for each form, and what the row takes, in columns beside it.

    Args:
        frame: ``grid``, ``form`` (a key of `FORMS`), ``accuracy``, ``low`` and ``high`` in percent, ``bytes``,
            ``tables`` (look-up tables per product; NaN if unknown). Grids are drawn from the top.
    Raises:
        ValueError: a form is unknown.
    """
    if unknown := sorted(set(frame.form) - set(FORMS)):
        raise ValueError(f"no marker for {unknown}; the forms are {', '.join(FORMS)}")
    grids = list(dict.fromkeys(frame.grid))
    figure, axes = plt.subplots(figsize=(WIDTH, 1.4 + 0.36 * len(grids)))
    for form, (style, label) in FORMS.items():
        rows = frame[frame.form == form]
        if not len(rows):
            continue
        places = [grids.index(grid) for grid in rows.grid]
        spread = [rows.accuracy - rows.low, rows.high - rows.accuracy]
        axes.errorbar(
            rows.accuracy, places, xerr=np.array(spread), fmt=MARKERS[style], color=COLORS[style], label=label,
            elinewidth=1, markersize=6, markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    for place, grid in enumerate(grids):
        rows = frame[frame.grid == grid]
        tables = rows.tables.iloc[0]
        size = f"{rows.bytes.iloc[0] / 1000:.0f}"
        beside = (size, "–" if np.isnan(tables) else f"{tables:,.0f}")
        for offset, text in zip((1.08, 1.22), beside, strict=True):
            axes.text(
                offset, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=SMALL
            )
    for offset, text in zip((1.08, 1.22), ("kB", "LUTs per\nproduct"), strict=True):
        axes.text(offset, -0.75, text, transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=SMALL)
    axes.set(yticks=range(len(grids)), yticklabels=grids, ylim=(len(grids) - 0.5, -0.6), xlabel="test accuracy (%)")
    axes.grid(axis="y", linewidth=0.4)
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def errors_in_blocks(
    x: Tensor, forms: Mapping[str, tuple[str, Tensor]], *, title: str = "Who pays for an outlier?"
) -> Figure:
    """The magnitude of each number of a row, and below it the error that each form makes of it.

    Args:
        x: (n,) the numbers, in their order.
        forms: by label, a name in `COLORS` and what became of the numbers, (n,).
    """
    figure, rows = plt.subplots(1 + len(forms), 1, figsize=(WIDTH, 1.2 * (1 + len(forms)) + 0.3), sharex=True)
    rows[0].bar(range(len(x)), x.abs().numpy(), color=COLORS["paper"], width=1.0)
    rows[0].set(ylabel="|w|")
    limit = max(float((rounded - x).abs().max()) for _, rounded in forms.values())
    for axes, (label, (style, rounded)) in zip(rows[1:], forms.items(), strict=True):
        axes.bar(range(len(x)), (rounded - x).abs().numpy(), color=COLORS[style], width=1.0)
        axes.set(ylim=(0, 1.35 * limit), ylabel="error")
        axes.annotate(
            label, (0.99, 0.9), xycoords="axes fraction", ha="right", va="top", color=text_color(COLORS[style])
        )
    rows[-1].set(xlabel="place in the row")
    figure.suptitle(title, x=0.01, ha="left")
    return figure
