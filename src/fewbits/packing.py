"""Integers of 1 to 16 bits into bytes and back: the only place where codes become a bit stream.

The stream is little-endian: the first code fills the lowest bits of the first byte, and a code may cross a byte border.
Signed codes are stored in two's complement. The last byte is filled up with zeros.
"""

import numpy as np
import torch
from torch import Tensor

from fewbits.checks import check_bits


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take: ``ceil(count * bits / 8)``."""
    return -(-count * check_bits(bits) // 8)


def code_range(bits: int, signed: bool) -> tuple[int, int]:
    """Least and greatest integer that a field of ``bits`` bits can hold."""
    check_bits(bits)
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def pack(values: Tensor, bits: int, signed: bool = False) -> bytes:
    """Pack integers into a little-endian bit stream.

    Args:
        values: integers of any shape, read in row-major order; every one in ``code_range(bits, signed)``.
        bits: width of a field, 1 to 16.
        signed: store two's complement.
    Returns:
        ``packed_size(values.numel(), bits)`` bytes.
    Raises:
        TypeError: ``values`` is not an integer tensor.
        ValueError: ``bits`` is out of range, or a value does not fit.
    """
    low, high = code_range(bits, signed)
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"values must be an integer tensor, got {values.dtype}")
    flat = values.detach().cpu().reshape(-1).numpy().astype(np.int64)
    if flat.size and (flat.min() < low or flat.max() > high):
        kind = "signed" if signed else "unsigned"
        raise ValueError(f"values span {flat.min()} to {flat.max()}; a {kind} {bits}-bit field holds {low} to {high}")
    fields = flat[:, None] >> np.arange(bits) & 1  # two's complement comes for free: >> copies the sign bit
    return np.packbits(fields.astype(np.uint8), bitorder="little").tobytes()


def unpack(data: bytes, bits: int, count: int, signed: bool = False) -> Tensor:
    """Read ``count`` codes back from :func:`pack`.

    Returns:
        (count,) int32.
    Raises:
        ValueError: ``bits`` is out of range, or ``data`` has not exactly ``packed_size(count, bits)`` bytes.
    """
    if len(data) != packed_size(count, bits):
        raise ValueError(f"data has {len(data)} bytes; {count} codes of {bits} bits take {packed_size(count, bits)}")
    stream = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * bits]
    weights = 1 << np.arange(bits, dtype=np.int32)
    if signed:
        weights[-1] = -weights[-1]  # the top bit of a two's complement number counts negative
    return torch.from_numpy(stream.reshape(count, bits).astype(np.int32) @ weights)
