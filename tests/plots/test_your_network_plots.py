"""The figure of accuracy against bytes: every point is where its numbers say, with its name beside it."""

import matplotlib

matplotlib.use("Agg")

import pytest

from fewbits.plots import COLORS
from fewbits.plots import your_network as figures

pytestmark = pytest.mark.usefixtures("book_theme")

POINTS = {"float": (97.4, 80_000), "INQ": (96.0, 12_500)}
STYLES = {"float": ("float", (-6, 0)), "INQ": ("inq", (6, 3))}


def test_every_method_is_drawn_at_its_numbers_and_named():
    figure = figures.accuracy_by_file(POINTS, STYLES)
    (axes,) = figure.axes
    drawn = [tuple(line.get_xydata()[0]) for line in axes.lines]
    assert drawn == [(80.0, 97.4), (12.5, 96.0)]
    assert [line.get_color() for line in axes.lines] == [COLORS["float"], COLORS["inq"]]
    assert [(text.get_text(), text.get_ha()) for text in axes.texts] == [("float", "right"), ("INQ", "left")]
    assert axes.get_xscale() == "log"
    assert "kB" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match=r"styles lack \['INQ'\]"):
        figures.accuracy_by_file(POINTS, {"float": STYLES["float"]})
    with pytest.raises(ValueError, match="INQ: bytes must be positive, got 0"):
        figures.accuracy_by_file(POINTS | {"INQ": (96.0, 0)}, STYLES)
