"""Figures that compare methods, and those of the ternary chapter: what they draw and what they refuse."""

from itertools import combinations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from figure_rules import struck_through
from scipy import stats

from fewbits import evidence, plots
from fewbits.evidence import interval
from fewbits.plots import ternary as figures
from fewbits.ternary import TWN, ExactTernary, optimal_ratio

pytestmark = pytest.mark.usefixtures("book_theme")


def labelled(figure):
    return all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes)


def test_a_row_shows_its_mean_and_its_interval():
    values = [90.0, 91.0, 95.0]
    rows = [plots.Row("float", [96, 97], method="float"), plots.Row("TWN", values, method="twn")]
    figure = plots.forest({"digits": rows}, xlabel="test accuracy (%)", title="Means")
    axes = figure.axes[0]
    mean, half = interval(values)
    bar = axes.containers[1]
    assert bar.lines[0].get_xydata()[0] == pytest.approx([mean, 1])
    assert [cap.get_xdata()[0] for cap in bar.lines[1]] == pytest.approx([mean - half, mean + half])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["float", "TWN"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first method on top
    assert labelled(figure)


def test_the_area_of_a_marker_is_proportional_to_the_bytes():
    points = [
        {"label": name, "method": name, "error": error, "accuracies": [90.0, 91.0], "bytes": size, "offset": (9, 0)}
        for name, error, size in (("twn", 0.2, 4000), ("binarynet", 0.4, 1000))
    ]
    figure = plots.error_accuracy_bytes(points)
    sizes = [c.get_sizes()[0] for c in figure.axes[0].collections if hasattr(c, "get_sizes") and len(c.get_sizes())]
    assert sizes[0] == 4 * sizes[1]
    assert figure.axes[0].get_xscale() == "linear"
    low, high = figure.axes[0].get_xlim()
    assert low == 0
    assert high > 0.4
    assert labelled(figure)


def test_the_error_curve_agrees_with_the_quantizers():
    weight = torch.tensor([0.9, -0.8, 0.7, -0.28, 0.26, 0.1, -0.06, 0.02], dtype=torch.float64)
    figure = figures.error_by_count(weight, {"twn": 4, "exact ternary": 3})
    curve = figure.axes[1].lines[0].get_ydata()
    assert curve[3] == pytest.approx((TWN()(weight) - weight).square().sum().item())
    assert curve.min() == pytest.approx((ExactTernary()(weight) - weight).square().sum().item())
    assert np.argmin(curve) == 2
    assert labelled(figure)


def test_the_marked_ratio_is_the_lowest_point_of_its_curve():
    distributions = {"uniform": stats.uniform(), "normal": stats.halfnorm()}
    best = {name: (d, optimal_ratio(d)) for name, d in distributions.items()}
    figure = figures.error_by_ratio(best)
    lines = figure.axes[0].lines
    for curve, dot in ((lines[0], lines[1]), (lines[2], lines[3])):
        assert dot.get_ydata()[0] <= np.nanmin(curve.get_ydata())
        assert dot.get_ydata()[0] == pytest.approx(np.nanmin(curve.get_ydata()), rel=1e-3)
    assert labelled(figure)


def test_accuracy_and_error_share_the_ratio_axis():
    frame = pd.DataFrame({"ratio": [0.1, 0.1, 0.7, 0.7], "seed": [0, 1, 0, 1], "accuracy": [94.0, 95, 95, 96]})
    figure = figures.accuracy_by_ratio(frame, pd.DataFrame({"ratio": [0.1, 0.7], "error": [0.3, 0.2]}))
    accuracy, error = figure.axes
    assert accuracy.get_shared_x_axes().joined(accuracy, error)
    means = [line for line in accuracy.lines if line.get_marker() == plots.MARKERS["twn"]]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in means] == [(0.1, 94.5), (0.7, 95.5)]
    assert error.lines[0].get_ydata().tolist() == [0.3, 0.2]
    assert not accuracy.texts


def test_an_accuracy_off_the_scale_becomes_an_arrow_with_its_number():
    frame = pd.DataFrame({"ratio": [0.7, 0.7, 2.0, 2.0], "seed": [0, 1, 0, 1], "accuracy": [95.0, 96, 10, 10]})
    figure = figures.accuracy_by_ratio(frame, pd.DataFrame({"ratio": [0.7, 2.0], "error": [0.2, 0.9]}))
    accuracy = figure.axes[0]
    assert [text.get_text() for text in accuracy.texts] == ["10 %"]
    assert accuracy.get_ylim()[0] > 80
    assert labelled(figure)


def test_rows_of_one_name_share_a_line_and_keep_apart():
    here = plots.Row("BWN", runs=[90.0, 91.0, 95.0], method="xnor-net", note="4 MB")
    paper = plots.Row("BWN", ends=(88.0, 88.0, 88.0), hollow=True)
    rows = [plots.Row("float", runs=[96.0, 97.0], method="float"), here, paper]
    figure = plots.forest({"digits": rows}, xlabel="accuracy (%)", title="Two", reference="float", note="file")
    axes = figure.axes[0]
    bars = [bar.lines[0] for bar in axes.containers]
    assert [bar.get_xdata()[0] for bar in bars] == pytest.approx([96.5, 92.0, 88.0])
    assert [bar.get_ydata()[0] for bar in bars] == pytest.approx([0, 0.75, 1.25])
    assert bars[2].get_markerfacecolor() == "white"
    assert bars[2].get_color() == plots.NEUTRALS[0]
    assert [text.get_text() for text in axes.texts] == ["4 MB", "file"]
    dashed = next(line for line in axes.lines if line.get_color() == plots.COLORS["paper"])
    assert set(dashed.get_xdata()) == {96.5}


def test_a_forest_refuses_rows_that_do_not_fit():
    row = plots.Row("float", runs=[96.0])
    with pytest.raises(ValueError, match="row 'x' needs runs or ends"):
        plots.Row("x")
    with pytest.raises(ValueError, match="row 'x' needs runs or ends"):
        plots.Row("x", runs=[1.0], ends=(1, 1, 1))
    with pytest.raises(ValueError, match="panel 'b' must have the rows float"):
        plots.forest({"a": [row], "b": [plots.Row("other", runs=[1.0])]}, xlabel="x", title="t")
    with pytest.raises(ValueError, match="no row is called 'none'"):
        plots.forest({"a": [row]}, xlabel="x", title="t", reference="none")


def test_ternary_rows_are_named_for_a_reader_and_a_missing_one_is_refused():
    frame = evidence.rows("ternary_runs")
    small = frame[frame.data == "mnist5k"]
    figure = figures.accuracy_rows({"": small}, figures.FROM_FLOAT, title="rows", reference="float, trained further")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [name for name, _ in figures.FROM_FLOAT.values()]
    assert all(style in plots.COLORS for table in (figures.METHODS, figures.FROM_FLOAT) for _, style in table.values())
    with pytest.raises(ValueError, match="MNIST has no row of 'float, from float'"):
        figures.accuracy_rows({"MNIST": frame[frame.data == "mnist"]}, figures.FROM_FLOAT, title="rows")


def test_runs_by_sign_shows_every_run_and_the_printed_sign_hollow():
    frame = evidence.rows("ternary_runs")
    figure = figures.runs_by_sign(frame)
    (axes,) = figure.axes
    drawn = [line for line in axes.lines if line.get_marker() == plots.MARKERS["ttq"]]
    wanted = [(data, method + sign) for data, method in figures.SIGNS for sign in ("", ", printed sign")]
    for line, (data, method) in zip(drawn, wanted, strict=True):
        expected = frame.loc[(frame.data == data) & (frame.method == method), "accuracy"]
        assert list(line.get_xdata()) == list(expected)
        assert (line.get_markerfacecolor() == "white") == ("printed" in method)
    assert [text.get_text() for text in axes.texts] == ["guessing", "right sign", "printed sign"]
    assert struck_through(figure) == []
    with pytest.raises(ValueError, match="mnist has no row of 'ttq, fitted start'"):
        figures.runs_by_sign(frame[frame.data == "mnist5k"])


def test_accuracy_by_sparsity_draws_every_run_and_the_means():
    frame = pd.DataFrame({"share": [0, 0, 50, 50], "accuracy": [94.0, 95, 95, 96]})
    figure = figures.accuracy_by_sparsity(frame, 95.4)
    (axes,) = figure.axes
    means = [line for line in axes.lines if line.get_marker() == plots.MARKERS["ttq"] and len(line.get_xdata()) == 1]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in means][:2] == [(0, 94.5), (50, 95.5)]
    assert {"float", "TTQ"} <= {text.get_text() for text in axes.texts}


def ends(*points: tuple[float, float]) -> list[plots.End]:
    return [plots.End(x, y, f"line {index}", {"color": plots.NEUTRALS[0]}) for index, (x, y) in enumerate(points)]


def test_names_at_ends_stand_in_the_margin_apart_and_beside_the_axes():
    _, axes = plt.subplots(figsize=(plots.WIDTH, 2))
    for end in (lines := ends((8, 0.01), (8, 0.0), (8, 0.02), (8, 0.98), (8, 1.0))):
        axes.plot([2, end.x], [end.y, end.y], color=end.style["color"])
    axes.set_ylim(0, 1)
    plots.label_ends(axes, lines)
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    middles = {name: (box.y0 + box.y1) / 2 for name, box in boxes.items()}
    assert sorted(middles, key=middles.__getitem__) == ["line 1", "line 0", "line 2", "line 3", "line 4"]
    assert not any(one.overlaps(other) for one, other in combinations(boxes.values(), 2))
    assert all(box.x0 > axes.bbox.x1 for box in boxes.values())
    assert axes.bbox.y0 - 1 <= min(middles.values()) <= max(middles.values()) <= axes.bbox.y1 + 1
    assert axes.get_ylim() == (0, 1)


def test_a_line_that_ends_early_is_named_beside_its_end():
    _, axes = plt.subplots(figsize=(plots.WIDTH, 2))
    axes.plot([2, 8], [0, 1], color=plots.NEUTRALS[0])
    axes.plot([2, 4], [1, 1], color=plots.NEUTRALS[0])
    plots.label_ends(axes, ends((4, 1), (8, 1)))
    box = axes.texts[0].get_window_extent()
    assert box.x1 < axes.bbox.x1
    assert abs((box.x0 + box.x1) / 2 - axes.transData.transform((4, 1))[0]) < 60
