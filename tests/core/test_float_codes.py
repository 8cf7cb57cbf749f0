"""Small floating point formats: against the published tables and ``ml_dtypes``, every code of every format."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_FLOATS, BAD_VALUES, floats, same_bits, tensors

from fewbits.core.float_codes import FORMATS, FloatCodes, FloatFormat, blocks_of, expand_blocks, scale_numbers

PEERS = {
    "E2M1": ml_dtypes.float4_e2m1fn,
    "E2M3": ml_dtypes.float6_e2m3fn,
    "E3M2": ml_dtypes.float6_e3m2fn,
    "E4M3": ml_dtypes.float8_e4m3fn,
    "E5M2": ml_dtypes.float8_e5m2,
}
EACH = pytest.mark.parametrize("kind", FORMATS.values(), ids=FORMATS)


# --- The tables -------------------------------------------------------------------------------------------------------


def test_fp4_by_hand():
    assert FORMATS["E2M1"].magnitudes.tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]


@pytest.mark.parametrize(
    ("name", "bits", "largest", "smallest_normal", "smallest", "exponent"),
    [  # of the FP8 paper (Table 1) and of the MX paper
        ("E2M1", 4, 6, 1, 0.5, 2),
        ("E2M3", 6, 7.5, 1, 0.125, 2),
        ("E3M2", 6, 28, 0.25, 0.0625, 4),
        ("E4M3", 8, 448, 2**-6, 2**-9, 8),
        ("E5M2", 8, 57344, 2**-14, 2**-16, 15),
    ],
)
def test_the_published_limits(name, bits, largest, smallest_normal, smallest, exponent):
    kind = FORMATS[name]
    assert (kind.bits, kind.largest, kind.largest_exponent) == (bits, largest, exponent)
    assert kind.magnitudes[1] == smallest
    assert kind.magnitudes[2**kind.mantissa_bits] == smallest_normal


@EACH
def test_every_code_stands_for_the_number_of_the_peer(kind):
    right = np.arange(2**kind.bits, dtype=np.uint8).view(PEERS[kind.name]).astype(np.float64)
    assert np.array_equal(kind.levels.numpy(), right, equal_nan=True)
    assert np.array_equal(np.signbit(kind.levels.numpy())[: kind.finite], np.signbit(right)[: kind.finite])


def test_a_wrong_format_differs_from_the_peer():
    wrong = FloatFormat("E4M3", 4, 3, 124, infinity=True)  # as IEEE 754 would have it
    right = np.arange(256, dtype=np.uint8).view(PEERS["E4M3"]).astype(np.float64)
    assert not np.array_equal(wrong.levels.numpy(), right, equal_nan=True)


# --- Rounding ---------------------------------------------------------------------------------------------------------


@EACH
def test_numbers_borders_and_their_neighbours_get_the_code_of_the_peer(kind):
    whole = kind.magnitudes.float()
    borders = (whole[:-1] + whole[1:]) / 2
    x = torch.cat([whole, borders, *(torch.nextafter(borders, torch.tensor(end)) for end in (0.0, torch.inf))])
    x = torch.cat([x, -x])
    right = x.numpy().astype(PEERS[kind.name]).view(np.uint8)
    assert np.array_equal(kind.encode(x).numpy(), right)


@EACH
@given(st.data())
def test_any_number_in_range_gets_the_code_of_the_peer(kind, data):
    x = data.draw(tensors(elements=floats(largest=kind.largest)))
    right = x.numpy().astype(PEERS[kind.name], order="C").view(np.uint8)
    assert np.array_equal(kind.encode(x).numpy(), right)


@EACH
def test_what_is_too_large_becomes_the_largest_number(kind):
    codes = kind.encode(torch.tensor([1e30, -1e30, kind.largest * 1.01]))
    assert kind.levels[codes.long()].tolist() == [kind.largest, -kind.largest, kind.largest]


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_input_is_named(x, error, message):
    with pytest.raises(error, match=message):
        FORMATS["E2M1"].encode(x)


# --- Blocks -----------------------------------------------------------------------------------------------------------


def test_scales_of_blocks_are_those_of_the_peer():
    fields = torch.arange(255)
    right = fields.numpy().astype(np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert np.array_equal(scale_numbers(fields, "E8M0", torch.ones(())).numpy(), right)


def test_blocks_end_with_their_row():
    shape = torch.Size([2, 1, 5])
    assert blocks_of(shape, 3) == (2, 2)
    spread = expand_blocks(torch.tensor([[1, 2], [3, 4]]), shape, 3)
    assert spread.tolist() == [[[1, 1, 1, 2, 2]], [[3, 3, 3, 4, 4]]]
    assert blocks_of(torch.Size([5]), 3) == (1, 2)
    assert blocks_of(torch.Size([]), 3) == (1, 1)


def codes(**other) -> FloatCodes:
    """Two rows of three, in blocks of two: 2^-1 and 2^1, 2^0 and 2^-127."""
    given = {
        "values": torch.tensor([[1, 9, 7], [0, 15, 2]]),
        "format": "E2M1",
        "real_scale": torch.ones(()),
        "block": 2,
        "block_scales": torch.tensor([[126, 128], [127, 0]]),
        "block_format": "E8M0",
    }
    return FloatCodes(**given | other)


def test_codes_by_hand():
    assert codes().decode().tolist() == [[0.25, -0.25, 12], [0, -6, 2**-127]]
    assert codes().nbits == 6 * 4 + 4 * 8
    assert codes().packed() == bytes([0x91, 0x07, 0x2F])
    nv = codes(block_scales=torch.tensor([[56, 64], [1, 126]]), block_format="E4M3", real_scale=torch.tensor(0.5))
    assert nv.decode().tolist() == [[0.25, -0.25, 6], [0, -6 * 2**-10, 224]]
    assert nv.nbits == 6 * 4 + 4 * 8 + 32
    plain = codes(block=0, block_scales=None, block_format="none", real_scale=torch.tensor([[2.0], [4.0]]))
    assert plain.decode().tolist() == [[1, -1, 12], [0, -24, 4]]
    assert plain.nbits == 6 * 4 + 2 * 32


def test_the_sign_of_zero_is_stored():
    x = torch.tensor([[0.0, -0.0, -0.1]])
    found = FloatCodes(FORMATS["E2M1"].encode(x), "E2M1", torch.ones(())).decode()
    assert same_bits(found, torch.tensor([[0.0, -0.0, -0.0]]))


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        ({"format": "E9M9"}, ValueError, "format must be one of E2M1"),
        ({"values": torch.ones(2, 3)}, TypeError, "values"),
        ({"values": torch.full((2, 3), 16)}, ValueError, "values must lie between 0 and 15"),
        ({"values": torch.full((2, 3), 127), "format": "E4M3"}, ValueError, "stand for Inf or NaN"),
        ({"values": torch.full((2, 3), 128 + 124), "format": "E5M2"}, ValueError, "stand for Inf or NaN"),
        ({"block_format": "E5M3"}, ValueError, "block_format must be one of"),
        ({"block_format": "none"}, ValueError, "block_format must be one of"),
        ({"block": 0}, ValueError, "block must be"),
        ({"block": 3}, ValueError, r"block_scales must have shape \(2, 1\)"),
        ({"real_scale": torch.ones(1)}, ValueError, "real_scale none"),
        ({"real_scale": torch.tensor(2.0)}, ValueError, "real_scale must be 1"),
        ({"block_scales": torch.full((2, 2), 255)}, ValueError, "block_scales must lie between 0 and 254"),
        ({"block_scales": torch.full((2, 2), 127), "block_format": "E4M3"}, ValueError, "between 0 and 126"),
    ],
)
def test_codes_that_make_no_sense_are_refused(other, error, message):
    with pytest.raises(error, match=message):
        codes(**other)


def test_a_real_scale_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit values"):
        codes(block=0, block_scales=None, block_format="none", real_scale=torch.ones(5, 1, 1))
