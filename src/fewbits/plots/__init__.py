"""Every figure of the book: one theme, one colour and one marker per method, axes with units.

Importing this package changes nothing: whoever draws calls :func:`use_theme` once, before the first figure. A function
draws, returns its figure or axes, and leaves ``plt.show()`` to the caller. Figures are 7 in wide (the width of a page)
with 8–9 pt text on an opaque white ground, so that they read the same on light and dark pages.
"""

from fewbits.core.extras import extra

with extra("book"):
    from fewbits.plots.methods import accuracy_of_methods, error_accuracy_bytes
    from fewbits.plots.results import accuracy_by_bits, claims_at_a_glance
    from fewbits.plots.source import show_source
    from fewbits.plots.tensors import before_after, staircase, weight_histogram
    from fewbits.plots.theme import COLORS, MARKERS, WORD_COLORS, contrast, text_color, use_theme

__all__ = [
    "COLORS",
    "MARKERS",
    "WORD_COLORS",
    "accuracy_by_bits",
    "accuracy_of_methods",
    "before_after",
    "claims_at_a_glance",
    "contrast",
    "error_accuracy_bytes",
    "show_source",
    "staircase",
    "text_color",
    "use_theme",
    "weight_histogram",
]
