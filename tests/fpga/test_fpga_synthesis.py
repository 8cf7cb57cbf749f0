"""Synthesis counts what is in the netlist, and what is recorded comes out again."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from shift_vectors import CORNERS

from fewbits import evidence
from fewbits.experiments.fpga_gates import run as experiment
from fewbits.experiments.fpga_gates.claims import PAPER, make_claims
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.shift_adder import product
from fewbits.fpga.synthesis import ZCU102, Synthesis, element, hard_wired, rtl, synthesize, utilization

RESOURCES = ["LUT", "LUTRAM", "FF", "DSP"]


def recorded(circuit: str, design: str) -> dict:
    table = evidence.rows("fpga_gates_resources")
    (row,) = table[(table.circuit == circuit) & (table.design == design)].to_dict("records")
    return row


@pytest.fixture(scope="module")
def shift_pe():
    return synthesize("shift_pe")


def made_of(**cells: int) -> Synthesis:
    return Synthesis("made up", Counter(cells), {})


# --- Counting ---


def test_memories_take_the_tables_of_a_slice():
    made = made_of(LUT6=10, RAM32M16=2, RAM64X1S=3, SRL16E=1, RAMB36E2=4, RAMB18E2=3)
    assert made.counts() == {"LUT": 10 + 16 + 3 + 1, "LUTRAM": 16 + 3 + 1, "FF": 0, "DSP": 0}
    assert made.block_rams == 4 + 2


def test_counts_by_hand():
    made = made_of(LUT2=3, LUT6=2, INV=1, FDRE=4, FDSE=1, SRL16E=7, DSP48E2=2, CARRY4=9)
    assert made.counts() == {"LUT": 3 + 2 + 1 + 7, "LUTRAM": 7, "FF": 5, "DSP": 2}


@pytest.mark.parametrize(
    ("cells", "sites"),
    [
        ({"LUT6": 3}, 3),
        ({"LUT4": 1, "LUT1": 1}, 1),
        ({"LUT3": 1, "LUT2": 1}, 1),
        ({"LUT3": 2}, 2),  # six inputs together
        ({"LUT3": 1, "LUT1": 1}, 1),
        ({"LUT2": 3, "LUT1": 2}, 3),  # five small ones
        ({"LUT4": 1, "LUT2": 1}, 2),
        ({"LUT5": 1, "LUT1": 1, "INV": 5}, 2),  # inverters go into other tables
        ({"LUT4": 2, "LUT3": 2, "LUT2": 1, "LUT1": 3}, 4),
    ],
)
def test_packing_by_hand(cells, sites):
    assert made_of(**cells).packed_luts == sites


def test_utilization_is_the_papers():
    # Table 2 of Yokota et al. gives counts and percent.
    percent = {"LUT": 78.89, "FF": 25.17, "LUTRAM": 0, "DSP": 0, "BRAM": 18.86}
    found = utilization(PAPER["shift"])
    # 218,964 / 274,080 is 79.89 %: the table's 78.89 does not follow from its own count, and 132.41 does.
    assert found.pop("LUT") == pytest.approx(percent.pop("LUT") + 1, abs=0.006)
    assert found == pytest.approx(percent, abs=0.006)
    percent = {"LUT": 132.41, "FF": 79.12, "LUTRAM": 30.31, "DSP": 100, "BRAM": 18.86}
    assert utilization(PAPER["float"]) == pytest.approx(percent, abs=0.011)
    assert ZCU102["LUTRAM"] < ZCU102["LUT"]


# --- Circuits ---


def test_pe_is_what_is_recorded(shift_pe):
    row = recorded("PE", "shift")
    assert shift_pe.counts() == {name: row[name] for name in RESOURCES}
    assert (shift_pe.fair_luts, shift_pe.aggressive_luts) == (row["fair_LUT"], row["aggressive_LUT"])
    assert shift_pe.carry8 == row["CARRY8"]


def test_pe_has_no_multiplier_and_its_registers(shift_pe):
    counts = shift_pe.counts()
    # Shifted and its sign, product, sum: 32 bits each, and two for the start.
    assert counts["FF"] == 32 + 1 + 32 + 32 + 2
    assert counts["DSP"] == counts["LUTRAM"] == 0


def test_counts_are_those_of_the_netlist(shift_pe):
    netlist = Netlist(shift_pe)
    assert len(netlist.luts) + shift_pe.cells["INV"] == shift_pe.luts
    assert sum(table.any() and not table.all() for table in netlist.tables().values()) == len(netlist.luts)


def test_layer_is_what_is_recorded():
    row = recorded("layer", "shift")
    found = synthesize("stored_layer", flatten=False)
    assert found.counts() == {name: row[name] for name in RESOURCES}
    assert (found.fair_luts, found.aggressive_luts) == (row["fair_LUT"], row["aggressive_LUT"])


def test_hard_wired_weights_leave_adders():
    # 0, 1, 1/2 and -1: nothing to choose, so no multiplexers and hardly a gate but those of adders and negations.
    wired = synthesize("hard_wired", sources=hard_wired([0, 8, 7, 24]))
    free = synthesize("dot", {"N": 4})
    assert wired.luts < free.luts / 2
    assert "hard_wired.v" not in rtl()


# --- What is refused ---


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"'nothing'.*nothing"):
        synthesize("nothing")
    with pytest.raises(ValueError, match="could not synthesize 'x'"):
        synthesize("x", sources={"x.v": "module x (input wire a; endmodule\n"})
    with pytest.raises(ValueError, match="codes must lie"):
        hard_wired([1, 32])
    with pytest.raises(ValueError, match=r"exponents up to 8, got \[15, 31\]"):
        hard_wired([8, 15, 31, 24])
    with pytest.raises(ValueError, match="n1 must be at most 0 for an element of 8 exponents, got 1"):
        element(1)
    with pytest.raises(ValueError, match="n1 must be at most -7 for an element of 15 exponents, got -6"):
        element(-6, 15)


# --- Claims ---


TABLES = {name: evidence.rows(f"fpga_gates_{name}") for name in experiment.TABLES}


def claims_of(**changed: pd.DataFrame) -> dict[str, dict]:
    return {claim["id"]: claim for claim in make_claims(TABLES | changed)}


def test_claims_follow_from_the_tables():
    claims = claims_of()
    stored = {claim["id"]: claim for claim in evidence.load("fpga_gates")}
    assert claims.keys() == stored.keys()
    for name, claim in claims.items():
        for part in (*claim["parts"], *stored[name]["parts"]):
            part.pop("origins", None)
        claim.pop("band", None)
        assert {field: stored[name][field] for field in claim} == claim


def test_weights_and_biases_are_in_flip_flops():
    table = TABLES["resources"]
    layer = table[table.circuit == "layer"].set_index("design")
    # 1,312 weights of 5 or of 32 bits, and 64 biases of 32, beside what the layers had without them.
    assert layer.loc["shift", "FF"] == 141_824 + 1312 * 5 + 64 * 32
    assert layer.loc["float", "FF"] == 448_736 + 1376 * 32
    for design in ("float", "float, truncating", "float, fused"):
        assert layer.loc[design, "DSP"] == ZCU102["DSP"]


def test_claims_of_missing_rows_are_empty():
    claims = claims_of(resources=TABLES["resources"].iloc[:0], adders=pd.DataFrame(), timing=pd.DataFrame())
    assert len(claims) == 8
    assert all(part["values"] == [] for claim in claims.values() for part in claim["parts"])


def test_every_count_of_the_paper_s_table_is_claimed_with_the_same_margin():
    claims = claims_of()
    for design, slug in {"shift": "proposed", "float": "float"}.items():
        for resource in ("LUT", "FF"):
            (part,) = claims[f"fpga_gates/{resource.lower()}-{slug}"]["parts"]
            printed = PAPER[design][resource]
            assert part["agrees"] == {"value": printed, "margin": 0.1 * printed}
            assert part["holds"] == {"min": printed - 0.1 * printed, "max": printed + 0.1 * printed}


def test_a_value_names_the_run_of_its_row():
    origin = {"commit": "0" * 40, "command": "c", "date": "2026-01-01", "device": "d", "torch": "t", "wall_s": 1.0}
    table = TABLES["resources"]
    late = table.assign(**origin).where(table.design == "float", table)  # only the float rows are new
    claims = claims_of(resources=late)
    assert claims["fpga_gates/lut-float"]["parts"][0]["origins"] == [origin]
    assert claims["fpga_gates/lut-saving"]["parts"][0]["origins"] == [origin]
    assert claims["fpga_gates/lut-proposed"]["parts"][0]["origins"] != [origin]


@pytest.mark.parametrize("design", experiment.REWRITTEN)
def test_rewritten_circuit_computes_the_same(design):
    """Other words for the same numbers: the product of every corner and code, gate by gate."""
    sources = experiment.rewritten(design)
    assert {name for name, text in sources.items() if text != rtl()[name]} == {"shift_multiply.v"}
    x, code = (side.ravel() for side in np.meshgrid(CORNERS, [*range(9), *range(16, 25)]))
    still = np.zeros((2, x.size), int)
    stimulus = {"x": np.vstack([x, still]), "code": np.vstack([code, still])}
    found = Netlist(synthesize("shift_multiply", sources=sources)).run(stimulus)["product"][2]
    expected = [product(int(a), int(c), 0, overflow="saturate") for a, c in zip(x, code, strict=True)]
    assert found.tolist() == [value & (1 << 33) - 1 for value in expected]
