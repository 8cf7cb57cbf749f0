"""Counting differing bits with AVX2, which has no population count for vectors, by look-up tables in registers.

``vpshufb`` looks up 32 bytes at once, each in a table of 16 bytes. Four bits of a weight row are the index; four bits
of an input choose the table, of which there are 16, so that XOR and count are one look-up. Better still, a table's
entry has room for two counts: the low nibble serves one input, the high nibble another, and 256 tables (4 KiB) hold
all pairs. A nibble can add up three counts, 3 · 4 = 12 < 16; then the high half is split off:

    s = three look-ups added;  both += s;  second += s >> 4;  in the end first = both - 16 * second   (modulo 256)

Nine instructions for 32 rows, two inputs and 12 bits: 768 multiply-adds.
"""

import numpy as np

from fewbits.bitwise.simd import (
    add_bytes,
    add_scaled,
    high_nibbles,
    load,
    load_table,
    lookup,
    store_offsets,
    times16,
    wide_vectors,
    zero,
)
from fewbits.core.compiled import njit

LANES = 64
STEP = 3  # look-ups that a nibble can add up
BLOCK = 48  # look-ups of three words; a byte could add up 63: 63 * 4 = 252
CHUNK = 32  # tiles of four inputs whose sums stay in the first-level cache

_differ = np.bitwise_count(np.arange(16)[:, None] ^ np.arange(16)).astype(np.uint8)  # (input nibble, weight nibble)
TABLES = (_differ[None, :, :] + 16 * _differ[:, None, :]).astype(np.uint8).reshape(-1)  # (second, first, weight)


def nibbles(words: np.ndarray) -> np.ndarray:
    """(..., W) words to (..., 16 W) uint8, four bits each, the lowest first."""
    pairs = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
    return np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(*words.shape[:-1], -1)


def lane_panels(groups: np.ndarray) -> np.ndarray:
    """(N, G) indices to panels of 64 rows, (ceil(N / 64), G, 64); missing rows are zeros.

    The kernels split vectors of bytes into even and odd ones (:func:`fewbits.bitwise.simd.add_bytes`); rows are
    shuffled so that they come out in order.
    """
    rows = np.zeros((-(-len(groups) // LANES) * LANES, groups.shape[1]), np.uint8)
    rows[: len(groups)] = groups
    halves = rows.reshape(-1, 2, 2, 16, groups.shape[1])  # panel, vector, even or odd, row
    return np.ascontiguousarray(halves.transpose(0, 4, 1, 3, 2)).reshape(len(halves), -1, LANES)


def panels(words: np.ndarray) -> np.ndarray:
    """(N, W) words of weights to (ceil(N / 64), G, 64) nibbles, G the multiple of 3 from 16 W upwards."""
    groups = nibbles(words)
    return lane_panels(np.pad(groups, ((0, 0), (0, -groups.shape[1] % STEP))))


@njit(cache=True, nogil=True)
def fill_offsets(words, first, offsets, pairs):
    """Where in ``TABLES`` the table of each pair of inputs is, for some pairs from input ``first``.

    Args:
        words: (C, W) uint64; for inputs beyond C the last one is taken.
        offsets: flat uint16, filled: blocks of 48 nibbles, and in a block pair after pair. A last block of one or two
            words is filled up with the table of two zeros, which adds nothing where the weights are filled up alike.
    """
    wide_vectors()
    columns, width = words.shape
    for pair in range(pairs):
        a, b = min(first + 2 * pair, columns - 1), min(first + 2 * pair + 1, columns - 1)
        for k in range(width):
            store_offsets(offsets, ((k // 3) * pairs + pair) * BLOCK + 16 * (k % 3), words[a, k], words[b, k])
        if width % 3 > 0:
            end = ((width // 3) * pairs + pair) * BLOCK
            offsets[end + 16 * (width % 3) : end + BLOCK] = 0


@njit(cache=True, inline="always")
def three_lookups(lanes, at, t0, t1, t2):
    """The sum of three look-ups for 32 weight rows: bytes that hold one count in each half."""
    two = lookup(t0, load(lanes, at)) + lookup(t1, load(lanes, at + 64))
    return two + lookup(t2, load(lanes, at + 128))


@njit(cache=True, inline="always")
def count_pair(lanes, at, tables, offsets, p, a0, b0, a1, b1):
    """Add three look-ups of a pair of inputs to the counters of 64 weight rows, a0 and b0 for the first 32 of them.

    Args:
        lanes: nibbles of 64 rows from ``at``. offsets: of the pair from ``p``.
        a0, a1: counters of both inputs, the second one's 16-fold; b0, b1: of the second input.
    """
    t0 = load_table(tables, offsets, p)
    t1 = load_table(tables, offsets, p + 1)
    t2 = load_table(tables, offsets, p + 2)
    s0 = three_lookups(lanes, at, t0, t1, t2)
    s1 = three_lookups(lanes, at + 32, t0, t1, t2)
    return a0 + s0, b0 + high_nibbles(s0), a1 + s1, b1 + high_nibbles(s1)


@njit(cache=True, nogil=True)
def count_block(lanes, at, offsets, p, q, groups, tables, sums, s):
    """Add the differing bits of 64 weight rows and two pairs of inputs to 256 sums from ``sums[s]``.

    Args:
        lanes: nibbles of 64 rows from ``at``. offsets: of one pair from ``p``, of the other from ``q``.
        groups: nibbles to treat, a multiple of 3, at most 63.
        sums: uint16, 64 of each input in turn.
    """
    a0, a1, a2, a3 = zero(), zero(), zero(), zero()
    b0, b1, b2, b3 = zero(), zero(), zero(), zero()
    for _ in range(groups // STEP):
        a0, b0, a1, b1 = count_pair(lanes, at, tables, offsets, p, a0, b0, a1, b1)
        a2, b2, a3, b3 = count_pair(lanes, at, tables, offsets, q, a2, b2, a3, b3)
        at, p, q = at + STEP * LANES, p + STEP, q + STEP
    add_bytes(sums, s, a0 - times16(b0))
    add_bytes(sums, s + 32, a1 - times16(b1))
    add_bytes(sums, s + 64, b0)
    add_bytes(sums, s + 96, b1)
    add_bytes(sums, s + 128, a2 - times16(b2))
    add_bytes(sums, s + 160, a3 - times16(b3))
    add_bytes(sums, s + 192, b2)
    add_bytes(sums, s + 224, b3)


@njit(cache=True, nogil=True)
def accumulate(out, lanes, words, scales, first, last, tables):
    """As :func:`fewbits.bitwise.plain.accumulate`, four inputs a tile.

    Args:
        out: (C / S, N) int32. lanes: :func:`panels` of N rows. words: (C, W) uint64. scales: (S,) int32.
        first, last: inputs ``4 * first`` to ``4 * last - 1`` are treated.
        tables: ``TABLES``.
    """
    wide_vectors()
    groups = lanes.shape[1]
    blocks = (groups + BLOCK - 1) // BLOCK
    flat_lanes, flat_out = lanes.reshape(-1), out.reshape(-1)
    sums = np.empty(256 * CHUNK, np.uint16)
    offsets = np.empty(2 * CHUNK * blocks * BLOCK, np.uint16)
    for chunk in range(first, last, CHUNK):
        tiles = min(CHUNK, last - chunk)
        fill_offsets(words, 4 * chunk, offsets, 2 * tiles)
        for panel in range(lanes.shape[0]):
            sums[:] = 0
            for block in range(blocks):  # a panel's 48 · 64 bytes stay in the first-level cache
                size = min(BLOCK, groups - BLOCK * block)
                at = (panel * groups + block * BLOCK) * LANES
                for tile in range(tiles):
                    p = 2 * (block * tiles + tile) * BLOCK
                    count_block(flat_lanes, at, offsets, p, p + BLOCK, size, tables, sums, 256 * tile)
            for tile in range(tiles):
                for c in range(4):
                    column = 4 * (chunk + tile) + c
                    if column < len(words):
                        scale = scales[column % len(scales)]
                        row = column // len(scales) * out.shape[1]
                        add_counts(flat_out, row, out.shape[1], panel, sums, 256 * tile + LANES * c, scale)


@njit(cache=True, inline="always")
def add_counts(out, row, width, panel, sums, at, scale):
    """Add ``scale`` times the 64 sums from ``at`` to the places of ``panel`` in a row of ``width`` numbers."""
    start = panel * LANES
    if start + LANES <= width:
        for j in range(0, LANES, 16):
            add_scaled(out, row + start + j, sums, at + j, scale)
    else:
        for j in range(width - start):
            out[row + start + j] += scale * np.int32(sums[at + j])
