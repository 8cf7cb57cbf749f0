"""What a claim is and which shape it must have (see `fewbits.evidence`)."""

import math
import re
from collections.abc import Sequence

from fewbits.evidence.intervals import EXACT, TYPES

Claim = dict
Part = dict

KINDS = ("paper", "own")
SCALES = ("notebook", "reduced", "full")

_NUMBER = (int, float)
# Part of a claim ("" is the claim itself) -> field -> (types, required). Other fields are refused: a misspelt "departz"
# would otherwise pass unnoticed.
_FIELDS: dict[str, dict[str, tuple[type | tuple[type, ...], bool]]] = {
    "": {
        "id": (str, True),
        "kind": (str, True),
        "statement": (str, True),
        "paper": (dict, False),
        "scale": (str, False),
        "parts": (list, True),
        "independent": (str, False),
        "departs": (list, True),
        "headline": (bool, False),
        "reason": (str, False),
        "answers": (dict, False),
        "word": (str, False),
        "band": (dict, False),
        "provenance": (list, False),
    },
    "paper": {"key": (str, True), "where": (str, True), "value": ((*_NUMBER, str), True), "unit": (str, False)},
    "band": {"commit": (str, True), "before_run": (bool, False)},
}
_PART: dict[str, tuple[type | tuple[type, ...], bool]] = {
    "name": (str, False),
    "type": (str, True),
    "unit": (str, False),
    "values": (list, True),
    "runs": (list, True),
    "holds": (dict, True),
    "agrees": (dict, False),
    "images": (dict, False),
    "interval": (list, False),
    "method": (str, False),
    "path": (str, False),
    "processor": (str, False),
    "origins": (list, False),
}
_DEPARTURE: dict[str, tuple[type | tuple[type, ...], bool]] = {"what": (str, True), "could_explain": (bool, True)}
_ORIGIN: dict[str, tuple[type | tuple[type, ...], bool]] = {
    "commit": (str, True),
    "command": (str, True),
    "date": (str, True),
    "device": (str, True),
    "torch": (str, True),
    "wall_s": (_NUMBER, True),
}


def part(
    values: Sequence[float],
    *,
    unit: str = "",
    type: str = "mean",
    runs: Sequence[object] | None = None,
    low: float | None = None,
    high: float | None = None,
    paper: float | None = None,
    margin: float | None = None,
    name: str | None = None,
    **more: object,
) -> Part:
    """One quantity of a claim: what was measured, the band that it must lie in, and what it should equal.

    Args:
        values: one number an independent run (a round, for ``speed``); empty if the band is set before the first run.
        unit: of the values, such as "pt".
        type: how the values are read, see `fewbits.evidence.intervals.TYPES`.
        runs: the name of each value's run, such as "seed 0"; integers become "seed 0", "seed 1", ….
        low, high: the band of *does it hold*; one of them may be left out.
        paper, margin: the paper's number in the same unit, and how far ours may be from it to count as equal.
        name: of the quantity, needed where a claim has several.
        more: ``images`` (gained, lost, of) for ``paired images``; ``interval`` and ``method`` for ``estimate``;
            ``path`` (of the code) and ``processor`` for ``speed``; ``method`` says more about any type.
    """
    numbers = [value.item() if hasattr(value, "item") else value for value in values]
    named = [
        f"seed {run}" if isinstance(run, int) else str(run) for run in (range(len(numbers)) if runs is None else runs)
    ]
    made: Part = {} if name is None else {"name": name}
    made |= {"type": type, "unit": unit, "values": numbers, "runs": named}
    made["holds"] = {end: bound for end, bound in (("min", low), ("max", high)) if bound is not None}
    if paper is not None or margin is not None:
        made["agrees"] = {"value": paper, "margin": margin}
    return made | more


def departure(what: str, could_explain: bool = True) -> dict:
    """One departure from the paper's protocol, and whether it could explain that a claim fails here."""
    return {"what": what, "could_explain": could_explain}


def paper_claim(
    id: str,
    statement: str,
    paper: tuple[str, str, float | str] | tuple[str, str, float | str, str],
    *parts: Part,
    scale: str,
    independent: str = "",
    departs: Sequence[str | dict] = (),
    reason: str = "",
    headline: bool = False,
    band_commit: str = "",
) -> Claim:
    """A claim that a paper makes and that was put to the test here.

    Args:
        id: "<chapter>/<slug>".
        statement: what would be true, as a sentence.
        paper: key of the bibliography, place, the value as the paper gives it, and its unit if it is a number.
        parts: the quantities, see `part`; all of them must hold.
        scale: "full" for the paper's own network and data, "reduced", or "notebook".
        independent: what the values are independent runs of ("float networks, trained from different seeds"); not
            needed where all parts are exact.
        departs: how the run departs from the paper's protocol. A plain string could explain a failure; use
            `departure` for one that could not.
        reason: why it failed; required where nothing that departs could explain it.
        headline: one of the claims that the paper is known for; the page *Evidence* begins with them.
        band_commit: the full hash of the commit that set bands and margins, if it is earlier than the first record.
    """
    claim: Claim = {"id": id, "kind": "paper", "statement": statement, "paper": _paper(paper), "scale": scale}
    claim |= {"headline": True} if headline else {}
    return claim | _rest(parts, independent, departs, reason, band_commit)


def own_claim(
    id: str,
    statement: str,
    *parts: Part,
    scale: str,
    independent: str = "",
    reason: str = "",
    paper: tuple = (),
    band_commit: str = "",
) -> Claim:
    """A finding or question of this book; ``paper`` names a source that suggested it without claiming it."""
    claim = {"id": id, "kind": "own", "statement": statement} | ({"paper": _paper(paper)} if paper else {})
    return claim | {"scale": scale} | _rest(parts, independent, (), reason, band_commit)


def cited_claim(id: str, statement: str, paper: tuple, reason: str, headline: bool = False) -> Claim:
    """A result that is only cited; ``reason`` says why it was not run."""
    claim: Claim = {"id": id, "kind": "paper", "statement": statement, "paper": _paper(paper)}
    return claim | ({"headline": True} if headline else {}) | _rest((), "", (), reason)


def _paper(entry: tuple) -> dict:
    return dict(zip(("key", "where", "value", "unit"), entry, strict=False))


def _rest(
    parts: Sequence[Part], independent: str, departs: Sequence[str | dict], reason: str, band_commit: str = ""
) -> dict:
    listed = [departure(item) if isinstance(item, str) else item for item in departs]
    rest: dict = {"parts": list(parts), "departs": listed}
    rest |= {"band": {"commit": band_commit}} if band_commit else {}
    return rest | {key: text for key, text in (("independent", independent), ("reason", reason)) if text}


def validate(claim: Claim) -> None:
    """Check the shape of one claim, with or without its word and provenance.

    Raises:
        ValueError: naming the claim's id and the field at fault.
    """
    name = claim.get("id") if isinstance(claim, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_]+/[a-z0-9-]+", name):
        raise ValueError(f"claim {name!r}: id must be '<chapter>/<slug>' of a-z, 0-9 and '-' (and '_' in the chapter)")

    require = _Require(name)
    for field, fields in _FIELDS.items():
        if not field or field in claim:
            require.fields(claim[field] if field else claim, fields, f"{field}." if field else "")
    for index, item in enumerate(claim["departs"]):
        require.fields(item, _DEPARTURE, f"departs[{index}].")
    for index, item in enumerate(claim.get("provenance", ())):
        require.fields(item, _ORIGIN, f"provenance[{index}].")
        # A record is read on other machines, where an absolute path means nothing.
        absolute = re.search(r"(^|[\s=:'\"])[/~]", item["command"])
        require(not absolute, f"provenance[{index}].command", "holds an absolute path")
    require(claim["kind"] in KINDS, "kind", f"must be one of {KINDS}")
    require(claim["kind"] == "own" or "paper" in claim, "paper", "is missing: a claim of kind 'paper' cites one")
    require(claim["kind"] == "paper" or not claim["departs"], "departs", "has no paper to depart from")
    if claim["parts"]:
        _validate_measured(require, claim)
    else:
        require(claim["kind"] == "paper", "parts", "are missing: a finding of our own needs what was measured")
        require("reason" in claim, "reason", "is missing: say why a cited result was not run here")
        require("scale" not in claim, "scale", "has nothing to say of a cited result")


def _validate_measured(require: "_Require", claim: Claim) -> None:
    parts = claim["parts"]
    for index, item in enumerate(parts):
        prefix = f"parts[{index}]."
        require.fields(item, _PART, prefix)
        _validate_part(require, item, prefix, len(claim.get("provenance", ())))
    names = [item.get("name") for item in parts]
    require(len(parts) == 1 or None not in names, "parts", "need a name each, as there are several")
    require(len(set(names)) == len(names), "parts", "must differ in their names")
    require(claim.get("scale") in SCALES, "scale", f"must be one of {SCALES}")
    exact = all(item["type"] in EXACT for item in parts)
    require(exact or "independent" in claim, "independent", "is missing: say what the values are independent runs of")
    paper = claim.get("paper")
    # A bound alone would hide that the number is another one: 1.8 lies below 4.38, and is not 4.38.
    if paper is not None and isinstance(paper["value"], _NUMBER):
        compared = [item["agrees"]["value"] for item in parts if "agrees" in item]
        needed = claim["kind"] == "paper" and claim["scale"] == "full"
        require(
            compared or not needed, "parts", "compare nothing with paper.value: give 'paper' and 'margin' to a part"
        )
        require(not compared or paper["value"] in compared, "parts", "compare with another number than paper.value")
        units = {item.get("unit", "") for item in parts if "agrees" in item}
        require(
            not units or paper.get("unit", "") in units, "paper.unit", f"is not the unit of the part, {sorted(units)}"
        )


def _validate_part(require: "_Require", item: Part, prefix: str, origins: int) -> None:
    holds, agrees, values = item["holds"], item.get("agrees"), item["values"]
    require(item["type"] in TYPES, prefix + "type", f"must be one of {tuple(TYPES)}")
    for index, value in enumerate(values):
        require.value(value, _NUMBER, f"{prefix}values[{index}]")
    for field in ("runs", "origins"):
        require(len(item.get(field, values)) == len(values), prefix + field, "must be as many as the values")
    require(len(set(item["runs"])) == len(item["runs"]), prefix + "runs", "must differ from each other")
    require(all(isinstance(run, str) and run for run in item["runs"]), prefix + "runs", "must be names")
    indices = item.get("origins", ())
    require(all(type(i) is int and 0 <= i < origins for i in indices), prefix + "origins", "point at no provenance")
    require(set(holds) <= {"min", "max"} and bool(holds), prefix + "holds", "needs min, max or both, and nothing else")
    for end, bound in holds.items():
        require.value(bound, _NUMBER, f"{prefix}holds.{end}")
    ordered = holds.get("min", -math.inf) <= holds.get("max", math.inf)
    require(ordered, prefix + "holds.min", "exceeds holds.max")
    if agrees is not None:
        require(set(agrees) == {"value", "margin"}, prefix + "agrees", "needs value and margin, and nothing else")
        for field, number in agrees.items():
            require.value(number, _NUMBER, f"{prefix}agrees.{field}")
        require(agrees["margin"] >= 0, prefix + "agrees.margin", "is negative")
    for field in TYPES[item["type"]].needs:
        require(field in item or not values, prefix + field, f"is missing: type {item['type']!r} needs it")
    if "interval" in item:
        ends = item["interval"]
        require(item["type"] == "estimate", prefix + "interval", "is computed from the values, and not given")
        require(len(ends) == 2 and ends[0] <= ends[1], prefix + "interval", "must be two numbers in ascending order")
    if "images" in item:
        counts = item["images"]
        require(set(counts) == {"gained", "lost", "of"}, prefix + "images", "needs gained, lost and of")
        require(all(type(n) is int and n >= 0 for n in counts.values()), prefix + "images", "must be counts")
        require(0 < counts["of"] >= counts["gained"] + counts["lost"], prefix + "images", "are more than there are")
        change = 100 * (counts["gained"] - counts["lost"]) / counts["of"]
        same = len(values) == 1 and math.isclose(values[0], change, abs_tol=1e-9)
        require(same, prefix + "values", f"must be the one change in points, {change}")


class _Require:
    """Raises a ValueError that names the claim and the field, unless a condition holds."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, condition: object, field: str, message: str) -> None:
        if not condition:
            raise ValueError(f"claim {self.name!r}: {field} {message}")

    def fields(self, values: object, fields: dict[str, tuple[type | tuple[type, ...], bool]], prefix: str) -> None:
        """``values`` is a dictionary of ``fields``, each of its type."""
        self(isinstance(values, dict), prefix.rstrip("."), f"has the wrong type: {values!r}")
        assert isinstance(values, dict)
        for field in values:
            self(field in fields, prefix + str(field), f"is not a known field ({', '.join(fields)})")
        for field, (types, required) in fields.items():
            self(field in values or not required, prefix + field, "is missing")
            if field in values:
                self.value(values[field], types, prefix + field)

    def value(self, value: object, types: type | tuple[type, ...], field: str) -> None:
        """``value`` has one of ``types`` (a bool is no number), is not empty text, and is finite."""
        fits = isinstance(value, types) and (types is bool or not isinstance(value, bool))
        self(fits, field, f"has the wrong type: {value!r}")
        self(value != "" or field.endswith("unit"), field, "is empty")
        self(not isinstance(value, float) or math.isfinite(value), field, f"is not finite: {value!r}")
