"""What the numbers of a claim say: two answers, and one word (see `fewbits.evidence`)."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from fewbits.evidence.claims import Claim, Part
from fewbits.evidence.intervals import EXACT, centre, ends, interval

YES, NO, UNDECIDED = "yes", "no", "undecided"

# Of a paper's claim: symbol and meaning. The order is that of all pictures and tables.
WORDS = {
    "reproduced": ("✓", "it holds at the paper's scale, and the number agrees where the paper gives one"),
    "carries over": ("≈", "it holds at a smaller scale than the paper's"),
    "undecided": ("?", "the interval crosses the border, or there is none"),
    "does not carry over": ("≉", "it fails here, and a departure from the paper's protocol could explain that"),
    "not reproduced": ("✗", "it fails here, and nothing that departs could explain it"),
    "cited": ("○", "it was not run here"),
}
# Of a finding or question of our own.
OWN_WORDS = {
    "holds": ("●", "the whole interval lies in the band"),
    "undecided": ("?", "the interval crosses the border, or there is none"),
    "does not hold": ("−", "the whole interval lies outside the band"),
}
SYMBOLS = {word: symbol for word, (symbol, _) in (OWN_WORDS | WORDS).items()}


def holds(part: Part) -> str:
    """Does the part lie in its band: *yes* or *no* if its whole 95 % interval does or does not, else *undecided*."""
    band = part["holds"]
    return _answer(part, band.get("min", -math.inf), band.get("max", math.inf))


def agrees(part: Part) -> str | None:
    """Does the part equal the paper's number within the margin, as an equivalence test; None if nothing is compared."""
    if "agrees" not in part:
        return None
    value, margin = part["agrees"]["value"], part["agrees"]["margin"]
    return _answer(part, value - margin, value + margin)


def _answer(part: Part, low: float, high: float) -> str:
    first, last = ends(part)
    if math.isnan(first) or math.isnan(last):
        return UNDECIDED
    # A drop such as 92.1 - 90.1 must not miss a bound of 2 by the last bit of a float.
    slack = 1e-9 * max(1.0, abs(first), abs(last))
    if low - slack <= first and last <= high + slack:
        return YES
    outside = last < low - slack or first > high + slack
    # Of exact values a single one outside decides: they are not spread around anything.
    return NO if outside or part["type"] in EXACT else UNDECIDED


def answers(claim: Claim) -> dict[str, str]:
    """The answers of all parts of a valid claim together: *no* if any says so, *yes* if all do.

    Returns:
        "holds", and "agrees" where a part is compared with the paper's number; empty for a cited claim.
    """
    found = {"holds": [holds(part) for part in claim["parts"]]}
    found["agrees"] = [answer for answer in map(agrees, claim["parts"]) if answer is not None]
    return {question: _together(given) for question, given in found.items() if given}


def _together(given: list[str]) -> str:
    return NO if NO in given else UNDECIDED if UNDECIDED in given else YES


def word(claim: Claim) -> str:
    """The word that the numbers of a valid claim give, whatever its stored word; see `WORDS` and `OWN_WORDS`.

    - A claim of our own *holds*, *does not hold*, or is *undecided*.
    - A paper's claim without parts is *cited*.
    - If it fails, the word is *does not carry over* where a departure from the paper's protocol could explain that,
      else *not reproduced*. At the paper's own scale a number that disagrees is a failure as well.
    - If it holds, the word is *reproduced* at full scale and for what is true by arithmetic, else *carries over*.
    """
    if not claim["parts"]:
        return "cited"
    given = answers(claim)
    if claim["kind"] == "own":
        return {YES: "holds", NO: "does not hold", UNDECIDED: "undecided"}[given["holds"]]
    full = claim["scale"] == "full" or all(part["type"] == "identity" for part in claim["parts"])
    # On another network the paper's number is not expected, only its direction.
    answer = _together([given["holds"], given.get("agrees", YES)]) if full else given["holds"]
    if answer == UNDECIDED:
        return UNDECIDED
    if answer == YES:
        return "reproduced" if full else "carries over"
    explained = any(item["could_explain"] for item in claim["departs"])
    return "does not carry over" if explained else "not reproduced"


def multiplicity(claims: list[Claim], level: float = 0.05) -> pd.DataFrame:
    """How sure all answers from independent runs are together, by Benjamini-Hochberg and by Holm.

    For each claim with parts of type ``mean`` and at least two runs: the two-sided p-value of the mean against the
    border of the band that is nearest to it, the largest of its parts.

    Returns:
        A row a claim: id, p, and whether the answer stands when false discoveries among all answers are kept to
        ``level`` (``benjamini_hochberg``) or when any false answer is (``holm``).
    """
    found = {claim["id"]: p for claim in claims if (p := _p_value(claim)) is not None}
    frame = pd.DataFrame({"id": list(found), "p": list(found.values())}, columns=["id", "p"])
    p = frame["p"].to_numpy(dtype=float)
    frame["benjamini_hochberg"] = stats.false_discovery_control(p) <= level if len(p) else np.zeros(0, bool)
    # Holm: sorted p-values against level / (n - rank), up to the first that fails.
    order = np.argsort(p, kind="stable")
    passed = np.cumprod(p[order] <= level / (len(p) - np.arange(len(p)))).astype(bool) if len(p) else np.zeros(0, bool)
    frame["holm"] = pd.Series(passed, index=order).sort_index().to_numpy(dtype=bool)
    return frame


def _p_value(claim: Claim) -> float | None:
    parts = [part for part in claim["parts"] if part["type"] == "mean" and len(part["values"]) >= 2]
    return max(map(_p_of_part, parts)) if parts else None


def _p_of_part(part: Part) -> float:
    mean, half = interval(part["values"])
    distance = min(abs(mean - bound) for bound in part["holds"].values())
    if half == 0:
        return 0.0 if distance > 0 else 1.0
    degrees = len(part["values"]) - 1
    error = half / float(stats.t.ppf(0.975, degrees))
    return float(2 * stats.t.sf(distance / error, degrees))


def shown(part: Part) -> tuple[float, float, float]:
    """What a page shows of a part: its centre and the two ends of its interval, NaN where unknown."""
    return (centre(part), *ends(part))
