"""What a claim is, which shape it must have, and the verdict that its numbers give (see `fewbits.evidence`)."""

import math
import re
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from scipy import stats

Claim = dict

_Require = Callable[[bool, str, str], None]

SCALES = ("notebook", "reduced", "full")
SYMBOLS = {"reproduced": "✓", "trend only": "≈", "not reproduced": "✗", "cited": "○"}

_NUMBER = (int, float)
# Part of a claim ("" is the claim itself) -> field -> (types, required). Other fields are refused: a misspelt "expct"
# would otherwise pass unnoticed.
_FIELDS: dict[str, dict[str, tuple[type | tuple[type, ...], bool]]] = {
    "": {
        "id": (str, True),
        "statement": (str, True),
        "paper": (dict, False),
        "ours": (dict, False),
        "expect": (dict, False),
        "reason": (str, False),
        "verdict": (str, False),
        "provenance": (dict, False),
    },
    "paper": {"key": (str, True), "where": (str, True), "value": ((*_NUMBER, str), True), "unit": (str, False)},
    "ours": {
        "value": (_NUMBER, False),
        "unit": (str, False),
        "values": (list, False),
        "seeds": (list, False),
        "scale": (str, True),
    },
    "expect": {"min": (_NUMBER, False), "max": (_NUMBER, False), "scale": (str, False)},
    "provenance": {
        "commit": (str, True),
        "command": (str, True),
        "date": (str, True),
        "device": (str, True),
        "torch": (str, True),
        "wall_s": (_NUMBER, True),
    },
}


def validate(claim: Claim) -> None:
    """Check the shape of one claim, with or without its verdict and provenance.

    Raises:
        ValueError: naming the claim's id and the field at fault.
    """
    name = claim.get("id") if isinstance(claim, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_]+/[a-z0-9-]+", name):
        raise ValueError(f"claim {name!r}: id must be '<chapter>/<slug>' of a-z, 0-9 and '-' (and '_' in the chapter)")

    def require(condition: bool, field: str, message: str) -> None:
        if not condition:
            raise ValueError(f"claim {name!r}: {field} {message}")

    for part, fields in _FIELDS.items():
        if part and part not in claim:
            continue
        values, prefix = (claim[part], f"{part}.") if part else (claim, "")
        for field in values:
            require(field in fields, prefix + str(field), f"is not a known field ({', '.join(fields)})")
        for field, (types, required) in fields.items():
            require(field in values or not required, prefix + field, "is missing")
            if field in values:
                _require_value(require, prefix + field, values[field], types)

    ours, expect = claim.get("ours"), claim.get("expect")
    if ours is None:
        require("paper" in claim, "paper", "is missing: a claim without 'ours' cites a paper")
        require("reason" in claim, "reason", "is missing: say why a cited result was not run here")
        require(expect is None, "expect", "has nothing to judge without 'ours'")
    elif expect is None:
        require(False, "expect", "is missing: without it there is no verdict")
    else:
        require("min" in expect or "max" in expect, "expect", "needs min, max or both")
        require(expect.get("min", -math.inf) <= expect.get("max", math.inf), "expect.min", "exceeds expect.max")
        require(expect.get("scale", "full") in SCALES, "expect.scale", f"must be one of {SCALES}")
        _validate_ours(require, ours)
        # One number for several seeds hides their spread. An exact statement has none: its value is the worst seed's.
        summary = "values" not in ours and len(ours.get("seeds", [])) > 1
        exact = expect.get("scale") == "notebook"
        require(exact or not summary, "ours.values", "is missing: give the result of each seed")
        if isinstance(claim.get("paper", {}).get("value", ""), _NUMBER):
            same = claim["paper"].get("unit", "") == ours.get("unit", "")
            require(same, "ours.unit", "differs from paper.unit, and the two numbers are shown side by side")
    if "verdict" in claim:
        require(claim["verdict"] in SYMBOLS, "verdict", f"must be one of {tuple(SYMBOLS)}")
    # A record is read on other machines, where an absolute path means nothing.
    command = claim.get("provenance", {}).get("command", "")
    require(not re.search(r"(^|[\s=:'\"])[/~]", command), "provenance.command", "holds an absolute path")


def _require_value(require: _Require, field: str, value: object, types: type | tuple[type, ...]) -> None:
    require(isinstance(value, types) and not isinstance(value, bool), field, f"has the wrong type: {value!r}")
    require(value != "" or field.endswith("unit"), field, "is empty")
    require(not isinstance(value, float) or math.isfinite(value), field, f"is not finite: {value!r}")


def _validate_ours(require: _Require, ours: dict) -> None:
    require(ours["scale"] in SCALES, "ours.scale", f"must be one of {SCALES}")
    require(ours.get("values") != [], "ours.values", "is empty")
    if "seeds" in ours:
        seeds = ours["seeds"]
        require(all(type(seed) is int for seed in seeds), "ours.seeds", "must hold integers")
        require(len(set(seeds)) == len(seeds), "ours.seeds", "must differ from each other")
        require(len(seeds) == len(ours.get("values", seeds)), "ours.seeds", "must be as many as ours.values")
    if "values" in ours:
        for value in ours["values"]:
            _require_value(require, "ours.values", value, _NUMBER)
        mean = fmean(ours["values"])
        agree = math.isclose(ours.get("value", mean), mean, rel_tol=1e-6, abs_tol=1e-9)
        require(agree, "ours.value", f"disagrees with the mean of ours.values, {mean}")
    else:
        require("value" in ours, "ours.value", "is missing, and so is ours.values")


def runs(ours: dict) -> list[float]:
    """The results of a claim's ``ours``, one a seed, or its only value."""
    return ours.get("values") or [ours["value"]]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % Student-t confidence interval of the mean of independent runs.

    Args:
        values: n >= 1 finite numbers, one a seed.
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
    return fmean(values), float(stats.t.ppf(0.975, count - 1)) * stdev(values) / math.sqrt(count)


def verdict(claim: Claim) -> str:
    """What the numbers of a valid claim say, whatever its stored verdict.

    - no ``ours``: ``cited``;
    - the mean of the seeds (or the one value) lies outside [expect.min, expect.max]: ``not reproduced``;
    - the mean lies inside, but its 95 % interval does not, or there is none, as a single seed was run, or the run was
      smaller than ``expect.scale`` (default ``full``; an exact statement sets ``notebook``): ``trend only``;
    - else ``reproduced``.
    """
    if "ours" not in claim:
        return "cited"
    ours, expect = claim["ours"], claim["expect"]
    values = runs(ours)
    mean, half = interval(values)
    # A drop such as 92.1 - 90.1 must not miss a bound of 2 by the last bit of a float.
    slack = 1e-9 * max(1.0, abs(mean))
    low, high = expect.get("min", -math.inf) - slack, expect.get("max", math.inf) + slack
    if not low <= mean <= high:
        return "not reproduced"
    exact = "values" not in ours
    certain = exact or (low <= mean - half and mean + half <= high)  # never with the NaN of a single seed
    large_enough = SCALES.index(ours["scale"]) >= SCALES.index(expect.get("scale", "full"))
    return "reproduced" if certain and large_enough else "trend only"
