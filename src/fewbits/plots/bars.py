"""Stacked bars: where time or energy goes (see `fewbits.plots`)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fewbits.plots.theme import PALE, WIDTH, shades


def stacked_bars(bars: Mapping[str, Mapping[str, float]], *, title: str, xlabel: str, unit: str) -> Figure:
    """A horizontal bar for each entry, its parts one after the other, with the total at its end.

    Args:
        bars: for each bar, its parts: label -> value, at least two labels in all. The same label has the same shade in
            all bars; the last label is pale.
        unit: of the values, written after each total.
    """
    labels = list(dict.fromkeys(label for parts in bars.values() for label in parts))
    colours = dict(zip(labels, [*reversed(shades(len(labels) - 1)), PALE], strict=True))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.42 * len(bars) + 1.3))
    for place, parts in enumerate(bars.values()):
        left = 0.0
        for label, value in parts.items():
            axes.barh(place, value, 0.66, left=left, color=colours[label], edgecolor="white")
            left += value
        axes.text(left, place, f" {left:.1f} {unit}", va="center")
    for label, colour in colours.items():
        axes.barh(0, 0, color=colour, label=label)
    axes.set(xlabel=xlabel, ylim=(len(bars) - 0.5, -0.5))
    axes.set_xlim(0, 1.14 * max(sum(parts.values()) for parts in bars.values()))
    axes.set_yticks(range(len(bars)), list(bars))
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2 if len(labels) == 4 else 3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
