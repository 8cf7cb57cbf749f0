"""Counting differing bits with AVX-512 VPOPCNTDQ: a tile of sums that stays in registers.

A tile is four inputs by 16 weight rows: eight registers of eight sums. Each word of 16 rows is loaded once and meets
four inputs, and no sum is loaded or stored until the rows end. Weights lie in panels of 16 rows, word after word.

**Prefix form.** For three words, the bits in which input and weight differ are x, y and z. A full adder counts them
with two population counts: of their sum modulo 2, and, twofold, of their carry. The sum modulo 2 is an XOR, and may be
taken beforehand, of the inputs' words and of the weights' words apart:

    x ^ y ^ z = (a ^ b ^ c) ^ (u ^ v ^ w)

So both sides store ``a, a ^ b, a ^ b ^ c`` in place of ``a, b, c``. Three XORs then give ``x``, ``x ^ y`` and
``x ^ y ^ z``, and of these the carry is one operation on three registers, ``vpternlogq``. For three words that is eight
instructions (three XORs, a carry, two counts, two additions), and nine without.
"""

import numpy as np

from fewbits.bitwise.simd import wide_vectors
from fewbits.bitwise.simd64 import (
    carry_of_three,
    load_words,
    no_words,
    ones,
    prefetch,
    put_counts,
    same_word,
)
from fewbits.core.compiled import njit

LANES = 16
ROWS = 4  # inputs of a tile
GROUP = 3  # words of the prefix form
CHUNK = 16  # tiles whose inputs stay in the first-level cache while all weights pass


def panels(words: np.ndarray) -> np.ndarray:
    """(N, W) words to (ceil(N / 16), W, 16); rows that are missing in the last panel are zeros."""
    rows = np.zeros((-(-len(words) // LANES) * LANES, words.shape[1]), np.uint64)
    rows[: len(words)] = words
    return np.ascontiguousarray(rows.reshape(-1, LANES, words.shape[1]).transpose(0, 2, 1))


def prefix_panels(words: np.ndarray) -> np.ndarray:
    """As :func:`panels`, of words in prefix form."""
    return panels(prefixed(words))


def prefixed(words: np.ndarray) -> np.ndarray:
    """(M, W) words in prefix form: of each three a, b, c become a, a ^ b, a ^ b ^ c; a rest of one or two stays."""
    out = np.empty(words.shape, np.uint64)
    _prefix(np.ascontiguousarray(words), out)
    return out


@njit(cache=True, nogil=True)
def _prefix(words, out):
    rows, width = words.shape
    rest = width - width % GROUP
    for row in range(rows):
        for k in range(0, rest, GROUP):
            first, two = words[row, k], words[row, k] ^ words[row, k + 1]
            out[row, k], out[row, k + 1], out[row, k + 2] = first, two, two ^ words[row, k + 2]
        for k in range(rest, width):
            out[row, k] = words[row, k]


@njit(cache=True, inline="always")
def count_word(word, low, high, a, b):
    """Add the differing bits of one input's word and of 16 weight rows to their sums a and b."""
    return a + ones(word ^ low), b + ones(word ^ high)


@njit(cache=True, inline="always")
def count_three(words, p, u0, u1, v0, v1, w0, w1, a, b, c, d):
    """The same for three prefixed words from ``words[p]`` on: single bits go to a and b, carries to c and d."""
    x, two, three = same_word(words, p), same_word(words, p + 1), same_word(words, p + 2)
    two0, three0, two1, three1 = two ^ v0, three ^ w0, two ^ v1, three ^ w1
    a, b = a + ones(three0), b + ones(three1)
    return a, b, c + ones(carry_of_three(x ^ u0, two0, three0)), d + ones(carry_of_three(x ^ u1, two1, three1))


@njit(cache=True, inline="always")
def count_tile(panel, at, words, p, q, r, s, groups, step, width, a0, a1, b0, b1, c0, c1, d0, d1):
    """Add the differing bits of four runs of words and of 16 weight rows to the eight registers a0 … d1.

    Args:
        panel: flat; the weights begin at ``at``. words: flat; the runs begin at p, q, r and s.
        groups: so many groups of three words are in prefix form, 0 where none is.
        step: from one group of a run to the next, in words. width: words of a run.
    """
    e0 = e1 = f0 = f1 = g0 = g1 = h0 = h1 = no_words()
    for _ in range(groups):
        u0, u1, v0, v1 = (
            load_words(panel, at),
            load_words(panel, at + 8),
            load_words(panel, at + 16),
            load_words(panel, at + 24),
        )
        w0, w1 = load_words(panel, at + 32), load_words(panel, at + 40)
        a0, a1, e0, e1 = count_three(words, p, u0, u1, v0, v1, w0, w1, a0, a1, e0, e1)
        b0, b1, f0, f1 = count_three(words, q, u0, u1, v0, v1, w0, w1, b0, b1, f0, f1)
        c0, c1, g0, g1 = count_three(words, r, u0, u1, v0, v1, w0, w1, c0, c1, g0, g1)
        d0, d1, h0, h1 = count_three(words, s, u0, u1, v0, v1, w0, w1, d0, d1, h0, h1)
        at, p, q, r, s = at + GROUP * LANES, p + step, q + step, r + step, s + step
    a0, a1, b0, b1 = a0 + e0 + e0, a1 + e1 + e1, b0 + f0 + f0, b1 + f1 + f1
    c0, c1, d0, d1 = c0 + g0 + g0, c1 + g1 + g1, d0 + h0 + h0, d1 + h1 + h1
    for k in range(width - GROUP * groups):
        low, high = load_words(panel, at), load_words(panel, at + 8)
        a0, a1 = count_word(same_word(words, p + k), low, high, a0, a1)
        b0, b1 = count_word(same_word(words, q + k), low, high, b0, b1)
        c0, c1 = count_word(same_word(words, r + k), low, high, c0, c1)
        d0, d1 = count_word(same_word(words, s + k), low, high, d0, d1)
        at += LANES
    return a0, a1, b0, b1, c0, c1, d0, d1


@njit(cache=True, nogil=True)
def accumulate(out, starts, panels, words, scale, first, last, groups):
    """Write ``starts[m, n] + scale *`` (bits in which input m and weight row n differ) to ``out[m, n]``.

    Args:
        out: (M, N) int32.
        starts: (M, N) int32, which may be ``out`` itself, or (1, N) for all inputs.
        panels: of N rows. words: (M, W) uint64. scale: int32.
        first, last: inputs ``4 * first`` to ``4 * last - 1`` are treated, four inputs a tile.
        groups: of three words in prefix form, in ``panels`` and in ``words``: W // 3, or 0.
    """
    wide_vectors()
    rows, width = words.shape
    flat_panels, flat_words = panels.reshape(-1), words.reshape(-1)
    flat_out, flat_starts = out.reshape(-1), starts.reshape(-1)
    down = out.shape[1] if starts.shape[0] > 1 else 0
    for chunk in range(first, last, CHUNK):
        for panel in range(panels.shape[0]):
            start = panel * LANES
            most = out.shape[1] - start
            for tile in range(chunk, min(chunk + CHUNK, last)):
                m = ROWS * tile
                p, q = m * width, min(m + 1, rows - 1) * width
                r, s = min(m + 2, rows - 1) * width, min(m + 3, rows - 1) * width
                to, at = m * out.shape[1] + start, m * down + start
                for row in range(ROWS):
                    prefetch(flat_out, to + row * out.shape[1])
                a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = no_words()
                begin = start * width
                a0, a1, b0, b1, c0, c1, d0, d1 = count_tile(
                    flat_panels, begin, flat_words, p, q, r, s, groups, GROUP, width, a0, a1, b0, b1, c0, c1, d0, d1
                )
                put_counts(flat_out, to, most, flat_starts, at, a0, a1, scale)
                if m + 1 < rows:
                    put_counts(flat_out, to + out.shape[1], most, flat_starts, at + down, b0, b1, scale)
                if m + 2 < rows:
                    put_counts(flat_out, to + 2 * out.shape[1], most, flat_starts, at + 2 * down, c0, c1, scale)
                if m + 3 < rows:
                    put_counts(flat_out, to + 3 * out.shape[1], most, flat_starts, at + 3 * down, d0, d1, scale)
