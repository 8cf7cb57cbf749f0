"""Figures of the chapters on integers: what they draw is what they are given."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest
import torch
from torch import nn

from fewbits.integer import prepare, to_integers
from fewbits.plots import integer

pytestmark = pytest.mark.usefixtures("book_theme")


def points(axis) -> list[tuple[float, float]]:
    """All marked points of an axis, lines across it left out."""
    return [tuple(point) for line in axis.lines if line.get_marker() != "None" for point in line.get_xydata()]


def test_tie_rules_show_errors_and_fill_the_ties():
    x = [1, 2, 3, -2]
    figure = integer.tie_rules(x, 4, {"upward": [0, 1, 1, 0], "even": [0, 0, 1, 0]})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["upward", "even"]
    upward, even = figure.axes
    assert sorted(points(upward)) == [(-0.5, 0.5), (0.25, -0.25), (0.5, 0.5), (0.75, 0.25)]
    assert sorted(points(even)) == [(-0.5, 0.5), (0.25, -0.25), (0.5, -0.5), (0.75, 0.25)]
    _, between, ties = upward.lines
    # A result farther away than a half is wrong, and shaded.
    shaded = [(band.get_y(), band.get_y() + band.get_height()) for band in upward.patches]
    assert shaded == [(0.5, 0.9), (-0.9, -0.5)]
    assert between.get_markerfacecolor() == "white"
    assert ties.get_markerfacecolor() != "white"
    assert sorted(ties.get_xdata()) == [-0.5, 0.5]


def test_causes_add_up_steps_and_tell_none_from_few():
    rows = [("MLP", "ties: double", 1, 1000), ("MLP", "ties: double", 3, 3000), ("MLP", "sum", 0, 10)]
    rows += [("dense", "ties: double", 0, 10), ("dense", "sum", 5, 100_000)]
    frame = pd.DataFrame(rows, columns=["network", "cause", "off", "elements"])
    axis = integer.causes(frame).axes[0]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert rows == ["sum", "two roundings"]  # the cause that matters more comes last
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axis.lines}
    assert drawn == {"MLP": [0.05, 1000.0], "VGG-small": [50.0, 0.05]}
    assert axis.get_xticklabels()[0].get_text() == "none"


def test_ways_show_every_seed_and_the_mean():
    frame = pd.DataFrame({"way": ["a", "a", "a", "never frozen"], "accuracy": [97.0, 99.0, 98.0, 50.0]})
    axis = integer.ways(frame).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "trained, never frozen"]
    seeds = [line for line in axis.lines if line.get_marker() == "o"]
    assert [line.get_xydata().tolist() for line in seeds] == [[[97, 0], [99, 0], [98, 0]], [[50, 1]]]
    means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert means == [98, 50]
    axis = integer.ways(pd.DataFrame({"way": ["a"] * 3, "accuracy": [97.0, 97.0, 98.0]})).axes[0]
    assert axis.lines[1].get_ydata() == pytest.approx([-0.1, 0.1, 0])  # equal seeds do not hide each other


def test_two_roundings_show_percent_none_and_the_law():
    axis = integer.two_roundings({0: 0.0, 1: 0.25, 2: 0.13}).axes[0]
    law, shares = axis.lines
    assert law.get_xydata().tolist() == [[1, 25], [2, 12.5]]
    assert shares.get_ydata().tolist() == [axis.get_ylim()[0], 25, 13]  # none is at the foot
    assert {"none", "25", "13"} <= {text.get_text() for text in axis.texts}


def test_bounds_are_those_of_the_network():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    inputs = torch.rand(8, 2, dtype=torch.float64)
    network = to_integers(prepare(model, inputs), inputs[:1])
    axis = integer.bounds(network).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(network.steps)
    bars = [bar.get_width() for bar in axis.patches]
    assert bars == [step.bound.bit_length() for step in network.layers().values()]
    assert any(text.get_text() == "layer of input" for text in axis.texts)


def test_agreement_has_accuracy_against_float_changed_predictions_and_the_largest_difference():
    rows = [("dense", 8, 1000, 97.0, 97.5, 97.0, 0, 1), ("MobileNet", 4, 10_000, 60.0, 50.0, 55.0, 250, 9)]
    columns = ["network", "weight_bits", "images", "float", "simulated", "integer", "changed", "largest"]
    accuracy, changed, largest = integer.agreement(pd.DataFrame(rows, columns=columns)).axes
    names = [label.get_text() for label in accuracy.get_yticklabels()]
    assert names == ["VGG-small, 8 bits", "MobileNet, 4 bits"]
    drawn = {line.get_label(): line.get_xdata().tolist() for line in accuracy.lines if line.get_marker() == "o"}
    assert drawn == {"simulated": [0.5, -10], "integer": [0, -5]}
    assert points(changed) == [(0, 0), (2.5, 1)]
    assert points(largest) == [(1, 0), (9, 1)]


def test_bias_fractions_draw_a_line_a_network_and_write_the_largest_difference():
    axis = integer.bias_fractions({("a", 0): (0.5, 28), ("a", 8): (0.01, 1), ("b", 0): (0.1, 4)}).axes[0]
    first, second = axis.lines[:2]
    assert first.get_xydata().tolist() == [[0, 50], [8, 1]]
    assert second.get_xydata().tolist() == [[0, 10]]
    assert {"28", "1", "4", "a", "b"} <= {text.get_text() for text in axis.texts}


def test_speed_has_a_panel_a_batch_and_a_dot_a_repeat():
    rows = [
        ("MLP", batch, form, speedup * batch)
        for batch in (1, 32)
        for form, speedup in (("float", 1.0), ("simulated", 0.5), ("simulated", 0.6), ("integer", 1.5))
    ]
    figure = integer.speed(pd.DataFrame(rows, columns=["network", "batch", "form", "speedup"]))
    for axis, batch in zip(figure.axes, (1, 32), strict=True):
        assert axis.get_title(loc="left") == f"batch of {batch}"
        assert sorted(y for _, y in points(axis)) == pytest.approx([0.5 * batch, 0.6 * batch, 1.5 * batch])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["simulated", "integer"]  # those that were measured
    assert [text.get_text() for text in figure.axes[1].texts] == ["17.60", "48.00"]  # means
    low, high = figure.axes[0].get_ylim()  # one for both panels, around all points
    assert low < 0.5
    assert high > 48
