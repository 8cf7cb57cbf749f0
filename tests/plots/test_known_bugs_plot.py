"""The figure of the known bugs draws both paths, and where the number should be."""

import matplotlib

matplotlib.use("Agg")

import pytest

from fewbits.plots import known_bugs as figures


@pytest.mark.usefixtures("book_theme")
def test_right_is_filled_and_wrong_is_hollow_around_the_goal():
    values = {"a scale": ([1, 2], [1.5, 2.0], [0.5, -1.0]), "a code": ([0.5, 1.5], [0, 2], [1, 2])}
    figure = figures.right_and_wrong(values, xlabels=["step", "number"], goals=[2.0, None], title="bugs")
    first, second = figure.axes
    goal, wrong, right = first.lines
    assert list(goal.get_ydata()) == [2.0, 2.0]
    assert right.get_xydata().tolist() == [[1, 1.5], [2, 2.0]]
    assert wrong.get_xydata().tolist() == [[1, 0.5], [2, -1.0]]
    assert right.get_markerfacecolor() != "white" == wrong.get_markerfacecolor()
    assert len(second.lines) == 2
    for axes, names in (
        (first, {"wrong": (2, -1.0), "right": (2, 2.0)}),
        (second, {"wrong": (0.5, 1), "right": (0.5, 0)}),
    ):
        assert {text.get_text(): text.xy for text in axes.texts} == names
    assert (first.get_title("left"), second.get_xlabel()) == ("a scale", "number")
