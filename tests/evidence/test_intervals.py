"""The 95 % interval of each type of quantity."""

import math
from itertools import pairwise, product
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fewbits import evidence
from fewbits.evidence import intervals


def test_interval_of_two_runs_is_the_closed_form():
    # With one degree of freedom t is Cauchy, whose 97.5 % quantile is tan(0.475 π); s/√2 is half the distance.
    mean, half = evidence.interval([3.0, 5.0])
    assert mean == 4.0
    assert half == pytest.approx(math.tan(0.475 * math.pi) * 1.0, rel=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8).filter(lambda values: max(values) - min(values) > 1e-3))
def test_interval_equals_scipy(values):
    mean, half = evidence.interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    assert mean - half == pytest.approx(low, rel=1e-9, abs=1e-6)
    assert mean + half == pytest.approx(high, rel=1e-9, abs=1e-6)


def test_interval_of_one_run_is_unknown_and_of_none_refused():
    mean, half = evidence.interval([7])
    assert mean == 7
    assert math.isnan(half)
    with pytest.raises(ValueError, match="values"):
        evidence.interval([])


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=30, unique=True))
def test_the_median_interval_holds_what_a_sign_test_does_not_reject(values):
    low, high = intervals.median_interval(values)
    assert low <= median(values) <= high

    def rejected(middle: float) -> bool:
        above = sum(value > middle for value in values)
        below = sum(value < middle for value in values)
        return stats.binomtest(above, above + below).pvalue <= 0.05

    edges = [sorted(values)[0] - 1, *sorted(values), sorted(values)[-1] + 1]
    for first, second in pairwise(edges):
        middle = (first + second) / 2
        if first < middle < second:
            assert rejected(middle) == (not low < middle < high)


@pytest.mark.parametrize("count", range(1, 6))
def test_a_median_of_fewer_than_six_runs_has_no_interval(count):
    assert all(math.isnan(end) for end in intervals.median_interval(list(range(count))))


def test_ratios_are_judged_on_a_logarithmic_scale():
    low, high = intervals.ratio_interval([0.5, 2.0, 1.0])
    assert low * high == pytest.approx(1.0)  # symmetric about 1, as 2 × faster and 2 × slower are
    assert low < 0.5
    with pytest.raises(ValueError, match="positive"):
        intervals.ratio_interval([1.0, 0.0])


@pytest.mark.parametrize(("gained", "lost", "of"), [(0, 0, 100), (3, 0, 100), (5, 12, 200), (30, 30, 400)])
def test_the_paired_interval_covers_the_truth_in_95_of_100_draws(gained, lost, of):
    """The interval of each possible outcome, weighted by its probability when the truth is these shares."""
    p, q = (gained + 0.5) / (of + 1), (lost + 0.5) / (of + 1)
    covered = 0.0
    reach = range(min(of, 90))
    for a, b in product(reach, reach):
        if a + b <= of:
            weight = stats.multinomial.pmf([a, b, of - a - b], of, [p, q, 1 - p - q])
            if weight > 1e-9:
                low, high = intervals.paired_interval(a, b, of)
                covered += weight * (low <= 100 * (p - q) <= high)
    assert 0.93 < covered < 1.0001


def test_the_interval_of_each_type():
    def ends(**fields) -> tuple[float, float]:
        return intervals.ends(evidence.part(high=1, **fields))

    assert ends(values=[1, 4, 2], type="count") == (1, 4)
    assert ends(values=[1.0, 3.0, 2.0]) == pytest.approx(
        (2 - 4.302652729911275 / 3**0.5, 2 + 4.302652729911275 / 3**0.5)
    )
    assert ends(values=[3, 1, 2, 6, 5, 4], type="median") == (1, 6)
    assert ends(values=[2.0] * 5, type="speed") == pytest.approx((2, 2))
    assert math.isnan(ends(values=[2.0] * 4, type="speed")[0])  # four rounds are too few
    assert ends(values=[0.5], type="estimate", interval=[0.2, 0.7], method="bootstrap") == (0.2, 0.7)
    assert math.isnan(ends(values=[])[0])
    assert math.isnan(intervals.centre(evidence.part([], high=1)))
    assert intervals.centre(evidence.part([1.0, 4.0], type="speed", high=1)) == pytest.approx(2.0)
