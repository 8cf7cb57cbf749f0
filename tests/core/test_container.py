"""The ``.fewbits`` file: read back bit for bit, small as counted by hand, and refused when anything in it is wrong."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import same_bits

from fewbits.core import container

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
    for place in range(0, len(content), 1 if coding == "huffman" else 13):
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
    content[8] = 2
    path.write_bytes(resealed(bytes(content)))
    with pytest.raises(ValueError, match=r"net\.fewbits: version 2; this program reads version 1"):
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


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"coding must be one of plain, .*; got 'zip'"):
        container.to_bytes({}, "zip")
    for value in (torch.ones(2).double(), torch.arange(3), [1.0], None):
        with pytest.raises(TypeError, match="w must be a float32 tensor"):
            container.to_bytes({"w": value})
    with pytest.raises(ValueError, match=r"w has the shape \(1048576, 1048576\)"):
        container.to_bytes({"w": torch.zeros(1).expand(1 << 20, 1 << 20)})
