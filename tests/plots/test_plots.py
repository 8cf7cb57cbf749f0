"""Figures: what they draw, that they are labelled, and that their colours can be told apart and read."""

from itertools import combinations, pairwise, product

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from fewbits import evidence, plots

pytestmark = pytest.mark.usefixtures("book_theme")

# Methods drawn together: the chapters, then one method of each family.
TOGETHER = [
    ("float", "uniform", "ptq", "ptq per tensor", "qat"),
    ("float", "binaryconnect", "binarynet", "xnor-net"),
    ("float", "xnor-net", "twn", "ttq", "exact ternary"),
    ("binaryconnect", "binarynet", "xnor-net", "twn", "ttq", "exact ternary"),
    ("float", "uniform", "dorefa", "qnn"),
    ("float", "uniform", "lsq"),
    ("float", "uniform", "log2", "log-sqrt2"),
    ("float", "uniform", "inq"),
    ("float", "uniform", "uhlich", "nakata", "sasaki"),
    ("uniform", "ptq per tensor", "sasaki"),
    ("float", "k-means", "deep compression", "soft weight-sharing"),
]
FAMILIES = ("float", "uniform", "xnor-net", "ttq", "dorefa", "log-sqrt2", "inq", "uhlich", "deep compression")

# Machado, Oliveira, Fernandes 2009, severity 1: what a dichromat sees, in linear RGB.
EYES = {
    "normal": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


# --- colours ----------------------------------------------------------------------------------------------------------


def linear(colour) -> np.ndarray:
    channels = np.asarray(to_rgb(colour))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(colour, eye: str) -> np.ndarray:
    """CIE L*a*b* (D65) of a colour as an eye sees it."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    seen = np.clip(EYES[eye] @ linear(colour), 0, 1)
    ratio = to_xyz @ seen / [0.95047, 1.0, 1.08883]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(first, second, eye: str) -> float:
    return float(np.linalg.norm(lab(first, eye) - lab(second, eye)))


def test_the_colour_measure_knows_its_landmarks():
    assert distance("white", "black", "normal") == pytest.approx(100, abs=0.1)
    # The classic confusion: far apart for most, close for a deuteranope.
    red, green = "#c04000", "#6f7d00"
    assert distance(red, green, "normal") > 60
    assert distance(red, green, "deuteranope") < 20
    assert plots.contrast("white", "black") == pytest.approx(21)
    assert plots.contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)  # W3C's example of just too little


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("methods", TOGETHER, ids=lambda methods: methods[-1])
def test_methods_of_a_chapter_differ_for_every_eye(methods, eye):
    # A difference of 2 can just be seen side by side; 20 can be named across a figure.
    for first, second in combinations(methods, 2):
        assert distance(plots.COLORS[first], plots.COLORS[second], eye) > 20, (first, second)


@pytest.mark.parametrize("eye", EYES)
def test_one_method_of_each_family_differs_for_every_eye(eye):
    for first, second in combinations(FAMILIES, 2):
        assert distance(plots.COLORS[first], plots.COLORS[second], eye) > 18, (first, second)


@pytest.mark.parametrize("methods", [*TOGETHER, FAMILIES], ids=lambda methods: methods[-1])
def test_colour_is_not_the_only_signal(methods):
    assert len({plots.MARKERS[method] for method in methods}) == len(methods)


def test_every_method_has_its_own_colour_which_shows_on_white():
    assert set(plots.MARKERS) == set(plots.COLORS)
    assert len(set(plots.COLORS.values())) == len(plots.COLORS)
    for method, colour in plots.COLORS.items():
        assert plots.contrast(colour, "white") >= 3, method  # WCAG 1.4.11, graphics
        assert plots.contrast(plots.text_color(colour), "white") >= 4.5, method  # WCAG 1.4.3, text


NEUTRAL = [*plots.NEUTRALS, plots.COLORS["float"], plots.COLORS["paper"]]


@pytest.mark.parametrize("eye", EYES)
def test_neutral_colours_differ_for_every_eye_and_are_duller_than_methods(eye):
    for first, second in combinations(NEUTRAL, 2):
        assert distance(first, second, eye) > 20, (first, second)
    chroma = {colour: float(np.hypot(*lab(colour, "normal")[1:])) for colour in [*NEUTRAL, *plots.COLORS.values()]}
    assert max(chroma[colour] for colour in plots.NEUTRALS) < 35
    assert len(plots.NEUTRAL_MARKERS) == len(set(plots.NEUTRAL_MARKERS)) == len(plots.NEUTRALS)
    for neutral, (method, colour) in product(plots.NEUTRALS, plots.COLORS.items()):
        assert distance(neutral, colour, "normal") > 10, (neutral, method)


def in_the_dark(colour) -> tuple[float, ...]:
    """What ``filter: invert(1) hue-rotate(180deg)`` makes of a colour, by the matrix of the W3C's Filter Effects."""
    weight = np.array([0.213, 0.715, 0.072])
    return tuple((2 * weight @ (1 - np.array(to_rgb(colour))) - (1 - np.array(to_rgb(colour)))).clip(0, 1))


def test_every_colour_shows_on_white_and_on_the_dark_page():
    drawn = [*plots.COLORS.values(), *plots.NEUTRALS, *plots.WORD_COLORS.values(), plots.NEGATIVE, plots.POSITIVE]
    for colour in [*drawn, *plots.shades(5)]:
        assert plots.contrast(colour, "white") >= 3, colour
        assert plots.contrast(in_the_dark(colour), "#121212") >= 3, colour  # the theme's dark page
        assert plots.contrast(in_the_dark(plots.text_color(colour)), "#121212") >= 4.5, colour
    assert in_the_dark("white") == (0, 0, 0)


def test_shades_have_an_order_and_signs_have_a_middle():
    brightness = [plots.contrast(shade, "black") for shade in plots.shades(5)]
    assert brightness == sorted(brightness, reverse=True)
    assert plots.SIGN_MAP(0.5) == (1, 1, 1, 1)
    assert (to_hex(plots.SIGN_MAP(0.0)), to_hex(plots.SIGN_MAP(1.0))) == (plots.NEGATIVE, plots.POSITIVE)
    for eye in EYES:
        assert distance(plots.NEGATIVE, plots.POSITIVE, eye) > 40


def test_every_method_has_a_name_for_readers():
    assert set(plots.NAMES) == set(plots.COLORS)
    assert len(set(plots.NAMES.values())) == len(plots.NAMES)


def test_words_have_readable_colours_and_the_table_s_symbols():
    assert list(plots.WORD_COLORS) == list(dict.fromkeys([*evidence.WORDS, *evidence.OWN_WORDS]))
    for colour in plots.WORD_COLORS.values():
        assert plots.contrast("white", colour) >= 4.5


def test_ink_shows_on_every_ground():
    assert (plots.ink_on("white"), plots.ink_on("black")) == ("black", "white")
    for ground in map(tuple, plots.SIGN_MAP(np.linspace(0, 1, 99))):
        assert plots.contrast(plots.ink_on(ground), ground) >= 4.5  # the better of the two always is


# --- theme ------------------------------------------------------------------------------------------------------------


def test_the_theme_is_applied_when_it_is_asked_for():
    plt.rcdefaults()
    plots.use_theme()
    rc = plt.rcParams
    assert (rc["figure.dpi"], rc["figure.figsize"], rc["figure.facecolor"]) == (104, [7.0, 3.2], "white")
    assert rc["font.size"] == 9
    assert rc["figure.constrained_layout.use"]


# --- figures ----------------------------------------------------------------------------------------------------------


def three_levels(x):
    return (2 * x).round().clamp(-1, 1) / 2


def runs(**accuracies) -> pd.DataFrame:
    """One row a run: method=[(bits, seed, accuracy), ...]."""
    return pd.DataFrame(
        [(method.replace("_", "-"), *row) for method, rows in accuracies.items() for row in rows],
        columns=["method", "bits", "seed", "accuracy"],
    )


FRAME = runs(
    float=[(32, 0, 92.0), (32, 1, 92.4)],
    uniform=[(2, 0, 80.0), (2, 1, 82.0), (8, 0, 92.0), (8, 1, 92.2)],
    dorefa=[(2, 0, 85.0), (2, 1, 85.5), (8, 0, 92.1), (8, 1, 92.1)],
    xnor_net=[(1, 0, 78.0)],
)
PAPER = pd.DataFrame({"method": ["dorefa", "dorefa"], "bits": [2, 8], "accuracy": [87.0, 92.5]})
MATRIX = torch.tensor([[0.9, -0.8, 0.3], [0.2, -0.1, 0.0]])


TITLES = {"inq": "INQ", "binary": "Binary", "uniform": "Uniform grids", "ternary": "Ternary"}


def claims() -> list[dict]:
    """One claim of each word, over three chapters."""
    kinds = [("paper", word) for word in evidence.WORDS] + [("own", word) for word in evidence.OWN_WORDS]
    chapters = ["binary", "binary", "inq", "ternary"] * 3
    return [
        {"id": f"{chapter}/c{index}", "kind": kind, "word": word}
        for index, (chapter, (kind, word)) in enumerate(zip(chapters, kinds, strict=False))
    ]


FIGURES = {
    "staircase": lambda: plots.staircase(three_levels, -1, 1),
    "staircases": lambda: plots.staircase({"uniform": three_levels, "twn": torch.sign, "mine": torch.round}, -1, 1),
    "histogram": lambda: plots.weight_histogram(torch.randn(500)),
    "histogram with levels": lambda: plots.weight_histogram(torch.randn(500), torch.tensor([-1.0, 0.0, 1.0])),
    "vector": lambda: plots.before_after(MATRIX[0], three_levels(MATRIX[0])),
    "matrix with codes": lambda: plots.before_after(MATRIX, three_levels(MATRIX), (2 * MATRIX).round().int()),
    "accuracy": lambda: plots.accuracy_by_bits(FRAME, PAPER).figure,
    "claims": lambda: plots.claims_at_a_glance(claims(), TITLES),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_figures_are_labelled_and_inside_the_page(draw):
    figure = draw()
    figure.canvas.draw()
    assert figure.get_figwidth() == 7
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    titles = [axes.get_title(loc="left") for axes in panels] + [figure.get_suptitle()]
    assert any(titles)
    for axes in panels:
        # A panel shares the label of the panel in its row or column, where they share the axis.
        spec = axes.get_subplotspec()
        same_row = [other for other in panels if other.get_subplotspec().rowspan == spec.rowspan]
        same_column = [other for other in panels if other.get_subplotspec().colspan == spec.colspan]
        assert any(other.get_xlabel() for other in same_column)
        names = [label.get_text() for other in same_row for label in other.get_yticklabels()]
        assert any(other.get_ylabel() for other in same_row) or any(map(str.isalpha, names))  # names say what they are
    for axes in figure.axes:
        if axes not in panels:
            assert axes.get_ylabel()
    # Nothing is cut off at the edge of the page (inches).
    drawn = figure.get_tightbbox()
    assert drawn.x0 > -0.02
    assert drawn.y0 > -0.02
    assert drawn.x1 < 7.02
    assert drawn.y1 < figure.get_figheight() + 0.02


def written(axes) -> list[str]:
    """The text inside the axes, in the order of drawing."""
    return [text.get_text() for text in axes.texts]


def test_staircase_draws_quantizer_identity_and_error():
    figure = plots.staircase({"uniform": three_levels, "float": lambda x: x}, -0.75, 0.75, points=4001)
    output, exact, error, no_error = figure.axes
    x, y = output.lines[1].get_data()
    assert (x[0], x[-1], len(x)) == (-0.75, 0.75, 4001)
    np.testing.assert_array_equal(y, three_levels(torch.as_tensor(x)))
    np.testing.assert_array_equal(output.lines[0].get_ydata(), x)
    np.testing.assert_allclose(error.lines[1].get_ydata(), y - x, atol=1e-7)
    # Between ±3/4 the error of a step of 1/2 is a sawtooth of ±1/4: its root mean square is 1/√48.
    assert error.get_title(loc="left") == f"root mean square error {48**-0.5:.3g}"
    assert no_error.get_title(loc="left") == "root mean square error 0"
    assert (output.get_title(loc="left"), exact.get_title(loc="left")) == ("uniform", "float")
    assert output.lines[1].get_color() == plots.COLORS["uniform"]


def test_staircase_accepts_a_module_with_parameters():
    plots.staircase(torch.nn.Linear(5, 5), -1, 1, points=5)


def test_staircase_has_the_colour_of_the_method():
    figure = plots.staircase({"INQ, 3 bits": torch.round, "float": torch.round}, -1, 1, points=5, method="inq")
    assert [axes.lines[1].get_color() for axes in figure.axes[:2]] == [plots.COLORS["inq"], plots.COLORS["float"]]


def test_weight_histogram_counts_the_nearest_level():
    weight = torch.tensor([[-0.9, -0.6, -0.4], [0.1, 0.5, 2.0]])  # 0.5 is a tie: up
    histogram, share = plots.weight_histogram(weight, torch.tensor([1.0, 0.0, -1.0])).axes
    assert sum(patch.get_height() for patch in histogram.patches) == 6
    assert [line.get_xdata()[0] for line in histogram.lines] == [-1, 0, 1]
    assert written(share) == ["33.3 %", "33.3 %", "33.3 %"]


def test_weight_histogram_counts_what_a_quantizer_chose():
    weight = torch.tensor([0.9, 0.9, 0.2, 0.4])
    _, share = plots.weight_histogram(weight, quantized=torch.tensor([0.0, 1.0, 1.0, 1.0]), method="twn").axes
    assert written(share) == ["25.0 %", "75.0 %"]
    with pytest.raises(ValueError, match="not both"):
        plots.weight_histogram(weight, weight, quantized=weight)
    with pytest.raises(ValueError, match=r"quantized has shape \(3,\), weight \(4,\)"):
        plots.weight_histogram(weight, quantized=weight[:3])


def test_weight_histogram_of_many_levels_keeps_the_histogram_visible():
    histogram, share = plots.weight_histogram(torch.randn(100), torch.linspace(-1, 1, 255)).axes
    assert max(line.get_ydata()[1] for line in histogram.lines) <= 0.1
    assert written(share) == []


def test_before_after_writes_every_number_on_one_colour_scale():
    codes = torch.tensor([[2, -2, 1], [0, 0, 0]])
    figure = plots.before_after(MATRIX, three_levels(MATRIX), codes)
    before, after, integers, bar = figure.axes
    assert written(before) == ["0.90", "−0.80", "0.30", "0.20", "−0.10", "0.00"]
    assert written(after) == ["0.50", "−0.50", "0.50", "0.00", "0.00", "0.00"]  # no −0.00
    assert written(integers) == ["2", "−2", "1", "0", "0", "0"]
    assert bar.get_ylim() == pytest.approx((-0.9, 0.9))
    shades = [np.asarray(axes.images[0].get_array())[..., :3] for axes in (before, after)]
    for axes, shade in zip((before, after), shades, strict=True):
        for text, ground in zip(axes.texts, shade.reshape(-1, 3), strict=True):
            assert plots.contrast(text.get_color(), ground) >= 4.5, text.get_text()
    # Zero has one colour, whatever the sign around it, and it is nearly white.
    np.testing.assert_array_equal(shades[0][1, 2], shades[1][1, 2])
    assert plots.contrast(shades[0][1, 2], "white") < 1.2


def test_before_after_of_zeros_and_of_small_numbers():
    plots.before_after(torch.zeros(4), torch.zeros(4))
    small = torch.tensor([0.0625, -0.03125])
    figure = plots.before_after(small, small, decimals=5)
    assert written(figure.axes[0]) == ["0.06250", "−0.03125"]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(4), torch.zeros(5), "share a shape"),
        (torch.zeros(2, 2, 2), torch.zeros(2, 2, 2), "share a shape"),
        (torch.tensor(1.0), torch.tensor(1.0), "share a shape"),
        (torch.zeros(2, 9), torch.zeros(2, 9), "do not fit the page"),
        (torch.zeros(17, 2), torch.zeros(17, 2), "do not fit the page"),
    ],
)
def test_before_after_refuses_what_cannot_be_drawn(x, y, message):
    with pytest.raises(ValueError, match=message):
        plots.before_after(x, y)


def test_accuracy_by_bits_draws_mean_and_interval():
    axes = plots.accuracy_by_bits(FRAME)
    points = axes.containers[0]
    mean, half = evidence.interval([80.0, 82.0])
    assert points.lines[0].get_ydata() == pytest.approx([81.0, 92.1])
    low, high = points.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((mean - half, mean + half))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "8"]
    baseline = next(line for line in axes.lines if line.get_color() == plots.COLORS["float"])
    assert set(baseline.get_ydata()) == {92.2}
    assert sorted(written(axes)) == ["DoReFa-Net", "XNOR-Net", "float 92.2", "uniform"]


def test_accuracy_by_bits_names_the_paper_and_keeps_points_near_their_tick():
    axes = plots.accuracy_by_bits(FRAME, PAPER)
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "paper"
    hollow = next(line for line in axes.lines if line.get_markerfacecolor() == "white")
    assert list(hollow.get_ydata()) == [87.0, 92.5]
    for container in axes.containers:
        for x in container.lines[0].get_xdata():
            assert min(abs(x - bits) for bits in (1, 2, 8)) < 0.1


def test_accuracy_by_bits_draws_what_only_the_paper_has():
    paper = pd.DataFrame({"method": ["float", "inq", "inq"], "bits": [32, 3, 4], "accuracy": [93.0, 88.0, 90.0]})
    axes = plots.accuracy_by_bits(FRAME, paper)
    (hollow,) = (line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata()) > 0)
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([3, 4], [88, 90])
    assert {"INQ", "float, paper 93.0", "float 92.2"} <= set(written(axes))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3", "4", "8"]


def test_accuracy_labels_do_not_overlap():
    close = runs(
        **{
            method.replace("-", "_"): [(2, 0, 80 + 0.01 * index), (8, 0, 92 + 0.01 * index)]
            for index, method in enumerate(("uniform", "dorefa", "qnn", "ttq", "float", "inq"))
        }
    )
    axes = plots.accuracy_by_bits(close)
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 6
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_accuracy_by_bits_refuses_a_method_without_a_colour():
    with pytest.raises(ValueError, match=r"no colour for \['mystery'\]; the methods are float, uniform"):
        plots.accuracy_by_bits(runs(mystery=[(2, 0, 80.0)]))
    with pytest.raises(ValueError, match="no row of a quantized method"):
        plots.accuracy_by_bits(runs(float=[(32, 0, 92.0)]))


def squares(axes) -> list[tuple[int, int, str]]:
    """(row, place, word) of each square of a claim."""
    words = {plots.WORD_COLORS[word]: word for word in plots.WORD_COLORS}
    return sorted(
        (round(square.get_y() + 0.32), round(square.get_x()), words[to_hex(square.get_edgecolor())])
        for square in axes.patches
        if isinstance(square, Rectangle)
    )


def test_claims_at_a_glance_has_a_row_for_each_chapter_and_a_mark_for_each_claim():
    mixed = claims()[::-1]
    figure = plots.claims_at_a_glance(mixed, TITLES)
    papers, own = figure.axes
    assert [label.get_text() for label in papers.get_yticklabels()] == list(TITLES.values())
    # Columns of ten: hold, open, fail. In each the order of the words, whatever the order of the claims.
    assert squares(papers) == [
        (0, 10, "undecided"),
        (1, 0, "reproduced"),
        (1, 1, "carries over"),
        (1, 10, "cited"),
        (1, 20, "not reproduced"),
        (3, 20, "does not carry over"),
    ]
    assert squares(own) == [(0, 0, "holds"), (1, 20, "does not hold"), (3, 10, "undecided")]
    assert written(papers) == ["2 hold", "2 open", "2 fail"]
    assert written(own) == ["1 hold", "1 open", "1 fail"]
    assert len(figure.legends[0].get_texts()) == len(plots.WORD_COLORS)
    with pytest.raises(ValueError, match=r"no title for \['ternary'\]"):
        plots.claims_at_a_glance(mixed, {"inq": "INQ", "binary": "Binary"})


def test_the_counts_above_the_claims_of_the_book_stand_apart():
    figure = plots.claims_at_a_glance(evidence.load_all())
    figure.draw_without_rendering()
    for axes in figure.axes:
        heads = [text.get_window_extent() for text in axes.texts]
        assert len(heads) == 3
        assert all(right.x0 - left.x1 > 8 for left, right in pairwise(heads))  # pixels
