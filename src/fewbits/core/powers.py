"""Rounding to a power of two: what turns a multiplication into a shift.

The functions of tensors read the power off the floating point format (``frexp``), so they are exact: no logarithm is
computed and none is rounded. 0, ±Inf and NaN stay what they are.
"""

import torch
from torch import Tensor
from torch.autograd import Function


def power_below(x: Tensor) -> Tensor:
    """Greatest power of two that is at most ``|x|``, with the sign of ``x``: ``sign(x) * 2**floor(log2|x|)``."""
    return _power(x, 1.0)


def nearest_power(x: Tensor) -> Tensor:
    """The power of two nearest to ``|x|``, with the sign of ``x``; halfway (|x| = 1.5 · 2^k) goes away from 0.

    Magnitudes from 0.75 times the power above the dtype's largest number give ±Inf.
    """
    return _power(x, 0.75)


def signed_powers(bits: int) -> Tensor:
    """Table of a field of ``bits`` bits, the sign above an exponent e: 0 where e = 0, else ``±2^(e - 1)``.

    e ends at 2^(bits - 2): the other half of the e is not written. This is the code of INQ, of the shift-adder
    and of its circuits.

    Args:
        bits: 2 to 7: with one more, the largest power would not fit an int64.
    Returns:
        (2^(bits - 1) + 2^(bits - 2) + 1,) int64, indexed by the field; 0 for a field that is never written.
    Raises:
        ValueError: ``bits`` is out of range.

    Source: zhou2017 Eq. 1; own (fields)
    """
    if not 2 <= bits <= 7:
        raise ValueError(f"bits must lie between 2 and 7, got {bits}")
    half, count = 2 ** (bits - 1), 2 ** (bits - 2)
    levels = torch.zeros(half + count + 1, dtype=torch.int64)
    levels[1 : count + 1] = 2 ** torch.arange(count)  # zhou2017 Eq. 1
    levels[half + 1 :] = -levels[1 : count + 1]
    return levels


class _AP2(Function):
    @staticmethod
    def forward(ctx, x):
        return _power(x, 0.5**0.5)  # courbariaux2016 Sec. 1.4

    @staticmethod
    def backward(ctx, grad):
        return grad


def ap2(x: Tensor) -> Tensor:
    """Approximate power of two, ``sign(x) * 2**round(log2|x|)``: nearest on a log scale.

    The border between 2^k and 2^(k+1) is √2 · 2^k, which no floating point number hits: there are no ties. Magnitudes
    above √½ times the power beyond the dtype's largest number give ±Inf. The gradient passes unchanged.

    Args:
        x: any shape, floating point.
    Returns:
        0 or ± a power of two, in the shape and dtype of ``x``.
    Source: courbariaux2016 Sec. 1.4; book eq-binary-ap2
    """
    return _AP2.apply(x)


def _power(x: Tensor, border: float) -> Tensor:
    """The power of two below ``|x|``, doubled where the mantissa of ``|x|``, in [½, 1), has reached ``border``."""
    mantissa = torch.frexp(x).mantissa.abs().clamp_(0.5, 1)  # clamped where x is 0 or ±Inf, which then stay as they are
    below = x / (2 * mantissa)  # exact: the quotient is a power of two, and representable
    reached = mantissa.double() >= border  # in float32 the border √½ would be rounded
    return below * (1 + reached.to(x.dtype))  # 1 or 2; torch.where takes many times as long
