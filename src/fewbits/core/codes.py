"""What hardware stores in place of a real tensor: integers, a scale, and as many bits per code as the method needs.

There are four such forms: :class:`Codes`, :class:`fewbits.core.filter_codes.FilterCodes` (a width for each filter),
:class:`fewbits.core.vector_codes.VectorCodes` (an index for several weights) and
:class:`fewbits.core.float_codes.FloatCodes` (small floating point numbers, with scales of blocks). All satisfy
:class:`StoredForm`, and one file (:mod:`fewbits.core.container`) holds any of them.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fewbits.core import packing
from fewbits.core.checks import check_integers


@runtime_checkable
class StoredForm(Protocol):
    """What every stored form answers to, whatever the method."""

    @property
    def values(self) -> Tensor:
        """The integers that are stored."""
        ...

    @property
    def bits(self) -> int | Tensor:
        """Bits per integer: one number, or (C,) integers, one for each filter."""
        ...

    @property
    def scale(self) -> Tensor:
        """Floating point; a decoded number is a multiple of it."""
        ...

    @property
    def levels(self) -> Tensor | None:
        """The table that ``values`` index, (L,) or (books, k, d); None if ``values`` lie on a uniform grid."""
        ...

    @property
    def zero_point(self) -> Tensor | None:
        """What is subtracted from ``values`` before scaling, or None for 0."""
        ...

    @property
    def shape(self) -> torch.Size:
        """Shape of the real tensor."""
        ...

    @property
    def nbits(self) -> int:
        """Bits to store, with everything that belongs to this tensor alone: codes, scales, tables, widths."""
        ...

    def decode(self) -> Tensor:
        """The real tensor, in the dtype of ``scale``."""
        ...

    def packed(self) -> bytes:
        """The codes as a bit stream."""
        ...


@dataclass(frozen=True)
class Codes:
    """An encoded tensor. Every quantizer of the book returns one from ``encode``.

    Two forms cover all methods:

    * *integers on a uniform grid* (``levels`` is None): ``real = (values - zero_point) * scale``;
    * *indices into a table* (``levels`` given): ``real = levels[values] * scale``.

    Attributes:
        values: integers of the tensor's shape (any integer dtype); every one fits ``bits`` bits, or indexes ``levels``.
        bits: bits per code, 1 to 16.
        scale: floating point, broadcastable to ``values``: () per tensor, (C, 1, …) per channel.
        zero_point: integers shaped like ``scale``, or None for 0.
        levels: (L,), or None; L <= 2**bits. Floating point if the table belongs to this tensor, integers if it is part
            of the method, as -1 and +1 are in binary codes.
        signed: ``values`` are stored in two's complement (a table index is never signed).

    Raises:
        TypeError: ``values`` are not integers.
        ValueError: ``bits`` is out of range, a value fits neither ``bits`` nor ``levels``, ``scale`` or ``zero_point``
            is not broadcastable to ``values``, or ``levels`` is no table of at most 2**bits entries, or comes with
            ``signed`` or a ``zero_point``.
    """

    values: Tensor
    bits: int
    scale: Tensor
    zero_point: Tensor | None = None
    levels: Tensor | None = None
    signed: bool = True

    def __post_init__(self) -> None:
        low, high = packing.code_range(self.bits, self.signed)
        if self.levels is not None:
            if self.signed or self.zero_point is not None:
                raise ValueError("levels are read by unsigned index, without a zero_point")
            if self.levels.dim() != 1 or self.levels.numel() > high + 1:
                raise ValueError(f"levels must have shape (L,) with L <= {high + 1}, got {tuple(self.levels.shape)}")
            high = self.levels.numel() - 1
        check_integers(self.values, low, high)
        for name, side in (("scale", self.scale), ("zero_point", self.zero_point)):
            if side is not None and not _fits(side.shape, self.values.shape):
                shapes = f"{tuple(side.shape)} and {tuple(self.values.shape)}"
                raise ValueError(f"{name} must be broadcastable to values, got shapes {shapes}")

    @property
    def shape(self) -> torch.Size:
        """Shape of the real tensor: that of ``values``."""
        return self.values.shape

    def decode(self) -> Tensor:
        """The real tensor that the codes stand for, in the dtype of ``scale``."""
        if self.levels is not None:
            return self.levels.to(self.scale.dtype)[self.values.long()] * self.scale
        real = self.values.to(self.scale.dtype)
        if self.zero_point is not None:
            real = real - self.zero_point.to(real.dtype)
        return real * self.scale

    def packed(self) -> bytes:
        """The codes alone as a bit stream (:mod:`fewbits.core.packing`): ``ceil(numel * bits / 8)`` bytes."""
        return packing.pack(self.values, self.bits, self.signed)

    @property
    def nbits(self) -> int:
        """Bits to store: the codes, 32 for every scale and real table entry, ``bits`` for every zero point.

        A table of integers is part of the method, like two's complement, and costs nothing.
        """
        side = 32 * self.scale.numel()
        if self.zero_point is not None:
            side += self.bits * self.zero_point.numel()
        if self.levels is not None and self.levels.is_floating_point():
            side += 32 * self.levels.numel()
        return self.bits * self.values.numel() + side


def _fits(side: torch.Size, shape: torch.Size) -> bool:
    """Whether a tensor of shape ``side`` is broadcastable to ``shape`` without changing it."""
    try:
        return torch.broadcast_shapes(side, shape) == shape
    except RuntimeError:
        return False
