"""Multiply an integer by a real number without one: M0 and a rounding shift (jacob2018 Sec. 2.2).

A layer's int32 sum is in steps of ``S1 * S2``, its output in steps of ``S3``. The factor between them,
``M = S1 * S2 / S3``, is known before the network runs. So it is written as ``M = M0 * 2**-shift`` with ``M0`` in
[½, 1), and M0 is kept as the int32 ``round(2**31 * M0)``. What remains at run time is one product and one shift.

The shift cuts bits off, so it must round, and there are several ways to treat a tie:

========  =============================================================================================================
upward    one rounding, ties toward +∞: add half, shift. The cheapest in hardware, and the default.
          jacob2018 Sec. B asks for ties away from zero, because ties that all go one way bias the sums.
away      one rounding, ties away from zero.
even      one rounding, ties to the even integer, as in ``torch.round`` and in simulated quantization.
double    gemmlowp's two roundings: the product to its upper 32 bits (ties toward +∞), then the shift (away from zero).
========  =============================================================================================================
"""

import torch
from torch import Tensor

from fewbits.core.checks import check_finite, check_integers

ROUNDINGS = ("upward", "away", "even", "double")
FRACTION_BITS = 31
_LEAST, _GREATEST = 2.0**-32, 2.0**30


def fixed_point(factor: Tensor) -> tuple[Tensor, Tensor]:
    """``factor`` as an int32 multiplier and a right shift: ``factor ≈ multiplier * 2**-(31 + shift)``.

    The relative error is at most 2**-31. A factor below 2**-32 becomes 0: no int32 times it reaches one half.

    Args:
        factor: real, > 0, any shape; taken in float64.
    Returns:
        multiplier: int32 in 2**30 … 2**31 - 1, or 0; shift: int32 in -30 … 31 (negative: a factor of 1 or more).
    Raises:
        ValueError: a factor is not positive and finite, or is 2**30 or more.
    Source: jacob2018 Eq. 6; book eq-integer-layer
    """
    factor = check_finite(factor, "factor").double()
    if not ((factor > 0) & (factor < _GREATEST)).all():
        raise ValueError(f"factor must lie between 0 and 2**30, got {factor.min().item():g} … {factor.max().item():g}")
    # jacob2018 Eq. 6
    mantissa, exponent = torch.frexp(factor)  # mantissa in [½, 1)
    multiplier = torch.round(mantissa * 2**FRACTION_BITS).long()
    full = multiplier == 2**FRACTION_BITS  # rounded up to 1: one half, and one shift less
    multiplier, exponent = torch.where(full, multiplier // 2, multiplier), exponent + full
    small = factor < _LEAST
    multiplier, shift = multiplier.masked_fill(small, 0), (-exponent).masked_fill(small, 0)
    return multiplier.to(torch.int32), shift.to(torch.int32)


def rounding_shift(x: Tensor, shift: Tensor | int, rounding: str = "upward") -> Tensor:
    """``x / 2**shift``, rounded to the nearest integer; ties as ``rounding`` says ("upward", "away" or "even").

    Args:
        x: int64, any shape, below 2**62 in magnitude.
        shift: 0 … 62, broadcastable to ``x``.
    Source: jacob2018 Sec. 2.2; jacob2018 Sec. B (ties away from zero); own (ties upward and to even)
    """
    half = torch.where(torch.as_tensor(shift) > 0, torch.ones_like(x) << (torch.as_tensor(shift) - 1).clamp(min=0), 0)
    rounded = (x + half) >> shift  # jacob2018 Sec. 2.2
    if rounding == "upward":
        return rounded
    tie = (rounded << shift) == x + half
    if rounding == "away":
        return rounded - (tie & (x < 0) & (half > 0)).long()
    if rounding == "even":
        return rounded - (tie & (half > 0) & (rounded & 1 == 1)).long()
    raise ValueError(f"rounding must be 'upward', 'away' or 'even' here, got {rounding!r}")


def requantize(x: Tensor, multiplier: Tensor, shift: Tensor, rounding: str = "upward") -> Tensor:
    """``x * multiplier * 2**-(31 + shift)``, rounded to an integer, in integer arithmetic only.

    Args:
        x: int32 accumulator, any shape.
        multiplier, shift: from :func:`fixed_point`, broadcastable to ``x``. The product must stay below 2**30.
        rounding: one of ``ROUNDINGS``.
    Returns:
        int32, the shape of ``x``.
    Raises:
        TypeError: ``x`` is not of an integer dtype.
        ValueError: ``x`` does not fit an int32, or ``rounding`` is unknown.
    Source: jacob2018 Eq. 6; jacob2018 Sec. 2.2
    """
    check_integers(x, -(2**31), 2**31 - 1, "x")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {ROUNDINGS}, got {rounding!r}")
    return shift_product(x.long() * multiplier, shift.long(), rounding).to(torch.int32)  # jacob2018 Eq. 6


def shift_product(product: Tensor, shift: Tensor, rounding: str) -> Tensor:
    """``product * 2**-(31 + shift)``, rounded: the second half of :func:`requantize`.

    Args:
        product: int64, below 2**62 in magnitude, and below 2**(61 + shift).
        shift: integers, -30 … 31, broadcastable to ``product``.
        rounding: one of ``ROUNDINGS``.
    Returns:
        int64, the shape of ``product``.
    Source: jacob2018 Sec. B ("double"); own (one rounding)
    """
    if rounding != "double":
        return rounding_shift(product, FRACTION_BITS + shift, rounding)
    high = rounding_shift(product << (-shift).clamp(min=0), FRACTION_BITS, "upward")
    return rounding_shift(high, shift.clamp(min=0), "away")  # jacob2018 Sec. B
