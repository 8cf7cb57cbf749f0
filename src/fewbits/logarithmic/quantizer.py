"""Logarithmic data: a number becomes its sign and its rounded logarithm (miyashita2016).

The levels are powers of the base, 2 or √2, so the step grows with the number: the *relative* error is bounded,
while a uniform grid bounds the absolute one. Products of such numbers are sums of small integers, which
:mod:`fewbits.logarithmic.arithmetic` computes.

A quantizer with a magnitude field of m bits holds the 2^m exponents ``fsr - 2^m … fsr - 1`` of its base. ``fsr``, the
*full scale range*, is one integer per tensor; base^fsr is the first power that does not fit. The lowest code stands for
0 or for the lowest of these powers: papers and their transcriptions differ, so both are available.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewbits.core.checks import check_bits, check_finite, working_precision
from fewbits.core.codes import Codes
from fewbits.core.quantizer import Quantizer
from fewbits.core.ste import straight_through

STEPS = {"2": 1, "sqrt2": 2}  # per octave
# Where the mantissa in [1, 2) crosses from one rounded logarithm to the next: √2 for base 2, 2^¼ and 2^¾ for base √2.
# Irrational, so there are no ties; the float64 just above, so that ">=" decides right for every float64.
BORDERS = {"2": (2**0.5,), "sqrt2": (math.nextafter(2**0.25, 2), math.nextafter(2**0.75, 2))}
FORMATS = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}  # its bits, mantissa, bias
NO_EXPONENT = -(2**20)


def log_round(x: Tensor, base: str = "2") -> Tensor:
    """``round(log_base |x|)``, exactly: from the floating point format and one or two comparisons, without a logarithm.

    Args:
        x: any shape, floating point, finite.
        base: "2" or "sqrt2".
    Returns:
        int32, the shape of ``x``; -2^20, below all others, where ``x`` is 0.
    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, or holds NaN or Inf.
    Source: own (exact form of the rounded logarithm of miyashita2016 Sec. 4)
    """
    x = working_precision(check_finite(x)).abs()
    integer, digits, bias = FORMATS[x.dtype]
    bits = x.view(integer)  # the exponent, then the mantissa
    # 1 or 0 as an integer, by clamp: torch is slow with bool
    power = NO_EXPONENT - bits.clamp(max=1) * (NO_EXPONENT + STEPS[base] * bias)
    for border in BORDERS[base]:
        # a mantissa from the border on carries one into the exponent
        carry = 2**digits - math.ceil((border - 1) * 2**digits)
        power += (bits + carry) >> digits
    # subnormal numbers hide their exponent in the mantissa; 0 is the largest integer here
    if ((bits - 1) & torch.iinfo(integer).max).amin() < 2**digits - 1:
        subnormal = (bits > 0) & (bits < 2**digits)
        normal = log_round(x[subnormal] * 2**digits, base).to(integer)
        power[subnormal] = normal - STEPS[base] * digits
    return power.int()


def powers_of(base: str, exponents: range) -> Tensor:
    """``base**k`` for every k of ``exponents``, correctly rounded to float64; 0 and Inf beyond its range.

    Source: own (correctly rounded powers)
    """
    octaves = (divmod(k, STEPS[base]) for k in exponents)  # base^k = 2^octave, times √2 if a half remains
    powers = [math.ldexp((1.0, math.sqrt(2))[half], octave) if octave < 1024 else math.inf for octave, half in octaves]
    return torch.tensor(powers, dtype=torch.float64)


@dataclass(frozen=True)
class LogCodes(Codes):
    """Codes of a :class:`LogQuantizer`: the magnitude field in the low bits, the sign bit, if any, above it.

    ``levels`` is the table that decodes them. It follows from ``base`` and ``fsr``, so only the latter is stored.

    Attributes:
        base: "2" or "sqrt2".
        fsr: full scale range, in steps of the base.
        sign_bit: the top bit of a code is its sign.
        lowest: what magnitude field 0 stands for, "zero" or "smallest".
    Source: own (stored form)
    """

    base: str = "2"
    fsr: int = 0
    sign_bit: bool = False
    lowest: str = "zero"

    @property
    def field_bits(self) -> int:
        """Bits of the magnitude field."""
        return self.bits - self.sign_bit

    def fields(self) -> Tensor:
        """The magnitude field of each code, int64; its exponent is ``fsr - 2**field_bits`` more."""
        return self.values.long() & (2**self.field_bits - 1)

    def signs(self) -> Tensor:
        """-1, 0 or 1 for each code, int64."""
        negative = self.values.long() >> self.field_bits
        nonzero = self.fields() > 0 if self.lowest == "zero" else torch.ones_like(negative)
        return (1 - 2 * negative) * nonzero

    @property
    def nbits(self) -> int:
        """``bits`` for each code, and 32 for the full scale range (as for every scale in the book)."""
        return self.bits * self.values.numel() + 32


class LogQuantizer(Quantizer):
    """Nearest power of the base on the logarithmic scale, per tensor.

    The full scale range comes from the largest magnitude of each input (right for weights and gradients) until
    :meth:`set_full_scale` or :func:`fewbits.core.quantizer.calibrate` fixes it (right for activations).

    Straight-through rule: the gradient passes unchanged, also where a small number becomes 0 (otherwise it could never
    grow again), and is 0 where the input saturates: above the top level by more than half a step on the log scale, or
    below 0 if unsigned.

    Odd inputs: NaN and ±Inf, empty tensors and other than floating point dtypes are refused. An all-zero tensor has
    ``fsr`` 1, so that its top level is 1. Half precision is computed in float32.

    Args:
        bits: all bits of a code, the sign included: 2 to 8, unsigned 1 to 8.
        base: "2" or "sqrt2" (half the step, half the range).
        signed: one bit is the sign; else negative inputs get the lowest code (suitable after a ReLU).
        lowest: what magnitude field 0 stands for: "zero", or "smallest" for the next power of the base.
            Then there is no 0, and an input of 0 becomes that power, with a plus sign.
    Source: miyashita2016 Sec. 4 (LogQuant); book eq-log-quant
    """

    def __init__(self, bits: int, base: str = "2", signed: bool = True, lowest: str = "zero"):
        super().__init__()
        if check_bits(bits, minimum=1 + signed) > 8:  # 2^8 octaves are nearly all that float32 has (2^-149 … 2^127)
            raise ValueError(f"bits must be at most 8, got {bits}: float32 has no more powers of two")
        if base not in STEPS:
            raise ValueError(f"base must be one of {tuple(STEPS)}, got {base!r}")
        if lowest not in ("zero", "smallest"):
            raise ValueError(f"lowest must be 'zero' or 'smallest', got {lowest!r}")
        self.bits, self.base, self.signed, self.lowest = bits, base, signed, lowest
        self.field_size = 2 ** (bits - signed)
        self.fsr: Tensor
        self.register_buffer("fsr", torch.tensor(torch.nan))

    def set_full_scale(self, fsr: int) -> None:
        """Fix the full scale range: the top level is ``base**(fsr - 1)``.

        Raises:
            TypeError: ``fsr`` is not an ``int``.
            ValueError: the top level would not be a normal number of float32.
        """
        if isinstance(fsr, bool) or not isinstance(fsr, int):
            raise TypeError(f"fsr must be an int, got {type(fsr).__name__}")
        if not -125 <= fsr / STEPS[self.base] <= 128:
            raise ValueError(f"fsr must leave the top level within float32, got {fsr} for base {self.base}")
        self.fsr.fill_(fsr)

    def fit(self, x: Tensor, rule: "Callable[[Tensor, LogQuantizer], int] | None" = None) -> None:
        """Fix the full scale range as ``rule`` says for ``x``. :func:`fewbits.core.quantizer.calibrate` does this.

        Args:
            rule: :func:`full_scale_of_max` (default), :func:`full_scale_of_least_error`, or your own.
        Source: own (fixes the range of activations)
        """
        self.set_full_scale((rule or full_scale_of_max)(working_precision(x), self))

    def full_scale(self, x: Tensor) -> int:
        """The full scale range used for ``x``: the fixed one, else :func:`full_scale_of_max`.

        Raises:
            ValueError: a quantizer of activations without a fixed range, in eval mode: it would depend on the batch.
        """
        if not self.fsr.isnan():
            return int(self.fsr)
        self.check_batch()
        return full_scale_of_max(x, self)

    def levels(self, fsr: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """(2^bits,) the number that each code stands for, rounded to ``dtype``."""
        levels = powers_of(self.base, range(fsr - self.field_size, fsr)).to(dtype)
        if self.lowest == "zero":
            levels[0] = 0
        return torch.cat([levels, 0.0 - levels]) if self.signed else levels

    def indices(self, x: Tensor, fsr: int) -> Tensor:
        """The code of each element for a given full scale range, int64."""
        field = self._field(log_round(x if self.signed else x.clamp(min=0), self.base), fsr).long()
        negative = x < 0 if self.lowest == "smallest" else (x < 0) & (field > 0)  # 0 has no sign
        return field + self.field_size * negative if self.signed else field

    def _field(self, power: Tensor, fsr: int) -> Tensor:
        return (power - (fsr - self.field_size)).clamp_(0, self.field_size - 1)  # miyashita2016 Sec. 4

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_finite(x))
        with torch.no_grad():
            fsr, power = self.full_scale(x), log_round(x if self.signed else x.clamp(min=0), self.base)
            levels = self.levels(fsr, x.dtype)[: self.field_size].to(x.device)
            y = torch.take(levels, self._field(power, fsr).long(), out=torch.empty_like(x))  # channels last stay last
            if self.signed:
                y.copysign_(x + 0.0).add_(0.0)  # there is one zero
        if not x.requires_grad or (self.signed and self.fsr.isnan()):
            return straight_through(x, y)  # nothing stops a gradient
        with torch.no_grad():
            # Comparisons are written as 0 and 1 in the dtype of x: into bool they take torch many times as long.
            passes = torch.ones_like(x) if self.signed else torch.ge(x, 0, out=torch.empty_like(x))
            if not self.fsr.isnan():
                passes.mul_(torch.lt(power.to(x.dtype), fsr, out=torch.empty_like(x)))
        return straight_through(x, y, passes)

    @torch.no_grad()
    def encode(self, x: Tensor) -> LogCodes:
        x = working_precision(check_finite(x))
        fsr = self.full_scale(x)
        return LogCodes(
            self.indices(x, fsr).to(torch.uint8),
            self.bits,
            x.new_ones(()),
            levels=self.levels(fsr, x.dtype),
            signed=False,
            base=self.base,
            fsr=fsr,
            sign_bit=self.signed,
            lowest=self.lowest,
        )

    def extra_repr(self) -> str:
        kind = "signed" if self.signed else "unsigned"
        return f"bits={self.bits}, base={self.base}, {kind}, lowest={self.lowest}, fsr={self.fsr.item():g}"


# --- Full scale range ----------------------------------------------------------------------------------------------


def full_scale_of_max(x: Tensor, quantizer: LogQuantizer) -> int:
    """The full scale range whose top level is the largest magnitude of ``x``, rounded: nothing saturates.

    1 where ``x`` is all zero; lowered where the top level would overflow the dtype of ``x``.

    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, or holds NaN or Inf.
    Source: own (rule for the full scale range)
    """
    largest = check_finite(x).detach().abs().max()
    if largest == 0:
        return 1
    greatest = math.frexp(torch.finfo(x.dtype).max)[1] * STEPS[quantizer.base]
    return min(int(log_round(largest, quantizer.base)) + 1, greatest)


@torch.no_grad()
def full_scale_of_least_error(x: Tensor, quantizer: LogQuantizer, octaves: int = 4) -> int:
    """The full scale range of least squared error, among :func:`full_scale_of_max` and ``octaves`` octaves below.

    With few levels and a heavy tail a lower full scale is better: the largest numbers then saturate, and the smaller
    ones, which are more frequent, get finer levels. In a tie the greater full scale is returned.

    Raises:
        TypeError, ValueError: as :func:`full_scale_of_max`.
    Source: own (rule for the full scale range)
    """
    top = full_scale_of_max(x, quantizer)
    x = x.flatten()

    def error(fsr: int) -> float:
        levels = quantizer.levels(fsr, x.dtype).to(x.device)
        return (levels[quantizer.indices(x, fsr)] - x).square().sum(dtype=torch.float64).item()

    return min(range(top, top - octaves * STEPS[quantizer.base] - 1, -1), key=error)
