"""The modules of the accelerator at gate level: what Yosys makes of them computes what whole numbers say."""

import numpy as np
import pytest

from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import rtl, synthesize

MASK = 0xFFFF
VECTORS = 200
CODES = np.array([sign * 16 + e for sign in (0, 1) for e in range(9)])


def signed(values: np.ndarray, bits: int = 16) -> np.ndarray:
    values = np.asarray(values).astype(np.int64) & ((1 << bits) - 1)
    return values - ((values >> (bits - 1)) << bits)


def products(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Preshifted numbers times fields, rounded down before the sign is applied."""
    e = codes & 15
    return np.where(e == 0, 0, (1 - 2 * (codes >> 4)) * (x >> (8 - np.maximum(e, 1))))


def still(values: np.ndarray, cycles: int) -> np.ndarray:
    """The same inputs in every cycle."""
    return np.broadcast_to(values, (cycles, *values.shape))


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    return lambda *shape, bits=23: rng.integers(-(1 << bits - 1), 1 << bits - 1, (VECTORS, *shape))


def test_an_element(drawn):
    gates = Netlist(synthesize("shift_term"))
    x, codes = drawn(), np.resize(CODES, VECTORS)
    found = gates.run({"x": still(x, 2), "code": still(codes, 2)})
    # The weight 0 may have either sign: its term is 0, and INQ writes it with the sign +.
    zero = codes % 16 == 0
    assert (found["term"][1][zero] == 0).all()
    total = signed(found["term"][1] + found["negative"][1])
    assert np.array_equal(total[~zero], signed(products(x, codes))[~zero])


def test_exponents_of_a_layer(drawn):
    gates = Netlist(synthesize("preshift", {"N": 2, "LOW": 1, "AMOUNT": 3}))
    x, amount = drawn(2, bits=16), np.resize(np.arange(8), VECTORS)
    found = gates.run({"x": still(x, 2), "amount": still(amount, 2)})["y"][1].astype(np.int64)
    expected = (x << amount[:, None]) >> 1
    for k in range(2):
        assert np.array_equal(found >> 23 * k & (1 << 23) - 1, expected[:, k] & (1 << 23) - 1)


def test_a_tree_of_adders(drawn):
    gates = Netlist(synthesize("carry_tree", {"N": 4}))
    terms, ones = drawn(4, bits=16), np.resize(np.arange(16), VECTORS)
    found = gates.run({"terms": still(terms, 5), "ones": still(ones, 5)})["sum"][4]
    assert np.array_equal(signed(found), signed(terms.sum(1) + np.bitwise_count(ones & 7)))


@pytest.mark.parametrize("relu", [0, 1])
def test_a_column(drawn, column_gates, relu):
    """33 elements, two trees and a sum; then its two halves as filters of a depthwise convolution."""
    rng = np.random.default_rng(4)
    lanes, own, one = drawn(32), drawn(12), drawn()
    for split in (0, 1):
        codes = rng.choice(CODES[CODES != 16], (VECTORS, 33))
        bias = products(one, codes[:, 32])
        expected = {"upper": products(lanes, codes[:, :32]).sum(1) + bias}
        if split:  # the other fields of such a word are 0
            codes[:, [*range(10, 16), *range(26, 33)]] = 0
            windows = [np.column_stack([own[:, first : first + 9], one]) for first in (0, 3)]
            both = [products(x, codes[:, k : k + 10]).sum(1) for x, k in zip(windows, (0, 16), strict=True)]
            expected = dict(zip(("upper", "lower"), both, strict=True))
        numbers = {"lanes": lanes, "own": own, "one": one, "codes": codes}
        numbers |= {"split": split, "relu": relu, "first": 1, "slice": 0}
        stimulus = {name: still(np.broadcast_to(x, (VECTORS, *np.shape(x)[1:])), 9) for name, x in numbers.items()}
        found = column_gates.run(stimulus)
        for name, exact in expected.items():
            wrapped = signed(exact)
            assert np.array_equal(signed(found[name][-1]), np.maximum(wrapped, 0) if relu else wrapped), (split, name)


@pytest.fixture(scope="module")
def column_gates() -> Netlist:
    """With one sum in place of the memory of sums: the simulator of netlists has no memory blocks."""
    verilog = rtl()
    memory = '(* ram_style = "distributed" *) reg [WIDTH-1:0] sums [0:(1<<SLICE)-1];'
    assert memory in verilog["column.v"]
    verilog["column.v"] = verilog["column.v"].replace(memory, "reg [WIDTH-1:0] sums;").replace("sums[slice]", "sums")
    return Netlist(synthesize("column", {"WIDTH": 16, "SLICE": 1}, sources=verilog))
