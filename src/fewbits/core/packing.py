"""Integers of 1 to 16 bits into bytes and back: the only place where codes become a bit stream.

The stream is little-endian: the first code fills the lowest bits of the first byte, and a code may cross a byte border.
Signed codes are stored in two's complement. The last byte is filled up with zeros.
"""

import numpy as np
import torch
from torch import Tensor

from fewbits.core.checks import check_bits, check_float, check_integers


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take: ``ceil(count * bits / 8)``.

    Raises:
        ValueError: ``bits`` is out of range, or ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    return -(-count * check_bits(bits) // 8)


def index_bits(k: int) -> int:
    """Bits of an index into a table of ``k`` entries, ``ceil(log2 k)``, but at least 1.

    Raises:
        ValueError: ``k`` < 1.
    Source: han2015 Eq. 1 (its log2 k); book eq-vector-kmeans
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return max((k - 1).bit_length(), 1)  # han2015 Eq. 1


def code_range(bits: int, signed: bool) -> tuple[int, int]:
    """Minimum and maximum integer that a field of ``bits`` bits can hold."""
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
    check_integers(values, *code_range(bits, signed))
    flat = values.cpu().reshape(-1).numpy().astype(np.uint16)  # the low 16 bits of a negative are its two's complement
    fields = flat[:, None] >> np.arange(bits, dtype=np.uint16) & 1
    return np.packbits(fields.astype(np.uint8), bitorder="little").tobytes()


def unpack(data: bytes, bits: int, count: int, signed: bool = False) -> Tensor:
    """Read ``count`` codes back from :func:`pack`.

    Returns:
        (count,) int32.
    Raises:
        ValueError: ``bits`` or ``count`` is out of range, or ``data`` has not ``packed_size(count, bits)`` bytes.
    """
    if len(data) != packed_size(count, bits):
        raise ValueError(f"data has {len(data)} bytes; {count} codes of {bits} bits take {packed_size(count, bits)}")
    stream = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * bits]
    weights = 1 << np.arange(bits, dtype=np.int32)
    if signed:
        weights[-1] = -weights[-1]  # the top bit of a two's complement number counts negative
    return torch.from_numpy(stream.reshape(count, bits).astype(np.int32) @ weights)


def pack_signs(x: Tensor) -> np.ndarray:
    """Signs along the last axis into 64-bit words: bit i of word j is 1 where ``x[..., 64 * j + i] >= 0``.

    The last word is filled up with zeros. NaN counts as negative, as in :func:`fewbits.core.ste.sign_ste`.

    Args:
        x: (..., n) floating point, at least one axis and one element.
    Returns:
        (..., ceil(n / 64)) uint64, C order.
    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, or has no axis.
    """
    if check_float(x).dim() == 0:
        raise ValueError("x must have at least one axis")
    positive = (x.detach() >= 0).cpu().numpy()
    filled = np.pad(positive, [(0, 0)] * (positive.ndim - 1) + [(0, -positive.shape[-1] % 64)])
    bytes_ = np.ascontiguousarray(np.packbits(filled, axis=-1, bitorder="little"))  # x may lie in any memory order
    return bytes_.view("<u8").astype(np.uint64, copy=False)
