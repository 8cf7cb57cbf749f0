"""The steps of an integer-only network: int8 or uint8 codes in, int32 sums between, int8 or uint8 codes out.

Each step adds up products of integers and brings the sum back to 8 bits with
:func:`fewbits.integer.requantization.requantize`. What codes mean is kept in a :class:`Grid` beside them; no step reads
it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewbits.core.channels import per_channel
from fewbits.integer.requantization import requantize, shift_product

_INT32 = 2**31


@dataclass(frozen=True)
class Grid:
    """What codes mean: ``real = scale * (q - zero_point)`` for q = q_min … q_max, within int8 or uint8.

    Source: jacob2018 Eq. 1; jacob2018 Eq. 12
    """

    scale: float
    zero_point: int
    q_min: int
    q_max: int

    @property
    def dtype(self) -> torch.dtype:
        return torch.int8 if self.q_min < 0 else torch.uint8

    @property
    def largest(self) -> int:
        """Largest magnitude of ``q - zero_point``."""
        return max(self.zero_point - self.q_min, self.q_max - self.zero_point)

    def encode(self, x: Tensor) -> Tensor:
        """Real numbers to codes, ties to even: the border of the network, where an image comes in."""
        # jacob2018 Eq. 12
        return (torch.round(x / self.scale) + self.zero_point).clamp(self.q_min, self.q_max).to(self.dtype)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to real numbers in float64: the other border."""
        return (codes.double() - self.zero_point) * self.scale  # jacob2018 Eq. 1


@dataclass(frozen=True)
class Requantizer:
    """The way from int32 sums to the codes of a grid; a ReLU only raises ``q_min``, and a ReLU6 may lower ``q_max``.

    Attributes:
        multiplier, shift: int32, () or one per channel (axis 1 of the sum).
        rounding: a tie rule of :mod:`fewbits.integer.requantization`.
        relu: whether the model has a ReLU here; the codes tell no more, as a grid without negative numbers clips, too.
        ceiling: 6.0 where it is a ReLU6, whose codes end at ``q_max``; else None.
    Source: jacob2018 Eq. 4 (outer part); jacob2018 Sec. 2.4 (saturation and ReLU); book eq-integer-layer
    """

    multiplier: Tensor
    shift: Tensor
    zero_point: int
    q_min: int
    q_max: int
    rounding: str
    relu: bool
    ceiling: float | None = None

    def __call__(self, total: Tensor) -> Tensor:
        multiplier, shift = self.multiplier, self.shift
        if multiplier.dim():
            multiplier = per_channel(multiplier, total.dim(), 1)
            shift = per_channel(shift, total.dim(), 1)
        return self.saturate(requantize(total, multiplier, shift, self.rounding))

    def saturate(self, scaled: Tensor) -> Tensor:
        """Integers in steps of the output, int32, to codes: add the zero point, clip."""
        codes = (scaled + self.zero_point).clamp(self.q_min, self.q_max)  # jacob2018 Eq. 4
        return codes.to(torch.int8 if self.q_min < 0 else torch.uint8)


def largest_sums(weight: Tensor, bias: Tensor, largest: int, bias_fraction: int) -> Tensor:
    """The largest magnitude of a :class:`Layer`'s sum where no input exceeds ``largest``, per output: (M,) int64.

    Source: own (bound of the int32 sum of jacob2018 Eq. 10)
    """
    return bias.long().abs() + (weight.long().abs().flatten(1).sum(1) * largest << bias_fraction)


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer. Padding adds the real number 0, since the zero point is subtracted before.

    That order is jacob2018 Eq. 4; :func:`fewbits.uniform.integer_linear` has Eq. 7, with the zero
    point factored out.

    Attributes:
        weight: int8 (int16 where INQ reaches ±128), (M, K) or (M, C / groups, k, k); bias: int32 (M,).
        bias_fraction: the bias, and with it the sum, is in steps of input scale × weight scale / 2**bias_fraction.
        weight_bits: what a weight takes in a file.
        geometry: of ``F.conv2d``: stride, padding, dilation, groups; None for a linear layer.
        zero_point: of the input; largest: largest magnitude of the input once it is subtracted.
    Raises:
        ValueError: a sum could leave int32. Since the bound adds magnitudes, no order of the additions can either.
    Source: jacob2018 Eq. 4; jacob2018 Eq. 10; jacob2018 Eq. 11; own (fractions of a bias step); book eq-integer-layer
    """

    weight: Tensor
    bias: Tensor
    bias_fraction: int
    weight_bits: int
    geometry: dict | None
    zero_point: int
    largest: int
    output: Requantizer

    def __post_init__(self):
        if self.bound >= _INT32:
            raise ValueError(f"the sum may reach {self.bound:,}, beyond an int32 accumulator")

    @property
    def bound(self) -> int:
        """The largest magnitude that a sum or any part of it can have."""
        return int(largest_sums(self.weight, self.bias, self.largest, self.bias_fraction).max())

    def accumulate(self, x: Tensor) -> Tensor:
        """Codes (N, …) to int32 sums."""
        centred = x.to(torch.int32) - self.zero_point  # jacob2018 Eq. 4
        weight = self.weight.to(torch.int32)
        if self.geometry is None:
            sums, bias = F.linear(centred, weight), self.bias
        else:
            sums = F.conv2d(centred, weight, **self.geometry)
            bias = self.bias.reshape(-1, 1, 1)
        return (sums << self.bias_fraction) + bias  # jacob2018 Eq. 10; jacob2018 Eq. 11

    def __call__(self, x: Tensor) -> Tensor:
        return self.output(self.accumulate(x))


@dataclass(frozen=True)
class Add:
    """A residual add: both operands are rescaled to the output's scale and added, with one rounding.

    Their multipliers share a shift, so the two products, of 40 bits at most, can be added before it. The paper
    rescales one operand to the other's scale first, and then their sum: two roundings.

    Attributes:
        multipliers: int32 (2,), one of each operand; zero_points: of both.
        output: of multiplier 0, since it is not used; shift, zero point, range and tie rule are.
    Source: jacob2018 Sec. A.2; own (one rounding)
    """

    multipliers: Tensor
    zero_points: tuple[int, int]
    output: Requantizer

    def __call__(self, *operands: Tensor) -> Tensor:
        first, second = (
            (x.long() - zero_point) * multiplier  # jacob2018 Sec. A.2
            for x, zero_point, multiplier in zip(operands, self.zero_points, self.multipliers, strict=True)
        )
        shifted = shift_product(first + second, self.output.shift, self.output.rounding)
        return self.output.saturate(shifted.to(torch.int32))


@dataclass(frozen=True)
class GlobalAverage:
    """The mean over height and width, (N, C, H, W) to (N, C, 1, 1): a sum, and 1/HW goes into the factor.

    Source: own (average pooling is not in jacob2018)
    """

    zero_point: int
    output: Requantizer

    def __call__(self, x: Tensor) -> Tensor:
        return self.output((x.to(torch.int32) - self.zero_point).sum((2, 3), keepdim=True, dtype=torch.int32))


@dataclass(frozen=True)
class MaxPool:
    """The largest code of each window: larger codes are larger numbers, so nothing is rescaled.

    Source: own (order of codes)
    """

    geometry: dict

    def __call__(self, x: Tensor) -> Tensor:
        # PyTorch refuses bytes with channels last in images of more than 255 numbers.
        return F.max_pool2d(x.contiguous(), **self.geometry)


@dataclass(frozen=True)
class Pad:
    """Rows and columns of the real number 0, whose code is the zero point, around each image (N, C, H, W).

    Attributes:
        padding: columns at the left and the right, rows above and below; negative numbers cut off.
        zero_point: of the input.
    Source: jacob2018 Sec. 3 (0 has an exact code, for padding); own (a step of its own)
    """

    padding: tuple[int, int, int, int]
    zero_point: int

    def __call__(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, value=self.zero_point)  # jacob2018 Sec. 3


@dataclass(frozen=True)
class Flatten:
    """(N, …) to (N, K).

    Source: own (reshape)
    """

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)


Requantizing = Layer | Add | GlobalAverage  # steps whose sums become codes of another grid
Step = Requantizing | MaxPool | Pad | Flatten
