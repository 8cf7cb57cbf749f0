"""Products of 8-bit activations and weights of 8, 4 or 2 bits, by instructions that multiply bytes.

VNNI's ``vpdpbusd`` multiplies 64 pairs of an unsigned byte and a signed one and adds four products to each of 16 sums
of 32 bits. Without it, ``vpmaddwd`` does the same with pairs of 16 bits, and half as many at a time. AVX2's
``vpmaddubsw`` adds two products of bytes in 16 bits, where those of weights of 8 bits would not fit; weights of 2 or 4
take it. Nothing can overflow, so the sums are exact.

Weights lie in panels of 16 rows: four bytes of each row side by side fill a register, and a register of packed weights
holds two or four such groups. Ternary weights take 2 bits. A product with one vector unpacks them in registers and
reads no more than their bits; products with more unpack a panel once and use it for all. AVX2 unpacks in registers for
each vector.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fewbits.bitwise import isa
from fewbits.bitwise.simd import wide_vectors
from fewbits.bitwise.simd64 import (
    add_fours,
    add_ints,
    add_shorts,
    add_twos,
    bit_field,
    load_ints,
    no_ints,
    pairs_of_codes,
    same_int,
    store_ints,
)
from fewbits.core.compiled import njit

LANES = 16
TILE = 8  # rows of activations, with 32 of weights, whose 256 sums stay in registers
MOST_LENGTH = 65_536  # 65,536 · 255 · 128 < 2**31
BITS = (2, 4, 8)


@dataclass(frozen=True)
class DotWeights:
    """Weights laid out for products of bytes; made once by :func:`prepare_dots`.

    Attributes:
        path: "vnni", "avx2" for weights of 2 or 4 bits, or "plain" for pairs of 16 bits.
        panels: uint8, flat: panels of 16 rows, an even number of them. With VNNI or AVX2 (panels, G, 16, 4), where a
            byte holds 8 / bits codes ``w + 2**(bits - 1)``, from different fours, or w itself at 8 bits; else int16
            (panels, G, 16, 2).
        totals: (N,) int32, the sum of each row.
        shape: (N, K).
        bits: of a weight.
    """

    path: str
    panels: np.ndarray
    totals: np.ndarray
    shape: tuple[int, int]
    bits: int


def prepare_dots(weights: np.ndarray, bits: int = 8) -> DotWeights:
    """Lay out signed weights.

    Args:
        weights: (N, K) int8, in ``-2**(bits - 1) … 2**(bits - 1) - 1``; ternary ones fit in 2 bits.
        bits: 2, 4 or 8.
    Raises:
        TypeError, ValueError: dtype, shape, bits or a weight are out of range.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be one of {BITS}, got {bits}")
    if weights.dtype != np.int8:
        raise TypeError(f"weights must be int8, got {weights.dtype}")
    if weights.ndim != 2 or 0 in weights.shape or weights.shape[1] > MOST_LENGTH:
        raise ValueError(f"weights must be (N, K), not empty, K at most {MOST_LENGTH}, got {weights.shape}")
    half = 1 << (bits - 1)
    if weights.min() < -half or weights.max() >= half:
        raise ValueError(f"weights must lie in {-half} … {half - 1}, got {weights.min()} … {weights.max()}")
    path, totals = isa.best(KERNELS if bits < 8 else ("plain", "vnni")), weights.sum(1, dtype=np.int32)
    rows, length = weights.shape
    group = 2 if path == "plain" else 4 * 8 // bits  # weights of a row in a register
    padded = np.zeros((-(-rows // (2 * LANES)) * 2 * LANES, -(-length // group) * group), np.int8)
    padded[:rows, :length] = weights
    if path == "plain":
        panels = padded.reshape(-1, LANES, padded.shape[1] // 2, 2).transpose(0, 2, 1, 3)
        return DotWeights(path, panels.astype(np.int16).view(np.uint8).reshape(-1), totals, weights.shape, bits)
    fours = padded.reshape(-1, LANES, padded.shape[1] // group, 8 // bits, 4).transpose(3, 0, 2, 1, 4)
    if bits == 8:
        return DotWeights(path, np.ascontiguousarray(fours).view(np.uint8).reshape(-1), totals, weights.shape, bits)
    codes = (fours + np.int8(half)).astype(np.uint8)
    packed = np.bitwise_or.reduce([plane << (bits * i) for i, plane in enumerate(codes)], axis=0)
    return DotWeights(path, np.ascontiguousarray(packed).reshape(-1), totals, weights.shape, bits)


def dot_gemm(activations: np.ndarray, weights: DotWeights) -> np.ndarray:
    """Inner products of rows of activations and rows of weights.

    Args:
        activations: (M, K) uint8 or int8, M >= 1.
        weights: N rows of K.
    Returns:
        (M, N) int32, ``activations @ weights.T``, exactly.
    Raises:
        TypeError, ValueError: dtype or shape do not fit.
    """
    if activations.dtype not in (np.uint8, np.int8):
        raise TypeError(f"activations must be uint8 or int8, got {activations.dtype}")
    if activations.ndim != 2 or not len(activations) or activations.shape[1] != weights.shape[1]:
        raise ValueError(f"activations must be (M, {weights.shape[1]}), got {activations.shape}")
    step = 2 if weights.path == "plain" else 4 * 8 // weights.bits
    length = -(-weights.shape[1] // step) * step
    kernel, wanted = KERNELS[weights.path]
    moved = 0  # what was added to the activations
    if len(activations) == 1 and weights.path == "vnni":
        kernel, wanted = ONE_VECTOR[weights.bits < 8]
    rows = np.zeros((len(activations), length), wanted)
    if wanted.itemsize > 1 or wanted == activations.dtype:
        rows[:, : weights.shape[1]] = activations
    else:  # add or take off 128: the upper bit changes
        rows.view(np.uint8)[:, : weights.shape[1]] = activations.view(np.uint8) ^ np.uint8(128)
        moved = 128 if wanted == np.uint8 else -128
    out = np.zeros((len(rows), weights.shape[0]), np.int32)
    kernel(out, rows.view(np.uint8).reshape(-1), weights.panels, length, weights.bits)
    if wanted == np.int8:  # weights are codes, moved by half their number
        out -= (1 << (weights.bits - 1)) * rows.sum(1, dtype=np.int32, keepdims=True)
    if moved:
        out -= moved * weights.totals
    return out


def dot_gemv(activations: np.ndarray, weights: DotWeights) -> np.ndarray:
    """:func:`dot_gemm` of one vector: (K,) to (N,)."""
    return dot_gemm(activations[None], weights)[0]


@njit(cache=True, nogil=True)
def _one_vector_of_bytes(out, activations, panels, length, bits):
    """A product with one vector of uint8, of 32 rows of int8 at once."""
    wide_vectors()
    width, groups = out.shape[1], length // 4
    flat_out = out.reshape(-1)
    for start in range(0, width, 2 * LANES):
        at = start * length
        other = at + LANES * length
        a0 = a1 = b0 = b1 = no_ints()
        for group in range(groups // 2):
            p = 8 * group
            v, w = same_int(activations, p), same_int(activations, p + 4)
            a0, b0 = add_fours(a0, v, load_ints(panels, at)), add_fours(b0, v, load_ints(panels, other))
            a1, b1 = add_fours(a1, w, load_ints(panels, at + 64)), add_fours(b1, w, load_ints(panels, other + 64))
            at, other = at + 128, other + 128
        if groups % 2:
            v = same_int(activations, 4 * (groups - 1))
            a0, b0 = add_fours(a0, v, load_ints(panels, at)), add_fours(b0, v, load_ints(panels, other))
        add_ints(flat_out, start, width - start, a0 + a1)
        add_ints(flat_out, start + LANES, width - start - LANES, b0 + b1)


@njit(cache=True, nogil=True)
def _one_vector_of_codes(out, activations, panels, length, bits):
    """A product with one vector of int8: codes of 2 or 4 bits are unpacked in registers, of 32 rows at once."""
    wide_vectors()
    width, parts = out.shape[1], 8 // bits
    groups = length // (4 * parts)
    flat_out, mask = out.reshape(-1), np.int32((1 << bits) - 1)
    for start in range(0, width, 2 * LANES):
        at, p = start * groups * 4, 0
        other = at + groups * 64
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = no_ints()
        for _ in range(groups):
            x, y = load_ints(panels, at), load_ints(panels, other)
            v, w = same_int(activations, p), same_int(activations, p + 4)
            a0 = add_fours(a0, bit_field(x, np.int32(0), mask), v)
            b0 = add_fours(b0, bit_field(y, np.int32(0), mask), v)
            if parts == 2:
                a1 = add_fours(a1, bit_field(x, np.int32(4), mask), w)
                b1 = add_fours(b1, bit_field(y, np.int32(4), mask), w)
            else:
                a1 = add_fours(a1, bit_field(x, np.int32(2), mask), w)
                b1 = add_fours(b1, bit_field(y, np.int32(2), mask), w)
                v, w = same_int(activations, p + 8), same_int(activations, p + 12)
                a2 = add_fours(a2, bit_field(x, np.int32(4), mask), v)
                b2 = add_fours(b2, bit_field(y, np.int32(4), mask), v)
                a3 = add_fours(a3, bit_field(x, np.int32(6), mask), w)
                b3 = add_fours(b3, bit_field(y, np.int32(6), mask), w)
            at, other, p = at + 64, other + 64, p + 4 * parts
        add_ints(flat_out, start, width - start, a0 + a1 + (a2 + a3))
        add_ints(flat_out, start + LANES, width - start - LANES, b0 + b1 + (b2 + b3))


@njit(cache=True, nogil=True)
def _vectors_of_codes(out, activations, panels, length, bits):
    """Products with rows of int8, one after the other, of 32 rows of codes at once: by pairs in 16 bits."""
    rows, width, parts = out.shape[0], out.shape[1], 8 // bits
    groups = length // (4 * parts)
    flat_out, mask = out.reshape(-1), np.int32((1 << bits) - 1)
    for start in range(0, width, 2 * LANES):
        for row in range(rows):
            at, p = start * groups * 4, row * length
            other = at + groups * 64
            a = b = no_ints()
            for _ in range(groups):
                x, y = load_ints(panels, at), load_ints(panels, other)
                v, w = same_int(activations, p), same_int(activations, p + 4)
                c = pairs_of_codes(bit_field(x, np.int32(0), mask), v)
                d = pairs_of_codes(bit_field(y, np.int32(0), mask), v)
                if parts == 2:  # at most 4 · 15 · 128 in 16 bits
                    c += pairs_of_codes(bit_field(x, np.int32(4), mask), w)
                    d += pairs_of_codes(bit_field(y, np.int32(4), mask), w)
                else:
                    c += pairs_of_codes(bit_field(x, np.int32(2), mask), w)
                    d += pairs_of_codes(bit_field(y, np.int32(2), mask), w)
                    v, w = same_int(activations, p + 8), same_int(activations, p + 12)
                    c += pairs_of_codes(bit_field(x, np.int32(4), mask), v)
                    d += pairs_of_codes(bit_field(y, np.int32(4), mask), v)
                    c += pairs_of_codes(bit_field(x, np.int32(6), mask), w)
                    d += pairs_of_codes(bit_field(y, np.int32(6), mask), w)
                a, b = add_shorts(a, c), add_shorts(b, d)
                at, other, p = at + 64, other + 64, p + 4 * parts
            to = row * width + start
            add_ints(flat_out, to, width - start, a)
            add_ints(flat_out, to + LANES, width - start - LANES, b)


@njit(cache=True, nogil=True)
def unpack_panels(panels, at, groups, bits, lanes):
    """Two panels of packed codes from ``at`` to bytes ``w``, one panel after the other in ``lanes``."""
    wide_vectors()
    parts, half = 8 // bits, np.uint8(1 << (bits - 1))
    mask = np.uint8((1 << bits) - 1)
    for group in range(2 * groups):
        for part in range(parts):
            to, source = 64 * (group * parts + part), at + 64 * group
            for j in range(64):
                lanes[to + j] = ((panels[source + j] >> (part * bits)) & mask) - half


@njit(cache=True, inline="always")
def eight_fours(panel, at, other, rows, p, pitch, groups, s):
    """Add products of eight rows of uint8 and 32 of int8 to the 16 registers of ``s``."""
    a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1 = s
    for _ in range(groups):
        x, y = load_ints(panel, at), load_ints(panel, other)
        v = same_int(rows, p)
        a0, a1 = add_fours(a0, v, x), add_fours(a1, v, y)
        v = same_int(rows, p + pitch)
        b0, b1 = add_fours(b0, v, x), add_fours(b1, v, y)
        v = same_int(rows, p + 2 * pitch)
        c0, c1 = add_fours(c0, v, x), add_fours(c1, v, y)
        v = same_int(rows, p + 3 * pitch)
        d0, d1 = add_fours(d0, v, x), add_fours(d1, v, y)
        v = same_int(rows, p + 4 * pitch)
        e0, e1 = add_fours(e0, v, x), add_fours(e1, v, y)
        v = same_int(rows, p + 5 * pitch)
        f0, f1 = add_fours(f0, v, x), add_fours(f1, v, y)
        v = same_int(rows, p + 6 * pitch)
        g0, g1 = add_fours(g0, v, x), add_fours(g1, v, y)
        v = same_int(rows, p + 7 * pitch)
        h0, h1 = add_fours(h0, v, x), add_fours(h1, v, y)
        at, other, p = at + 64, other + 64, p + 4
    return a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1


@njit(cache=True, nogil=True)
def tile_of_bytes(panel, at, other, rows, p, pitch, groups, sums):
    """``sums`` (256,) int32: products of eight rows of uint8, ``pitch`` bytes apart, and 32 of int8."""
    wide_vectors()
    n = no_ints()
    s = eight_fours(panel, at, other, rows, p, pitch, groups, (n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n))
    a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1 = s
    store_ints(sums, 0, a0)
    store_ints(sums, 16, a1)
    store_ints(sums, 32, b0)
    store_ints(sums, 48, b1)
    store_ints(sums, 64, c0)
    store_ints(sums, 80, c1)
    store_ints(sums, 96, d0)
    store_ints(sums, 112, d1)
    store_ints(sums, 128, e0)
    store_ints(sums, 144, e1)
    store_ints(sums, 160, f0)
    store_ints(sums, 176, f1)
    store_ints(sums, 192, g0)
    store_ints(sums, 208, g1)
    store_ints(sums, 224, h0)
    store_ints(sums, 240, h1)


@njit(cache=True, nogil=True)
def _products_of_bytes(out, activations, panels, length, bits):
    wide_vectors()
    rows, width, groups = out.shape[0], out.shape[1], length * bits // 32
    flat_out, sums = out.reshape(-1), np.empty(32 * TILE, np.int32)
    lanes = np.empty(2 * LANES * length if bits < 8 else 1, np.uint8)
    last = np.zeros(TILE * length, np.uint8)  # the rows of the last tile, and more
    whole = rows // TILE * TILE
    last[: (rows - whole) * length] = activations[whole * length : rows * length]
    for start in range(0, width, 2 * LANES):
        panel, at = panels, start * groups * 4
        if bits < 8:
            unpack_panels(panels, at, groups, bits, lanes)
            panel, at = lanes, 0
        for row in range(0, rows, TILE):
            here = min(TILE, rows - row)
            if here == TILE:
                tile_of_bytes(panel, at, at + LANES * length, activations, row * length, length, length // 4, sums)
            else:
                tile_of_bytes(panel, at, at + LANES * length, last, 0, length, length // 4, sums)
            for i in range(here):
                to = (row + i) * width + start
                add_ints(flat_out, to, width - start, load_ints(sums, 32 * i))
                add_ints(flat_out, to + LANES, width - start - LANES, load_ints(sums, 32 * i + LANES))


@njit(cache=True, nogil=True)
def tile_of_shorts(panel, at, rows, p, pitch, groups, sums):
    """``sums`` (64,) int32: products of four rows of int16, ``pitch`` bytes apart, and a panel of 16."""
    wide_vectors()
    a = b = c = d = no_ints()
    for _ in range(groups):
        x = load_ints(panel, at)
        a, b = add_twos(a, same_int(rows, p), x), add_twos(b, same_int(rows, p + pitch), x)
        c, d = add_twos(c, same_int(rows, p + 2 * pitch), x), add_twos(d, same_int(rows, p + 3 * pitch), x)
        at, p = at + 64, p + 4
    store_ints(sums, 0, a)
    store_ints(sums, 16, b)
    store_ints(sums, 32, c)
    store_ints(sums, 48, d)


@njit(cache=True, nogil=True)
def _products_of_shorts(out, activations, panels, length, bits):
    wide_vectors()
    rows, width, groups, pitch = out.shape[0], out.shape[1], length // 2, 2 * length
    flat_out, sums = out.reshape(-1), np.empty(4 * LANES, np.int32)
    last = np.zeros(4 * pitch, np.uint8)
    whole = rows // 4 * 4
    last[: (rows - whole) * pitch] = activations[whole * pitch : rows * pitch]
    for start in range(0, width, LANES):
        at = start * groups * 4
        for row in range(0, rows, 4):
            here = min(4, rows - row)
            if here == 4:
                tile_of_shorts(panels, at, activations, row * pitch, pitch, groups, sums)
            else:
                tile_of_shorts(panels, at, last, 0, pitch, groups, sums)
            for i in range(here):
                add_ints(flat_out, (row + i) * width + start, width - start, load_ints(sums, LANES * i))


# Path -> function, and the dtype of activations that it takes.
KERNELS: dict[str, tuple[Callable, np.dtype]] = {
    "plain": (_products_of_shorts, np.dtype(np.int16)),
    "avx2": (_vectors_of_codes, np.dtype(np.int8)),
    "vnni": (_products_of_bytes, np.dtype(np.uint8)),
}
# Whether weights are packed codes -> the same for a product with one vector, with VNNI.
ONE_VECTOR: dict[bool, tuple[Callable, np.dtype]] = {
    False: (_one_vector_of_bytes, np.dtype(np.uint8)),
    True: (_one_vector_of_codes, np.dtype(np.int8)),
}
