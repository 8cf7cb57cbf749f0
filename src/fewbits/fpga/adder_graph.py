"""Weights as wires: a matrix of constants is a graph of adders, and sums that occur twice are made once.

A product with a constant needs no multiplier. Written with digits -1, 0 and 1 (the canonical form, in which no two
neighbours differ from 0), it is a sum of shifted copies of x, and a shift by a constant is wires. A power of two is one
digit. So a matrix of constants is a set of sums, one for each row, and each addition is an adder. Two rows that both
hold x0 + 4 x3 can share it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

Term = tuple[int, int, int]  # node, places to the left, 1 or -1
Pair = tuple[int, int, int, int, int]  # node a, places, node b, places, sign of b: (a << places) ± (b << places)


def digits(value: int) -> list[tuple[int, int]]:
    """The canonical signed digits of an integer: (place, 1 or -1), lowest first, no two places next to each other.

    Source: own (canonical signed digits)
    """
    found, place = [], 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)  # 1 if the number ends in 01, -1 if it ends in 11
            found.append((place, digit))
            value -= digit
        value >>= 1
        place += 1
    return found


@dataclass
class AdderGraph:
    """Inputs, adders and outputs. Node number k is an input if k < ``inputs``, else the result of adder k - ``inputs``.

    Args:
        inputs: how many.
        adders: each the sum or difference of two shifted nodes.
        outputs: for each row a shifted node and its sign, or None for a row of zeros.
    Source: own (adder graphs)
    """

    inputs: int
    adders: list[Pair] = field(default_factory=list)
    outputs: list[Term | None] = field(default_factory=list)

    def count(self) -> int:
        """Adders; an output that is the negative of a node takes one more."""
        return len(self.adders) + sum(output is not None and output[2] < 0 for output in self.outputs)

    def depth(self) -> int:
        """Adders on the longest way from an input to an output."""
        levels = [0] * self.inputs
        for a, _, b, _, _ in self.adders:
            levels.append(1 + max(levels[a], levels[b]))
        return max((levels[out[0]] + (out[2] < 0) for out in self.outputs if out is not None), default=0)

    def run(self, x: np.ndarray) -> np.ndarray:
        """(n, inputs) integers to (n, rows) int64, exact as long as sums have 63 bits."""
        nodes = list(np.asarray(x, np.int64).T)
        for a, left, b, right, sign in self.adders:
            nodes.append((nodes[a] << left) + sign * (nodes[b] << right))
        zero = np.zeros(len(x), np.int64)
        return np.stack([zero if out is None else out[2] * (nodes[out[0]] << out[1]) for out in self.outputs], axis=1)


def adder_graph(matrix: np.ndarray, share: bool = True) -> AdderGraph:
    """The graph of a matrix of integer constants, by repeated elimination of the pair of terms that is most frequent.

    Args:
        matrix: (rows, inputs) integers.
        share: make a sum of two terms that occurs in several places once; else every row is summed on its own.
    Raises:
        TypeError: the matrix has no integers.

    Source: own (greedy elimination of common pairs)
    """
    matrix = np.asarray(matrix)
    if not np.issubdtype(matrix.dtype, np.integer):
        raise TypeError(f"matrix must have integers, got {matrix.dtype}")
    graph = AdderGraph(matrix.shape[1])
    rows: list[list[Term]] = [
        [(j, place, sign) for j, w in enumerate(row) for place, sign in digits(int(w))] for row in matrix
    ]
    if share:
        _share(graph, rows)
    graph.outputs = [_sum_up(graph, row) for row in rows]
    return graph


def _pair(one: Term, other: Term) -> Pair:
    """What two terms have in common with all pairs that differ from them by a shift and a sign only."""
    (a, left, sign_a), (b, right, sign_b) = sorted((one, other))
    low = min(left, right)
    return a, left - low, b, right - low, sign_a * sign_b


def _pairs(row: Sequence[Term]) -> Counter[Pair]:
    return Counter(_pair(row[i], row[j]) for i in range(len(row)) for j in range(i + 1, len(row)))


def _share(graph: AdderGraph, rows: list[list[Term]]) -> None:
    """Replace the most frequent pair by a new node until no pair occurs twice."""
    by_row = [_pairs(row) for row in rows]
    total: Counter[Pair] = Counter()
    for counts in by_row:
        total.update(counts)
    while total:
        best = max(total.values())
        if best < 2:
            break
        pair = min(key for key, count in total.items() if count == best)
        places = [index for index, counts in enumerate(by_row) if pair in counts]
        taken = [_take(rows[index], pair) for index in places]
        # Pairs of three equal steps overlap: then fewer can be taken than were counted.
        if sum(len(found) for _, found in taken) < 2:
            del total[pair]
            for index in places:
                del by_row[index][pair]
            continue
        node, turn = graph.inputs + len(graph.adders), 1
        if pair[4] < 0 and sum(sign for _, found in taken for _, sign in found) < 0:
            # Most rows need the difference the other way round.
            pair, turn = (*pair[2:4], *pair[:2], -1), -1
        graph.adders.append(pair)
        for index, (rest, found) in zip(places, taken, strict=True):
            total.subtract(by_row[index])
            rows[index] = rest + [(node, place, sign * turn) for place, sign in found]
            by_row[index] = _pairs(rows[index])
            total.update(by_row[index])
        total = +total


def _take(row: Sequence[Term], pair: Pair) -> tuple[list[Term], list[tuple[int, int]]]:
    """Occurrences of a pair in a row without overlap: the terms that are left, and (place, sign) of each one taken."""
    a, left, b, right, sign = pair
    rest, found = sorted(row), []
    for term in sorted(row):
        node, place, own = term
        partner = (b, place - left + right, own * sign)
        if node == a and term in rest and partner in rest and partner != term:
            rest.remove(term)
            rest.remove(partner)
            found.append((place - left, own))
    return rest, found


def _sum_up(graph: AdderGraph, row: list[Term]) -> Term | None:
    """Add what is left of a row, two terms at a time, those that are there first."""
    waiting = sorted(row, key=lambda term: -term[2])
    while len(waiting) > 1:
        (a, left, sign_a), (b, right, sign_b) = waiting[:2]
        low = min(left, right)
        node = graph.inputs + len(graph.adders)
        graph.adders.append((a, left - low, b, right - low, sign_a * sign_b))
        waiting = [*waiting[2:], (node, low, sign_a)]
        if any(sign > 0 for _, _, sign in waiting) and waiting[0][2] < 0:
            waiting.sort(key=lambda term: -term[2])  # a positive one first, so that no negation is left
    return waiting[0] if waiting else None


def verilog(graph: AdderGraph, width: int) -> str:
    """A module ``adder_graph``: registers at the inputs x and the outputs y, adders without registers between them.

    Args:
        graph: from :func:`adder_graph`.
        width: bits of an input, signed. Every adder has the bits that its sum may need, and each output as many as the
            widest, so that nothing is lost.
    Source: own (adder graphs)
    """
    ranges = _ranges(graph, width)
    lines = [f"    wire signed [{width - 1}:0] n{k} = x_held[{k * width} +: {width}];" for k in range(graph.inputs)]
    for node, (a, left, b, right, sign) in enumerate(graph.adders, graph.inputs):
        # Kept as written: the tool would take a sum of many apart into single bits.
        lines.append(
            f"    (* keep *) wire signed [{_bits([ranges[node]]) - 1}:0] n{node} = (n{a} <<< {left}) "
            f"{'+' if sign > 0 else '-'} (n{b} <<< {right});"
        )
    wide, count = output_bits(graph, width), len(graph.outputs)
    for row, out in enumerate(graph.outputs):
        value = "0" if out is None else f"{'-' if out[2] < 0 else ''}(n{out[0]} <<< {out[1]})"
        lines.append(f"    wire signed [{wide - 1}:0] y{row} = {value};")
    rows = ", ".join(f"y{row}" for row in reversed(range(count)))
    return f"""module adder_graph (
    input wire clk, input wire [{graph.inputs * width - 1}:0] x, output reg [{count * wide - 1}:0] y
);
    reg [{graph.inputs * width - 1}:0] x_held;
{chr(10).join(lines)}
    always @(posedge clk) begin
        x_held <= x;
        y <= {{{rows}}};
    end
endmodule
"""


def lookup_tables(graph: AdderGraph, width: int) -> int:
    """Look-up tables of :func:`verilog`, counted by hand: one for each bit of a sum that is not a wire.

    The lowest bits of ``a + (b << k)`` are those of a, so k tables fewer are needed; those of ``(a << k) - b`` are not.

    Source: own (one table and its carry for a bit of a sum)
    """
    ranges, total = _ranges(graph, width), 0
    for node, (_, left, _, right, sign) in enumerate(graph.adders, graph.inputs):
        total += _bits([ranges[node]]) - (right or (left if sign > 0 else 0))
    negated = (_moved(ranges[out[0]], out[1], -1) for out in graph.outputs if out is not None and out[2] < 0)
    return total + sum(_bits([ends]) for ends in negated)


def output_bits(graph: AdderGraph, width: int) -> int:
    """Bits of an output of :func:`verilog`: those that the largest sum may need.

    Source: own (range of a sum)
    """
    ranges = _ranges(graph, width)
    return _bits([(0, 0), *(_moved(ranges[out[0]], out[1], out[2]) for out in graph.outputs if out is not None)])


def _ranges(graph: AdderGraph, width: int) -> list[tuple[int, int]]:
    """The smallest and the largest value of each node, its inputs being signed numbers of ``width`` bits."""
    found = [(-(1 << width - 1), (1 << width - 1) - 1)] * graph.inputs
    for a, left, b, right, sign in graph.adders:
        first, second = _moved(found[a], left, 1), _moved(found[b], right, sign)
        found.append((first[0] + second[0], first[1] + second[1]))
    return found


def _moved(ends: tuple[int, int], places: int, sign: int) -> tuple[int, int]:
    low, high = sorted((sign * (ends[0] << places), sign * (ends[1] << places)))
    return low, high


def _bits(ranges: Iterable[tuple[int, int]]) -> int:
    """Bits of a signed number that holds all of the ranges."""
    return max(max((~low if low < 0 else low).bit_length(), max(high, 0).bit_length()) + 1 for low, high in ranges)
