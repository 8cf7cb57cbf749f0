"""M0 and shift against Python's integers and fractions, on corners and at random."""

from fractions import Fraction

import pytest
import strategies  # noqa: F401  (loads the profile of the property tests)
import torch
from hypothesis import given
from hypothesis import strategies as st
from integer_reference import nearest, rescale

from fewbits.integer.requantization import ROUNDINGS, fixed_point, requantize, rounding_shift

CORNERS = sorted(
    {sign * value for k in (0, 1, 2, 15, 24, 29, 30, 31) for value in (2**k - 1, 2**k, 2**k + 1) for sign in (1, -1)}
)
CORNERS = [value for value in CORNERS if -(2**31) <= value < 2**31]
int32 = st.one_of(st.sampled_from(CORNERS), st.integers(-(2**31), 2**31 - 1))
multipliers = st.one_of(st.sampled_from([0, 2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1]), st.integers(2**30, 2**31 - 1))


@st.composite
def cases(draw):
    x, multiplier, shift = draw(int32), draw(multipliers), draw(st.integers(-30, 31))
    while abs(x) * multiplier >= 2 ** (61 + shift):  # the product must stay below 2**30
        shift += 1
    return x, multiplier, shift


@pytest.mark.parametrize("rounding", ROUNDINGS)
@given(st.lists(cases(), min_size=1, max_size=20))
def test_requantize_equals_big_integers(rounding, drawn):
    x, multiplier, shift = (torch.tensor(column, dtype=torch.int32) for column in zip(*drawn, strict=True))
    expected = [rescale(*case, rounding) for case in drawn]
    result = requantize(x, multiplier, shift, rounding)
    assert result.dtype == torch.int32
    assert result.tolist() == expected


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_requantize_on_all_corners(rounding):
    """Every corner value of the accumulator with every corner multiplier and every shift, where the result fits."""
    grid = [
        (x, m, shift)
        for x in CORNERS
        for m in (0, 2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1)
        for shift in range(-30, 32)
        if abs(x) * m < 2 ** (61 + shift)
    ]
    assert len(grid) > 5000
    x, multiplier, shift = (torch.tensor(column, dtype=torch.int32) for column in zip(*grid, strict=True))
    result = requantize(x, multiplier, shift, rounding).tolist()
    assert result == [rescale(*case, rounding) for case in grid]


@pytest.mark.parametrize("rule", ["upward", "away", "even"])
@given(st.lists(st.tuples(st.integers(-(2**61), 2**61), st.integers(0, 61)), min_size=1))
def test_rounding_shift_equals_fractions(rule, drawn):
    x, shift = (torch.tensor(column) for column in zip(*drawn, strict=True))
    assert rounding_shift(x, shift, rule).tolist() == [nearest(Fraction(a, 2**s), rule) for a, s in drawn]


def test_the_rules_differ_exactly_at_ties():
    """2.5 and -2.5: the whole difference between the rules, by hand."""
    x = torch.tensor([5, -5])
    ties = {rule: rounding_shift(x, 1, rule).tolist() for rule in ("upward", "away", "even")}
    assert ties == {"upward": [3, -2], "away": [3, -3], "even": [2, -2]}


def test_two_roundings_are_not_one():
    """1 · 0.498 is nearest to 0. gemmlowp rounds 0.996 to 1 first, and then 1/2, which is a tie now, to 1."""
    multiplier, shift = fixed_point(torch.tensor(0.498))
    x = torch.tensor([1], dtype=torch.int32)
    assert requantize(x, multiplier, shift, "upward").tolist() == [0]
    assert requantize(x, multiplier, shift, "double").tolist() == [1]


@given(st.floats(2.0**-32, 2.0**29, allow_nan=False))
def test_fixed_point_is_near_and_normalized(factor):
    multiplier, shift = fixed_point(torch.tensor(factor, dtype=torch.float64))
    assert 2**30 <= int(multiplier) < 2**31
    value = Fraction(int(multiplier)) / Fraction(2) ** (31 + int(shift))
    assert abs(value - Fraction(factor)) <= Fraction(factor) / 2**31


def test_fixed_point_corners():
    just_below_one = torch.tensor(1 - 2.0**-40, dtype=torch.float64)
    assert [int(part) for part in fixed_point(just_below_one)] == [2**30, -1]
    assert [int(part) for part in fixed_point(torch.tensor(0.5))] == [2**30, 0]
    assert [int(part) for part in fixed_point(torch.tensor(2.0**-33))] == [0, 0]


@pytest.mark.parametrize("bad", [0.0, -1.0, 2.0**30, float("nan"), float("inf")])
def test_fixed_point_refuses(bad):
    with pytest.raises(ValueError, match="factor"):
        fixed_point(torch.tensor(bad))


def test_requantize_refuses():
    m, s = fixed_point(torch.tensor(0.3))
    with pytest.raises(TypeError, match="x must be an integer"):
        requantize(torch.ones(2), m, s)
    with pytest.raises(ValueError, match="x must lie between"):
        requantize(torch.tensor([2**31]), m, s)
    with pytest.raises(ValueError, match="rounding must be one of"):
        requantize(torch.tensor([1]), m, s, "nearest")
    with pytest.raises(ValueError, match="rounding must be"):
        rounding_shift(torch.tensor([1]), 1, "double")
