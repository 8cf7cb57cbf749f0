"""Every figure of the book: one theme, one colour, marker and name per method, axes with units.

Importing this package changes nothing: whoever draws calls :func:`use_theme` once, before the first figure. A function
draws, returns its figure or axes, and leaves ``plt.show()`` to the caller. Every figure is `WIDTH` inches wide, the
width of a page; its text has `TEXT` points, which the theme sets, and in crowded cells `SMALL`. Hues of `COLORS` belong
to methods, `NEUTRALS` to everything else, `NEGATIVE`, `POSITIVE` and `SIGN_MAP` to signs, `shades` to an order.
Names stand at the ends of lines (`label_ends`) rather than in a legend; means with intervals are rows of a `forest`.
Bits are logarithms already: their axis is linear.
"""

from fewbits.core.extras import extra

with extra("book"):
    from fewbits.plots.forest import Row, draw_reference, draw_rows, forest, forest_height
    from fewbits.plots.labels import End, label_ends
    from fewbits.plots.methods import error_accuracy_bytes
    from fewbits.plots.results import accuracy_by_bits, claims_at_a_glance
    from fewbits.plots.source import Source, show_source
    from fewbits.plots.tensors import before_after, staircase, weight_histogram
    from fewbits.plots.theme import (
        COLORS,
        GRID,
        MARKERS,
        NAMES,
        NEGATIVE,
        NEUTRAL_MARKERS,
        NEUTRALS,
        OUTLINE,
        PALE,
        POSITIVE,
        SIGN_MAP,
        SMALL,
        TEXT,
        WIDTH,
        WORD_COLORS,
        contrast,
        ink_on,
        shades,
        text_color,
        use_theme,
    )

__all__ = [
    "COLORS",
    "GRID",
    "MARKERS",
    "NAMES",
    "NEGATIVE",
    "NEUTRALS",
    "NEUTRAL_MARKERS",
    "OUTLINE",
    "PALE",
    "POSITIVE",
    "SIGN_MAP",
    "SMALL",
    "TEXT",
    "WIDTH",
    "WORD_COLORS",
    "End",
    "Row",
    "Source",
    "accuracy_by_bits",
    "before_after",
    "claims_at_a_glance",
    "contrast",
    "draw_reference",
    "draw_rows",
    "error_accuracy_bytes",
    "forest",
    "forest_height",
    "ink_on",
    "label_ends",
    "shades",
    "show_source",
    "staircase",
    "text_color",
    "use_theme",
    "weight_histogram",
]
