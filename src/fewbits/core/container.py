"""The ``.fewbits`` file: codes, and tensors with few different values, stored so that the size on disk is the claim.

**Codes** (any :class:`fewbits.core.codes.StoredForm`) are stored as they are: the bit stream of their integers, and
before it their bits, scale, zero point and table. The table of INQ (:func:`fewbits.core.powers.signed_powers`) is part
of the method and takes no byte. Read back, codes are codes: integers are int32, tables of integers int64, and every
number decodes to the same bits. A subclass such as ``LogCodes`` comes back as plain codes with its table.

**Tensors** are float32; or int64 for counters such as those of a batch normalization, or bool for switches such as
"has started" of a learned step. Positions in a float32 tensor are
relative (han2015 Sec. 2): for each non-zero weight the number of zeros before it, in a few bits; where a gap is too
long, a filler zero is stored. Values are indices into a table of the tensor's different values. Both streams may be
Huffman coded. For each tensor the shortest form that the chosen *coding* allows is written:

================  ===================================================================
coding            forms that it may choose from, for each tensor
================  ===================================================================
``"plain"``       float32, one after the other
``"sparse"``      the former, or relative positions and float32 values
``"shared"``      the former, or a table and indices of fixed width, at all or relative positions
``"huffman"``     the former, or the same with canonical Huffman codes
``"arithmetic"``  the former, or the same with adaptive arithmetic codes, for tables of up to 256 values
================  ===================================================================

The file knows nothing of the method that made a tensor: it is read bit for bit as it was, whatever it holds.

Layout, little-endian: the 8 bytes ``FEWBITS`` and 0x1a, version (u16), number of tensors (u16), size of the file (u64),
CRC-32 of all the rest (u32); then for each tensor its name (length u16, UTF-8), number of axes (u8), sizes (u32 each),
form (u8), and the streams. A file with arithmetic codes is of version 3; without them, one of float32 tensors is of
version 1, any other of version 2. The checksum finds every flipped byte and every burst of up to 32 bits. Nothing is
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

from fewbits.core import arithmetic, huffman, packing
from fewbits.core.checks import check_integers
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.files import write_whole
from fewbits.core.filter_codes import WIDTH_BITS, FilterCodes
from fewbits.core.float_codes import FORMATS, SCALE_BITS, SCALES, FloatCodes, blocks_of
from fewbits.core.powers import signed_powers
from fewbits.core.vector_codes import VectorCodes

VERSION = 3  # the latest; files of version 1 hold float32 tensors only, those of version 2 no arithmetic codes
CODINGS = ("plain", "sparse", "shared", "huffman", "arithmetic")
_MAGIC = b"FEWBITS\x1a"
_HEAD = struct.Struct("<8sHHQI")
_GAP_WIDTHS = range(1, 9)  # bits of a relative position that are tried
_MAX_TABLE = 4096  # more different values than this are not worth a table
_LARGEST = 1 << 28  # elements of a tensor
_RELATIVE, _TABLE, _HUFFMAN, _ARITHMETIC = 1, 2, 4, 8  # bits of the form of a float32 tensor
_FLOAT_FORMS = {0, _RELATIVE} | {
    _TABLE | positions | code for positions in (0, _RELATIVE) for code in (0, _HUFFMAN, _ARITHMETIC)
}
_INT64, _BOOL, _CODES, _FILTER_CODES, _VECTOR_CODES, _FLOAT_CODES = 16, 17, 32, 33, 34, 35  # forms of version 2
_LONE = 0xFFFF


def save(path: str | Path, tensors: Mapping[str, Tensor | StoredForm], coding: str = "huffman") -> int:
    """Write ``tensors`` to one file and return its size in bytes.

    The file is written under a temporary name in the same folder, flushed to the disk and renamed.

    Args:
        path: of the file.
        tensors: by name: codes, or float32, int64 or bool tensors, of any shape.
        coding: one of `CODINGS`, of the float32 tensors.
    Raises:
        TypeError: a tensor is of another dtype, or codes are of an unknown form; the message names it.
        ValueError: unknown ``coding``, or a tensor of more than 2^28 elements.
    """
    content = to_bytes(tensors, coding)
    write_whole(Path(path), content)
    return len(content)


def load(path: str | Path) -> dict[str, Tensor | StoredForm]:
    """What :func:`save` wrote, on the CPU, bit for bit: tensors as tensors and codes as codes.

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


def load_codes(path: str | Path) -> dict[str, StoredForm]:
    """As :func:`load`, of a file that holds codes only: a network whose every parameter is quantized.

    Raises:
        FileNotFoundError, ValueError: as :func:`load`; ValueError also if it holds a tensor.
    """
    found = {}
    for name, item in load(path).items():
        if isinstance(item, Tensor):
            raise ValueError(f"{path}: {name} is a tensor, not codes")
        found[name] = item
    return found


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """As :func:`load`, with every code decoded: a ``state_dict`` for evaluation in floating point."""
    return {name: item if isinstance(item, Tensor) else item.decode() for name, item in load(path).items()}


def to_bytes(tensors: Mapping[str, Tensor | StoredForm], coding: str = "huffman") -> bytes:
    """The content of the file that :func:`save` writes."""
    if coding not in CODINGS:
        raise ValueError(f"coding must be one of {', '.join(CODINGS)}; got {coding!r}")
    parts, version = [], 1
    for name, item in tensors.items():
        if not isinstance(item, Tensor | Codes | FilterCodes | VectorCodes | FloatCodes):
            raise TypeError(f"{name} must be a float32, int64 or bool tensor or codes, got {type(item).__name__}")
        _check_shape(name, item.shape)
        encoded, dims = name.encode(), len(item.shape)
        parts.append(struct.pack(f"<H{len(encoded)}sB{dims}I", len(encoded), encoded, dims, *item.shape))
        if isinstance(item, Tensor) and item.dtype == torch.float32:
            bits = item.detach().cpu().contiguous().numpy().reshape(-1).view(np.uint32)
            parts.append(min(_forms(bits, coding), key=len))
            version = max(version, 3 if parts[-1][0] & _ARITHMETIC else 1)
        else:
            parts.append(_form_of_version_2(name, item))
            version = max(version, 2)
    body = b"".join(parts)
    counts = version, len(tensors), _HEAD.size + len(body)
    return _HEAD.pack(_MAGIC, *counts, _checksum(*counts, body)) + body


def from_bytes(content: bytes) -> dict[str, Tensor | StoredForm]:
    """What a file's content holds.

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
    if not 1 <= version <= VERSION:
        raise ValueError(f"version {version}; this program reads versions 1 to {VERSION}")
    reader = _Reader(content, _HEAD.size)
    try:
        tensors: dict[str, Tensor | StoredForm] = {}
        for _ in range(count):
            name = reader.take(reader.number("<H")).decode()
            shape = [reader.number("<I") for _ in range(reader.number("<B"))]
            _check_shape(name, shape)
            form = reader.number("<B")
            if version > 1 and form >= _INT64:
                tensors[name] = _read_form_of_version_2(reader, form, torch.Size(shape))
            else:
                if version < 3 and form & _ARITHMETIC:
                    raise ValueError(f"unknown form {form}")
                bits = _read_form(reader, form, math.prod(shape))
                tensors[name] = torch.from_numpy(bits.view(np.float32).copy()).reshape(shape)
    except (struct.error, IndexError, UnicodeDecodeError, TypeError, ValueError) as error:
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


# --- codes -----------------------------------------------------------------------------------------------------------

# Numbers beside codes: type (u8), number of axes (u8), sizes (u32 each), the numbers. Codes are of a few types only.
_ARRAY_TYPES = (("<f4", torch.float32), ("<f8", torch.float64), ("<i4", torch.int32))
_SIGNED, _ZERO_POINT, _OWN_LEVELS, _POWERS = 1, 2, 4, 8  # flags of codes


def _form_of_version_2(name: str, item: Tensor | Codes | FilterCodes | VectorCodes | FloatCodes) -> bytes:
    """Form and streams of an int64 or bool tensor or of codes."""
    if isinstance(item, Tensor):
        if item.dtype == torch.bool:
            return bytes([_BOOL]) + item.detach().cpu().contiguous().numpy().astype("u1").tobytes()
        if item.dtype != torch.int64:
            raise TypeError(f"{name} must be a float32, int64 or bool tensor or codes, got {item.dtype}")
        return bytes([_INT64]) + item.detach().cpu().contiguous().numpy().astype("<i8").tobytes()
    if isinstance(item, VectorCodes):
        head = struct.pack("<BBI", _VECTOR_CODES, item.bits, item.values.shape[1])
        return head + _array(name, item.codebooks) + item.packed()
    if isinstance(item, FloatCodes):
        places = list(FORMATS).index(item.format), SCALES.index(item.block_format)
        head = struct.pack("<BBBH", _FLOAT_CODES, *places, item.block) + _array(name, item.real_scale)
        scales = b"" if item.block_scales is None else packing.pack(item.block_scales, SCALE_BITS)
        return head + scales + item.packed()
    if isinstance(item, FilterCodes):
        axis = item.channel_axis % len(item.shape)
        streams = (packing.pack(rows, bits, signed=True) for bits, rows in item.by_width())
        head = struct.pack("<BB", _FILTER_CODES, axis) + packing.pack(item.bits - 1, WIDTH_BITS)
        return head + _array(name, item.scale) + b"".join(streams)
    flags, sides = _SIGNED * item.signed, [item.scale]
    if item.zero_point is not None:
        flags, sides = flags | _ZERO_POINT, [*sides, item.zero_point]
    if item.levels is not None:
        if _are_powers(item.levels, item.bits):
            flags |= _POWERS
        else:
            flags, sides = flags | _OWN_LEVELS, [*sides, item.levels]
    arrays = b"".join(_array(name, side) for side in sides)
    return struct.pack("<BBB", _CODES, item.bits, flags) + arrays + item.packed()


def _read_form_of_version_2(reader: "_Reader", form: int, shape: torch.Size) -> Tensor | StoredForm:
    numel = shape.numel()
    if form == _INT64:
        return torch.from_numpy(np.frombuffer(reader.take(8 * numel), "<i8").astype(np.int64)).reshape(shape)
    if form == _BOOL:
        switches = np.frombuffer(reader.take(numel), "u1")
        if (switches > 1).any():
            raise ValueError(f"a switch must be 0 or 1, got {switches.max()}")
        return torch.from_numpy(switches.astype(np.bool_)).reshape(shape)
    if form == _VECTOR_CODES:
        bits, groups = reader.number("<B"), reader.number("<I")
        codebooks = _read_array(reader)
        rows = shape[0] if shape else 0
        values = _read_packed(reader, bits, rows * groups, signed=False).reshape(rows, groups)
        return VectorCodes(values, bits, codebooks, shape)
    if form == _FLOAT_CODES:
        number, kind, block = reader.number("<B"), reader.number("<B"), reader.number("<H")
        element, real_scale = list(FORMATS)[number], _read_array(reader)
        scales = None
        if block:
            rows, blocks = blocks_of(shape, block)
            scales = _read_packed(reader, SCALE_BITS, rows * blocks, signed=False).reshape(rows, blocks)
        values = _read_packed(reader, FORMATS[element].bits, numel, signed=False).reshape(shape)
        return FloatCodes(values, element, real_scale, block, scales, SCALES[kind])
    if form == _FILTER_CODES:
        axis = reader.number("<B")
        if axis >= len(shape) or not numel:
            raise ValueError(f"filters along axis {axis} of a tensor of shape {tuple(shape)}")
        count = shape[axis]
        widths = _read_packed(reader, WIDTH_BITS, count, signed=False) + 1
        scale = _read_array(reader)
        filters = torch.empty(count, numel // count, dtype=torch.int32)
        for width in widths.unique().tolist():
            here = widths == width
            size = int(here.sum()) * filters.shape[1]
            filters[here] = _read_packed(reader, width, size, signed=True).reshape(-1, filters.shape[1])
        moved = (count, *(side for place, side in enumerate(shape) if place != axis))
        return FilterCodes(filters.reshape(moved).movedim(0, axis), widths, scale, axis)
    if form != _CODES:
        raise ValueError(f"unknown form {form}")
    bits, flags = reader.number("<B"), reader.number("<B")
    if flags & ~(_SIGNED | _ZERO_POINT | _OWN_LEVELS | _POWERS) or (flags & _OWN_LEVELS and flags & _POWERS):
        raise ValueError(f"unknown flags {flags}")
    scale = _read_array(reader)
    zero_point = _read_array(reader) if flags & _ZERO_POINT else None
    levels = None
    if flags & _OWN_LEVELS:
        levels = _read_array(reader)
        levels = levels if levels.is_floating_point() else levels.long()
    elif flags & _POWERS:
        levels = signed_powers(bits)
    if not scale.is_floating_point() or (zero_point is not None and zero_point.is_floating_point()):
        raise ValueError("a scale must be floating point, and a zero point an integer")
    signed = bool(flags & _SIGNED)
    return Codes(_read_packed(reader, bits, numel, signed).reshape(shape), bits, scale, zero_point, levels, signed)


def _are_powers(levels: Tensor, bits: int) -> bool:
    """Whether this is the table of :func:`fewbits.core.powers.signed_powers`, in a dtype of integers."""
    if levels.is_floating_point() or not 2 <= bits <= 7:
        return False
    return torch.equal(levels.cpu().long(), signed_powers(bits))


def _array(name: str, values: Tensor) -> bytes:
    values = values.detach().cpu()
    if not values.is_floating_point():
        values = check_integers(values, -(2**31), 2**31 - 1, name).to(torch.int32)
    for kind, (stored, dtype) in enumerate(_ARRAY_TYPES):
        if values.dtype == dtype:
            head = struct.pack(f"<BB{values.dim()}I", kind, values.dim(), *values.shape)
            return head + values.contiguous().numpy().astype(stored).tobytes()
    raise TypeError(f"{name}: a scale or table of {values.dtype} cannot be stored, only float32, float64 and integers")


def _read_array(reader: "_Reader") -> Tensor:
    kind = reader.number("<B")
    if kind >= len(_ARRAY_TYPES):
        raise ValueError(f"unknown type of numbers {kind}")
    stored, dtype = _ARRAY_TYPES[kind]
    shape = [reader.number("<I") for _ in range(reader.number("<B"))]
    _check_shape("an array", shape)
    values = np.frombuffer(reader.take(math.prod(shape) * np.dtype(stored).itemsize), stored)
    return torch.from_numpy(values.astype(np.dtype(stored).newbyteorder("="))).reshape(shape).to(dtype)


def _read_packed(reader: "_Reader", bits: int, count: int, signed: bool) -> Tensor:
    return packing.unpack(reader.take(packing.packed_size(count, bits)), bits, count, signed)


# --- the forms of a float32 tensor -----------------------------------------------------------------------------------


def _forms(bits: np.ndarray, coding: str) -> list[bytes]:
    """The ways to store one tensor, given as the bit patterns of its floats."""
    forms = [b"\0" + bits.astype("<u4").tobytes()]
    if coding == "plain" or not bits.size:
        return forms
    least = None  # of the arithmetic forms: their lengths are known before they are made
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
        forms.append(
            bytes([form]) + relative + entries + packing.pack(_tensor(indices), packing.index_bits(len(table)))
        )
        if coding in ("huffman", "arithmetic"):
            forms.append(bytes([form | _HUFFMAN]) + coded + entries + _huffman(indices))
        if coding == "arithmetic" and len(table) <= arithmetic.MAX_SYMBOLS:
            streams = [(indices, len(table))] if width is None else [(gaps, 1 << width), (indices, len(table))]
            length = len(entries) + sum(arithmetic.adaptive_bits(np.bincount(s, minlength=k)) for s, k in streams) / 8
            if least is None or length < least[0]:
                least = length, form, front if width is not None else b"", entries, streams
    if least is not None:
        _, form, front, entries, streams = least
        *positions, values = (_arithmetic(*stream) for stream in streams)
        forms.append(bytes([form | _ARITHMETIC]) + front + b"".join(positions) + entries + values)
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


def _read_form(reader: _Reader, form: int, numel: int) -> np.ndarray:
    """Bit patterns of a tensor's ``numel`` floats, (numel,) uint32."""
    if form not in _FLOAT_FORMS:
        raise ValueError(f"unknown form {form}")
    count = numel
    places: slice | np.ndarray = slice(None)
    if form & _RELATIVE:
        width, count = reader.number("<B"), reader.number("<I")
        if width not in _GAP_WIDTHS or count > numel:
            raise ValueError(f"{count} kept elements of {numel}, with gaps of {width} bits")
        gaps = _read_stream(reader, form, width, 1 << width, count)
        positions = np.cumsum(gaps + 1) - 1
        if count and positions[-1] >= numel:
            raise ValueError("positions exceed the tensor")
        places = positions
    if form & _TABLE:
        entries = reader.number("<H")
        table = np.frombuffer(reader.take(4 * entries), "<u4")
        values = table[_read_stream(reader, form, packing.index_bits(entries), entries, count)]
    else:
        values = np.frombuffer(reader.take(4 * count), "<u4")
    bits = np.zeros(numel, np.uint32)
    bits[places] = values
    return bits


def _read_stream(reader: _Reader, form: int, width: int, alphabet: int, count: int) -> np.ndarray:
    """``count`` symbols below ``alphabet``, which have ``width`` bits where nothing codes them."""
    if form & _HUFFMAN:
        return _read_huffman(reader, count)
    if form & _ARITHMETIC:
        return arithmetic.decode(reader.take(reader.number("<I")), alphabet, count)
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


def _arithmetic(symbols: np.ndarray, alphabet: int) -> bytes:
    """Size of the stream (u32), the stream."""
    stream = arithmetic.encode(symbols, alphabet)
    return struct.pack("<I", len(stream)) + stream


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
