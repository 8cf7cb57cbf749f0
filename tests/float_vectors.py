"""Pairs of float32 for the tests of the floating-point circuits, and what NumPy makes of them."""

import numpy as np


def corners() -> np.ndarray:
    """Bit patterns where something happens: zeros, subnormal numbers, the ends of the range, infinities, NaNs, ties."""
    fractions = [0, 1, 2, 0x400000, 0x555555, 0x7FFFFE, 0x7FFFFF]
    exponents = [0, 1, 2, 23, 24, 25, 26, 63, 64, 102, 103, 126, 127, 128, 150, 151, 152, 190, 191, 253, 254, 255]
    return np.array([s << 31 | e << 23 | f for s in (0, 1) for e in exponents for f in fractions], np.uint32)


def pairs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint32 twice: all pairs of `corners`, ``count`` random pairs, and as many with exponents close together."""
    rng = np.random.default_rng(seed)
    edge = corners()
    a, b = (side.ravel() for side in np.meshgrid(edge, edge))
    any_a, any_b = rng.integers(0, 2**32, (2, count), dtype=np.uint32)
    # Near each other: sums cancel and round in every way. Around 1: products stay in range.
    near = rng.integers(0, 2**32, (2, count), dtype=np.uint32) & np.uint32(0x807FFFFF)
    exponents = rng.integers(60, 190, count) + rng.integers(-28, 29, (2, count)) * np.array([[0], [1]])
    near |= exponents.astype(np.uint32) << np.uint32(23)
    # Few fraction bits: many exact ties.
    near[:, ::3] &= np.uint32(0xFFFFF000)
    return np.concatenate([a, any_a, near[0]]), np.concatenate([b, any_b, near[1]])


def _flushed(bits: np.ndarray) -> np.ndarray:
    """Subnormal numbers become zero of their sign. float32."""
    bits = bits.astype(np.uint32)
    return np.where(bits & np.uint32(0x7F800000), bits, bits & np.uint32(0x80000000)).view(np.float32)


def _canonical(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))


def numpy_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b by NumPy, (n,) uint32: subnormal numbers flushed, NaN as 7FC00000."""
    with np.errstate(all="ignore"):
        total = _flushed(a) + _flushed(b)
    return _canonical(_flushed(total.view(np.uint32)))


def numpy_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a · b by NumPy, (n,) uint32: subnormal numbers flushed, NaN as 7FC00000.

    Where the product is tiny, NumPy would round it to the fewer bits of a subnormal number before it can be flushed. So
    the larger factor is scaled up by 2^64 there: then NumPy rounds to 24 bits, and the size can be judged after that.
    """
    a, b = _flushed(a), _flushed(b)
    with np.errstate(all="ignore"):
        product = a * b
        swap = np.abs(a) > np.abs(b)
        small, large = np.where(swap, b, a), np.where(swap, a, b)
        scaled = (small * np.float32(2.0**64)) * large
        tiny = np.abs(product) < np.float32(2.0**-100)
    zero = (product.view(np.uint32) & np.uint32(0x80000000)).view(np.float32)
    flushed = np.where(np.abs(scaled) < np.float32(2.0**-62), zero, scaled * np.float32(2.0**-64))
    return _canonical(np.where(tiny, flushed, product))
