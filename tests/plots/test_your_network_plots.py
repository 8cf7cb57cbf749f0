"""Figures of a network of your own: points, bars and lines are where their numbers say, with names beside them."""

import matplotlib

matplotlib.use("Agg")

from functools import partial

import pytest
import torch
from torch import nn

import fewbits
from fewbits import UniformQuantizer
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


def test_the_parts_of_a_file_are_its_bytes():
    """Two filters of 9 weights: at 4 bits 9 bytes of codes and two scales; two biases stay in float32."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    rounded = fewbits.quantize(network, partial(UniformQuantizer, 4, channel_axis=0))
    (axes,) = figures.file_parts({"float": network, "4 bits": rounded}).axes
    widths = [1000 * bar.get_width() for bar in axes.patches]
    files = [fewbits.size_report(net).file_bytes for net in (network, rounded)]
    assert widths[:4] == pytest.approx([0, 0, 4 * 20, files[0] - 80])
    assert widths[4:] == pytest.approx([9, 8, 8, files[1] - 25])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["float", "4 bits"]


def test_ranges_show_own_and_shared_values():
    (axes,) = figures.shared_ranges({"first": 2.0, "a": 3.0, "b": 5.0}, {"a": 5.0, "b": 5.0}).axes
    dots = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "o"]
    squares = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "s"]
    assert dots == [[2, 0], [3, 1], [5, 2]]
    assert squares == [[5, 1], [5, 2]]
    assert [text.get_text() for text in axes.texts] == ["no quantizer", "own range", "shared range"]


def test_mistakes_run_from_wrong_to_mended():
    (axes,) = figures.mistakes({"pixels": (10.3, 97.4), "scale": (94.0, 96.9)}).axes
    ends = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() in ("X", "o")]
    assert ends == [[10.3, 0], [97.4, 0], [94.0, 1], [96.9, 1]]
    assert [text.get_text() for text in axes.texts] == ["10.3", "97.4", "94.0", "96.9"]
