"""Codes that are small floating point numbers, with one real scale, and with a scale of their own for each block.

A format is a sign, some bits of exponent and some of mantissa, as in IEEE 754: a number is
``±(1 + m/2^M) * 2^(e - bias)``, or ``±(m/2^M) * 2^(1 - bias)`` where e = 0, with a bias of ``2^(E - 1) - 1``.

======  ===  =======  ========  ===================  ==========================
format  bits largest  smallest  codes of no number   used in
======  ===  =======  ========  ===================  ==========================
E2M1    4    6        1/2       none                 MXFP4, NVFP4
E2M3    6    7.5      1/8       none                 MXFP6
E3M2    6    28       1/16      none                 MXFP6
E4M3    8    448      2^-9      NaN: ±127            FP8, MXFP8, scales of NVFP4
E5M2    8    57344    2^-16     ±Inf: ±124, NaN      FP8, MXFP8
======  ===  =======  ========  ===================  ==========================
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewbits.core import packing
from fewbits.core.checks import check_finite, check_integers

SCALE_BITS = 8  # of the scale of a block, be it E8M0 or E4M3
SCALES = ("none", "E8M0", "E4M3")
E8M0_BIAS = 127  # field e is 2^(e - 127); 255 would be NaN


@dataclass(frozen=True)
class FloatFormat:
    """A small floating point format.

    Attributes:
        name: such as "E4M3".
        exponent_bits, mantissa_bits: E and M.
        finite: codes of non-negative finite numbers, which are the lowest; what follows them is Inf or NaN.
        infinity: whether the first code after them is Inf.
    Source: micikevicius2022 Table 1; rouhani2023 Table 1 (E2M1, E2M3, E3M2)
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    finite: int
    infinity: bool = False

    @property
    def bits(self) -> int:
        """Of a code, with the sign, which is the highest."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def magnitudes(self) -> Tensor:
        """(finite,) float64, increasing: the numbers of the codes without sign."""
        code = torch.arange(self.finite)
        exponent, mantissa = code >> self.mantissa_bits, (code % 2**self.mantissa_bits).double()
        bias = 2 ** (self.exponent_bits - 1) - 1
        # micikevicius2022 Table 1
        significand = mantissa / 2**self.mantissa_bits + (exponent > 0)
        return torch.ldexp(significand, exponent.clamp(min=1) - bias)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return self.magnitudes[-1].item()

    @property
    def largest_exponent(self) -> int:
        """⌊log2⌋ of it."""
        return int(torch.frexp(self.magnitudes[-1]).exponent) - 1

    @property
    def levels(self) -> Tensor:
        """(2^bits,) float64, indexed by the code; Inf and NaN where a code is no number."""
        half = torch.full((2 ** (self.bits - 1),), torch.nan, dtype=torch.float64)
        half[: self.finite] = self.magnitudes
        if self.infinity:
            half[self.finite] = torch.inf
        return torch.cat([half, -half])

    def encode(self, x: Tensor) -> Tensor:
        """The code of the nearest number; a tie goes to the even code, and what is too large to the largest number.

        Args:
            x: floating point, finite.
        Returns:
            uint8 in the shape of ``x``. The sign of what becomes 0, or is -0.0, is kept.
        Raises:
            TypeError, ValueError: ``x`` is not floating point, is empty, or holds NaN or Inf.
        Source: rouhani2023 Alg. 1 (its quantize_to_element_format); own (ties to even)
        """
        magnitudes = self.magnitudes.to(check_finite(x))
        borders = (magnitudes[:-1] + magnitudes[1:]) / 2  # exact: a number has at most one bit more than the format
        size = x.detach().abs().contiguous()
        down, up = torch.bucketize(size, borders), torch.bucketize(size, borders, right=True)  # differ at a tie
        code = torch.where(down % 2 == 0, down, up)
        return (code + 2 ** (self.bits - 1) * torch.signbit(x.detach())).to(torch.uint8)


FORMATS = {
    each.name: each
    for each in (
        FloatFormat("E2M1", 2, 1, 8),
        FloatFormat("E2M3", 2, 3, 32),
        FloatFormat("E3M2", 3, 2, 32),
        FloatFormat("E4M3", 4, 3, 127),
        FloatFormat("E5M2", 5, 2, 124, infinity=True),
    )
}


def check_format(name: str) -> FloatFormat:
    """The format of a name; ValueError if there is none."""
    if name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {name!r}")
    return FORMATS[name]


def rows_of(shape: torch.Size) -> tuple[int, int]:
    """Rows and their length: the first axis counts the rows; a tensor of one axis or none is one row."""
    return (1, shape.numel()) if len(shape) < 2 else (shape[0], shape[1:].numel())


def blocks_of(shape: torch.Size, block: int) -> tuple[int, int]:
    """Rows, and the blocks in each, of which the last may be shorter."""
    rows, length = rows_of(shape)
    return rows, -(-length // block)


def expand_blocks(each: Tensor, shape: torch.Size, block: int) -> Tensor:
    """Numbers of blocks (rows, blocks) as a tensor of ``shape``, with that of its block at each place."""
    return each.repeat_interleave(block, 1)[:, : rows_of(shape)[1]].reshape(shape)


@dataclass(frozen=True)
class FloatCodes:
    """A tensor stored as small floating point numbers, a :class:`fewbits.core.codes.StoredForm`.

    ``real = number of the code * (number of the block's scale * real_scale)``, each product rounded to the dtype of
    ``real_scale``. Blocks run along the rows, (shape[0], everything else): along all weights of one output.

    Attributes:
        values: codes, integers of the tensor's shape.
        format: name of their format, one of :data:`FORMATS`.
        real_scale: floating point: (), or broadcastable to ``values`` where there are no blocks.
        block: elements in a block, 1 to 65535; 0 if there are none.
        block_scales: (rows, blocks) integers, codes of ``block_format``; None without blocks.
        block_format: "E8M0", a power of two: the whole scale, so that ``real_scale`` must be 1; "E4M3"; or "none".

    Raises:
        TypeError: ``values`` or ``block_scales`` are not integers.
        ValueError: a name is unknown, a code is no finite number or a negative scale, a shape does not fit, or
            ``real_scale`` is not 1 beside scales that are powers of two.
    """

    values: Tensor
    format: str
    real_scale: Tensor
    block: int = 0
    block_scales: Tensor | None = None
    block_format: str = "none"

    def __post_init__(self) -> None:
        kind = check_format(self.format)
        half = 2 ** (kind.bits - 1)
        check_integers(self.values, 0, 2 * half - 1)
        if self.values.numel() and int((self.values.long() % half).max()) >= kind.finite:
            raise ValueError(f"values hold codes of {self.format} that stand for Inf or NaN")
        if self.block_format not in SCALES or (self.block_format == "none") != (self.block_scales is None):
            raise ValueError(f"block_format must be one of {', '.join(SCALES)} and fit block_scales")
        if not 0 <= self.block < 2**16 or (self.block == 0) != (self.block_scales is None):
            raise ValueError(f"block must be 1 to 65535 with block_scales and 0 without, got {self.block}")
        if self.block_scales is None:
            scale_shape = torch.broadcast_shapes(self.real_scale.shape, self.values.shape)
            if scale_shape != self.values.shape:
                raise ValueError(f"real_scale has shape {tuple(self.real_scale.shape)}, which does not fit values")
            return
        expected = blocks_of(self.values.shape, self.block)
        if tuple(self.block_scales.shape) != expected or self.real_scale.dim():
            raise ValueError(
                f"block_scales must have shape {expected} and real_scale none, "
                f"got {tuple(self.block_scales.shape)} and {tuple(self.real_scale.shape)}"
            )
        check_integers(self.block_scales, 0, 254 if self.block_format == "E8M0" else 126, "block_scales")
        if self.block_format == "E8M0" and float(self.real_scale) != 1:
            raise ValueError(f"real_scale must be 1 beside scales that are powers of two, got {float(self.real_scale)}")

    @property
    def bits(self) -> int:
        """Of a code."""
        return FORMATS[self.format].bits

    @property
    def levels(self) -> Tensor:
        """The numbers of all codes; Inf and NaN are among them, but not among what is stored."""
        return FORMATS[self.format].levels.to(self.real_scale)

    @property
    def scale(self) -> Tensor:
        """``real_scale``; with blocks its product with that of the block, in the tensor's shape."""
        if self.block_scales is None:
            return self.real_scale
        return expand_blocks(
            scale_numbers(self.block_scales, self.block_format, self.real_scale), self.shape, self.block
        )

    @property
    def zero_point(self) -> None:
        """None: 0 is code 0."""
        return None

    @property
    def shape(self) -> torch.Size:
        """Shape of the real tensor: that of ``values``."""
        return self.values.shape

    def decode(self) -> Tensor:
        """The real tensor, in the dtype of ``real_scale``."""
        return self.levels[self.values.long()] * self.scale

    def packed(self) -> bytes:
        """The codes alone as a bit stream."""
        return packing.pack(self.values, self.bits)

    @property
    def nbits(self) -> int:
        """Bits to store: the codes, 8 for the scale of a block, 32 for a real scale unless it is 1 by the format."""
        side = 0 if self.block_format == "E8M0" else 32 * self.real_scale.numel()
        if self.block_scales is not None:
            side += SCALE_BITS * self.block_scales.numel()
        return self.bits * self.values.numel() + side


def scale_numbers(fields: Tensor, block_format: str, real_scale: Tensor) -> Tensor:
    """What the scales of blocks stand for: their number times ``real_scale``, in its dtype and their shape."""
    if block_format == "E8M0":
        return torch.ldexp(torch.ones_like(fields, dtype=real_scale.dtype), fields.long() - E8M0_BIAS)
    return FORMATS[block_format].levels.to(real_scale)[fields.long()] * real_scale
