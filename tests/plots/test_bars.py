"""Stacked bars: parts lie end to end, and the total is written."""

import matplotlib

matplotlib.use("Agg")

import pytest
from matplotlib.colors import to_hex

from fewbits.plots.bars import stacked_bars

pytestmark = pytest.mark.usefixtures("book_theme")


def test_parts_lie_end_to_end_with_one_shade_a_label():
    bars = {"float32": {"first": 2.0, "rest": 4.0}, "packed": {"first": 1.5, "packing": 0.25, "rest": 0.5}}
    axis = stacked_bars(bars, title="t", xlabel="x", unit="ms").axes[0]
    drawn = [(bar.get_x(), bar.get_width()) for bar in axis.patches[:5]]
    assert drawn == [(0, 2), (2, 4), (0, 1.5), (1.5, 0.25), (1.75, 0.5)]
    shades = [to_hex(bar.get_facecolor()) for bar in axis.patches[:5]]
    assert shades[0] == shades[2]
    assert shades[1] == shades[4]
    assert len(set(shades)) == 3
    assert [text.get_text().strip() for text in axis.texts] == ["6.0 ms", "2.2 ms"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["float32", "packed"]
