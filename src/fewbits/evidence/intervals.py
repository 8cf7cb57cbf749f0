"""How the values of a claim become a 95 % interval (see `fewbits.evidence`)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from scipy import stats

LEVEL = 0.95
MINIMUM_ROUNDS = 5  # of a ratio of times


@dataclass(frozen=True)
class Reading:
    """How the values of one type of quantity are read.

    Attributes:
        centre: the number that is shown, from the values.
        ends: the 95 % interval of the part, as (low, high); NaN where it cannot be known.
        needs: fields that a part of this type must have.
        about: one line for the reader.
    """

    centre: Callable[[Sequence[float]], float]
    ends: Callable[[dict], tuple[float, float]]
    needs: tuple[str, ...]
    about: str


UNKNOWN = (math.nan, math.nan)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % Student-t confidence interval of the mean of independent runs.

    Args:
        values: n >= 1 finite numbers, one a run.
    Returns:
        The mean, and the half-width t(0.975, n-1)·s/√n in the unit of the values; NaN where n = 1, as one run says
        nothing about the spread.
    Raises:
        ValueError: ``values`` is empty.
    """
    count = len(values)
    if count == 0:
        raise ValueError("values is empty: no mean, no interval")
    if count == 1:
        return float(values[0]), math.nan
    return fmean(values), float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * stdev(values) / math.sqrt(count)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median between two order statistics: the medians that a sign test does not reject.

    With fewer than six values no pair of order statistics reaches 95 %, and both ends are NaN.
    """
    count = len(values)
    # The largest k for which P(Binomial(n, ½) < k) ≤ 2.5 % on either side.
    rank = int(stats.binom.ppf((1 - LEVEL) / 2, count, 0.5))
    if stats.binom.cdf(rank - 1, count, 0.5) > (1 - LEVEL) / 2 or rank < 1:
        return UNKNOWN
    ordered = sorted(values)
    return ordered[rank - 1], ordered[count - rank]


def ratio_interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the geometric mean of ratios of times: a t-interval of their logarithms.

    Raises:
        ValueError: a ratio is not positive.
    """
    if any(ratio <= 0 for ratio in ratios):
        raise ValueError("a ratio of times must be positive")
    mean, half = interval([math.log(ratio) for ratio in ratios])
    return math.exp(mean - half), math.exp(mean + half)


def paired_interval(gained: int, lost: int, of: int) -> tuple[float, float]:
    """95 % interval, in points, of a change of accuracy counted on the same images (Bonett and Price 2012).

    Args:
        gained, lost: images that only the second, or only the first, of two networks classifies correctly.
        of: all images.
    """
    plus, minus = (gained + 1) / (of + 2), (lost + 1) / (of + 2)
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt((plus + minus - (plus - minus) ** 2) / (of + 2))
    return 100 * (plus - minus - half), 100 * (plus - minus + half)


def _t(part: dict) -> tuple[float, float]:
    mean, half = interval(part["values"])
    return mean - half, mean + half


def _rounds(part: dict) -> tuple[float, float]:
    return ratio_interval(part["values"]) if len(part["values"]) >= MINIMUM_ROUNDS else UNKNOWN


def _exact(part: dict) -> tuple[float, float]:
    return min(part["values"]), max(part["values"])


def _geometric(values: Sequence[float]) -> float:
    return math.exp(fmean(math.log(value) for value in values))


def _worst(values: Sequence[float]) -> float:
    return fmean(values) if len(set(values)) > 1 else values[0]


EXACT = ("identity", "count", "size")  # what is counted has no interval: every value must lie in the band

TYPES: dict[str, Reading] = {
    "identity": Reading(_worst, _exact, (), "true by arithmetic, whatever the network"),
    "count": Reading(_worst, _exact, (), "counted, not estimated"),
    "size": Reading(_worst, _exact, (), "numbers of bits, bytes, parameters or gates"),
    "mean": Reading(fmean, _t, (), "mean of independent runs; Student's t"),
    "median": Reading(median, lambda p: median_interval(p["values"]), (), "median of independent runs; sign test"),
    "speed": Reading(_geometric, _rounds, ("path", "processor"), "ratio of times, one a round; t of the logarithms"),
    "paired images": Reading(
        fmean, lambda p: paired_interval(**p["images"]), ("images",), "counted on the same images"
    ),
    "estimate": Reading(fmean, lambda p: tuple(p["interval"]), ("interval", "method"), "by the method that is stated"),
}


def centre(part: dict) -> float:
    """The number of a part that is shown: mean, median or geometric mean, by its type; NaN without values."""
    return float(TYPES[part["type"]].centre(part["values"])) if part["values"] else math.nan


def ends(part: dict[str, Any]) -> tuple[float, float]:
    """The 95 % interval of a part, by its type; NaN where nothing is known, as with a single run."""
    return TYPES[part["type"]].ends(part) if part["values"] else UNKNOWN
