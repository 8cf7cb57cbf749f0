"""Forest plots: a row for each thing measured, its mean and its interval (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewbits.evidence import interval
from fewbits.plots.theme import COLORS, GRID, MARKERS, NEUTRALS, WIDTH, text_color


@dataclass(frozen=True)
class Row:
    """What one row of a forest plot shows. Rows of one panel with the same name share a line, one above the other.

    Attributes:
        name: as a reader knows it ("DoReFa-Net, 2 bits", not a key of a table).
        runs: every run becomes a faint dot, below their mean and its 95 % interval. Or
        ends: low end, mean and high end, where they are known already; a mean alone is three equal numbers.
        method: name in `COLORS`, for colour and marker. Leave it out for what is no method.
        color, marker: one of `NEUTRALS`, and any marker, of a row without a method.
        hollow: white inside, for what was not measured here (a paper's number) or is of another kind.
        note: short text in a column to the right, such as the size of a file.
    """

    name: str
    runs: Sequence[float] = ()
    ends: tuple[float, float, float] | None = None
    method: str | None = None
    color: str = NEUTRALS[0]
    marker: str = "o"
    hollow: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if (self.ends is None) == (len(self.runs) == 0):
            raise ValueError(f"row {self.name!r} needs runs or ends, and not both")

    @property
    def style(self) -> dict[str, Any]:
        """``color``, ``marker`` and ``markerfacecolor`` of the mean."""
        color, marker = (
            (self.color, self.marker) if self.method is None else (COLORS[self.method], MARKERS[self.method])
        )
        return {"color": color, "marker": marker, "markerfacecolor": "white" if self.hollow else color}

    @property
    def low_mean_high(self) -> tuple[float, float, float]:
        """The ends of the interval and the mean; NaN at both ends for a single run, which has no interval."""
        if self.ends is not None:
            return self.ends
        mean, half = interval(list(self.runs))
        return mean - half, mean, mean + half


def forest(
    panels: Mapping[str, Sequence[Row]],
    *,
    xlabel: str,
    title: str,
    reference: float | str | None = None,
    note: str = "",
) -> Figure:
    """A panel for each entry, with the rows from the top; all panels share their names, in the order of the first.

    Args:
        panels: by title ("" for none), the rows.
        xlabel: of every panel, with its unit.
        title: of the figure.
        reference: where a dashed line goes down the panel: a number, or the name of a row, for its mean.
        note: head of the column of notes.
    Raises:
        ValueError: a panel has other names than the first, or none is called as ``reference`` says.
    """
    names = list(dict.fromkeys(row.name for row in next(iter(panels.values()))))
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, forest_height(len(names))), sharey=True, squeeze=False)
    for axis, (heading, rows) in zip(axes.flat, panels.items(), strict=True):
        if set(names) != {row.name for row in rows}:
            raise ValueError(f"panel {heading!r} must have the rows {', '.join(names)}")
        draw_rows(axis, rows, names, note=note)
        if reference is not None:
            draw_reference(axis, rows, reference)
        axis.set(xlabel=xlabel, title=heading)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def forest_height(rows: int) -> float:
    """Inches of a figure with this many rows."""
    return 1.1 + 0.26 * rows


def draw_rows(axes: Axes, rows: Sequence[Row], names: Sequence[str] | None = None, *, note: str = "") -> None:
    """Draw the rows of a forest plot into axes of your own; ``names`` is their order, from the top."""
    names = list(dict.fromkeys(row.name for row in rows)) if names is None else list(names)
    for place, name in enumerate(names):
        axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
        same = [row for row in rows if row.name == name]
        for rank, row in enumerate(same):
            height = place + (rank - (len(same) - 1) / 2) * 0.5 / max(len(same) - 1, 1)
            low, mean, high = row.low_mean_high
            axes.plot(row.runs, [height] * len(row.runs), ".", color=row.style["color"], alpha=0.35, markersize=4)
            reach = [[mean - low], [high - mean]]
            axes.errorbar([mean], [height], xerr=reach, capsize=2.5, elinewidth=1.2, zorder=3, **row.style)
            if row.note:
                colour = text_color(row.style["color"])
                axes.annotate(
                    row.note,
                    (1, height),
                    (6, 0),
                    xycoords=axes.get_yaxis_transform(),
                    textcoords="offset points",
                    va="center",
                    color=colour,
                )
    if note and any(row.note for row in rows):
        axes.annotate(note, (1, 1), (6, 3), xycoords="axes fraction", textcoords="offset points", va="bottom")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def draw_reference(axes: Axes, rows: Sequence[Row], reference: float | str) -> None:
    """A dashed line down the axes, at a number or at the mean of the row with a name."""
    if isinstance(reference, str):
        means = [row.low_mean_high[1] for row in rows if row.name == reference]
        if not means:
            raise ValueError(f"no row is called {reference!r}")
        reference = means[0]
    axes.axvline(reference, color=COLORS["paper"], linestyle=(0, (4, 3)), linewidth=1, zorder=1)
