"""The experiment ``bn_folding``: its claims follow from the recorded tables."""

import pandas as pd
import pytest

from fewbits import evidence
from fewbits.experiments.bn_folding.claims import make_claims

TABLES = ("exactness", "bits", "ranges", "cost")


def tables() -> dict[str, pd.DataFrame]:
    return {name: evidence.rows(f"bn_folding_{name}") for name in TABLES}


def numbers(claim: dict) -> tuple:
    (part,) = claim["parts"]
    return part["values"], part["runs"]


def test_claims_follow_from_the_recorded_tables():
    stored = {claim["id"]: claim for claim in evidence.load("bn_folding")}
    made = make_claims(*tables().values())
    assert {claim["id"] for claim in made} == set(stored)
    for claim in made:
        assert numbers(claim) == numbers(stored[claim["id"]])
        assert evidence.word(claim) == stored[claim["id"]]["word"]
        for key in ("statement", "paper", "departs", "independent", "scale"):
            assert claim.get(key) == stored[claim["id"]].get(key)


@pytest.mark.parametrize(
    ("table", "column", "claim"),
    [
        ("exactness", "float64", "exact-float64"),
        ("exactness", "predictions", "same-predictions"),
        ("bits", "accuracy", "per-channel-unharmed"),
        ("bits", "accuracy", "per-tensor-harmed-int8"),
        ("ranges", "max_over_min", "ranges-strong"),
        ("cost", "speedup", "faster-dense"),
    ],
)
def test_doctored_tables_give_other_claims(table, column, claim):
    frames = tables()
    frames[table][column] *= frames[table].index + 1
    frames[table][column] += 1
    before, after = (
        {each["id"]: each for each in make_claims(*each.values())}[f"bn_folding/{claim}"] for each in (tables(), frames)
    )
    assert numbers(after) != numbers(before)


def test_fewer_than_five_rounds_of_times_decide_nothing():
    frames = tables()
    frames["cost"] = frames["cost"].query("seed < 4")
    found = {claim["id"]: evidence.word(claim) for claim in make_claims(*frames.values())}
    assert found["bn_folding/faster-separable"] == "undecided"
