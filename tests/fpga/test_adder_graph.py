"""Adder graphs: by hand, equal to the product with the matrix, and equal again as gates."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fewbits.fpga.adder_graph import AdderGraph, adder_graph, digits, lookup_tables, output_bits, verilog
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import synthesize

MATRICES = arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-128, 127))


@given(st.integers(-(2**20), 2**20))
def test_digits_are_canonical(value):
    found = digits(value)
    assert sum(sign << place for place, sign in found) == value
    places = [place for place, _ in found]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(places))
    # Never more digits than ones in binary.
    assert len(found) <= max(abs(value).bit_count(), 0)


def test_by_hand():
    # 7 = 8 - 1; both rows have x0 + 4 x1, the second doubled and with 1 more of x2.
    matrix = np.array([[1, 4, 0], [2, 8, 1]])
    assert adder_graph(matrix, share=False).count() == 1 + 2
    shared = adder_graph(matrix)
    assert shared.adders[0] == (0, 0, 1, 2, 1)
    assert shared.count() == 2
    assert adder_graph(np.array([[7]])).count() == 1
    assert adder_graph(np.array([[-4]])).count() == 1  # a negation
    assert adder_graph(np.array([[0, 0]])).outputs == [None]
    assert adder_graph(np.array([[4, 0]])).outputs == [(0, 2, 1)]
    assert adder_graph(np.array([[-1, 1]])).count() == 1


def test_overlapping_pairs_are_taken_once():
    # 1 + 4 + 16 of one input: two steps of two places that overlap, so nothing is shared, and two adders do.
    assert adder_graph(np.array([[21]])).count() == 2
    # 1 + 4 + 16 + 64 = (1 + 4) (1 + 16): two adders, where three would be needed alone.
    assert adder_graph(np.array([[85]])).count() == 2


@given(MATRICES, st.booleans())
def test_graph_is_the_product_with_the_matrix(matrix, share):
    x = np.random.default_rng(0).integers(-(2**15), 2**15, (20, matrix.shape[1]))
    x[0], x[1] = -(2**15), 2**15 - 1
    assert (adder_graph(matrix, share).run(x) == x @ matrix.T).all()


@given(MATRICES)
def test_sharing_never_costs_adders(matrix):
    assert adder_graph(matrix).count() <= adder_graph(matrix, share=False).count()


@given(MATRICES)
def test_without_sharing_there_is_an_adder_for_each_digit_but_one_in_a_row(matrix):
    graph = adder_graph(matrix, share=False)
    rows = [[digit for w in row for digit in digits(int(w))] for row in matrix]
    negative = sum(bool(row) and all(sign < 0 for _, sign in row) for row in rows)
    assert graph.count() == sum(max(len(row) - 1, 0) for row in rows) + negative


def test_only_integers():
    with pytest.raises(TypeError, match="must have integers, got float64"):
        adder_graph(np.array([[0.5]]))


def as_gates(graph: AdderGraph, x: np.ndarray, width: int) -> np.ndarray:
    """What the synthesized netlist computes, (n, rows)."""
    circuit = Netlist(synthesize("adder_graph", sources={"adder_graph.v": verilog(graph, width)}))
    packed = np.zeros((3, len(x), x.shape[1]), np.int64)
    packed[0] = x
    words = circuit.run({"x": packed})["y"][2].astype(object)  # 32 bits each
    wide = output_bits(graph, width)
    all_bits = sum(words[:, k] << 32 * k for k in range(words.shape[1]))
    rows = [all_bits >> wide * row & (1 << wide) - 1 for row in range(len(graph.outputs))]
    return np.stack([(row ^ 1 << wide - 1) - (1 << wide - 1) for row in rows], axis=1).astype(np.int64)


@pytest.mark.parametrize("share", [False, True])
def test_netlist_is_the_product_with_the_matrix(share):
    rng = np.random.default_rng(1)
    matrix = rng.integers(-8, 8, (5, 5))
    matrix[2] = 0
    matrix[3] = -(2 ** rng.integers(0, 4, 5))
    x = rng.integers(-128, 128, (500, 5))
    x[0], x[1] = -128, 127
    assert (as_gates(adder_graph(matrix, share), x, 8) == x @ matrix.T).all()


def test_tables_by_hand():
    # 5x = x + (x << 2), x of 4 bits: 7 bits, of which the lowest two are those of x.
    assert lookup_tables(adder_graph(np.array([[5]])), 4) == 7 - 2
    # 3x = (x << 2) - x, from -39 to 36 if the two were independent: 7 bits, and the lowest two are those of -x.
    assert lookup_tables(adder_graph(np.array([[3]])), 4) == 7
    assert lookup_tables(adder_graph(np.array([[-1]])), 4) == 5  # a negation
    assert lookup_tables(adder_graph(np.array([[4, 0]])), 4) == 0  # wires


@pytest.mark.parametrize("low", [-1, -8])
def test_tables_are_nearly_those_of_yosys(low):
    matrix = np.random.default_rng(3).integers(low, 1 - low, (6, 12))
    graph = adder_graph(matrix)
    counted, found = lookup_tables(graph, 8), synthesize("adder_graph", sources={"g.v": verilog(graph, 8)}).luts
    assert counted == pytest.approx(found, rel=0.06)


def test_planted_fault_in_the_graph_shows():
    rng = np.random.default_rng(2)
    matrix, x = rng.integers(-8, 8, (4, 4)), rng.integers(-128, 128, (50, 4))
    graph = adder_graph(matrix)
    a, left, b, right, sign = graph.adders[0]
    graph.adders[0] = (a, left, b, right, -sign)
    assert (graph.run(x) != x @ matrix.T).any()
