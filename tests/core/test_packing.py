"""Bit streams against an independent reference: one big Python integer, without NumPy and without bit tricks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BAD_BITS, integers_of

from fewbits.core.packing import code_range, pack, packed_size, unpack

FIELDS = [(bits, signed) for bits in range(1, 17) for signed in (False, True)]


def reference_pack(values: list[int], bits: int) -> bytes:
    """The stream as one number: code k counts ``2**(k * bits)``, modulo ``2**bits`` where it is negative."""
    number = sum((value % 2**bits) * 2 ** (k * bits) for k, value in enumerate(values))
    return number.to_bytes((len(values) * bits + 7) // 8, "little")


def reference_unpack(data: bytes, bits: int, count: int, signed: bool) -> list[int]:
    number = int.from_bytes(data, "little")
    fields = [number // 2 ** (k * bits) % 2**bits for k in range(count)]
    return [field - 2**bits if signed and field >= 2 ** (bits - 1) else field for field in fields]


@pytest.mark.parametrize(("bits", "signed"), FIELDS)
@settings(max_examples=12)
@given(data=st.data())
def test_stream_is_the_reference_and_comes_back(bits, signed, data):
    values = data.draw(integers_of(bits, signed))
    stream = pack(torch.tensor(values, dtype=torch.int64), bits, signed)
    assert stream == reference_pack(values, bits)
    assert len(stream) == packed_size(len(values), bits)
    back = unpack(stream, bits, len(values), signed)
    assert back.dtype == torch.int32
    assert back.shape == (len(values),)
    assert back.tolist() == values


@pytest.mark.parametrize(("bits", "signed"), FIELDS)
@settings(max_examples=12)
@given(data=st.data())
def test_any_stream_is_read_as_the_reference_reads_it(bits, signed, data):
    stream = data.draw(st.binary(max_size=20))
    count = len(stream) * 8 // bits
    stream = stream[: packed_size(count, bits)]
    assert unpack(stream, bits, count, signed).tolist() == reference_unpack(stream, bits, count, signed)


@pytest.mark.parametrize(("bits", "signed"), FIELDS)
def test_every_code_that_fits(bits, signed):
    low, high = code_range(bits, signed)
    assert high - low + 1 == 2**bits
    values = torch.arange(low, high + 1)
    assert torch.equal(unpack(pack(values, bits, signed), bits, values.numel(), signed).long(), values)


def test_two_streams_by_hand():
    assert pack(torch.tensor([1, 2, 3, 0, 1]), 2) == bytes([0b00_11_10_01, 0b01])
    assert pack(torch.tensor([-1, 3, -4]), 3, signed=True) == bytes([0b00_011_111, 0b1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64])
def test_every_integer_dtype_gives_the_same_stream(dtype):
    values = torch.tensor([[0, 1, 100], [127, 5, 64]])
    assert pack(values.to(dtype), 7) == reference_pack(values.flatten().tolist(), 7)


def test_order_is_row_major_whatever_the_layout():
    values = torch.arange(24).reshape(2, 3, 4)
    for view in (values.permute(2, 0, 1), values[:, :, ::2], values[:, 1:], values[0, 0, :1].expand(5, 2), values[1]):
        assert not view.is_contiguous() or view.storage_offset()
        assert pack(view, 5) == reference_pack(view.flatten().tolist(), 5)


def test_scalar_and_nothing():
    assert pack(torch.tensor(-1), 1, signed=True) == b"\x01"
    assert pack(torch.empty(0, dtype=torch.int8), 3) == b""
    assert unpack(b"", 3, 0).shape == (0,)


@pytest.mark.parametrize(("bits", "signed"), FIELDS)
def test_codes_that_do_not_fit_are_refused(bits, signed):
    low, high = code_range(bits, signed)
    for outside in (low - 1, high + 1, 2**40, -(2**40)):
        with pytest.raises(ValueError, match=f"^values must lie between {low} and {high}, got"):
            pack(torch.tensor([0, outside]), bits, signed)


def test_a_uint64_that_would_wrap_is_refused():
    with pytest.raises(TypeError, match=r"values must be an integer tensor, got torch\.uint64"):
        pack(torch.tensor([2**64 - 1], dtype=torch.uint64), 8, signed=True)


@pytest.mark.parametrize("values", [torch.ones(3), torch.tensor([True]), torch.ones(1, dtype=torch.complex64), [1, 0]])
def test_other_than_integer_tensors_are_refused(values):
    with pytest.raises(TypeError, match=r"^values must be"):
        pack(values, 4)


@pytest.mark.parametrize("case", BAD_BITS)
def test_bad_bits_are_refused(case):
    bits, error = BAD_BITS[case]
    for function in (
        lambda: pack(torch.tensor([0]), bits),
        lambda: unpack(b"\0", bits, 1),
        lambda: packed_size(1, bits),
        lambda: code_range(bits, signed=True),
    ):
        with pytest.raises(error, match=r"^bits must"):
            function()


@pytest.mark.parametrize(("data", "bits", "count"), [(b"", 1, 1), (b"\0\0", 1, 8), (b"\0", 3, 3), (b"\0\0", 16, 0)])
def test_a_stream_of_wrong_length_is_refused(data, bits, count):
    with pytest.raises(ValueError, match=f"^data has {len(data)} bytes; {count} codes of {bits} bits take"):
        unpack(data, bits, count)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match=r"^count must not be negative, got -1$"):
        unpack(b"", 1, -1)
    with pytest.raises(ValueError, match=r"^count must not be negative, got -3$"):
        packed_size(-3, 8)


@given(st.integers(0, 10**12), st.integers(1, 16))
def test_packed_size_is_the_ceiling(count, bits):
    assert 8 * (packed_size(count, bits) - 1) < count * bits <= 8 * packed_size(count, bits)
