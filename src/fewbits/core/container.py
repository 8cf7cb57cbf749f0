"""The ``.fewbits`` file: named tensors with few different values, stored so that the size on disk is the claim.

Positions are relative (han2015 Sec. 2): for each non-zero weight the number of zeros before it, in a few bits; where a
gap is too long, a filler zero is stored. Values are indices into a table of the tensor's different values. Both streams
may be Huffman coded. For each tensor the shortest form that the chosen *coding* allows is written:

==============  =====================================================================
coding          forms that it may choose from, for each tensor
==============  =====================================================================
``"plain"``     float32, one after the other
``"sparse"``    the former, or relative positions and float32 values
``"shared"``    the former, or a table and indices of fixed width, at all or relative positions
``"huffman"``   the former, or the same with canonical Huffman codes
==============  =====================================================================

The file knows nothing of the method that made the weights: it reads a tensor bit for bit as it was, whatever it holds.

Layout, little-endian: the 8 bytes ``FEWBITS`` and 0x1a, version (u16), number of tensors (u16), size of the file (u64),
CRC-32 of all the rest (u32); then for each tensor its name (length u16, UTF-8), number of axes (u8), sizes (u32 each),
form (u8), and the streams. The checksum finds every flipped byte and every burst of up to 32 bits. Nothing is
unpickled.
"""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.core import huffman, packing
from fewbits.core.files import write_whole

VERSION = 1
CODINGS = ("plain", "sparse", "shared", "huffman")
_MAGIC = b"FEWBITS\x1a"
_HEAD = struct.Struct("<8sHHQI")
_GAP_WIDTHS = range(1, 9)  # bits of a relative position that are tried
_MAX_TABLE = 4096  # more different values than this are not worth a table
_LARGEST = 1 << 28  # elements of a tensor
_RELATIVE, _TABLE, _HUFFMAN = 1, 2, 4  # bits of the form
_LONE = 0xFFFF


def save(path: str | Path, tensors: Mapping[str, Tensor], coding: str = "huffman") -> int:
    """Write ``tensors`` to one file and return its size in bytes.

    The file is written under a temporary name in the same folder, flushed to the disk and renamed.

    Args:
        path: of the file.
        tensors: float32, any shape, by name.
        coding: one of `CODINGS`.
    Raises:
        TypeError: a tensor is not float32; the message names it.
        ValueError: unknown ``coding``, or a tensor of more than 2^28 elements.
    """
    content = to_bytes(tensors, coding)
    write_whole(Path(path), content)
    return len(content)


def load(path: str | Path) -> dict[str, Tensor]:
    """The tensors that :func:`save` wrote, float32 on the CPU, bit for bit.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, altered, of another kind or of a later version; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def to_bytes(tensors: Mapping[str, Tensor], coding: str = "huffman") -> bytes:
    """The content of the file that :func:`save` writes."""
    if coding not in CODINGS:
        raise ValueError(f"coding must be one of {', '.join(CODINGS)}; got {coding!r}")
    parts = []
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32:
            raise TypeError(f"{name} must be a float32 tensor, got {getattr(tensor, 'dtype', type(tensor).__name__)}")
        _check_shape(name, tensor.shape)
        encoded = name.encode()
        parts.append(struct.pack(f"<H{len(encoded)}sB", len(encoded), encoded, tensor.dim()))
        parts.append(struct.pack(f"<{tensor.dim()}I", *tensor.shape))
        bits = tensor.detach().cpu().contiguous().numpy().reshape(-1).view(np.uint32)
        parts.append(min(_forms(bits, coding), key=len))
    body = b"".join(parts)
    counts = VERSION, len(tensors), _HEAD.size + len(body)
    return _HEAD.pack(_MAGIC, *counts, _checksum(*counts, body)) + body


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """The tensors of a file's content.

    Raises:
        ValueError: as :func:`load`, without the name of a file.
    """
    if len(content) < _HEAD.size or content[:8] != _MAGIC:
        raise ValueError("not a .fewbits file, or one cut off in its first bytes")
    _, version, count, size, checksum = _HEAD.unpack_from(content)
    if size != len(content):
        raise ValueError(f"the file has {len(content)} bytes, and was written with {size}: it is cut off or altered")
    if checksum != _checksum(version, count, size, content[_HEAD.size :]):
        raise ValueError("the checksum does not fit: the file is altered")
    if version != VERSION:
        raise ValueError(f"version {version}; this program reads version {VERSION}")
    reader = _Reader(content, _HEAD.size)
    try:
        tensors = {}
        for _ in range(count):
            name = reader.take(reader.number("<H")).decode()
            shape = [reader.number("<I") for _ in range(reader.number("<B"))]
            _check_shape(name, shape)
            bits = _read_form(reader, int(np.prod(shape, dtype=np.int64)))
            tensors[name] = torch.from_numpy(bits.view(np.float32).copy()).reshape(shape)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"the content makes no sense ({error})") from error
    if reader.place != len(content) or len(tensors) != count:
        raise ValueError("the content makes no sense (bytes are left over, or a name comes twice)")
    return tensors


def _check_shape(name: str, shape: Sequence[int]) -> None:
    # An axis of size 0 does not make the others harmless: their strides may overflow.
    if len(shape) > 255 or math.prod(max(size, 1) for size in shape) > _LARGEST:
        raise ValueError(f"{name} has the shape {tuple(shape)}; there is room for {_LARGEST} elements")


def _checksum(version: int, count: int, size: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<HHQ", version, count, size)))


class _Reader:
    """Reads a file's content from front to back; a ValueError where it ends too early."""

    def __init__(self, content: bytes, place: int):
        self.content, self.place = content, place

    def take(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            raise ValueError("it ends too early")
        self.place += size
        return self.content[self.place - size : self.place]

    def number(self, kind: str) -> int:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]


# --- the forms of one tensor -----------------------------------------------------------------------------------------


def _forms(bits: np.ndarray, coding: str) -> list[bytes]:
    """The ways to store one tensor, given as the bit patterns of its floats."""
    forms = [b"\0" + bits.astype("<u4").tobytes()]
    if coding == "plain" or not bits.size:
        return forms
    for width in (None, *_GAP_WIDTHS):  # of the relative positions; None stores every element
        kept, relative, coded = bits, b"", b""
        if width is not None:
            kept, gaps = relative_positions(bits, width)
            front = struct.pack("<BI", width, len(gaps))
            relative, coded = front + packing.pack(_tensor(gaps), width), front + _huffman(gaps)
            forms.append(bytes([_RELATIVE]) + relative + kept.astype("<u4").tobytes())
        table, indices = np.unique(kept, return_inverse=True)
        if coding == "sparse" or not 0 < len(table) <= _MAX_TABLE:
            continue
        form = _TABLE if width is None else _TABLE | _RELATIVE
        entries = struct.pack("<H", len(table)) + table.astype("<u4").tobytes()
        forms.append(bytes([form]) + relative + entries + packing.pack(_tensor(indices), _width(len(table))))
        if coding == "huffman":
            forms.append(bytes([form | _HUFFMAN]) + coded + entries + _huffman(indices))
    return forms


def relative_positions(values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Kept elements and the zeros before each; a filler zero, itself kept, stands where a gap is too long.

    Args:
        values: (n,) integers.
        width: bits of a gap: the longest is 2^width - 1. Zeros after the last other element are not stored.
    Returns:
        kept: (m,) dtype of ``values``; gaps: (m,) int64.
    Source: han2015 Fig. 2
    """
    longest = (1 << width) - 1
    places = np.flatnonzero(values)  # han2015 Fig. 2
    zeros = np.diff(places, prepend=-1) - 1
    fillers = zeros // (longest + 1)  # a filler takes its gap and its own place: 2^width elements
    last = np.cumsum(fillers + 1) - 1
    gaps = np.full(int((fillers + 1).sum()), longest, np.int64)
    kept = np.zeros(len(gaps), values.dtype)
    gaps[last] = zeros - fillers * (longest + 1)
    kept[last] = values[places]
    return kept, gaps


def _read_form(reader: _Reader, numel: int) -> np.ndarray:
    """Bit patterns of a tensor's ``numel`` floats, (numel,) uint32."""
    form = reader.number("<B")
    if form not in (0, _RELATIVE, _TABLE, _TABLE | _RELATIVE, _TABLE | _HUFFMAN, _TABLE | _HUFFMAN | _RELATIVE):
        raise ValueError(f"unknown form {form}")
    count = numel
    places: slice | np.ndarray = slice(None)
    if form & _RELATIVE:
        width, count = reader.number("<B"), reader.number("<I")
        if width not in _GAP_WIDTHS or count > numel:
            raise ValueError(f"{count} kept elements of {numel}, with gaps of {width} bits")
        gaps = _read_stream(reader, form, width, count)
        places = np.cumsum(gaps + 1) - 1
        if count and places[-1] >= numel:
            raise ValueError("positions exceed the tensor")
    if form & _TABLE:
        entries = reader.number("<H")
        table = np.frombuffer(reader.take(4 * entries), "<u4")
        values = table[_read_stream(reader, form, _width(entries), count)]
    else:
        values = np.frombuffer(reader.take(4 * count), "<u4")
    bits = np.zeros(numel, np.uint32)
    bits[places] = values
    return bits


def _read_stream(reader: _Reader, form: int, width: int, count: int) -> np.ndarray:
    if form & _HUFFMAN:
        return _read_huffman(reader, count)
    return packing.unpack(reader.take(packing.packed_size(count, width)), width, count).numpy().astype(np.int64)


def _huffman(symbols: np.ndarray) -> bytes:
    """Symbols with a length (u16), these lengths in 6-bit fields, size of the stream (u32), the stream.

    A lone symbol takes no stream: 0xffff, and the symbol (u16).
    """
    lengths = huffman.code_lengths(np.bincount(symbols))
    if not lengths.any():
        return struct.pack("<HH", _LONE, int(symbols[0]) if len(symbols) else 0)
    stream = huffman.encode(symbols, lengths)
    table = packing.pack(_tensor(lengths), 6)
    return struct.pack("<H", len(lengths)) + table + struct.pack("<I", len(stream)) + stream


def _read_huffman(reader: _Reader, count: int) -> np.ndarray:
    size = reader.number("<H")
    if size == _LONE:
        return np.full(count, reader.number("<H"), np.int64)
    lengths = packing.unpack(reader.take(packing.packed_size(size, 6)), 6, size).numpy().astype(np.uint8)
    return huffman.decode(reader.take(reader.number("<I")), lengths, count)


def _width(k: int) -> int:
    return max((k - 1).bit_length(), 1)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
