"""Small floating point numbers as weights: FP8 with one real scale, MX with blocks of 32, NVFP4 with blocks of 16.

A block shares a scale, so that an outlier costs its own block precision and no other. In MX (rouhani2023) the scale is
a power of two, as the weights of INQ are: multiplying by it is a shift. In NVFP4 (nvidia2025) it is an E4M3 number, and
one real scale of the tensor brings these into the range of E4M3. The formats themselves are in
:mod:`fewbits.core.float_codes`.

Blocks run along rows, (shape[0], everything else): along the products that are summed for one output. The last block of
a row may be shorter. A row of 9, as in a depthwise convolution, is one short block with a scale of its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewbits.core.checks import check_channel_axis, check_finite, working_precision
from fewbits.core.float_codes import (
    E8M0_BIAS,
    FORMATS,
    FloatCodes,
    FloatFormat,
    check_format,
    expand_blocks,
    rows_of,
    scale_numbers,
)
from fewbits.core.quantizer import Quantizer
from fewbits.core.ste import straight_through
from fewbits.uniform import max_range


def block_maxima(x: Tensor, block: int) -> Tensor:
    """Largest magnitude of each block of the rows of ``x``, (rows, blocks).

    Source: rouhani2023 Alg. 1 (its max)
    """
    rows = x.detach().abs().reshape(rows_of(x.shape))
    return F.pad(rows, (0, -rows.shape[1] % block)).unflatten(1, (-1, block)).amax(2)


def real_scale(maxima: Tensor, largest: float) -> Tensor:
    """Scale that puts magnitudes ``maxima`` on ``largest``; 1 where they are 0.

    Raises:
        ValueError: a magnitude is above a quarter of the dtype's largest.
    Source: micikevicius2022 Sec. 3.2; own (limits)
    """
    info = torch.finfo(maxima.dtype)
    if maxima.max() > info.max / 4:
        raise ValueError(f"x has magnitudes up to {float(maxima.max()):g}, too close to the largest of {maxima.dtype}")
    return torch.where(maxima > 0, (maxima / largest).clamp(min=info.tiny), 1.0)


def power_scales(maxima: Tensor, kind: FloatFormat) -> Tensor:
    """E8M0 codes, uint8, of the scales of blocks: ``2^(floor(log2 max) - largest exponent of the format)``.

    The largest weight then lies in the highest octave of the format, and is clipped if it exceeds the largest number.
    A block of zeros has the scale 1.

    Args:
        maxima: largest magnitudes, any shape.
    Source: rouhani2023 Alg. 1; own (zeros); book eq-compensation-mx
    """
    octave = torch.frexp(maxima).exponent - 1
    # rouhani2023 Alg. 1
    field = octave - kind.largest_exponent + E8M0_BIAS  # book eq-compensation-mx
    return torch.where(maxima > 0, field.clamp(0, 2 * E8M0_BIAS), E8M0_BIAS).to(torch.uint8)


def float_scales(maxima: Tensor, kind: FloatFormat, real_scale: Tensor) -> Tensor:
    """E4M3 codes, uint8, of the scales of blocks: ``max / (largest number of the format * real_scale)``, rounded.

    At least 2^-9, the smallest: with 0 a block of small weights would vanish. A block of zeros has that scale.

    Source: nvidia2025 Sec. 2 (scales of blocks); own (at least 2^-9)
    """
    return FORMATS["E4M3"].encode(maxima / kind.largest / real_scale).clamp(min=1)  # nvidia2025 Sec. 2


def divide(x: Tensor, scale: Tensor) -> Tensor:
    """``x / scale`` for positive scales; a quotient that overflows becomes the dtype's largest number.

    Source: own (overflow)
    """
    largest = torch.finfo(x.dtype).max
    return (x / scale).clamp(-largest, largest)


class _Floats(Quantizer):
    """A quantizer whose forward pass decodes what it encodes; the gradient passes unchanged."""

    def encode(self, x: Tensor) -> FloatCodes:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_finite(x))
        return straight_through(x, self.encode(x).decode())


class FP8Quantizer(_Floats):
    """Floating point numbers of 8 bits or fewer with a real scale, per tensor or per channel.

    The scale puts the largest magnitude on the largest number. The gradient passes unchanged. NaN and ±Inf, empty
    tensors, other dtypes and magnitudes above a quarter of the dtype's largest are refused; half precision is computed
    in float32. All zero has the scale 1.

    Args:
        format: "E4M3", "E5M2", or one of the smaller ones.
        channel_axis: axis with a scale of its own for each index, or None for one scale.
    Raises:
        ValueError: there is no such format.
    Source: micikevicius2022 Table 1; micikevicius2022 Sec. 3.2 (scales)
    """

    def __init__(self, format: str = "E4M3", channel_axis: int | None = None):
        super().__init__()
        self.format, self.channel_axis = check_format(format).name, channel_axis

    def encode(self, x: Tensor) -> FloatCodes:
        x = working_precision(check_finite(x)).detach()
        check_channel_axis(x, self.channel_axis)
        low, high = max_range(x, self.channel_axis)
        kind = FORMATS[self.format]
        scale = real_scale(torch.maximum(-low, high), kind.largest)
        return FloatCodes(kind.encode(divide(x, scale)), self.format, scale)

    def extra_repr(self) -> str:
        return f"format={self.format}, channel_axis={self.channel_axis}"


class MXQuantizer(_Floats):
    """Blocks of small floating point numbers that share a power of two: MXFP4 (E2M1), MXFP6, MXFP8.

    Quantizing twice is quantizing once. The gradient passes unchanged. NaN and ±Inf, empty tensors and other dtypes are
    refused; half precision is computed in float32.

    Args:
        format: "E2M1", "E2M3", "E3M2", "E4M3" or "E5M2".
        block: elements that share a scale; 32 in the standard.
    Raises:
        ValueError: there is no such format, or ``block`` is not positive.
    Source: rouhani2023 Alg. 1
    """

    def __init__(self, format: str = "E2M1", block: int = 32):
        super().__init__()
        self.format, self.block = check_format(format).name, _check_block(block)

    def encode(self, x: Tensor) -> FloatCodes:
        x = working_precision(check_finite(x)).detach()
        kind, one = FORMATS[self.format], x.new_ones(())
        fields = power_scales(block_maxima(x, self.block), kind)
        scale = expand_blocks(scale_numbers(fields, "E8M0", one), x.shape, self.block)
        values = kind.encode(divide(x, scale))  # rouhani2023 Alg. 1
        return FloatCodes(values, self.format, one, self.block, fields, "E8M0")

    def extra_repr(self) -> str:
        return f"format={self.format}, block={self.block}"


class NVFP4Quantizer(_Floats):
    """Blocks of 16 E2M1 numbers with an E4M3 scale, and one real scale for the tensor.

    The real scale lets the largest block have the largest E4M3 scale, 448. The gradient passes unchanged. NaN and ±Inf,
    empty tensors, other dtypes and magnitudes above a quarter of the dtype's largest are refused; half precision is
    computed in float32. All zero has the real scale 1.

    Args:
        block: elements that share a scale; 16 in the format.
    Raises:
        ValueError: ``block`` is not positive.
    Source: nvidia2025 Sec. 2
    """

    def __init__(self, block: int = 16):
        super().__init__()
        self.block = _check_block(block)

    def encode(self, x: Tensor) -> FloatCodes:
        x = working_precision(check_finite(x)).detach()
        kind = FORMATS["E2M1"]
        maxima = block_maxima(x, self.block)
        whole = real_scale(maxima.max(), kind.largest * FORMATS["E4M3"].largest)  # nvidia2025 Sec. 2
        fields = float_scales(maxima, kind, whole)
        scale = expand_blocks(scale_numbers(fields, "E4M3", whole), x.shape, self.block)
        return FloatCodes(kind.encode(divide(x, scale)), "E2M1", whole, self.block, fields, "E4M3")

    def extra_repr(self) -> str:
        return f"block={self.block}"


def block_scales(codes: FloatCodes, maxima: Tensor) -> Tensor:
    """Codes of the scales that blocks with these largest magnitudes get in the format of ``codes``, uint8.

    Raises:
        ValueError: ``codes`` have no blocks.
    Source: own (choice of the format)
    """
    if codes.block_scales is None:
        raise ValueError("codes have no blocks, whose scales could follow the weights")
    kind = FORMATS[codes.format]
    if codes.block_format == "E8M0":
        return power_scales(maxima, kind)
    return float_scales(maxima, kind, codes.real_scale)


def _check_block(block: int) -> int:
    if isinstance(block, bool) or not isinstance(block, int):
        raise TypeError(f"block must be an int, got {type(block).__name__}")
    if not 1 <= block < 2**16:
        raise ValueError(f"block must lie between 1 and 65535, got {block}")
    return block
