"""What hardware stores in place of a real tensor: integers, a scale, and as many bits per code as the method needs."""

from dataclasses import dataclass

from torch import Tensor

from fewbits.core import packing
from fewbits.core.checks import check_integers


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
        ValueError: ``bits`` is out of range, a value fits neither ``bits`` nor ``levels``, or ``levels`` is no table of
            at most 2**bits entries, or comes with ``signed`` or a ``zero_point``.
    """

    values: Tensor
    bits: int
    scale: Tensor
    zero_point: Tensor | None = None
    levels: Tensor | None = None
    signed: bool = True

    def __post_init__(self):
        low, high = packing.code_range(self.bits, self.signed)
        if self.levels is not None:
            if self.signed or self.zero_point is not None:
                raise ValueError("levels are read by unsigned index, without a zero_point")
            if self.levels.dim() != 1 or self.levels.numel() > high + 1:
                raise ValueError(f"levels must have shape (L,) with L <= {high + 1}, got {tuple(self.levels.shape)}")
            high = self.levels.numel() - 1
        check_integers(self.values, low, high)

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
