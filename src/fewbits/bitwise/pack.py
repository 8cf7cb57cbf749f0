"""Numbers into 64-bit words, fast: the layout of :func:`fewbits.core.packing.pack_signs`, which is the reference.

A network of bits packs its activations between any two layers, so here packing is part of the time that counts;
:mod:`fewbits.core.packing` stores files and need not hurry. Bit i of word j along the last axis belongs to element
``64 * j + i``; the last word is filled up with zeros.
"""

import numpy as np

from fewbits.bitwise.simd import at_least_mask, bit_mask, sign_mask, wide_vectors
from fewbits.core.compiled import njit


def sign_words(x: np.ndarray) -> np.ndarray:
    """Signs along the last axis: bit 1 where ``x >= 0``, 0 where ``x < 0`` or NaN.

    Args:
        x: (..., n) float32 or float64, n >= 1.
    Returns:
        (..., ceil(n / 64)) uint64.
    Raises:
        TypeError, ValueError: ``x`` has another dtype, or no element along its last axis.
    """
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    rows, words = _rows(x)
    _pack_signs(rows.reshape(-1), rows.shape[1], words)
    return words.reshape(*x.shape[:-1], -1)


def bit_planes(codes: np.ndarray, bits: int) -> np.ndarray:
    """Planes of unsigned codes: plane i holds bit i of every code.

    Args:
        codes: (..., n) uint8, every one below ``2**bits``, n >= 1.
        bits: 1 to 8.
    Returns:
        (bits, ..., ceil(n / 64)) uint64.
    Raises:
        TypeError, ValueError: ``codes`` has another dtype, no element, or a code that does not fit.
    """
    if codes.dtype != np.uint8:
        raise TypeError(f"codes must be uint8, got {codes.dtype}")
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be 1 to 8, got {bits}")
    if codes.size and codes.max() >> bits:
        raise ValueError(f"codes must be below {1 << bits}, got {codes.max()}")
    return np.stack([_plane(codes, 1 << bit) for bit in range(bits)])


def ternary_planes(codes: np.ndarray) -> np.ndarray:
    """Two planes of ternary codes: where the code is +1, and where it is -1.

    Args:
        codes: (..., n) int8 of -1, 0 and 1, n >= 1.
    Returns:
        (2, ..., ceil(n / 64)) uint64.
    Raises:
        TypeError, ValueError: ``codes`` has another dtype, no element, or another value.
    """
    if codes.dtype != np.int8:
        raise TypeError(f"codes must be int8, got {codes.dtype}")
    if codes.size and not -1 <= codes.min() <= codes.max() <= 1:
        raise ValueError("codes must be -1, 0 or 1")
    codes = codes.view(np.uint8)
    nonzero, minus = _plane(codes, 1), _plane(codes, 128)  # -1 is 11111111 in two's complement
    return np.stack([nonzero ^ minus, minus])


def threshold_words(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Bit 1 where ``values >= limits``: what is left of a batch normalization and a sign.

    Args:
        values: (M, n) int32. limits: (n,) int32.
    Returns:
        (M, ceil(n / 64)) uint64.
    Raises:
        TypeError, ValueError: dtypes or shapes do not fit.
    """
    if values.dtype != np.int32 or limits.dtype != np.int32:
        raise TypeError(f"values and limits must be int32, got {values.dtype} and {limits.dtype}")
    if values.ndim != 2 or limits.shape != values.shape[1:]:
        raise ValueError(f"values must be (M, n) and limits (n,), got {values.shape} and {limits.shape}")
    rows, words = _rows(values)
    _pack_at_least(rows.reshape(-1), np.ascontiguousarray(limits), words)
    return words


def _rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``x`` as a matrix in C order, and a matrix for its words."""
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"the last axis must have at least one element, got shape {x.shape}")
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    return rows, np.empty((len(rows), -(-x.shape[-1] // 64)), np.uint64)


def _plane(codes: np.ndarray, selected: int) -> np.ndarray:
    rows, words = _rows(codes)
    _pack_bits(rows.reshape(-1), rows.shape[1], np.uint8(selected), words)
    return words.reshape(*codes.shape[:-1], -1)


@njit(cache=True, nogil=True)
def _pack_signs(flat, count, words):
    wide_vectors()
    for row in range(words.shape[0]):
        start, whole = row * count, count // 64
        for j in range(whole):
            words[row, j] = sign_mask(flat, start + 64 * j)
        if whole < words.shape[1]:
            last = np.uint64(0)
            for i in range(count - 64 * whole):
                last |= np.uint64(flat[start + 64 * whole + i] >= 0) << np.uint64(i)
            words[row, whole] = last


@njit(cache=True, nogil=True)
def _pack_bits(flat, count, selected, words):
    wide_vectors()
    for row in range(words.shape[0]):
        start, whole = row * count, count // 64
        for j in range(whole):
            words[row, j] = bit_mask(flat, start + 64 * j, selected)
        if whole < words.shape[1]:
            last = np.uint64(0)
            for i in range(count - 64 * whole):
                last |= np.uint64((flat[start + 64 * whole + i] & selected) != 0) << np.uint64(i)
            words[row, whole] = last


@njit(cache=True, nogil=True)
def _pack_at_least(flat, limits, words):
    wide_vectors()
    count = len(limits)
    for row in range(words.shape[0]):
        start, whole = row * count, count // 64
        for j in range(whole):
            words[row, j] = at_least_mask(flat, start + 64 * j, limits, 64 * j)
        if whole < words.shape[1]:
            last = np.uint64(0)
            for i in range(64 * whole, count):
                last |= np.uint64(flat[start + i] >= limits[i]) << np.uint64(i - 64 * whole)
            words[row, whole] = last
