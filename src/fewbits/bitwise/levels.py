"""The binary matrix product in levels, from the naive loop to the fastest: one idea more at each.

Every level takes packed signs and gives the number of differing bits, so that all can be compared. Levels 5 and 6 need
AVX2; levels 7 and 8 run anywhere, and are fast with AVX-512 and its VPOPCNTDQ. Levels 3, 6 and 8 are what
:mod:`fewbits.bitwise.gemm` uses.
"""

from collections.abc import Callable

import numpy as np

from fewbits.bitwise import plain, tables, tiles
from fewbits.bitwise.plain import LANES, popcount
from fewbits.bitwise.simd import add_bytes, load, load_table, lookup, wide_vectors, zero
from fewbits.core.compiled import njit


def naive(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 1: three loops. Words of a row follow each other, and the compiler takes some of them at once.

    Args:
        inputs: (M, W) uint64. weights: (N, W) uint64, or, from level 2 on, as the level's ``layout`` arranges them.
    Returns:
        (M, N) int32: bits in which the rows differ.
    """
    out = np.empty((len(inputs), len(weights)), np.int32)
    count_naive(out, inputs, weights)
    return out


@njit(cache=True)
def count_naive(out, inputs, weights):
    """Fill ``out`` (M, N) with the number of bits in which each input row and each weight row differ."""
    wide_vectors()
    for m in range(inputs.shape[0]):
        for n in range(weights.shape[0]):
            count = np.uint64(0)
            for k in range(inputs.shape[1]):
                count += popcount(inputs[m, k] ^ weights[n, k])
            out[m, n] = count


def panelled(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 2: 64 weight rows side by side, so that the compiler's vectors need not be added up in the end."""
    out = np.empty((len(inputs), LANES * len(weights)), np.int32)
    _panelled(out, inputs, weights)
    return out


@njit(cache=True)
def _panelled(out, inputs, weights):
    wide_vectors()
    counts = np.empty(LANES, np.uint64)
    for panel in range(weights.shape[0]):
        for m in range(inputs.shape[0]):
            counts[:] = 0
            for k in range(inputs.shape[1]):
                word = inputs[m, k]
                for j in range(LANES):
                    counts[j] += popcount(word ^ weights[panel, k, j])
            out[m, LANES * panel : LANES * panel + LANES] = counts


def unrolled(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 3: two inputs and four words at a time, so that sums are loaded and stored an eighth as often."""
    out = np.zeros((len(inputs), LANES * len(weights)), np.int32)
    plain.accumulate(out, weights, inputs, np.ones(1, np.int32), 0, -(-len(inputs) // 2))
    return out


def carry_save(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 4: adders of single bits, so that one word in eight is counted (Harley and Seal's method).

    A full adder turns three words into two: their sum modulo 2, bit by bit, and their carry, which counts twice.
    """
    out = np.empty((len(inputs), LANES * len(weights)), np.int32)
    _carry_save(out, inputs, weights)
    return out


@njit(cache=True, inline="always")
def _sum(a, b, c):
    return a ^ b ^ c


@njit(cache=True, inline="always")
def _carry(a, b, c):
    return (a & b) | ((a ^ b) & c)


@njit(cache=True)
def _carry_save(out, inputs, weights):
    wide_vectors()
    ones, twos, fours = np.empty(LANES, np.uint64), np.empty(LANES, np.uint64), np.empty(LANES, np.uint64)
    eights = np.empty(LANES, np.uint64)
    width = inputs.shape[1]
    whole = width // 8
    for panel in range(weights.shape[0]):
        for m in range(inputs.shape[0]):
            ones[:], twos[:], fours[:], eights[:] = 0, 0, 0, 0
            for block in range(whole):
                k = 8 * block
                i0, i1, i2, i3 = inputs[m, k], inputs[m, k + 1], inputs[m, k + 2], inputs[m, k + 3]
                i4, i5, i6, i7 = inputs[m, k + 4], inputs[m, k + 5], inputs[m, k + 6], inputs[m, k + 7]
                for j in range(LANES):
                    x0, x1 = i0 ^ weights[panel, k, j], i1 ^ weights[panel, k + 1, j]
                    x2, x3 = i2 ^ weights[panel, k + 2, j], i3 ^ weights[panel, k + 3, j]
                    x4, x5 = i4 ^ weights[panel, k + 4, j], i5 ^ weights[panel, k + 5, j]
                    x6, x7 = i6 ^ weights[panel, k + 6, j], i7 ^ weights[panel, k + 7, j]
                    one, two = ones[j], twos[j]
                    t0, one = _carry(one, x0, x1), _sum(one, x0, x1)
                    t1, one = _carry(one, x2, x3), _sum(one, x2, x3)
                    f0, two = _carry(two, t0, t1), _sum(two, t0, t1)
                    t2, one = _carry(one, x4, x5), _sum(one, x4, x5)
                    t3, one = _carry(one, x6, x7), _sum(one, x6, x7)
                    f1, two = _carry(two, t2, t3), _sum(two, t2, t3)
                    four = fours[j]
                    eights[j] += popcount(_carry(four, f0, f1))
                    ones[j], twos[j], fours[j] = one, two, _sum(four, f0, f1)
            for j in range(LANES):
                eights[j] = 8 * eights[j] + 4 * popcount(fours[j]) + 2 * popcount(twos[j]) + popcount(ones[j])
            for k in range(8 * whole, width):
                for j in range(LANES):
                    eights[j] += popcount(inputs[m, k] ^ weights[panel, k, j])
            out[m, LANES * panel : LANES * panel + LANES] = eights


def one_table(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 5: XOR and count are one look-up in a table of 16 bytes, which four bits of the input choose."""
    out = np.empty((len(inputs), LANES * len(weights)), np.int32)
    offsets = np.pad(tables.nibbles(inputs), ((0, 0), (0, -16 * inputs.shape[1] % tables.STEP))).astype(np.uint16) * 16
    _one_table(out, offsets, weights, tables.TABLES.reshape(16, 16, 16)[0].reshape(-1) & 15)
    return out


@njit(cache=True)
def _one_table(out, offsets, lanes, entries):
    wide_vectors()
    inputs, groups = offsets.shape
    flat_lanes, flat, sums = lanes.reshape(-1), offsets.reshape(-1), np.empty(4 * LANES, np.uint16)
    for panel in range(lanes.shape[0]):
        for m in range(0, inputs, 4):
            sums[:] = 0
            p, q = m * groups, min(m + 1, inputs - 1) * groups
            r, s = min(m + 2, inputs - 1) * groups, min(m + 3, inputs - 1) * groups
            for first in range(0, groups, tables.BLOCK):
                at = (panel * groups + first) * LANES
                size = min(tables.BLOCK, groups - first)
                _count_single(flat_lanes, at, flat, p + first, q + first, r + first, s + first, size, entries, sums)
            for c in range(min(4, inputs - m)):
                out[m + c, LANES * panel : LANES * panel + LANES] = sums[LANES * c : LANES * c + LANES]


@njit(cache=True)
def _count_single(lanes, at, offsets, p, q, r, s, groups, entries, sums):
    a0, a1, b0, b1, c0, c1, d0, d1 = zero(), zero(), zero(), zero(), zero(), zero(), zero(), zero()
    for i in range(groups):
        x, y = load(lanes, at), load(lanes, at + 32)
        table = load_table(entries, offsets, p + i)
        a0, a1 = a0 + lookup(table, x), a1 + lookup(table, y)
        table = load_table(entries, offsets, q + i)
        b0, b1 = b0 + lookup(table, x), b1 + lookup(table, y)
        table = load_table(entries, offsets, r + i)
        c0, c1 = c0 + lookup(table, x), c1 + lookup(table, y)
        table = load_table(entries, offsets, s + i)
        d0, d1 = d0 + lookup(table, x), d1 + lookup(table, y)
        at += LANES
    add_bytes(sums, 0, a0)
    add_bytes(sums, 32, a1)
    add_bytes(sums, 64, b0)
    add_bytes(sums, 96, b1)
    add_bytes(sums, 128, c0)
    add_bytes(sums, 160, c1)
    add_bytes(sums, 192, d0)
    add_bytes(sums, 224, d1)


def paired_tables(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 6: a table's entry serves two inputs, one in each half of its byte."""
    out = np.zeros((len(inputs), LANES * len(weights)), np.int32)
    last = -(-len(inputs) // 4)
    tables.accumulate(out, weights, inputs, np.ones(1, np.int32), 0, last, tables.TABLES)
    return out


def register_tile(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 7: the sums of four inputs and 16 weight rows stay in eight registers of 64 bytes until the rows end."""
    return _tiled(inputs, weights, groups=0)


def prefix_tile(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Level 8: words are XORed with their neighbours beforehand, so that of three words only two are counted."""
    return _tiled(tiles.prefixed(inputs), weights, inputs.shape[1] // tiles.GROUP)


def _tiled(inputs: np.ndarray, weights: np.ndarray, groups: int) -> np.ndarray:
    out = np.zeros((len(inputs), tiles.LANES * len(weights)), np.int32)
    tiles.accumulate(out, out, weights, inputs, np.int32(1), 0, -(-len(inputs) // tiles.ROWS), groups)
    return out


# name: (function, layout of the weights, needs AVX2)
LEVELS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray], bool]] = {
    "naive": (naive, np.ascontiguousarray, False),
    "panels": (panelled, plain.panels, False),
    "unrolled": (unrolled, plain.panels, False),
    "carry-save": (carry_save, plain.panels, False),
    "table": (one_table, tables.panels, True),
    "paired tables": (paired_tables, tables.panels, True),
    "register tile": (register_tile, tiles.panels, False),
    "prefix tile": (prefix_tile, tiles.prefix_panels, False),
}
