"""Sites, carry blocks and logic levels of a netlist: by hand, and against an exact matching."""

import itertools

import networkx
import pytest

from fewbits.fpga.sites import _fit, _read, carry_blocks, instances, levels, memory_sites, sites
from fewbits.fpga.synthesis import synthesize


def module(*cells: tuple, **wires: list) -> dict:
    """A module of (kind, inputs by pin, outputs by pin), a wire being a number; ``wires`` names registers' outputs."""
    made = {}
    for number, (kind, inputs, outputs) in enumerate(cells):
        pins = {**inputs, **outputs}
        made[f"cell{number}"] = {
            "type": kind,
            "connections": {pin: bits if isinstance(bits, list) else [bits] for pin, bits in pins.items()},
            "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
        }
    named = {name: {"hide_name": 0, "bits": bits} for name, bits in wires.items()}
    return {"attributes": {}, "cells": made, "netnames": named}


def table(output: int, *inputs: object) -> tuple:
    return f"LUT{len(inputs)}", {f"I{i}": bit for i, bit in enumerate(inputs)}, {"O": output}


def carry(di: list, s: list, ci: object, co: list) -> tuple:
    return "CARRY4", {"CI": ci, "CYINIT": "0", "DI": di, "S": s}, {"O": [90, 91, 92, 93], "CO": co}


@pytest.mark.parametrize(
    ("cells", "fair", "aggressive"),
    [
        ([table(50, 2, 3, 4, 5, 6, 7), table(51, 2)], 2, 2),  # a table of six inputs stays alone
        ([table(50, 2, 3, 4), table(51, 2, 3, 4)], 1, 1),
        ([table(50, 2, 3, 4), table(51, 4, 5, 6)], 1, 1),  # five different inputs
        ([table(50, 2, 3, 4), table(51, 5, 6)], 2, 1),  # they fit, and have nothing in common
        ([table(50, 2, 3, 4), table(51, 5, 6, 7)], 2, 2),  # six inputs
        ([table(50, 2, 3, 4, 5), table(51, 2, 3, 4, 6)], 1, 1),
        ([table(50, 2, 3, 4, 5), table(51, 2, 3, 6, 7)], 2, 2),
        ([table(50, 2, "1", 3), table(51, 4, 5)], 2, 1),  # a constant is no input
        ([table(50, 2, 3), table(51, 3, 4), table(52, 4, 5)], 2, 2),
    ],
)
def test_tables_share_sites_by_hand(cells, fair, aggressive):
    assert sites(module(*cells)) == fair
    assert sites(module(*cells), aggressive=True) == aggressive


def test_a_table_of_a_carry_block_shares_with_its_own_bit_only():
    none = ["0", "0", "0"]
    block = carry([10, *none], [11, *none], "0", [80, 81, 82, 83])
    # Wire 11 drives S of bit 0, wire 10 its DI; 12 is another table with the same inputs.
    cells = [table(11, 2, 3), table(12, 2, 3), table(10, 2, 3), block]
    assert sites(module(*cells)) == 2
    assert sites(module(*cells[:2], block)) == 2
    assert sites(module(*cells[:2], block), aggressive=True) == 1
    # Two tables that drive S of two bits never share.
    block = carry(["0"] * 4, [11, 12, "0", "0"], "0", [80, 81, 82, 83])
    assert sites(module(*cells[:2], block), aggressive=True) == 2


def test_inverters_and_shift_registers():
    inverter = ("INV", {"I": 2}, {"O": 3})
    assert sites(module(inverter, table(50, 3, 4))) == 1
    assert sites(module(inverter, ("FDRE", {"D": 3, "CE": "1", "R": "0", "C": 9}, {"Q": 60}))) == 1
    short = ("SRL16E", {"D": 2, "CE": "1", "CLK": 9, "A0": "1"}, {"Q": 61})
    long = ("SRLC32E", {"D": 2, "CE": "1", "CLK": 9, "A": ["1"]}, {"Q": 62})
    made = module(short, short, short, long)
    assert memory_sites(made) == sites(made) == 4
    assert sites(made, aggressive=True) == 3
    assert memory_sites(module(("RAM32M16", {"DIA": 2}, {"DOA": 5}))) == 8


def test_carry_blocks_by_hand():
    zeros = ["0"] * 4
    first = carry(zeros, zeros, "0", [80, 81, 82, 83])
    second = carry(zeros, zeros, 83, [84, 85, 86, 87])
    third = carry(zeros, zeros, 87, [70, 71, 72, 73])
    assert carry_blocks(module(first)) == 1
    assert carry_blocks(module(first, second)) == 1
    assert carry_blocks(module(third, first, second)) == 2
    assert carry_blocks(module(first, carry(zeros, zeros, "1", [60, 61, 62, 63]))) == 2


def test_levels_by_hand():
    zeros = ["0"] * 3
    register = ("FDRE", {"D": 93, "CE": "1", "R": 50, "C": 9}, {"Q": 60})
    early = ("FDRE", {"D": 60, "CE": "1", "R": "0", "C": 9}, {"Q": 61})
    chain = carry(["0", *zeros], [51, *zeros], "0", [80, 81, 82, 83])
    chain[2]["O"] = [40, 41, 42, 43]
    second = carry(["0"] * 4, ["0"] * 4, 83, [84, 85, 86, 87])
    # Two tables, then a chain of two blocks that counts once.
    made = module(table(50, 2, 3), table(51, 50, 60), chain, second, register, early, late=[60], next=[61])
    assert levels(made) == {"late": 3, "next": 0}


def test_instances_multiply():
    leaf = module(table(50, 2, 3))
    middle = module(("leaf", {}, {}), ("leaf", {}, {}), table(50, 2))
    top = module(("middle", {}, {}), ("middle", {}, {}), ("leaf", {}, {}))
    design = {"top": top, "middle": middle, "leaf": leaf, "LUT2": {"attributes": {"blackbox": "1"}, "cells": {}}}
    assert instances(design, "top") == {"top": 1, "middle": 2, "leaf": 5}


def best_pairs(made: dict) -> int:
    """The most pairs that tables of a module can make by the aggressive rule: a maximum matching."""
    tables = _read(made["cells"]).tables
    graph = networkx.Graph()
    graph.add_edges_from((a, b) for a, b in itertools.combinations(tables, 2) if _fit(tables[a], tables[b]))
    return len(networkx.max_weight_matching(graph, maxcardinality=True))


@pytest.mark.parametrize("top", ["float_add", "shift_pe"])
def test_the_quick_choice_of_partners_is_nearly_the_best(top):
    """Against an exact matching, which may also part a table of a carry block from that of its own bit."""
    (made,) = (m for m in synthesize(top).design.values() if "top" in m["attributes"])
    registers = memory_sites(made)  # short ones, two in a site
    found = sites(made, aggressive=True) - (registers - registers // 2)
    fewest = len(_read(made["cells"]).tables) - best_pairs(made)
    assert fewest <= found <= 1.07 * fewest


def test_the_order_is_unpacked_fair_aggressive():
    for top in ("float_add", "truncating_add", "shift_pe"):
        found = synthesize(top)
        assert found.luts + found.memory_luts >= found.fair_luts >= found.aggressive_luts
        assert found.aggressive_luts > found.luts / 2
        assert found.carry8 <= found.cells["CARRY4"] <= 2 * found.carry8
        assert found.memory_luts == found.cells["SRL16E"]


def test_one_stage_of_the_adder_is_deeper_than_all_others():
    (made,) = (m for m in synthesize("float_add").design.values() if "top" in m["attributes"])
    found = levels(made)
    assert max(found, key=lambda name: found[name]) in ("packed_bits", "round_up", "zero4", "sign4")
