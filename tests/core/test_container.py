"""The ``.fewbits`` file: read back bit for bit, small as counted by hand, and refused when anything in it is wrong."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import same_bits

from fewbits.core import container
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.filter_codes import FilterCodes
from fewbits.core.float_codes import FORMATS, FloatCodes, blocks_of
from fewbits.core.powers import signed_powers
from fewbits.core.vector_codes import VectorCodes

ROOT = Path(__file__).parents[2]
PATTERNS = st.one_of(st.sampled_from([0, 0, 0, 0, 1, 0x80000000, 0x7FC00001, 0x3F800000]), st.integers(0, 2**32 - 1))


@st.composite
def tensor(draw):
    """Any bit patterns: zeros of both signs, NaN with a payload, subnormal numbers; most of them 0, or few values."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12))
    few = st.sampled_from(draw(st.lists(PATTERNS, min_size=1, max_size=4)) + [0] * draw(st.integers(0, 40)))
    bits = draw(hnp.arrays(np.uint32, shape, elements=draw(st.sampled_from([PATTERNS, few]))))
    return torch.from_numpy(bits.view(np.float32).reshape(shape))


FILES = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), tensor(), max_size=3)
CODINGS = st.sampled_from(container.CODINGS)


def example(coding="huffman"):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-3, 4, (20, 30), generator=generator).float() / 4
    weight[torch.rand(20, 30, generator=generator) < 0.8] = 0
    return container.to_bytes({"weight": weight, "bias": torch.arange(20.0)}, coding)


def same_codes(a: StoredForm, b: StoredForm) -> bool:
    """Equal in everything that a stored form has; integers may be of another type."""
    sides = [(getattr(codes, name) for codes in (a, b)) for name in ("values", "levels", "zero_point")]
    equal = all((x is None) == (y is None) and (x is None or x.tolist() == y.tolist()) for x, y in sides)
    bits = (torch.as_tensor(codes.bits).tolist() for codes in (a, b))
    equal &= len(set(map(str, bits))) == 1 and same_bits(a.scale, b.scale) and same_bits(a.decode(), b.decode())
    return type(a) is type(b) and equal and a.packed() == b.packed() and (a.shape, a.nbits) == (b.shape, b.nbits)


def same(a: torch.Tensor | StoredForm, b: torch.Tensor | StoredForm) -> bool:
    return same_bits(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else same_codes(a, b)


@st.composite
def any_codes(draw):
    """Codes of every form: on a grid or by table, of every width, with one scale or one a channel."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    kind, bits = (
        draw(st.sampled_from(["grid", "table", "powers", "filters", "vectors", "floats"])),
        draw(st.integers(1, 9)),
    )
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)))

    def integers(low, high, shape):
        return torch.randint(low, high, shape, generator=generator)

    def reals(shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    if kind == "floats":
        element = draw(st.sampled_from(list(FORMATS.values())))
        values = integers(0, element.finite, shape) + 2 ** (element.bits - 1) * integers(0, 2, shape)
        block, scales = draw(st.integers(1, 40)), draw(st.sampled_from(["none", "E8M0", "E4M3"]))
        if scales == "none":
            return FloatCodes(values, element.name, reals((shape[0], *[1] * (len(shape) - 1))))
        fields = integers(100, 127, blocks_of(torch.Size(shape), block))
        whole = torch.ones((), dtype=dtype) if scales == "E8M0" else reals(())
        return FloatCodes(values, element.name, whole, block, fields, scales)
    if kind == "vectors":
        rows, d = shape[0], draw(st.integers(1, 4))
        groups = -(-torch.Size(shape[1:]).numel() // d)
        books = draw(st.sampled_from([1, groups]))
        k = min(2**bits, 7)
        return VectorCodes(integers(0, k, (rows, groups)), bits, reals((books, k, d)), torch.Size(shape))
    if kind == "filters":
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        scale_shape = [1] * len(shape)
        scale_shape[axis] = shape[axis]
        widths = integers(1, 12, (shape[axis],))
        reach = (2 ** (widths - 1)).reshape(scale_shape)
        return FilterCodes(integers(-4096, 4096, shape) % (2 * reach) - reach, widths, reals(scale_shape), axis)
    scale = reals(draw(st.sampled_from([(), (shape[0], *[1] * (len(shape) - 1))])))
    if kind == "grid":
        signed = draw(st.booleans())
        low = -(2 ** (bits - 1)) if signed else 0
        zero = integers(0, 2**bits, scale.shape) if draw(st.booleans()) else None
        return Codes(integers(low, low + 2**bits, shape), bits, scale, zero, signed=signed)
    if kind == "table":
        levels = reals((min(2**bits, 5),)) if draw(st.booleans()) else torch.tensor([-1, 1])
        return Codes(integers(0, len(levels), shape), bits, scale, levels=levels, signed=False)
    bits = min(max(bits, 2), 7)
    return Codes(integers(0, 2 ** (bits - 2) + 1, shape), bits, scale, levels=signed_powers(bits), signed=False)


CODED_FILES = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), any_codes(), min_size=1, max_size=3)


def resealed(content: bytes) -> bytes:
    """The same content with a size and a checksum that fit."""
    head = struct.pack("<HHQ", *struct.unpack_from("<HH", content, 8), len(content))
    return content[:8] + head + struct.pack("<I", zlib.crc32(content[24:], zlib.crc32(head))) + content[24:]


# --- what is read is what was written ---------------------------------------------------------------------------------


@given(FILES, CODINGS)
def test_every_tensor_comes_back_bit_for_bit(tensors, coding):
    back = container.from_bytes(container.to_bytes(tensors, coding))
    assert list(back) == list(tensors)
    assert all(same_bits(back[name], tensors[name]) for name in tensors)


@settings(max_examples=200)
@given(CODED_FILES, FILES)
def test_all_codes_come_back_as_codes(codes, tensors):
    content = container.to_bytes(tensors | codes)
    assert struct.unpack_from("<H", content, 8) == (2,)
    back = container.from_bytes(content)
    assert list(back) == list(tensors | codes)
    assert all(same(back[name], item) for name, item in (tensors | codes).items())


def test_codes_are_as_large_as_counted_by_hand():
    fields = torch.tensor([[0, 8, 24], [1, 17, 5]], dtype=torch.uint8)
    codes = Codes(fields, 5, torch.tensor(2.0**-9), levels=signed_powers(5), signed=False)
    content = container.to_bytes({"w": codes})
    # Head; name, axes and sizes; form, bits and flags; the scale with its type; 30 bits. INQ's table takes nothing.
    assert len(content) == 24 + (2 + 1 + 1 + 8) + 3 + (2 + 4) + 4
    assert content.endswith(codes.packed())
    own = container.to_bytes({"w": Codes(fields % 8, 5, codes.scale, levels=torch.arange(8.0), signed=False)})
    assert len(own) == len(content) + (2 + 4 + 32)


def test_counters_come_back():
    state = {"n": torch.tensor(2**40), "many": torch.arange(-3, 3).reshape(2, 3), "x": torch.ones(2)}
    back = container.from_bytes(container.to_bytes(state))
    assert all(same_bits(back[name], state[name]) for name in state)


def test_files_without_codes_are_of_version_1():
    """As they were before there were codes, byte for byte, so that older programs read them too."""
    assert struct.unpack_from("<H", example(), 8) == (1,)
    for path in sorted((ROOT / "data" / "checkpoints").glob("vector-*.fewbits")):
        content = path.read_bytes()
        assert struct.unpack_from("<H", content, 8) == (1,)
        assert container.from_bytes(content)


def test_arithmetic_codes_make_a_file_of_version_3():
    """Older programs refuse it by its version; in a file that claims an older one the form is unknown."""
    content = bytearray(example("arithmetic"))
    assert struct.unpack_from("<H", content, 8) == (3,)
    assert len(content) < len(example("huffman"))
    for version in (1, 2):
        content[8] = version
        with pytest.raises(ValueError, match=r"makes no sense \(unknown form (10|11)\)"):
            container.from_bytes(resealed(bytes(content)))


def test_a_value_in_nineteen_of_twenty_places_takes_less_than_a_bit():
    """Huffman's code cannot: 4,000 weights of three values are 4,000 bits at least."""
    weight = torch.zeros(4000)
    weight[torch.randperm(4000, generator=torch.Generator().manual_seed(0))[:200]] = torch.tensor([-1.0, 1.0]).repeat(
        100
    )
    sizes = {coding: len(container.to_bytes({"w": weight + 2}, coding)) for coding in ("huffman", "arithmetic")}
    assert sizes["huffman"] > 500 > 300 > sizes["arithmetic"]
    back = container.from_bytes(container.to_bytes({"w": weight + 2}, "arithmetic"))["w"]
    assert same_bits(back, weight + 2)


@settings(max_examples=100)
@given(CODED_FILES, st.data())
def test_damaged_codes_are_refused(codes, data):
    """With the old checksum always; with a new one there is no other error than a ValueError."""
    content = container.to_bytes(codes)
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[place] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(damaged), content[:place]):
        with pytest.raises(ValueError, match=r"\S"):
            container.from_bytes(wrong)
    for written_wrong in (bytes(damaged), content[: max(place, 24)]):
        try:
            container.from_bytes(resealed(written_wrong))
        except ValueError as error:
            assert str(error)  # noqa: PT017  (a success is also right: a byte of a code)


def test_codes_in_a_file_of_version_1_are_refused():
    content = bytearray(container.to_bytes({"w": Codes(torch.tensor([1]), 4, torch.tensor(0.5))}))
    content[8] = 1
    with pytest.raises(ValueError, match=r"makes no sense \(unknown form 32\)"):
        container.from_bytes(resealed(bytes(content)))


def test_tensors_are_decoded_for_evaluation(tmp_path):
    codes = Codes(torch.tensor([[1, -2]]), 4, torch.tensor(0.5))
    container.save(tmp_path / "net.fewbits", {"w": codes, "b": torch.ones(1)})
    state = container.load_tensors(tmp_path / "net.fewbits")
    assert {name: tensor.tolist() for name, tensor in state.items()} == {"w": [[0.5, -1.0]], "b": [1.0]}


@given(FILES)
def test_a_stronger_coding_is_never_larger(tensors):
    sizes = [len(container.to_bytes(tensors, coding)) for coding in container.CODINGS]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded"])
def test_memory_layout_does_not_matter(layout):
    x = torch.arange(12.0).reshape(3, 4)
    odd = {
        "transposed": x.T.contiguous().T,
        "strided": torch.full((3, 8), torch.nan)[:, ::2].copy_(x),
        "expanded": x[:1].expand(3, 4),
    }[layout]
    assert same_bits(container.from_bytes(container.to_bytes({"x": odd}))["x"], odd.contiguous())


def test_parameters_and_many_values():
    x = torch.nn.Parameter(torch.randn(5000, generator=torch.Generator().manual_seed(1)))
    back = container.from_bytes(container.to_bytes({"x": x}))["x"]
    assert same_bits(back, x.detach())
    assert not back.requires_grad


@given(hnp.arrays(np.int64, st.integers(0, 200), elements=st.sampled_from([0] * 30 + [1, 2])), st.integers(1, 8))
def test_relative_positions_against_a_walk(values, width):
    kept, gaps = container.relative_positions(values, width)
    assert ((gaps >= 0) & (gaps < 2**width)).all()
    walked = []
    for gap, value in zip(gaps, kept, strict=True):
        walked += [0] * gap + [int(value)]
    walked += [0] * (len(values) - len(walked))
    assert walked == values.tolist()
    # A filler stands only where it must: after the longest gap.
    assert (gaps[kept == 0] == 2**width - 1).all()


def test_size_by_hand():
    """Three non-zero values of 40, gaps of 3 bits: 4, 9 (a filler) and 0."""
    values = torch.zeros(40)
    values[[4, 14, 15]] = torch.tensor([1.0, 2.0, 1.0])
    kept, gaps = container.relative_positions(values.numpy().view(np.uint32), 3)
    assert gaps.tolist() == [4, 7, 1, 0]
    assert kept.view(np.float32).tolist() == [1, 0, 2, 1]
    # Head 24, name 2 + 1, axes 1 + 4. With 4-bit gaps there is no filler: form 1, width and count 5, gaps 2, values 12.
    assert len(container.to_bytes({"x": values}, "sparse")) == 24 + 8 + 1 + 5 + 2 + 12
    assert len(container.to_bytes({"x": values}, "plain")) == 24 + 8 + 1 + 160
    # Table of two values 2 + 8, three indices of one bit.
    assert len(container.to_bytes({"x": values}, "shared")) == 24 + 8 + 1 + 5 + 2 + 10 + 1


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", container.CODINGS)
def test_every_flipped_bit_and_every_cut_is_refused(coding, tmp_path):
    content = example(coding)
    path = tmp_path / "net.fewbits"
    for place in range(0, len(content), 1 if coding in ("huffman", "arithmetic") else 13):
        altered = bytearray(content)
        altered[place] ^= 1 << place % 8
        for damaged in (bytes(altered), content[:place]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"net\.fewbits: "):
                container.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="cut off or altered"):
        container.load(path)


@given(FILES, CODINGS, st.data())
def test_altered_bytes_are_refused_or_change_nothing(tensors, coding, data):
    content = bytearray(container.to_bytes(tensors, coding))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        back = container.from_bytes(bytes(content))
    except ValueError:
        return
    assert list(back) == list(tensors)
    assert all(same_bits(back[name], tensors[name]) for name in tensors)


@given(CODINGS, st.integers(24, 10_000), st.integers(0, 255), st.booleans())
def test_nonsense_under_a_good_checksum_is_a_value_error(coding, place, byte, cut):
    """What a checksum cannot find: a file written wrong. No other error, no endless loop, no huge array."""
    content = bytearray(example(coding))
    place = 24 + (place - 24) % (len(content) - 24)
    content[place] = byte
    damaged = resealed(bytes(content[:place] if cut else content))
    try:
        container.from_bytes(damaged)
    except ValueError as error:
        assert "makes no sense" in str(error)  # noqa: PT017  (a success is also right: a byte of a float)


def test_foreign_and_future_files_are_named(tmp_path):
    path = tmp_path / "net.fewbits"
    path.write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(ValueError, match=r"net\.fewbits: not a \.fewbits file"):
        container.load(path)
    content = bytearray(example())
    content[8] = 4
    path.write_bytes(resealed(bytes(content)))
    with pytest.raises(ValueError, match=r"net\.fewbits: version 4; this program reads versions 1 to 3"):
        container.load(path)
    with pytest.raises(FileNotFoundError, match=r"other\.fewbits: no such file"):
        container.load(tmp_path / "other.fewbits")


def test_a_claimed_shape_does_not_fill_the_memory():
    body = struct.pack("<H1sBII", 1, b"x", 2, 2**32 - 1, 2**32 - 1) + b"\1" + struct.pack("<BI", 1, 0)
    content = resealed(struct.pack("<8sHHQI", b"FEWBITS\x1a", 1, 1, 0, 0) + body)
    with pytest.raises(ValueError, match="has the shape"):
        container.from_bytes(content)


def test_a_crash_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.fewbits"
    container.save(path, {"x": torch.ones(3)})
    before = path.read_bytes()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        container.save(path, {"x": torch.zeros(3)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_save_returns_the_size_of_the_file(tmp_path):
    path = tmp_path / "net.fewbits"
    assert container.save(path, {"x": torch.ones(300)}) == path.stat().st_size
    assert same_bits(container.load(path)["x"], torch.ones(300))


@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_switches_come_back(shape):
    switches = torch.arange(torch.Size(shape).numel()).reshape(shape) % 2 == 0
    found = container.from_bytes(container.to_bytes({"started": switches}))["started"]
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.bool
    assert torch.equal(found, switches)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"coding must be one of plain, .*; got 'zip'"):
        container.to_bytes({}, "zip")
    for value in (torch.ones(2).double(), torch.arange(3).int(), [1.0], None):
        with pytest.raises(TypeError, match="w must be a float32, int64 or bool tensor or codes"):
            container.to_bytes({"w": value})
    half = Codes(torch.tensor([1]), 4, torch.tensor(0.5).half())
    with pytest.raises(TypeError, match=r"w: a scale or table of torch\.float16 cannot be stored"):
        container.to_bytes({"w": half})
    with pytest.raises(ValueError, match=r"w has the shape \(1048576, 1048576\)"):
        container.to_bytes({"w": torch.zeros(1).expand(1 << 20, 1 << 20)})
