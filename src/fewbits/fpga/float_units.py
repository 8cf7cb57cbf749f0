"""Two ways to save gates of floating point, bit for bit as the circuits ``truncating_…`` and ``fused_dot`` do it.

Numbers are float32 by their bits. An exponent field of 0 is the number 0, all others are ordinary numbers: no infinity,
no NaN, no subnormal numbers. What IEEE 754 rounds is cut off here.
"""

import numpy as np

GUARD = 1  # places below the last digit of the larger number that a truncated sum keeps
DIGITS = 26  # of a product in a fused sum: two before the point, 24 after it


def _parts(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sign (1 for negative), exponent field, and significand of 24 bits (0 for the number 0), all int64."""
    bits = np.asarray(bits).astype(np.int64)
    exponent = bits >> 23 & 255
    return bits >> 31, exponent, np.where(exponent == 0, 0, bits & 0x7FFFFF | 0x800000)


def _number(sign: np.ndarray, exponent: np.ndarray, significand: np.ndarray) -> np.ndarray:
    """The bits of a number whose significand has 24 bits, or is 0; below the smallest exponent it becomes 0."""
    small = (significand == 0) | (exponent <= 0)
    if (exponent[~small] > 255).any():
        raise ValueError("the result is 2^129 or more, which has no float32 here")
    bits = sign << 31 | exponent << 23 | significand & 0x7FFFFF
    return np.where(small, 0, bits).astype(np.uint32)


def _length(values: np.ndarray) -> np.ndarray:
    """Bits of each non-negative integer below 2^52."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _cut(values: np.ndarray, bits: int) -> np.ndarray:
    """The leading ``bits`` bits of each non-negative integer, the first of them a 1."""
    away = _length(values) - bits
    return np.where(away > 0, values >> np.maximum(away, 0), values << np.maximum(-away, 0))


def truncated_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product, cut off after 24 bits.

    Args:
        a, b: (n,) uint32, the bits of float32 numbers.
    Returns:
        (n,) uint32.
    Raises:
        ValueError: a product is 2^129 or more.

    Source: own (circuit truncating_multiply)
    """
    (sign_a, exponent_a, digits_a), (sign_b, exponent_b, digits_b) = _parts(a), _parts(b)
    exact = digits_a * digits_b
    high = exact >> 47
    return _number(sign_a ^ sign_b, exponent_a + exponent_b - 127 + high, exact >> (23 + high))


def truncated_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum; the smaller number is cut off one place below the larger one's last digit, the sum after 24 bits.

    Args and errors as of :func:`truncated_product`.

    Source: own (circuit truncating_add)
    """
    swap = np.asarray(b) << np.uint32(1) > np.asarray(a) << np.uint32(1)
    (sign, exponent, digits), (other, smaller, less) = _parts(np.where(swap, b, a)), _parts(np.where(swap, a, b))
    aligned = (less << GUARD) >> np.minimum(exponent - smaller, 63)
    total = (digits << GUARD) + np.where(sign == other, aligned, -aligned)
    return _number(sign, exponent + _length(total) - 24 - GUARD, _cut(total, 24))


def fused_dot(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A dot product with one normalization: all products move to the largest exponent and are added as integers.

    Args:
        x, weights: (n, k) uint32, the bits of float32 numbers; k is at most 32.
    Returns:
        (n,) uint32: the sum of the products, each cut off 24 places after the point of the largest one.
    Raises:
        ValueError: k is above 32, or a sum is 2^129 or more.

    Source: own (circuit fused_dot)
    """
    if np.shape(x)[-1] > 32:
        raise ValueError(f"x must have at most 32 numbers for a sum, got {np.shape(x)[-1]}")
    (sign_x, exponent_x, digits_x), (sign_w, exponent_w, digits_w) = _parts(x), _parts(weights)
    exact = digits_x * digits_w
    exponent = np.where(exact == 0, 0, exponent_x + exponent_w)
    largest = exponent.max(axis=-1)
    aligned = (exact >> 48 - DIGITS) >> np.minimum(largest[..., None] - exponent, 63)
    total = np.where(sign_x ^ sign_w, -aligned, aligned).sum(axis=-1)
    negative = (total < 0).astype(np.int64)
    magnitude = np.abs(total)
    # A product of exponent fields that add up to 254 has its digit for 1 at place 24.
    return _number(negative, largest - 254 + 127 + _length(magnitude) - 1 - 24, _cut(magnitude, 24))
