"""Products of w-bit weights and few-bit activations by tables of partial sums.

Four activations a0 … a3 have 16 partial sums: one for each way to leave some of them out. They make a table, and four
bits of a weight plane are an index into it: one look-up does four multiply-adds *for all bits of the activations*. A
weight of w bits takes w look-ups, one a plane, where counting bits takes w · a. The method is known as T-MAC.

Planes are stored at one bit a weight, two nibbles a byte, so a product with one vector reads little memory.
"""

from dataclasses import dataclass

import numpy as np

from fewbits.bitwise import isa, tables
from fewbits.bitwise.pack import bit_planes
from fewbits.bitwise.simd import add_bytes, high_nibbles, load, load_twice, lookup, low_nibbles, wide_vectors, zero
from fewbits.bitwise.simd64 import (
    add_64_counts,
    as_shorts,
    high_halves,
    load_bytes,
    load_four_times,
    lookup64,
    low_halves,
    no_bytes,
    no_shorts,
    over_256,
)
from fewbits.core.compiled import njit

LANES = tables.LANES
MOST_ACTIVATION = 31  # two look-ups of four activations must fit in a byte: 2 * 4 * 31 = 248
ROWS = 8  # whose tables stay in the second-level cache


@dataclass(frozen=True)
class LutWeights:
    """Weights laid out for look-ups; made once by :func:`prepare_lut`.

    Attributes:
        path: "avx512" or "avx2", 64 or 32 look-ups in one instruction, or "plain" for the same look-ups one by one.
        panels: (bits, ceil(N / 64), G / 2, 64) uint8: nibbles 2 g and 2 g + 1 of 64 rows.
        shape: (N, K).
    """

    path: str
    panels: np.ndarray
    shape: tuple[int, int]


def prepare_lut(codes: np.ndarray, bits: int) -> LutWeights:
    """Lay out unsigned weights.

    Args:
        codes: (N, K) uint8, below ``2**bits``. A weight with a zero point z is ``code - z``; the product with it is
            that of the codes less z times the sum of the activations.
        bits: 1 to 8.
    Raises:
        TypeError, ValueError: dtype, shape, bits or a code are out of range.
    """
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"codes must be a matrix and not empty, got shape {codes.shape}")
    planes = [tables.lane_panels(tables.nibbles(plane)) for plane in bit_planes(codes, bits)]
    panels = np.stack([plane[:, 0::2] | plane[:, 1::2] << 4 for plane in planes])
    return LutWeights(isa.best(PRODUCTS), panels, codes.shape)


def lut_gemm(activations: np.ndarray, weights: LutWeights) -> np.ndarray:
    """Products of unsigned activations and unsigned weights.

    Args:
        activations: (M, K) uint8, M >= 1, every one at most 31.
        weights: N rows of K.
    Returns:
        (M, N) int32, ``activations @ codes.T``; sums that leave its range wrap around.
    Raises:
        TypeError, ValueError: dtype or shape do not fit, or an activation is too large.
    """
    if activations.dtype != np.uint8:
        raise TypeError(f"activations must be uint8, got {activations.dtype}")
    if activations.ndim != 2 or not len(activations) or activations.shape[1] != weights.shape[1]:
        raise ValueError(f"activations must be (M, {weights.shape[1]}), got {activations.shape}")
    largest = int(activations.max())
    if largest > MOST_ACTIVATION:
        raise ValueError(f"activations must be at most {MOST_ACTIVATION}, got {largest}")
    out = np.zeros((len(activations), weights.shape[0]), np.int32)
    PRODUCTS[weights.path](out, np.ascontiguousarray(activations), weights.panels, max(largest, 1))
    return out


def lut_gemv(activations: np.ndarray, weights: LutWeights) -> np.ndarray:
    """:func:`lut_gemm` of one vector: (K,) to (N,)."""
    return lut_gemm(activations[None], weights)[0]


@njit(cache=True, nogil=True)
def _fill_tables(row, entries, start):
    """The table of each four activations as two words, eight entries in each; activations beyond the end are 0.

    Entry i of a table adds up the activations at the ones of i, so a1, say, belongs in entries 2, 3, 6 and 7 of each
    word: one multiplication puts it there. No byte overflows: 4 * 31 < 256.
    """
    count = len(row)
    for group in range((count + 3) // 4):
        i = 4 * group
        a0, a1 = np.uint64(row[i]), np.uint64(row[i + 1]) if i + 1 < count else np.uint64(0)
        a2 = np.uint64(row[i + 2]) if i + 2 < count else np.uint64(0)
        a3 = np.uint64(row[i + 3]) if i + 3 < count else np.uint64(0)
        low = a0 * np.uint64(0x0100010001000100) + a1 * np.uint64(0x0101000001010000)
        low += a2 * np.uint64(0x0101010100000000)
        entries[start + 2 * group] = low
        entries[start + 2 * group + 1] = low + a3 * np.uint64(0x0101010101010101)


@njit(cache=True, nogil=True)
def _sum_lookups(panel, at, entries, t, pairs, most, sums):
    """Add look-ups of 64 rows to 64 sums of 16 bits; a byte may add up ``2 * most`` of them."""
    for first in range(0, pairs, most):
        a, b = zero(), zero()
        for _ in range(min(most, pairs - first)):
            x, y = load(panel, at), load(panel, at + 32)
            table = load_twice(entries, t)
            a += lookup(table, low_nibbles(x))
            b += lookup(table, low_nibbles(y))
            table = load_twice(entries, t + 16)
            a += lookup(table, high_nibbles(x))
            b += lookup(table, high_nibbles(y))
            at, t = at + LANES, t + 32
        add_bytes(sums, 0, a)
        add_bytes(sums, 32, b)


@njit(cache=True, nogil=True)
def _sum_lookups_of_four(panel, at, entries, t, size, pairs, most, sums):
    """As :func:`_sum_lookups`, for four vectors whose tables are ``size`` apart: nibbles are taken apart once."""
    for first in range(0, pairs, most):
        a0, a1, a2, a3 = zero(), zero(), zero(), zero()
        b0, b1, b2, b3 = zero(), zero(), zero(), zero()
        for _ in range(min(most, pairs - first)):
            x, y = load(panel, at), load(panel, at + 32)
            x0, x1, y0, y1 = low_nibbles(x), high_nibbles(x), low_nibbles(y), high_nibbles(y)
            u, v = load_twice(entries, t), load_twice(entries, t + 16)
            a0 += lookup(u, x0) + lookup(v, x1)
            b0 += lookup(u, y0) + lookup(v, y1)
            u, v = load_twice(entries, t + size), load_twice(entries, t + size + 16)
            a1 += lookup(u, x0) + lookup(v, x1)
            b1 += lookup(u, y0) + lookup(v, y1)
            u, v = load_twice(entries, t + 2 * size), load_twice(entries, t + 2 * size + 16)
            a2 += lookup(u, x0) + lookup(v, x1)
            b2 += lookup(u, y0) + lookup(v, y1)
            u, v = load_twice(entries, t + 3 * size), load_twice(entries, t + 3 * size + 16)
            a3 += lookup(u, x0) + lookup(v, x1)
            b3 += lookup(u, y0) + lookup(v, y1)
            at, t = at + LANES, t + 32
        add_bytes(sums, 0, a0)
        add_bytes(sums, 32, b0)
        add_bytes(sums, 64, a1)
        add_bytes(sums, 96, b1)
        add_bytes(sums, 128, a2)
        add_bytes(sums, 160, b2)
        add_bytes(sums, 192, a3)
        add_bytes(sums, 224, b3)


@njit(cache=True, nogil=True)
def _products_avx2(out, activations, panels, largest):
    wide_vectors()
    bits, count, pairs, _ = panels.shape
    rows, width = activations.shape[0], out.shape[1]
    at_once = 4 if rows > 1 else 1
    # For four at a time there are tables of rows that do not exist, too; what they add up to is not used.
    entry_words = np.zeros((ROWS if rows > 1 else 1) * pairs * 4, np.uint64)
    entries = entry_words.view(np.uint8)
    sums = np.empty(at_once * LANES, np.uint16)
    flat, flat_out = panels.reshape(-1), out.reshape(-1)
    most = 255 // (8 * largest)  # pairs of nibbles that a byte can add up
    block = most * (65535 // (8 * largest * most))  # and the sums of 16 bits
    for chunk in range(0, rows, ROWS):
        for i in range(min(ROWS, rows - chunk)):
            _fill_tables(activations[chunk + i], entry_words, i * pairs * 4)
        for panel in range(count):
            for row in range(chunk, min(chunk + ROWS, rows), at_once):
                for bit in range(bits):
                    for first in range(0, pairs, block):
                        size = min(block, pairs - first)
                        sums[:] = 0
                        at = ((bit * count + panel) * pairs + first) * LANES
                        t = ((row - chunk) * pairs + first) * 32
                        if at_once == 1:
                            _sum_lookups(flat, at, entries, t, size, most, sums)
                        else:
                            _sum_lookups_of_four(flat, at, entries, t, pairs * 32, size, most, sums)
                        for i in range(min(at_once, rows - row)):
                            start, scale = (row + i) * width, np.int32(1 << bit)
                            tables.add_counts(flat_out, start, width, panel, sums, LANES * i, scale)


@njit(cache=True, nogil=True)
def _products_plain(out, activations, panels, largest):
    wide_vectors()
    bits, count, pairs, _ = panels.shape
    entry_words = np.zeros(pairs * 4, np.uint64)
    entries = entry_words.view(np.uint8)
    sums = np.empty(LANES, np.int64)
    for row in range(activations.shape[0]):
        _fill_tables(activations[row], entry_words, 0)
        for panel in range(count):
            for bit in range(bits):
                sums[:] = 0
                for pair in range(pairs):
                    for j in range(LANES):
                        both = panels[bit, panel, pair, j]
                        sums[j] += entries[32 * pair + (both & 15)] + np.int64(entries[32 * pair + 16 + (both >> 4)])
                for j in range(LANES):  # undo the shuffle of lane_panels
                    column = LANES * panel + (j // 32) * 32 + (j % 2) * 16 + j % 32 // 2
                    if column < out.shape[1]:
                        out[row, column] += np.int32(sums[j] << bit)


@njit(cache=True, inline="always")
def _two_lookups(low, high, entries, t):
    """Partial sums of eight activations for 64 rows, whose nibbles are ``low`` and ``high``."""
    return lookup64(load_four_times(entries, t), low) + lookup64(load_four_times(entries, t + 16), high)


@njit(cache=True, nogil=True)
def _products_avx512(out, activations, panels, largest):
    """As :func:`_products_avx2`; sums of 16 bits stay in registers.

    A byte that overflows soon is added to ``total`` as one half of a number of 16 bits, and its upper half to
    ``second``: the lower one follows in the end, ``total - 256 * second``.
    """
    wide_vectors()
    bits, count, pairs, _ = panels.shape
    rows, width = activations.shape[0], out.shape[1]
    entry_words = np.zeros((ROWS if rows > 1 else 1) * pairs * 4, np.uint64)
    entries = entry_words.view(np.uint8)
    flat, flat_out, apart = panels.reshape(-1), out.reshape(-1), pairs * 32
    most = 255 // (8 * largest)
    block = most * (65535 // (8 * largest * most))
    for chunk in range(0, rows, ROWS):
        for i in range(min(ROWS, rows - chunk)):
            _fill_tables(activations[chunk + i], entry_words, i * pairs * 4)
        for panel in range(count):
            start = panel * LANES
            left = width - start
            for row in range(chunk, min(chunk + ROWS, rows), 4):
                to, here = row * width + start, min(4, rows - row)
                for bit in range(bits):
                    scale = np.int32(1 << bit)
                    for begin in range(0, pairs, block):
                        at = ((bit * count + panel) * pairs + begin) * LANES
                        t, size = ((row - chunk) * pairs + begin) * 32, min(block, pairs - begin)
                        t0 = t1 = t2 = t3 = s0 = s1 = s2 = s3 = no_shorts()
                        for first in range(0, size, most):
                            steps = min(most, size - first)
                            if rows == 1:
                                a = no_bytes()
                                for _ in range(steps):
                                    x = load_bytes(flat, at)
                                    a += _two_lookups(low_halves(x), high_halves(x), entries, t)
                                    at, t = at + LANES, t + 32
                                t0, s0 = t0 + as_shorts(a), s0 + over_256(as_shorts(a))
                            else:
                                a = b = c = d = no_bytes()
                                for _ in range(steps):
                                    x = load_bytes(flat, at)
                                    low, high = low_halves(x), high_halves(x)
                                    a += _two_lookups(low, high, entries, t)
                                    b += _two_lookups(low, high, entries, t + apart)
                                    c += _two_lookups(low, high, entries, t + 2 * apart)
                                    d += _two_lookups(low, high, entries, t + 3 * apart)
                                    at, t = at + LANES, t + 32
                                t0, s0 = t0 + as_shorts(a), s0 + over_256(as_shorts(a))
                                t1, s1 = t1 + as_shorts(b), s1 + over_256(as_shorts(b))
                                t2, s2 = t2 + as_shorts(c), s2 + over_256(as_shorts(c))
                                t3, s3 = t3 + as_shorts(d), s3 + over_256(as_shorts(d))
                        add_64_counts(flat_out, to, left, t0, s0, scale)
                        if here > 1:
                            add_64_counts(flat_out, to + width, left, t1, s1, scale)
                        if here > 2:
                            add_64_counts(flat_out, to + 2 * width, left, t2, s2, scale)
                        if here > 3:
                            add_64_counts(flat_out, to + 3 * width, left, t3, s3, scale)


# Path -> function.
PRODUCTS = {"plain": _products_plain, "avx2": _products_avx2, "avx512": _products_avx512}
