"""The synthesized netlist, simulated gate by gate, computes what the plain loops compute, and every fault shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shift_vectors import CORNERS, N1, fixed_reference, signed32, sums_of_runs, wrapped_dots

from fewbits.fpga.gates import from_rows, to_rows
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.shift_adder import product
from fewbits.fpga.synthesis import WIDE, Synthesis, rtl, synthesize

# --- Rows of bits ---


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200), st.integers(1, 64))
def test_rows_hold_the_low_bits(numbers, bits):
    values = np.array(numbers, np.uint64)
    rows = to_rows(values, bits)
    assert rows.shape == (bits, -(-len(numbers) // 64))
    assert from_rows(rows, len(numbers)).tolist() == [number % 2**bits for number in numbers]


def test_rows_by_hand():
    # Vector 0 is 5, vector 1 is -1: bit 0 of both is 1, bit 1 of the second only.
    assert to_rows(np.array([5, -1]), 3)[:, 0].tolist() == [0b11, 0b10, 0b11]


# --- Single gates ---


def one_gate(kind: str, inputs: dict, outputs: dict, **parameters: str) -> Netlist:
    """A netlist with a single gate, whose pins are the ports."""
    pins, bit = {}, 2
    for name, width in {**inputs, **outputs}.items():
        pins[name] = list(range(bit, bit + width))
        bit += width
    cell = {"type": kind, "parameters": parameters, "connections": pins}
    ports = {
        name: {"direction": "input" if name in inputs else "output", "bits": pins[name]} for name in [*inputs, *outputs]
    }
    module = {"attributes": {"top": "1"}, "ports": ports, "cells": {"gate": cell}}
    return Netlist(Synthesis("one", {kind: 1}, {"one": module}))


def test_lut_reads_its_table():
    gate = one_gate("LUT3", {"I0": 1, "I1": 1, "I2": 1}, {"O": 1}, INIT="11001010")
    i = np.arange(8)[None]
    found = gate.run({"I0": i & 1, "I1": i >> 1 & 1, "I2": i >> 2 & 1})["O"][0]
    assert found.tolist() == [int(bit) for bit in "01010011"]


def test_carry_chain_adds():
    # As an adder: S is a ^ b, DI is a.
    gate = one_gate("CARRY4", {"CI": 1, "CYINIT": 1, "DI": 4, "S": 4}, {"O": 4, "CO": 4})
    a, b, carry = (side.ravel()[None] for side in np.meshgrid(np.arange(16), np.arange(16), [0, 1]))
    found = gate.run({"CI": carry, "CYINIT": 0 * carry, "DI": a, "S": a ^ b})
    total = a + b + carry
    assert (found["O"] == total % 16).all()
    assert (found["CO"] >> np.uint64(3) == total // 16).all()
    # Each carry out is that of the lower bits alone.
    low = (a % 4 + b % 4 + carry) // 4
    assert (found["CO"] >> np.uint64(1) & np.uint64(1) == low).all()


@pytest.mark.parametrize("kind", ["MUXF7", "MUXF8", "MUXF9"])
def test_multiplexer_chooses(kind):
    gate = one_gate(kind, {"I0": 1, "I1": 1, "S": 1}, {"O": 1})
    i = np.arange(8)[None]
    assert gate.run({"I0": i & 1, "I1": i >> 1 & 1, "S": i >> 2})["O"][0].tolist() == [0, 1, 0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(("kind", "pin", "after"), [("FDRE", "R", 0), ("FDSE", "S", 1)])
def test_flip_flop(kind, pin, after):
    gate = one_gate(kind, {"clk": 1, "D": 1, "CE": 1, pin: 1}, {"Q": 1}, INIT="1")
    gate.run({"D": np.zeros((1, 1), int), "CE": np.zeros((1, 1), int), pin: np.zeros((1, 1), int)})
    cycles = {"D": [0, 0, 1, 0, 1 - after], "CE": [0, 1, 1, 0, 1], pin: [0, 0, 0, 0, 1]}
    found = gate.run({name: np.array(values)[:, None] for name, values in cycles.items()})["Q"][:, 0]
    # It starts as INIT says, keeps, takes 0, takes 1, keeps; the reset at the end shows one cycle later.
    assert found.tolist() == [1, 1, 0, 1, 1]
    longer = {name: np.array([*values, 0])[:, None] for name, values in cycles.items()}
    assert gate.run(longer)["Q"][-1, 0] == after


def test_shift_register_delays():
    for kind, inputs in (
        ("SRL16E", {f"A{i}": ["01"[4 >> i & 1]] for i in range(4)}),
        ("SRLC32E", {"A": list("00100")}),
    ):
        cell = {"type": kind, "parameters": {"INIT": "x"}, "connections": {"D": [2], "CE": ["1"], "Q": [3], **inputs}}
        ports = {"D": {"direction": "input", "bits": [2]}, "Q": {"direction": "output", "bits": [3]}}
        gate = Netlist(
            Synthesis("one", {}, {"one": {"attributes": {"top": "1"}, "ports": ports, "cells": {"g": cell}}})
        )
        data = np.random.default_rng(0).integers(0, 2, (40, 64))
        found = gate.run({"D": data})["Q"]
        assert (found[:5] == 0).all()
        assert (found[5:] == data[:-5]).all()


# --- What it refuses ---


def test_unknown_gates_and_hierarchy_are_refused():
    with pytest.raises(ValueError, match=r"no known gates.*RAMB36"):
        one_gate("RAMB36", {"A": 1}, {"O": 1})


def test_loop_is_refused():
    cell = {"type": "INV", "parameters": {}, "connections": {"I": [2], "O": [2]}}
    module = {"attributes": {"top": "1"}, "ports": {}, "cells": {"ring": cell}}
    with pytest.raises(ValueError, match="combinational loop"):
        Netlist(Synthesis("ring", {}, {"ring": module}))


def test_stimulus_must_fit_the_ports():
    gate = one_gate("INV", {"I": 1}, {"O": 1})
    with pytest.raises(ValueError, match=r"given for \['I'\], got \['x'\]"):
        gate.run({"x": np.zeros((1, 1), int)})
    two = one_gate("LUT2", {"I0": 1, "I1": 1}, {"O": 1}, INIT="1000")
    with pytest.raises(ValueError, match="same cycles and vectors"):
        two.run({"I0": np.zeros((1, 1), int), "I1": np.zeros((2, 1), int)})
    with pytest.raises(ValueError, match="lut must lie"):
        gate.flipped(0, 0)


# --- The shift PE ---


@pytest.fixture(scope="module")
def shift_pe():
    return Netlist(synthesize("shift_pe", WIDE))


def pe_stimulus(cycles: int, vectors: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random pairs and starts, with all pairs of a corner and a code first; every vector starts a sum in cycle 0."""
    rng = np.random.default_rng(seed)
    x, code = rng.integers(-(2**31), 2**31, cycles * vectors), rng.integers(0, 32, cycles * vectors)
    edge, codes = (side.ravel() for side in np.meshgrid(CORNERS, np.arange(32)))
    x[: edge.size], code[: edge.size] = edge, codes
    start = (rng.random((cycles, vectors)) < 0.2).astype(int)
    start[0] = 1
    return {"start": start, "x": x.reshape(cycles, vectors), "code": code.reshape(cycles, vectors)}


def expected_sums(stimulus: dict[str, np.ndarray], overflow: str) -> np.ndarray:
    """(cycles, vectors): the sums of the plain loop, vector by vector."""
    start, x, code = (stimulus[name].T.ravel() for name in ("start", "x", "code"))
    return sums_of_runs(start, x, code, overflow).reshape(stimulus["x"].T.shape).T


def test_shift_pe_is_the_plain_loop_on_100_000_pairs(shift_pe):
    stimulus = pe_stimulus(203, 512)
    assert stimulus["x"].size > 100_000
    assert (signed32(shift_pe.run(stimulus)["sum"][3:]) == expected_sums(stimulus, "wrap")[:-3]).all()


def test_saturating_pe_is_the_plain_loop():
    stimulus = pe_stimulus(103, 1024, seed=1)
    found = Netlist(synthesize("shift_pe", WIDE | {"SATURATE": 1})).run(stimulus)["sum"]
    expected = expected_sums(stimulus, "saturate")
    assert (signed32(found[3:]) == expected[:-3]).all()
    # The limits were reached, so wrapping around would have shown.
    assert {-(2**31), 2**31 - 1} <= set(expected.ravel().tolist())


def test_fixed_pe_is_the_plain_loop():
    stimulus = pe_stimulus(103, 1024, seed=2)
    weight = np.random.default_rng(3).integers(-(2**31), 2**31, stimulus["x"].shape)
    weight.ravel()[: CORNERS.size] = CORNERS
    found = Netlist(synthesize("fixed_pe")).run({"start": stimulus["start"], "x": stimulus["x"], "weight": weight})
    flat = [values.T.ravel() for values in (stimulus["start"], stimulus["x"], weight)]
    expected = fixed_reference(*flat).reshape(weight.T.shape).T
    assert (signed32(found["sum"][3:]) == expected[:-3]).all()


def test_dot_product_is_the_plain_loop_on_20_000_vectors():
    rng = np.random.default_rng(4)
    x, codes = rng.integers(-(2**31), 2**31, (20_480, 32)), rng.integers(0, 32, (20_480, 32))
    x[:1000], codes[:1000] = rng.choice(CORNERS, (1000, 32)), rng.choice([0, 15, 16, 31, 8, 24], (1000, 32))
    latency, vectors = 7, 2048
    shape = (10, vectors, 32)
    tail = np.zeros((latency, vectors, 32), int)
    stimulus = {name: np.concatenate([v.reshape(shape), tail]) for name, v in (("x", x), ("weights", codes))}
    found = Netlist(synthesize("dot", WIDE)).run(stimulus)["sum"][latency:]
    assert (signed32(found.ravel()) == wrapped_dots(x, codes)).all()


def test_all_codes_at_the_corners_by_hand(shift_pe):
    x, code = (side.ravel() for side in np.meshgrid(CORNERS, np.arange(32)))
    zeros = np.zeros((3, x.size), int)
    held = {"x": np.vstack([x, zeros]), "code": np.vstack([code, zeros]), "start": np.vstack([zeros[:1] + 1, zeros])}
    found = signed32(shift_pe.run(held)["sum"][3])
    assert found.tolist() == [product(int(a), int(c), N1) for a, c in zip(x, code, strict=True)]
    by_value = {(int(a), int(c)): int(y) for a, c, y in zip(x, code, found, strict=True)}
    # e = 15 is 1, e = 14 is 1/2. Rounded down, then negated: -(1 >> 1) is 0, -(-1 >> 1) is 1.
    assert by_value[1, 31] == -1
    assert by_value[1, 30] == 0
    assert by_value[-1, 14] == -1
    assert by_value[-1, 30] == 1
    assert by_value[-(2**31), 31] == -(2**31)  # 2^31 wraps around


# --- Faults ---


def test_every_injected_fault_is_caught(shift_pe):
    """One wrong entry in one look-up table, 100 times.

    An entry that no input can ever read makes no difference, so it is no fault: its inputs exclude each other. Which
    entries are read is counted here on random vectors and the corners; the others are left out, and are few.
    """
    stimulus = pe_stimulus(24, 512, seed=6)
    seen = {}
    expected = shift_pe.run(stimulus, seen)["sum"]
    entries = [(lut, int(entry)) for lut, read in seen.items() for entry in np.flatnonzero(read)]
    total = sum(read.size for read in seen.values())
    assert seen.keys() == shift_pe.tables().keys()
    assert 0.8 * total < len(entries) < total
    chosen = np.random.default_rng(7).choice(len(entries), 100, replace=False)
    missed = [
        (shift_pe.luts[entries[i][0]], entries[i][1])
        for i in chosen
        if (shift_pe.flipped(*entries[i]).run(stimulus)["sum"] == expected).all()
    ]
    assert missed == []


def test_entries_that_are_never_read_stay_unread(shift_pe):
    """On forty times as many other vectors too: what the fault test leaves out does not hide a fault."""
    first, later = {}, {}
    shift_pe.run(pe_stimulus(24, 512, seed=6), first)
    shift_pe.run(pe_stimulus(24, 20_480, seed=8), later)
    assert all((first[lut] == later[lut]).all() for lut in first)


def test_few_vectors_would_miss_faults(shift_pe):
    """The test above can fail: with one pair most faults do not show."""
    stimulus = {name: values[:4, :1] for name, values in pe_stimulus(24, 512, seed=6).items()}
    expected = shift_pe.run(stimulus)["sum"]
    flips = [(lut, 0) for lut in range(0, len(shift_pe.luts), 4)]
    assert any((shift_pe.flipped(*flip).run(stimulus)["sum"] == expected).all() for flip in flips)


def test_planted_bug_reaches_the_netlist():
    sources = rtl()
    sources["shift_multiply.v"] = sources["shift_multiply.v"].replace("largest >>> distance", "largest >> distance")
    stimulus = pe_stimulus(20, 512)
    found = Netlist(synthesize("shift_pe", WIDE, sources=sources)).run(stimulus)["sum"]
    assert (signed32(found[3:]) != expected_sums(stimulus, "wrap")[:-3]).any()
