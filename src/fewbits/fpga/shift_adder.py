"""The processing element of yokota2024's circuit: shift, negate, add. This is what it computes, bit for bit.

A weight is an INQ field (see :mod:`fewbits.inq`): at 5 bits the top bit is the sign and the other four are e. It stands
for 0 where e is 0, else for ``±2^(n2 + e - 1)`` with ``n2 = n1 - 7``. n1 belongs to the layer and is wired in. So the
input x is shifted right by ``n = 8 - n1 - e`` places, or left by -n if n is negative, and what comes out is negated or
not. INQ writes e = 0 … 8 only; other fields follow the same rule here, so that each of the 32 has a meaning.

Three details decide whether two circuits agree to the last bit:

* A right shift copies the sign bit and drops bits, so it rounds down: ``-1 >> 1`` is -1. *Each product* is rounded.
* Shift first, then negate. ``-(1 >> 1)`` is 0, but ``(-1) >> 1`` is -1.
* ``-(-2^31)`` is 2^31 and does not fit 32 bits. When sums wrap, that costs nothing: all is modulo 2^32. When they
  saturate, the term on its way to the adder needs a 33rd bit (and as many more as the layer shifts left).

The functions here are loops that read like the circuit. Fast ones are in :mod:`fewbits.fpga.kernels`, and equal.
"""

from collections.abc import Iterable

from fewbits.fpga.fixed_point import check_overflow
from fewbits.inq import lowest_exponent


def shift_of(code: int, n1: int = 0, bits: int = 5) -> tuple[int, int] | None:
    """What the circuit reads from a weight's field: (sign, n), or None where the weight is 0.

    Args:
        code: field of ``bits`` bits, 0 … 2^bits - 1.
        n1: largest exponent of the layer's codebook.
    Returns:
        sign: 1 for a negative weight, else 0.
        n: places to shift right; negative: to the left.
    Raises:
        ValueError: ``code`` is out of range.
    Source: own (field); zhou2017 Sec. 2.1 (exponents); book eq-fpga-field
    """
    if not 0 <= code < 1 << bits:
        raise ValueError(f"code must lie between 0 and {(1 << bits) - 1}, got {code}")
    sign, e = code >> (bits - 1), code & ((1 << (bits - 1)) - 1)
    return (sign, -(lowest_exponent(n1, bits) + e - 1)) if e else None  # book eq-fpga-field


def signed_shift(x: int, sign: int, n: int) -> int:
    """``x`` shifted right by n places and then negated if ``sign`` is 1: the shifter and the negation of the circuit.

    The result has as many bits as it needs.

    Source: yokota2024 Sec. 2.2; own (rounding down, and its order); book eq-fpga-field
    """
    shifted = x >> n if n >= 0 else x << -n  # >> rounds down, as in a circuit
    return -shifted if sign else shifted  # yokota2024 Sec. 2.2


def product(x: int, code: int, n1: int = 0, *, bits: int = 5, overflow: str = "wrap", width: int = 32) -> int:
    """One product, as it goes into the adder: x shifted, then negated if the weight is negative.

    Args:
        x: integer of ``width`` bits, in any fixed-point format.
        code, n1, bits: as in :func:`shift_of`.
        overflow: "wrap" keeps the low ``width`` bits; "saturate" keeps all of them, as the adder saturates.
        width: bits of x, of the sum and, with "wrap", of the product.
    Raises:
        ValueError: x does not fit ``width`` bits, ``code`` is out of range, or ``overflow`` is unknown.
    Source: yokota2024 Sec. 2.2; own (floor, order); book eq-fpga-field
    """
    check_overflow(overflow)
    _check_word(x, width, "x")
    field = shift_of(int(code), n1, bits)
    if field is None:
        return 0
    term = signed_shift(int(x), *field)
    return _wrap(term, width) if overflow == "wrap" else term


def dot(
    x: Iterable[int],
    codes: Iterable[int],
    accumulator: int = 0,
    n1: int = 0,
    *,
    bits: int = 5,
    overflow: str = "wrap",
    width: int = 32,
) -> int:
    """A dot product: one product after the other is added to ``accumulator``, which starts as the bias.

    With "wrap" the order does not matter. With "saturate" it does: the sum is limited after *every* addition.

    Args:
        x: integers of ``width`` bits.
        codes: as many fields.
        accumulator: integer of ``width`` bits.
        n1, bits, overflow, width: as in :func:`product`.
    Returns:
        The sum, of ``width`` bits.
    Raises:
        ValueError: as :func:`product`, or x and ``codes`` are not as many.
    Source: yokota2024 Sec. 2.2; yokota2024 Fig. 3; own (wrap and saturate)
    """
    _check_word(accumulator, width, "accumulator")
    total = int(accumulator)
    for value, code in zip(x, codes, strict=True):
        total += product(value, code, n1, bits=bits, overflow=overflow, width=width)
        total = _wrap(total, width) if overflow == "wrap" else _saturate(total, width)
    return total


def _check_word(value: int, width: int, name: str) -> None:
    if not -(1 << (width - 1)) <= value < 1 << (width - 1):
        raise ValueError(f"{name} must fit {width} bits, got {value}")


def _wrap(value: int, width: int) -> int:
    half = 1 << (width - 1)
    return ((value + half) & ((1 << width) - 1)) - half


def _saturate(value: int, width: int) -> int:
    half = 1 << (width - 1)
    return min(max(value, -half), half - 1)
