"""Codes: what they decode to, in exact rational arithmetic, how many bits they take, and which ones are refused."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BAD_BITS, integers_of

from fewbits.core.codes import Codes
from fewbits.core.packing import unpack


def powers_of_two(count: int):
    return st.lists(st.integers(-20, 20).map(lambda e: 2.0**e), min_size=count, max_size=count)


@settings(max_examples=200)
@given(st.integers(1, 16), st.booleans(), st.data())
def test_uniform_codes_decode_as_the_formula_says(bits, signed, data):
    rows = [data.draw(integers_of(bits, signed, max_size=6)) for _ in range(data.draw(st.integers(1, 3)))]
    width = min(len(row) for row in rows)
    values = torch.tensor([row[:width] for row in rows], dtype=torch.int32).reshape(len(rows), width)
    scales = data.draw(powers_of_two(len(rows)))
    zeros = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=len(rows), max_size=len(rows)))
    codes = Codes(values, bits, torch.tensor(scales)[:, None], torch.tensor(zeros)[:, None], signed=signed)
    expected = [
        [(Fraction(value) - zero) * Fraction(scale) for value in row]
        for row, zero, scale in zip(values.tolist(), zeros, scales, strict=True)
    ]
    decoded = codes.decode()
    assert decoded.dtype == torch.float32
    assert [[Fraction(value) for value in row] for row in decoded.tolist()] == expected
    assert unpack(codes.packed(), bits, values.numel(), signed).tolist() == values.flatten().tolist()
    assert codes.nbits == bits * values.numel() + 32 * len(rows) + bits * len(rows)


def test_without_a_zero_point_it_is_zero():
    codes = Codes(torch.tensor([[-4, 3], [0, 1]]), 3, torch.tensor(0.5))
    assert codes.decode().tolist() == [[-2.0, 1.5], [0.0, 0.5]]
    assert codes.nbits == 4 * 3 + 32
    assert len(codes.packed()) == 2


def test_a_table_is_read_by_index():
    indices, levels = torch.tensor([[0, 2, 1]], dtype=torch.uint8), torch.tensor([-1.0, 0.0, 3.0])
    codes = Codes(indices, 2, torch.tensor(2.0), levels=levels, signed=False)
    assert codes.decode().tolist() == [[-2.0, 6.0, 0.0]]
    assert codes.packed() == bytes([0b01_10_00])
    assert codes.nbits == 3 * 2 + 32 + 3 * 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decoding_follows_the_dtype_of_the_scale(dtype):
    assert Codes(torch.tensor([1]), 4, torch.tensor(0.1, dtype=dtype)).decode().dtype == dtype


def test_nothing_encodes_to_nothing():
    codes = Codes(torch.empty(0, 3, dtype=torch.int32), 8, torch.tensor(1.0))
    assert codes.decode().shape == (0, 3)
    assert codes.packed() == b""


@pytest.mark.parametrize("case", BAD_BITS)
def test_bad_bits_are_refused(case):
    bits, error = BAD_BITS[case]
    with pytest.raises(error, match=r"^bits must"):
        Codes(torch.tensor([0]), bits, torch.tensor(1.0))


@pytest.mark.parametrize("values", [torch.tensor([1.0]), torch.tensor([True]), [1], torch.ones(1, dtype=torch.cfloat)])
def test_values_that_are_no_integers_are_refused(values):
    with pytest.raises(TypeError, match=r"^values must be"):
        Codes(values, 8, torch.tensor(1.0))


@pytest.mark.parametrize("value", [-9, 8])
def test_values_that_do_not_fit_are_refused_at_once(value):
    with pytest.raises(ValueError, match=r"^values must lie between -8 and 7"):
        Codes(torch.tensor([0, value]), 4, torch.tensor(1.0))


@pytest.mark.parametrize("value", [-1, 16])
def test_unsigned_values_that_do_not_fit_are_refused_at_once(value):
    with pytest.raises(ValueError, match=r"^values must lie between 0 and 15"):
        Codes(torch.tensor([0, value]), 4, torch.tensor(1.0), signed=False)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_beside_the_table_is_refused(index):
    """Python reads a table backwards at -1; hardware does not."""
    with pytest.raises(ValueError, match=r"^values must lie between 0 and 2"):
        Codes(torch.tensor([index]), 2, torch.tensor(1.0), levels=torch.zeros(3), signed=False)


@pytest.mark.parametrize("levels", [torch.zeros(5), torch.zeros(2, 2), torch.tensor(1.0)])
def test_a_table_of_wrong_shape_is_refused(levels):
    with pytest.raises(ValueError, match=r"^levels must have shape \(L,\) with L <= 4"):
        Codes(torch.tensor([0]), 2, torch.tensor(1.0), levels=levels, signed=False)


def test_a_table_with_signs_or_a_zero_point_is_refused():
    with pytest.raises(ValueError, match=r"^levels are read by unsigned index, without a zero_point"):
        Codes(torch.tensor([0]), 2, torch.tensor(1.0), levels=torch.zeros(3))
    with pytest.raises(ValueError, match=r"^levels are read by unsigned index, without a zero_point"):
        Codes(torch.tensor([0]), 2, torch.tensor(1.0), torch.tensor(1), torch.zeros(3), signed=False)


def test_codes_cannot_be_changed():
    codes = Codes(torch.tensor([0]), 2, torch.tensor(1.0))
    with pytest.raises(AttributeError):
        codes.bits = 3
