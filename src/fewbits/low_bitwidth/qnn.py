"""Quantized Neural Networks (hubara2016qnn): weights and activations in fixed point, or as powers of two.

Both quantizers clip to ±``max_value``, a power of two, so that no real multiplication is needed: a fixed point number
is an integer whose point is placed by a shift, and a power of two *is* a shift. One quantizer is the activation of a
network (in place of a ReLU: clipping is its non-linearity), or quantizes its weights. The 6-bit gradients of the paper
are those of :mod:`fewbits.low_bitwidth`, its 1-bit weights those of :mod:`fewbits.binary`.

The paper leaves open what the largest value is. Here it is 1 by default: BinaryNet clips to ±1, and the states of
an LSTM are within ±1. For weights it may be ``None``: the smallest power of two that none of them exceeds, of a
whole tensor or, with ``channel_axis``, of each row, which is a shift of each output and still no multiplication.
"""

import math

import torch
from torch import Tensor

from fewbits.core.channels import channel_rows, check_channel_axis
from fewbits.core.checks import check_bits, check_finite, check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.powers import ap2, power_below
from fewbits.core.quantizer import Quantizer
from fewbits.core.ste import straight_through

MAX_AP2_BITS = 7  # 2**6 - 1 powers: with 8 bits there would be more of them than float32 has


class LinearQuantizer(Quantizer):
    """Fixed point: round to a multiple of ``max_value / 2**(bits - 1)`` and clip to two's complement.

    The integers are -2^(bits-1) … 2^(bits-1) - 1, so ``max_value`` itself becomes one step less. Ties go to the even
    integer. The gradient passes where ``|x| <= max_value``, everywhere if that is None.

    Odd inputs: with a fixed ``max_value``, ``forward`` lets NaN through as NaN and saturates ±Inf; with None it refuses
    both, and ``encode`` always does. All zero gives zeros. Empty tensors and other than floating point dtypes are
    refused. Half precision is computed in float32.

    Args:
        bits: 2 to 16.
        max_value: a power of two, or None for the smallest one that is not below ``max|x|``.
        channel_axis: with ``max_value=None``, the axis with a power of its own for each index.
    Raises:
        ValueError: ``max_value`` is not a power of two, or is given together with ``channel_axis``.
    Source: hubara2016qnn Sec. 3; own (a power for each row); book eq-low-bitwidth-qnn
    """

    def __init__(self, bits: int, max_value: float | None = 1.0, channel_axis: int | None = None):
        super().__init__()
        self.bits, self.max_value = check_bits(bits, minimum=2), _check_power(max_value, channel_axis)
        self.channel_axis = channel_axis

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        largest = _largest(x, self.max_value, self.channel_axis)
        steps, scale = self._steps_and_scale(x.detach(), largest)
        return straight_through(x.clamp(-largest, largest), steps * scale)

    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_finite(x)).detach()
        steps, scale = self._steps_and_scale(x, _largest(x, self.max_value, self.channel_axis))
        return Codes(steps.to(torch.int32), self.bits, scale)

    def _steps_and_scale(self, x: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
        half = 2 ** (self.bits - 1)
        scale = largest / half
        # hubara2016qnn Sec. 3
        return torch.round(x / scale).clamp_(-half, half - 1) + 0.0, scale  # + 0.0: integers have one zero

    def extra_repr(self) -> str:
        rows = "" if self.channel_axis is None else f", channel_axis={self.channel_axis}"
        return f"bits={self.bits}, max_value={self.max_value}{rows}"


class AP2Quantizer(Quantizer):
    """Logarithmic: 0 or ± a power of two up to ``max_value``, by :func:`fewbits.core.powers.ap2`.

    With K = 2^(bits-1) - 1 the powers are ``max_value * 2**-j``, j = 0 … K - 1, two for each sign and one code for 0.
    A magnitude that ``ap2`` rounds to less than the smallest of them becomes 0. The gradient passes where
    ``|x| <= max_value``, also where the result is 0; everywhere if ``max_value`` is None. Multiplying by a code is a
    shift.

    Odd inputs as in :class:`LinearQuantizer`.

    Args:
        bits: 2 to 7.
        max_value, channel_axis: as in :class:`LinearQuantizer`.
    Raises:
        ValueError: ``bits`` is out of range, ``max_value`` is not a power of two, or is given together with
            ``channel_axis``.
    Source: hubara2016qnn Sec. 3; courbariaux2016 Sec. 1.4 (AP2); own (a power for each row); book eq-low-bitwidth-qnn
    """

    def __init__(self, bits: int, max_value: float | None = 1.0, channel_axis: int | None = None):
        super().__init__()
        self.bits, self.max_value = check_bits(bits, minimum=2), _check_power(max_value, channel_axis)
        self.channel_axis = channel_axis
        if bits > MAX_AP2_BITS:
            raise ValueError(f"bits must lie between 2 and {MAX_AP2_BITS}, got {bits}")
        self.powers = 2 ** (bits - 1) - 1

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        largest = _largest(x, self.max_value, self.channel_axis)
        return straight_through(x.clamp(-largest, largest), self._nearest(x.detach(), largest))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_finite(x))
        largest = _largest(x, self.max_value, self.channel_axis)
        scale = largest * 2.0 ** (1 - self.powers)
        y = self._nearest(x, largest) / scale  # 0 or ±2^j
        index = self.powers + y.sign() * torch.frexp(y).exponent  # frexp writes 2^j as 0.5 · 2^(j + 1)
        powers = 2 ** torch.arange(self.powers, dtype=torch.int64, device=x.device)
        levels = torch.cat([-powers.flip(0), powers.new_zeros(1), powers])
        return Codes(index.to(torch.int32), self.bits, scale, levels=levels, signed=False)

    def _nearest(self, x: Tensor, largest: Tensor) -> Tensor:
        y = ap2(x.clamp(-largest, largest))  # hubara2016qnn Sec. 3
        least = largest * 2.0 ** (1 - self.powers)
        return y * (y.abs() >= least).to(y.dtype) + 0.0  # a product, so that NaN stays; + 0.0: there is one zero

    def extra_repr(self) -> str:
        rows = "" if self.channel_axis is None else f", channel_axis={self.channel_axis}"
        return f"bits={self.bits}, max_value={self.max_value}{rows}"


def _check_power(max_value: float | None, channel_axis: int | None) -> float | None:
    if max_value is None:
        return None
    if channel_axis is not None:
        raise ValueError(f"channel_axis {channel_axis} needs max_value=None: {max_value} is one number for all")
    if not (0 < max_value < math.inf and math.frexp(max_value)[0] == 0.5 and -32 <= math.log2(max_value) <= 32):
        raise ValueError(f"max_value must be a power of two between 2**-32 and 2**32, or None, got {max_value}")
    return float(max_value)


def _largest(x: Tensor, max_value: float | None, channel_axis: int | None) -> Tensor:
    """``max_value`` as a tensor (); if None, the smallest power of two not below ``max|x|``, or 1 where that is 0.

    () for one power, else broadcastable to ``x`` with all axes but ``channel_axis`` of length 1.

    At least 2^-60, so that no step or power of a grid is lost among the subnormal numbers.
    """
    if max_value is not None:
        return torch.tensor(max_value, dtype=x.dtype, device=x.device)
    shape = check_channel_axis(check_finite(x), channel_axis)
    greatest = channel_rows(x.detach().abs(), channel_axis).amax(1).reshape(shape)
    below = power_below(greatest)
    power = torch.where(below < greatest, 2 * below, below)
    return check_finite(torch.where(greatest > 0, power.clamp(min=2.0**-60), 1.0), "the range of x")
