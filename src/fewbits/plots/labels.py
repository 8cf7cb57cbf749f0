"""Names written at the ends of lines, in place of a legend (see `fewbits.plots`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.optimize import isotonic_regression

from fewbits.plots.theme import OUTLINE, TEXT, text_color


@dataclass(frozen=True)
class End:
    """The end of a line, in the units of the axes, and the name to write there.

    ``style`` is what :meth:`matplotlib.axes.Axes.plot` takes for a marker: at least ``color``, and ``marker`` where the
    name gets one.
    """

    x: float
    y: float
    text: str
    style: Mapping[str, Any]


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write the name of each line at its end. Call it last: it keeps the limits that the axes have by then.

    Lines that end in the last tenth of the axes are named in the right margin, after their markers and one below the
    other; a line that ends earlier is named beside its end, where nothing else is drawn.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles the layout, so that data can be turned into pixels
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # what is drawn in the margin must not stretch the axes
    pt = figure.dpi / 72
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
    points = [axes.transData.transform((end.x, end.y)) for end in ends]
    last = axes.bbox.x0 + 0.9 * axes.bbox.width
    drawn = _drawn(axes)
    for end, point in zip(ends, points, strict=True):
        if point[0] < last:
            offset = _free_side((drawn - point) / pt, 0.3 * TEXT * len(end.text))
            axes.annotate(
                end.text,
                (end.x, end.y),
                offset,
                ha="center",
                color=text_color(end.style["color"]),
                path_effects=OUTLINE,
                **place,
            )

    margin = sorted(
        ((point[1], rank, end) for rank, (end, point) in enumerate(zip(ends, points, strict=True)) if point[0] >= last),
        key=lambda entry: entry[:2],
    )
    heights = _spread(np.array([y for y, *_ in margin]), 1.3 * TEXT * pt, axes.bbox.y0, axes.bbox.y1)
    for height, (*_, end) in zip(heights, margin, strict=True):
        at = (1.015, (height - axes.bbox.y0) / axes.bbox.height)
        axes.plot(*at, transform=axes.transAxes, clip_on=False, **{"marker": "_", **end.style, "linestyle": "none"})
        axes.annotate(end.text, at, (6, 0), xycoords="axes fraction", color=text_color(end.style["color"]), **place)


def _spread(heights: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """The (n,) sorted heights, moved as little as possible (in squares): ``gap`` apart, from ``low`` to ``high``."""
    if len(heights) == 0:
        return heights
    # Less its share of the gaps, no height may be below the last: that is isotonic regression. Clipping its solution
    # gives the one between two bounds.
    own = gap * np.arange(len(heights))
    free = isotonic_regression(heights - own).x
    return free.clip(low, max(low, high - own[-1])) + own


def _drawn(axes: Axes) -> np.ndarray:
    """(n, 2) points on everything that lines and error bars cover, in pixels."""
    paths = [np.asarray(line.get_transform().transform(line.get_xydata())) for line in axes.lines]
    bars = (lines for lines in axes.collections if isinstance(lines, LineCollection))
    paths += [axes.transData.transform(bar) for lines in bars for bar in lines.get_segments()]
    return np.concatenate([_points_along(path) for path in paths if len(path) > 0])


def _free_side(drawn: np.ndarray, half_width: float) -> tuple[float, float]:
    """Where to centre a text of width ``2 * half_width`` near (0, 0), clear of the (n, 2) points drawn; all in pt."""

    def clearance(centre: tuple[float, float]) -> float:
        outside = np.abs(drawn - centre) - [half_width, TEXT / 2]
        return np.hypot(*outside.clip(0).T).min()

    beside = half_width + 9
    # Nearest first; where the page is crowded, the place that hides least.
    places = [(beside, 0), (0, -14), (0, 14), (beside, -10), (beside, 10), (beside, -20), (0, -26), (0, 26)]
    return next((place for place in places if clearance(place) >= 2), max(places, key=clearance))


def _points_along(corners: np.ndarray) -> np.ndarray:
    """(n, 2) points along the path through (m, 2) corners, 20 to a segment."""
    steps = np.linspace(0, len(corners) - 1, 20 * len(corners))
    return np.stack([np.interp(steps, range(len(corners)), corners[:, k]) for k in (0, 1)], axis=1)
