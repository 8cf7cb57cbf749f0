"""The figure of the known bugs draws both paths, and where the number should be."""

import matplotlib

matplotlib.use("Agg")

import pytest

from fewbits.plots import known_bugs as figures


@pytest.mark.usefixtures("book_theme")
def test_right_is_filled_and_wrong_is_hollow_around_the_goal():
    axes = figures.right_and_wrong({"a scale": ([1.5, 2.0], [0.5, -1.0])}, {"a scale": 2.0}).axes[0]
    goal, right, wrong = axes.lines
    assert list(goal.get_ydata()) == [2.0, 2.0]
    assert right.get_xydata().tolist() == [[1, 1.5], [2, 2.0]]
    assert wrong.get_xydata().tolist() == [[1, 0.5], [2, -1.0]]
    assert right.get_markerfacecolor() != "white" == wrong.get_markerfacecolor()
    assert [text.get_text() for text in axes.texts] == ["right", "wrong"]
    assert axes.get_title("left") == "a scale"
