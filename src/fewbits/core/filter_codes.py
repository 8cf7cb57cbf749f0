"""Codes with a width of their own for each filter: what a processor of variable precision stores."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewbits.core import packing
from fewbits.core.channels import channel_rows
from fewbits.core.checks import MAX_BITS, check_channel_axis, check_integers

WIDTH_BITS = 4  # a header holds bits - 1, 0 … 15 ...
SCALE_BITS = 32  # ... and the scale of the filter in float32
HEADER_BITS = WIDTH_BITS + SCALE_BITS


@dataclass(frozen=True)
class FilterCodes:
    """An encoded tensor whose channels (the filters of a layer) differ in their number of bits.

    A :class:`fewbits.core.codes.StoredForm` on uniform grids: ``real = values * scale``. The codes are in two's
    complement.

    Attributes:
        values: integers of the tensor's shape; those of filter f fit ``bits[f]`` bits.
        bits: (C,) integers, 1 to 16, one for each index of ``channel_axis``.
        scale: floating point, broadcastable to ``values``: C numbers along ``channel_axis``.
        channel_axis: which axis counts the filters.

    Raises:
        TypeError: ``values`` or ``bits`` are not integers.
        ValueError: ``values`` are empty, a shape does not fit, bits are out of range, or a value does not fit the
            bits of its filter.
    """

    values: Tensor
    bits: Tensor
    scale: Tensor
    channel_axis: int = 0

    def __post_init__(self) -> None:
        shape = check_channel_axis(self.values, self.channel_axis, "values")
        count = self.values.shape[self.channel_axis]
        if self.values.numel() == 0:
            raise ValueError(f"values are empty: shape {tuple(self.values.shape)}")
        if tuple(self.bits.shape) != (count,):
            raise ValueError(f"bits must have shape ({count},), got {tuple(self.bits.shape)}")
        if tuple(self.scale.shape) != shape:
            raise ValueError(f"scale must have shape {shape}, got {tuple(self.scale.shape)}")
        check_integers(self.bits, 1, MAX_BITS, "bits")
        for bits, rows in self.by_width():
            check_integers(rows, *packing.code_range(bits, signed=True))

    @property
    def levels(self) -> None:
        """None: the integers lie on uniform grids."""
        return None

    @property
    def zero_point(self) -> None:
        """None: 0 is code 0."""
        return None

    @property
    def shape(self) -> torch.Size:
        """Shape of the real tensor: that of ``values``."""
        return self.values.shape

    def decode(self) -> Tensor:
        """The real tensor that the codes stand for, in the dtype of ``scale``."""
        return self.values.to(self.scale.dtype) * self.scale

    def packed(self) -> bytes:
        """Headers and codes as one string of bytes; :func:`unpack_filters` reads it back.

        First the width of every filter, ``bits - 1`` in 4 bits; then every scale as float32; then, from the narrowest
        width to the widest, the codes of all filters of that width as one bit stream. Each part ends on a byte. So the
        headers are all that is needed to find a filter, and at most 17 part-filled bytes are lost in a layer.
        """
        widths = packing.pack(self.bits - 1, WIDTH_BITS)
        scales = self.scale.detach().reshape(-1).float().cpu().numpy().astype("<f4").tobytes()
        return widths + scales + b"".join(packing.pack(rows, bits, signed=True) for bits, rows in self.by_width())

    @property
    def nbits(self) -> int:
        """Bits to store: the codes, and for each filter 4 bits for its width and 32 for its scale.

        What :meth:`packed` adds is only the rest of the last byte of each part.
        """
        weights_per_filter = self.values.numel() // len(self.bits)
        return int(self.bits.sum()) * weights_per_filter + HEADER_BITS * len(self.bits)

    def by_width(self) -> Iterator[tuple[int, Tensor]]:
        """(bits, (c, n) values of all filters of this width), narrowest first."""
        rows = channel_rows(self.values, self.channel_axis)
        for bits in self.bits.unique().tolist():
            yield bits, rows[self.bits == bits]


def unpack_filters(data: bytes, shape: tuple[int, ...], channel_axis: int = 0) -> FilterCodes:
    """Read back what :meth:`FilterCodes.packed` wrote.

    Args:
        shape: of the values, which a program knows from its network; >= 1 filter.
    Returns:
        Codes with int32 values and a float32 scale.
    Raises:
        ValueError: ``data`` has not the length that its own headers ask for.
    """
    form = check_channel_axis(torch.empty(shape), channel_axis, "shape")
    count = shape[channel_axis]
    size = int(np.prod(shape)) // count
    place = packing.packed_size(count, WIDTH_BITS)
    if len(data) < place + count * SCALE_BITS // 8:
        raise ValueError(f"data has {len(data)} bytes, too few for the headers of {count} filters")
    bits = packing.unpack(data[:place], WIDTH_BITS, count) + 1
    scale = torch.from_numpy(np.frombuffer(data, "<f4", count, offset=place).astype(np.float32))
    place += count * SCALE_BITS // 8
    rows = torch.empty(count, size, dtype=torch.int32)
    for width in bits.unique().tolist():
        here = bits == width
        length = packing.packed_size(int(here.sum()) * size, width)
        codes = packing.unpack(data[place : place + length], width, int(here.sum()) * size, signed=True)
        rows[here] = codes.reshape(-1, size)
        place += length
    if place != len(data):
        raise ValueError(f"data has {len(data)} bytes, its headers ask for {place}")
    moved = (count, *(side for axis, side in enumerate(shape) if axis != channel_axis % len(shape)))
    return FilterCodes(rows.reshape(moved).movedim(0, channel_axis), bits, scale.reshape(form), channel_axis)


def nearest_code(x: Tensor, scale: Tensor) -> Tensor:
    """``sign(x) * floor(|x| / scale + 1/2)``: the nearest code, ties away from 0; in the dtype of ``x``.

    Source: uhlich2020 Eq. 1
    """
    return x.sign() * torch.floor(x.abs() / scale + 0.5)  # uhlich2020 Eq. 1
