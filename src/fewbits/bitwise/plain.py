"""Counting differing bits in plain Python, compiled by Numba: runs anywhere, and with ``vpopcntq`` on AVX-512.

Weights lie in panels: word k of 64 weight rows side by side, so that one step of the inner loop treats 64 rows with
the same input word, which is what a compiler turns into vectors.
"""

import numpy as np

from fewbits.bitwise.simd import wide_vectors
from fewbits.core.compiled import njit

LANES = 64


def panels(words: np.ndarray) -> np.ndarray:
    """(N, W) words to (ceil(N / 64), W, 64); rows that are missing in the last panel are zeros."""
    rows = np.zeros((-(-len(words) // LANES) * LANES, words.shape[1]), np.uint64)
    rows[: len(words)] = words
    return np.ascontiguousarray(rows.reshape(-1, LANES, words.shape[1]).transpose(0, 2, 1))


@njit(cache=True, inline="always")
def popcount(x):
    """Ones in a word. LLVM recognizes this sequence and replaces it by the fastest that the processor has."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    x = (x & pairs) + ((x >> np.uint64(2)) & pairs)
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True, nogil=True)
def accumulate(out, weights, words, scales, first, last):
    """Add ``scales[c % S] *`` (bits in which input c and weight row n differ) to ``out[c // S, n]``.

    Two inputs and four words at a time: eight counts are added up before the sums in memory are touched.

    Args:
        out: (C / S, N) int32. weights: :func:`panels` of N rows. words: (C, W) uint64. scales: (S,) int32.
        first, last: inputs ``2 * first`` to ``2 * last - 1`` are treated.
    """
    wide_vectors()
    columns, width = words.shape
    one, two = np.empty(LANES, np.uint64), np.empty(LANES, np.uint64)
    for panel in range(weights.shape[0]):
        for tile in range(first, last):
            a, b = 2 * tile, min(2 * tile + 1, columns - 1)
            for j in range(LANES):  # [:] = 0 would be a function of Numba's own, in narrow vectors
                one[j] = two[j] = 0
            quads = width // 4
            for quad in range(quads):
                k = 4 * quad
                a0, a1, a2, a3 = words[a, k], words[a, k + 1], words[a, k + 2], words[a, k + 3]
                b0, b1, b2, b3 = words[b, k], words[b, k + 1], words[b, k + 2], words[b, k + 3]
                for j in range(LANES):
                    w0, w1 = weights[panel, k, j], weights[panel, k + 1, j]
                    w2, w3 = weights[panel, k + 2, j], weights[panel, k + 3, j]
                    one[j] += popcount(a0 ^ w0) + popcount(a1 ^ w1) + popcount(a2 ^ w2) + popcount(a3 ^ w3)
                    two[j] += popcount(b0 ^ w0) + popcount(b1 ^ w1) + popcount(b2 ^ w2) + popcount(b3 ^ w3)
            for k in range(4 * quads, width):
                for j in range(LANES):
                    one[j] += popcount(words[a, k] ^ weights[panel, k, j])
                    two[j] += popcount(words[b, k] ^ weights[panel, k, j])
            add_scaled(out, a, one, LANES * panel, scales)
            if b > a:
                add_scaled(out, b, two, LANES * panel, scales)


@njit(cache=True)
def add_scaled(out, column, counts, start, scales):
    """Add the counts of one input and 64 weight rows from ``start`` to ``out``, as :func:`accumulate` says."""
    wide_vectors()
    row, scale = column // len(scales), np.int64(scales[column % len(scales)])
    for j in range(min(LANES, out.shape[1] - start)):
        out[row, start + j] += np.int32(scale * np.int64(counts[j]))
