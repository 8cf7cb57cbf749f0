"""Which shape a claim must have, and how a fault is named."""

import copy
import math
import re

import pytest
from sample_claims import cited, claim

from fewbits import evidence


def set_in(made: dict, path: str, value) -> dict:
    """A copy of a claim with the field at ``path`` set, or removed where ``value`` is ``...``."""
    made = copy.deepcopy(made)
    *parents, field = (int(step) if step.isdigit() else step for step in path.split("."))
    holder = made
    for parent in parents:
        holder = holder[parent]
    if value is ...:
        del holder[field]
    else:
        holder[field] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("statement", ..., "statement is missing"),
        ("statement", "", "statement is empty"),
        ("statement", 3, "statement has the wrong type"),
        ("kind", "paprika", "kind must be one of"),
        ("kind", ..., "kind is missing"),
        ("departz", [], "departz is not a known field"),
        ("departs", ["a smaller network"], "departs[0] has the wrong type"),
        ("departs", [{"what": "a smaller network"}], "departs[0].could_explain is missing"),
        ("departs", [{"what": "", "could_explain": True}], "departs[0].what is empty"),
        ("departs", [{"what": "x", "could_explain": 1}], "departs[0].could_explain has the wrong type"),
        ("independent", ..., "independent is missing"),
        ("scale", ..., "scale must be one of"),
        ("scale", "huge", "scale must be one of"),
        ("paper", ..., "paper is missing"),
        ("paper.key", ..., "paper.key is missing"),
        ("paper.where", "", "paper.where is empty"),
        ("paper.value", None, "paper.value has the wrong type"),
        ("paper.value", 4.38, "parts compare with another number than paper.value"),
        ("paper.unit", "%", "paper.unit is not the unit of the part"),
        ("parts", ..., "parts is missing"),
        ("parts.0", 3, "parts[0] has the wrong type"),
        ("parts.0.type", "guess", "parts[0].type must be one of"),
        ("parts.0.values", ..., "parts[0].values is missing"),
        ("parts.0.values", [0.8, "0.9", 1.0], "parts[0].values[1] has the wrong type"),
        ("parts.0.values", [0.8, True, 1.0], "parts[0].values[1] has the wrong type"),
        ("parts.0.values", [0.8, math.nan, 1.0], "parts[0].values[1] is not finite"),
        ("parts.0.runs", ["seed 0", "seed 1"], "parts[0].runs must be as many as the values"),
        ("parts.0.runs", ["seed 0", "seed 1", "seed 1"], "parts[0].runs must differ"),
        ("parts.0.runs", ["seed 0", "seed 1", ""], "parts[0].runs must be names"),
        ("parts.0.holds", {}, "parts[0].holds needs min, max or both"),
        ("parts.0.holds", {"maximum": 1}, "parts[0].holds needs min, max or both"),
        ("parts.0.holds", {"max": math.inf}, "parts[0].holds.max is not finite"),
        ("parts.0.holds", {"max": "2"}, "parts[0].holds.max has the wrong type"),
        ("parts.0.holds", {"min": 2, "max": 1}, "parts[0].holds.min exceeds holds.max"),
        ("parts.0.agrees", ..., "parts compare nothing with paper.value"),
        ("parts.0.agrees", {"value": 1.13}, "parts[0].agrees needs value and margin"),
        ("parts.0.agrees", {"value": 1.13, "margin": None}, "parts[0].agrees.margin has the wrong type"),
        ("parts.0.agrees", {"value": 1.13, "margin": -1}, "parts[0].agrees.margin is negative"),
        ("parts.0.interval", [0, 1], "parts[0].interval is computed from the values"),
        ("parts.0.type", "estimate", "parts[0].interval is missing"),
        ("parts.0.type", "speed", "parts[0].path is missing"),
        ("parts.0.type", "paired images", "parts[0].images is missing"),
        ("parts.0.origins", [0, 0, 0], "parts[0].origins point at no provenance"),
        ("headline", 1, "headline has the wrong type"),
        ("provenance", [{"commit": "unknown"}], "provenance[0].command is missing"),
        ("band", {"before_run": True}, "band.commit is missing"),
    ],
)
def test_a_malformed_claim_is_refused_with_its_id_and_field(path, value, named):
    evidence.validate(claim())
    with pytest.raises(ValueError, match=rf"'demo/drop': {re.escape(named)}"):
        evidence.validate(set_in(claim(), path, value))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("reason", ..., "reason is missing"),
        ("reason", "", "reason is empty"),
        ("paper", ..., "paper is missing"),
        ("kind", "own", "parts are missing"),
        ("scale", "full", "scale has nothing to say"),
    ],
)
def test_a_cited_claim_needs_paper_and_reason(path, value, named):
    evidence.validate(cited())
    with pytest.raises(ValueError, match=rf"'demo/imagenet': {named}"):
        evidence.validate(set_in(cited(), path, value))


@pytest.mark.parametrize("name", [None, 3, "demo", "demo/", "Demo/drop", "demo/a.b", "demo/a:b", "demo/a b", "a/b/c"])
def test_a_bad_id_is_refused(name):
    with pytest.raises(ValueError, match="id must be"):
        evidence.validate(claim() | {"id": name})


def test_several_parts_need_names_that_differ():
    made = claim()
    made["parts"] += claim()["parts"]
    with pytest.raises(ValueError, match="parts need a name each"):
        evidence.validate(made)
    made["parts"] = [part | {"name": "drop"} for part in made["parts"]]
    with pytest.raises(ValueError, match="parts must differ in their names"):
        evidence.validate(made)
    made["parts"][1]["name"] = "size"
    evidence.validate(made)


def test_a_finding_of_our_own_has_no_protocol_to_depart_from():
    part = evidence.part([0.1, 0.2], low=0)
    made = evidence.own_claim("demo/own", "It pays", part, scale="notebook", independent="seeds")
    evidence.validate(made)
    with pytest.raises(ValueError, match="departs has no paper to depart from"):
        evidence.validate(made | {"departs": [evidence.departure("a smaller network")]})


def test_paired_images_are_counts_that_give_the_value():
    images = {"gained": 3, "lost": 10, "of": 1000}
    made = claim() | {"parts": [evidence.part([-0.7], unit="pt", type="paired images", low=-1, images=images)]}
    made["paper"] = {"key": "li2016", "where": "Table 1", "value": "the same"}
    evidence.validate(made)
    for wrong in ({"gained": 4}, {"gained": -1}, {"of": 10}, {"of": 0}, {"lost": 1.5}):
        with pytest.raises(ValueError, match=r"parts\[0\]\.(images|values)"):
            evidence.validate(set_in(made, "parts.0.images", images | wrong))


def test_a_part_knows_its_runs():
    assert evidence.part([1, 2], high=3)["runs"] == ["seed 0", "seed 1"]
    assert evidence.part([1, 2], high=3, runs=[4, "float 1"])["runs"] == ["seed 4", "float 1"]
    made = evidence.part([1], high=3, name="size", type="size", unit="kB")
    assert made == {
        "name": "size",
        "type": "size",
        "unit": "kB",
        "values": [1],
        "runs": ["seed 0"],
        "holds": {"max": 3},
    }
