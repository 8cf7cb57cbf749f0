"""What every figure of the book has in common, checked on the figure itself: `faults` lists what is wrong with one.

`watch` is a hook of matplotlib (``figure.hooks``): a figure that breaks a rule says so on stderr when it is printed, so
that a test run of the notebooks, which expects nothing there, fails with the fault as its message.
"""

import re
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection, LineCollection
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from fewbits.plots import COLORS, NEUTRALS, SIGN_MAP, SMALL, TEXT, WIDTH, WORD_COLORS, shades, text_color, theme

FONTS = {"DejaVu Sans", "DejaVu Sans Mono"}
MAPS = {SIGN_MAP.name, "Greys", "gray"}
BITS = re.compile(
    r"\s*(weight |activation )?bits\b(?! ×)|.*\bbits of (the )?(weight|activation|gradient)", re.IGNORECASE
)


def palette() -> set[str]:
    """All colours that a figure may have, besides shades and colours of signs; each also as dark as text needs."""
    drawn = {*COLORS.values(), *NEUTRALS, *WORD_COLORS.values(), theme.NEGATIVE, theme.POSITIVE, "black", "white"}
    drawn |= {theme.PALE, theme.GRID, rcParams["text.color"], rcParams["axes.edgecolor"]}
    return {to_hex(colour) for colour in drawn} | {to_hex(text_color(colour)) for colour in drawn}


def ramps() -> np.ndarray:
    """(n, 3) colours between the ends of the scales: shades, and the map of signs."""
    return np.concatenate([to_rgba_array(shades(257))[:, :3], SIGN_MAP(np.linspace(0, 1, 513))[:, :3]])


def faults(figure: Figure) -> list[str]:
    """All rules that a figure breaks, in words. Draws the figure."""
    figure.draw_without_rendering()
    texts = [text for text in shown(figure, Text) if text.get_text().strip()]
    found = [] if figure.get_figwidth() == WIDTH else [f"is {figure.get_figwidth():g} inches wide, not {WIDTH:g}"]
    found += [
        f"{text.get_text()!r} has {text.get_fontsize():g} points, not {TEXT} or {SMALL}"
        for text in texts
        if text.get_fontsize() not in (TEXT, SMALL)
    ]
    found += [
        f"{text.get_text()!r} is set in {text.get_fontname()}" for text in texts if text.get_fontname() not in FONTS
    ]
    found += strange_colours(figure)
    found += cut_off(figure, texts)
    found += overlapping(texts)
    found += [
        f"bits are logarithms already, and {axis.get_label_text()!r} takes their logarithm"
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if axis.get_scale() != "linear" and BITS.match(axis.get_label_text())
    ]
    return list(dict.fromkeys(found))


def shown(artist: Artist, kind: type) -> Iterator[Any]:
    """All visible artists of a kind, with their parents visible too; of an axis what it draws now."""
    if not artist.get_visible():
        return
    if isinstance(artist, kind):
        yield artist
    children = artist.get_children()
    if isinstance(artist, Axes) and not artist.axison:
        children = [child for child in children if not isinstance(child, Axis) and child not in artist.spines.values()]
    if isinstance(artist, Axis):
        low, high = sorted(artist.get_view_interval())
        within = [tick for tick in artist.get_major_ticks() + artist.get_minor_ticks() if low <= tick.get_loc() <= high]
        children = [artist.label, artist.offsetText, *within]
    for child in children:
        yield from shown(child, kind)


def strange_colours(figure: Figure) -> list[str]:
    """Colours of artists that belong to no set, whatever their transparency, and maps of colours that are not ours."""
    allowed, between = palette(), ramps()
    used: list[tuple[str, Any]] = []
    found = []
    for artist in shown(figure, Artist):
        what = type(artist).__name__.removesuffix("2D").lower()
        if isinstance(artist, ScalarMappable) and artist.get_array() is not None:
            array = artist.get_array()
            pictures = isinstance(artist, AxesImage) and np.ndim(array) == 3
            if not pictures and artist.get_cmap().name not in MAPS:
                found.append(f"colour map {artist.get_cmap().name!r}: use SIGN_MAP, shades or 'Greys'")
        elif isinstance(artist, Line2D):
            if artist.get_linestyle() not in ("None", "none", " ", ""):
                used.append((what, artist.get_color()))
            if artist.get_marker() not in ("None", "none", " ", "", None):
                used += [(what, artist.get_markerfacecolor()), (what, artist.get_markeredgecolor())]
        elif isinstance(artist, Collection):
            used += [(what, colour) for colour in (*artist.get_facecolor(), *artist.get_edgecolor())]
        elif isinstance(artist, Patch):
            used.append((what, artist.get_facecolor()))
            used += [(what, artist.get_edgecolor())] if artist.get_linewidth() else []
        elif isinstance(artist, Text) and artist.get_text().strip():
            used.append((f"text {artist.get_text()!r}", artist.get_color()))
    for what, colour in used:
        if isinstance(colour, str) and colour in ("none", "None"):
            continue
        alpha, rgb, named = to_rgba(colour)[3], to_rgba(colour)[:3], to_hex(colour)
        if alpha and named not in allowed and np.abs(between - np.array(rgb)).max(axis=1).min() > 0.01:
            found.append(f"{what} has the colour {named}, which is in no set of fewbits.plots")
    return found


def cut_off(figure: Figure, texts: list[Text]) -> list[str]:
    """Texts that the edge of the picture cuts off."""
    edge = figure.bbox.padded(1)
    boxes = [(text, Text.get_window_extent(text)) for text in texts]
    return [
        f"{text.get_text()!r} is cut off by the edge of the picture"
        for text, box in boxes
        if box.x0 < edge.x0 or box.y0 < edge.y0 or box.x1 > edge.x1 or box.y1 > edge.y1
    ]


def overlapping(texts: list[Text]) -> list[str]:
    """Pairs of texts that cover each other."""
    # A box is as high as the tallest letters of the font: what is written is lower, and two rows may come closer.
    # That of an annotation would hold its arrow too.
    boxes = [(text, Text.get_window_extent(text).padded(-1.5)) for text in texts]
    return [
        f"{first.get_text()!r} and {second.get_text()!r} overlap"
        for (first, one), (second, other) in combinations(boxes, 2)
        if one.overlaps(other)
    ]


def struck_through(figure: Figure) -> list[str]:
    """Texts within axes that a line, a marker or the end of a bar runs through, unless they have an outline. Draws.

    Not one of the `faults`: a line of `GRID` or a mark of a scale may run through a text.
    """
    figure.draw_without_rendering()
    found = []
    for axes in figure.axes:
        paths = [artist.get_transform().transform_path(artist.get_path()) for artist in (*axes.lines, *axes.patches)]
        for lines in (lines for lines in axes.collections if isinstance(lines, LineCollection)):
            paths += [lines.get_transform().transform_path(path) for path in lines.get_paths()]
        for text in axes.texts:
            box = Text.get_window_extent(text).padded(-2)
            if not text.get_path_effects() and any(path.intersects_bbox(box, filled=False) for path in paths):
                found.append(text.get_text())
    return found


def watch(figure: Figure) -> None:
    """Let a figure say what is wrong with it when it is printed."""
    print_figure = figure.canvas.print_figure

    def checked(*args: Any, **options: Any) -> Any:
        printed = print_figure(*args, **options)
        # Only now: drawing settles the layout, and a second drawing may settle it a few pixels beside the first.
        for fault in faults(figure):
            print(f"figure: {fault}", file=sys.stderr)
        return printed

    figure.canvas.print_figure = checked  # type: ignore[method-assign]
