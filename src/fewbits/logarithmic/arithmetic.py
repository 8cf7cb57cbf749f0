"""Arithmetic on logarithmic codes: products are sums of exponents, sums are shifts (miyashita2016 Sec. 3).

All functions work on integers. A real scale is applied last, as in :func:`fewbits.uniform.integer_linear`.
"""

import math

import torch
from torch import Tensor

from fewbits.core.checks import check_integers
from fewbits.logarithmic.quantizer import LogCodes

_WORD = 62  # bits of magnitude that an int64 accumulator may use; one more would be its sign


def shift_linear(x: LogCodes, weight: LogCodes) -> tuple[Tensor, Tensor]:
    """A linear layer of base 2 without a multiplication: every product is a shifted 1.

    Magnitude fields a and b stand for ``2^a`` and ``2^b`` times a power that all elements share, so the product is
    ``sign · (1 << (a + b))``, the sum over products is an integer, and the shared power is the scale.

    Args:
        x: (N, K) codes of base 2.
        weight: (M, K) codes of base 2.
    Returns:
        accumulator: (N, M) int64, exact.
        scale: () float64, a power of two, with ``real = accumulator * scale``.
    Raises:
        TypeError: an operand is not the code of a :class:`fewbits.logarithmic.LogQuantizer`.
        ValueError: a base other than 2, other shapes, or fields so wide that an int64 could overflow.
    Source: miyashita2016 Sec. 3.2; book eq-log-dot
    """
    _check_operands(x, weight, "2")
    _check_width(x, weight, steps=1)
    shifts = _accumulate(x, weight, lambda shift: (torch.ones_like(shift) << shift,))  # miyashita2016 Sec. 3.2
    return shifts[0], _power_of_two(_shared_exponent(x, weight))


def shift_linear_sqrt2(x: LogCodes, weight: LogCodes) -> tuple[Tensor, Tensor, Tensor]:
    """A linear layer of base √2 by shifts: products with an even sum of exponents in one accumulator, odd in the other.

    ``√2^(2j) = 1 << j`` and ``√2^(2j+1) = √2 · (1 << j)``: the factor √2 is common to all terms of the second
    accumulator and is left to the end.

    Args:
        x: (N, K) codes of base √2.
        weight: (M, K) codes of base √2.
    Returns:
        even, odd: (N, M) int64, exact.
        scale: () float64, a power of two, with ``real = (even + √2 · odd) * scale``.
    Raises:
        TypeError, ValueError: as :func:`shift_linear`, for a base other than √2.
    Source: own (two accumulators for base √2)
    """
    _check_operands(x, weight, "sqrt2")
    _check_width(x, weight, steps=2)
    octave, half = divmod(_shared_exponent(x, weight), 2)

    def by_parity(shift: Tensor) -> tuple[Tensor, Tensor]:
        shift = shift + half  # an odd shared exponent lends its half octave to every product
        one, odd = torch.ones_like(shift) << (shift >> 1), shift & 1
        return one * (1 - odd), one * odd

    even, odd = _accumulate(x, weight, by_parity)
    return even, odd, _power_of_two(octave)


def join_sqrt2(even: Tensor, odd: Tensor, fraction_bits: int = 14) -> Tensor:
    """``even + √2 · odd`` in fixed point: the only multiplication of base √2, one for each output.

    The constant is ``round(√2 · 2^fraction_bits)``; 14 bits give 23170. Its rounding changes the result by at most
    ``|odd| / 2``, in units of the last fraction bit.

    Returns:
        int64 with ``fraction_bits`` bits after the point.
    Raises:
        ValueError: ``fraction_bits`` is outside 0 … 30, or the result could overflow.
    Source: own (√2 in fixed point)
    """
    if not 0 <= fraction_bits <= 30:
        raise ValueError(f"fraction_bits must lie between 0 and 30, got {fraction_bits}")
    limit = 2 ** (_WORD - 2 - fraction_bits)
    check_integers(even, -limit, limit, "even")
    check_integers(odd, -limit, limit, "odd")
    constant = (math.isqrt(2 << (2 * fraction_bits + 2)) + 1) >> 1  # √2 · 2^(f+1) rounded down, then halved to nearest
    return (even.long() << fraction_bits) + constant * odd.long()


def log_accumulate(powers: Tensor, fraction_bits: int = 8) -> Tensor:
    """``log2 Σ 2^p`` of integers p, approximately and without leaving the log domain.

    From ``log2(1 + x) ≈ x`` it follows, with s the running logarithm and p the next one, that
    ``s ← max(s, p) + (1 >> |floor(s) - p|)``. The shifted 1 has ``fraction_bits`` bits after the point and vanishes
    when it is shifted further. All terms are positive: a signed sum takes two accumulators, one for each sign.

    Args:
        powers: (..., K) integers from -1000 to 1000, K >= 1, summed along the last axis in its order.
        fraction_bits: bits of s after the point, 0 to 30.
    Returns:
        (...) int64, s with ``fraction_bits`` bits after the point.
    Raises:
        TypeError, ValueError: ``powers`` are not integers, out of range, or nothing is to be summed.
    Source: miyashita2016 Sec. 3.3; book eq-log-accumulate
    """
    if not 0 <= fraction_bits <= 30:
        raise ValueError(f"fraction_bits must lie between 0 and 30, got {fraction_bits}")
    check_integers(powers, -1000, 1000, "powers")
    if powers.dim() == 0 or powers.shape[-1] == 0:
        raise ValueError(f"powers must have a last axis with elements, got shape {tuple(powers.shape)}")
    powers = powers.long()
    one = torch.full(powers.shape[:-1], 1 << fraction_bits, device=powers.device)
    total = powers[..., 0] << fraction_bits
    for power in powers[..., 1:].unbind(-1):
        shift = ((total >> fraction_bits) - power).abs().clamp(max=_WORD)
        total = torch.maximum(total, power << fraction_bits) + (one >> shift)  # miyashita2016 Sec. 3.3
    return total


def _check_operands(x: LogCodes, weight: LogCodes, base: str) -> None:
    for name, codes in (("x", x), ("weight", weight)):
        if not isinstance(codes, LogCodes):
            raise TypeError(f"{name} must be LogCodes, got {type(codes).__name__}")
    if x.base != base or weight.base != base:
        raise ValueError(f"x and weight must have base {base}, got {x.base} and {weight.base}")
    shapes = tuple(x.values.shape), tuple(weight.values.shape)
    if x.values.dim() != 2 or weight.values.dim() != 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"x and weight must be matrices (N, K) and (M, K) of codes, got shapes {shapes}")


def _check_width(x: LogCodes, weight: LogCodes, steps: int) -> None:
    """Refuse where K products, each 1 shifted as far as the fields allow, could exceed the accumulator."""
    longest = (2**x.field_bits + 2**weight.field_bits - 2 + (steps - 1)) // steps
    needed = longest + x.values.shape[1].bit_length()
    if needed > _WORD:
        raise ValueError(f"x and weight: the sum could need {needed} bits, and an int64 accumulator has {_WORD}")


def _power_of_two(exponent: int) -> Tensor:
    return torch.tensor(math.ldexp(1.0, exponent), dtype=torch.float64)


def _shared_exponent(x: LogCodes, weight: LogCodes) -> int:
    return x.fsr - 2**x.field_bits + weight.fsr - 2**weight.field_bits


def _accumulate(x: LogCodes, weight: LogCodes, terms) -> list[Tensor]:
    """Signed sums over k of each tensor that ``terms`` returns for the (N, K) sums of fields, one output at a time."""
    fields, signs = x.fields(), x.signs()
    columns = [  # one accumulator or two for each output; a factor of -1, 0 or 1 is an adder's sign, not a multiplier
        [(sign * signs * term).sum(1) for term in terms(fields + field)]
        for field, sign in zip(weight.fields(), weight.signs(), strict=True)
    ]
    return [torch.stack(outputs, dim=1) for outputs in zip(*columns, strict=True)]
