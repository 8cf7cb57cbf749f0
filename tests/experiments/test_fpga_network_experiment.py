"""The experiment ``fpga_network``: its claims from tables made here, and the report of the place-and-route tool."""

import numpy as np
import pandas as pd
import pytest

from fewbits import evidence
from fewbits.experiments.fpga_network import run as experiment
from fewbits.experiments.fpga_network.claims import make_claims
from fewbits.fpga.place import read_report
from fewbits.fpga.synthesis import ZCU102

EMPTY = {name: pd.DataFrame(columns=columns) for name, columns in experiment.COLUMNS.items()}
FULL = {
    "resources": pd.DataFrame(
        {
            "shift_adders": [128, 1312, 256, 512, 1024],
            "LUT": [30_000, 137_040, 1, 1, 1],
            "FF": [9, 54_816, 1, 1, 1],
            "BRAM": [91.2, 60, 1, 1, 1],
            "DSP": 0,
        }
    ),
    "simulation": pd.DataFrame(
        {"shift_adders": [1024, 1312], "images": 1000, "equal": [1000, 1000], "cycles": [16_000, 10_000]}
    ),
    "accuracy": pd.DataFrame(
        {"seed": [0, 1, 2, 0], "form": ["Q6.10"] * 3 + ["Q8.8"], "change": [-0.1, 0.0, 0.1, -9.0]}
    ),
}


def answers(tables: dict) -> dict[str, str]:
    return {claim["id"].partition("/")[2]: evidence.word(claim) for claim in make_claims(tables)}


def changed(name: str, column: str, value: float) -> dict[str, pd.DataFrame]:
    table = FULL[name].copy()
    table[column] = table[column].astype(object)
    table.loc[1, column] = value
    return FULL | {name: table}


def test_bands_stand_before_anything_is_measured():
    for claim in make_claims(EMPTY):
        evidence.validate(claim)
        assert all(part["holds"] and not part["values"] for part in claim["parts"])


def test_claims_of_tables_by_hand():
    claims = {claim["id"].partition("/")[2]: claim for claim in make_claims(FULL)}
    assert set(answers(FULL).values()) == {"holds"}
    shares = [part["values"] for part in claims["whole-network-fits"]["parts"]]
    assert shares == [[50.0], [10.0], [10.0], [0]]
    assert [part["values"] for part in claims["whole-network-images-per-second"]["parts"]] == [[12_500], [20_000]]
    assert claims["accuracy-16-bits"]["parts"][0]["values"] == [-0.1, 0.0, 0.1]


def test_an_array_that_is_missing_is_not_said_to_fit():
    for count in range(5):
        (claim, *_) = make_claims(FULL | {"resources": FULL["resources"].head(count)})
        assert all(not part["values"] for part in claim["parts"])


@pytest.mark.parametrize(
    ("claim", "table", "column", "value"),
    [
        ("whole-network-fits", "resources", "LUT", ZCU102["LUT"] + 300),
        ("whole-network-fits", "resources", "DSP", 1),
        ("whole-network-equal", "simulation", "equal", 999),
        ("whole-network-equal", "simulation", "images", 1001),
        ("whole-network-images-per-second", "simulation", "cycles", 12_001),
        ("accuracy-16-bits", "accuracy", "change", 9.0),
    ],
)
def test_each_bound_can_fail(claim, table, column, value):
    found = answers(changed(table, column, value))
    assert found.pop(claim) != "holds"
    assert set(found.values()) == {"holds"}


def test_the_report_of_place_and_route():
    step = {"type": "logic"}
    report = {"fmax": {"clk": {"achieved": 123.45, "constraint": 200}}}
    report["critical_paths"] = [
        {"from": "<async>", "to": "posedge clk", "path": [step] * 9},
        {"from": "posedge clk", "to": "posedge clk", "path": [{"type": "clk-to-q"}, step, {"type": "routing"}, step]},
    ]
    report["utilization"] = {"TRELLIS_COMB": {"used": 7, "available": 9}, "DP16KD": {"used": 2, "available": 3}}
    found = read_report(report)
    assert found.levels == 2
    assert experiment.clock_row(found) == {"MHz": 123.5, "COMB": 7, "FF": 0, "RAMW": 0, "DP16KD": 2}
    report["fmax"]["other"] = report["fmax"]["clk"]
    with pytest.raises(ValueError, match=r"one clock, got \['clk', 'other'\]"):
        read_report(report)


def test_layers_are_compared_word_by_word():
    """One wrong number in one map is one layer fewer."""

    class Simulated:
        program = type("Program", (), {"names": ["a", "b+c"]})

        def run(self, images, dump):
            return type("Run", (), {"maps": [np.zeros((1, 2)), np.array([[0, 1]])]})

    class Net:
        def maps(self, images):
            return {"a": np.zeros((1, 2)), "b": None, "c": np.zeros((1, 2))}

    assert experiment.equal_layers(Simulated(), Net(), None) == 1
