"""FP8, MX and NVFP4 as quantizers: hand cases, and ``ml_dtypes`` for every element and every scale."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_FLOATS, BAD_VALUES, DTYPES, NUMPY, floats, same_bits, shapes, tensors

from fewbits.compensation import FP8Quantizer, MXQuantizer, NVFP4Quantizer
from fewbits.compensation.block_formats import block_maxima, block_scales
from fewbits.core.float_codes import FORMATS

PEERS = {
    "E2M1": ml_dtypes.float4_e2m1fn,
    "E2M3": ml_dtypes.float6_e2m3fn,
    "E3M2": ml_dtypes.float6_e3m2fn,
    "E4M3": ml_dtypes.float8_e4m3fn,
    "E5M2": ml_dtypes.float8_e5m2,
}
QUANTIZERS = {
    "FP8": FP8Quantizer(),
    "E5M2, per channel": FP8Quantizer("E5M2", channel_axis=0),
    "MXFP4": MXQuantizer(),
    "MXFP6": MXQuantizer("E3M2", block=3),
    "MXFP6, fine": MXQuantizer("E2M3", block=2),
    "MXFP8": MXQuantizer("E4M3", block=4),
    "NVFP4": NVFP4Quantizer(),
    "NVFP4, short blocks": NVFP4Quantizer(block=2),
}
EACH = pytest.mark.parametrize("name", QUANTIZERS)
# A gap of the exponents keeps scales from underflow, which is tested apart.
USUAL = floats(largest=2.0**60).filter(lambda value: value == 0 or abs(value) > 2.0**-40)


def two_axes():
    return shapes(min_dims=1, max_dims=3, max_side=5)


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_a_block_of_mxfp4_by_hand():
    """The largest, 5, has exponent 2, which is E2M1's: scale 1. In the second block 20 has 4, so the scale is 4."""
    x = torch.tensor([[5.0, -1.3, 0.2, 0.25], [20.0, 9.0, -1.0, 0.0]])
    codes = MXQuantizer(block=4).encode(x)
    assert codes.block_scales.tolist() == [[127], [129]]
    assert codes.decode().tolist() == [[4.0, -1.5, 0.0, 0.0], [16.0, 8.0, -0.0, 0.0]]
    assert codes.values.tolist() == [[6, 8 + 3, 0, 0], [6, 4, 8, 0]]
    assert codes.nbits == 8 * 4 + 2 * 8


def test_the_largest_of_a_block_may_be_clipped():
    """7.9 has exponent 2 as 4 has, and E2M1 ends at 6."""
    assert MXQuantizer()(torch.tensor([7.9, 1.0])).tolist() == [6.0, 1.0]


def test_nvfp4_by_hand():
    """Real scale 2688/(6·448) = 1; the blocks' scales are 448 and 2.5, exact E4M3 numbers."""
    codes = NVFP4Quantizer(block=2).encode(torch.tensor([[2688.0, 448.0, 15.0, -5.0]]))
    assert codes.real_scale.item() == 1
    assert codes.block_scales.tolist() == [[126, 66]]
    assert FORMATS["E4M3"].levels[[126, 66]].tolist() == [448, 2.5]
    assert codes.decode().tolist() == [[2688.0, 448.0, 15.0, -5.0]]
    assert codes.nbits == 4 * 4 + 2 * 8 + 32


def test_a_block_much_smaller_than_the_others_keeps_a_scale():
    codes = NVFP4Quantizer(block=1).encode(torch.tensor([[1.0, 1e-6, 0.0]]))
    assert codes.block_scales.tolist() == [[126, 1, 1]]
    assert (codes.scale > 0).all()


def test_fp8_puts_the_largest_on_the_largest():
    codes = FP8Quantizer(channel_axis=0).encode(torch.tensor([[448.0, 1.0], [0.4375, -0.25], [0.0, 0.0]]))
    assert codes.real_scale.flatten().tolist() == [1.0, 2.0**-10, 1.0]
    assert codes.decode()[0].tolist() == [448.0, 1.0]
    torch.testing.assert_close(codes.decode(), torch.tensor([[448.0, 1.0], [0.4375, -0.25], [0.0, 0.0]]))


# --- Against the peer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PEERS)
@given(st.data())
def test_mx_is_what_the_standard_computes(kind, data):
    """The standard's algorithm in numpy: shared exponent of the largest, then a cast by ``ml_dtypes``, clipped."""
    block = data.draw(st.integers(1, 6))
    x = data.draw(tensors(shape=data.draw(two_axes()), elements=USUAL))
    rows = x.reshape(len(x), -1).numpy() if x.dim() > 1 else x.reshape(1, -1).numpy()
    found = MXQuantizer(kind, block)(x).reshape(rows.shape).numpy()
    peer = PEERS[kind]
    top = float(ml_dtypes.finfo(peer).max)
    for row, right in zip(rows, found, strict=True):
        for start in range(0, len(row), block):
            part = row[start : start + block]
            largest = np.abs(part).max()
            shared = 0 if largest == 0 else int(np.floor(np.log2(np.float64(largest)))) - int(np.log2(top))
            scaled = np.clip(part.astype(np.float64) / 2.0**shared, -top, top).astype(np.float32)
            expected = scaled.astype(peer).astype(np.float32) * np.float32(2.0**shared)
            assert np.array_equal(expected, right[start : start + block])


@given(st.data())
def test_nvfp4_is_what_ml_dtypes_computes(data):
    block = data.draw(st.integers(1, 6))
    x = data.draw(tensors(shape=data.draw(two_axes()), elements=USUAL))
    rows = x.reshape(len(x), -1).numpy() if x.dim() > 1 else x.reshape(1, -1).numpy()
    found = NVFP4Quantizer(block)(x).reshape(rows.shape).numpy()
    largest = np.abs(rows).max()
    whole = np.float32(largest) / np.float32(6 * 448) if largest else np.float32(1)
    for row, right in zip(rows, found, strict=True):
        for start in range(0, len(row), block):
            part = row[start : start + block]
            field = (np.abs(part).max() / np.float32(6) / whole).astype(ml_dtypes.float8_e4m3fn)
            scale = max(np.float32(field), np.float32(2.0**-9)) * whole
            expected = np.clip(part / scale, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float32) * scale
            assert np.array_equal(expected, right[start : start + block])


# --- What every quantizer answers to ----------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("dtype", DTYPES)
@given(st.data())
def test_what_is_stored_is_what_is_computed(name, dtype, data):
    quantizer = QUANTIZERS[name]
    x = data.draw(tensors(dtype, largest=float(torch.finfo(dtype).max / 8)))
    if quantizer.extra_repr().endswith("channel_axis=0") and not x.dim():
        return
    codes = quantizer.encode(x)
    assert same_bits(codes.decode(), quantizer(x))
    assert len(codes.packed()) == -(-codes.bits * x.numel() // 8)
    assert quantizer(x).isfinite().all()


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if name.startswith("MX")])
@given(st.data())
def test_mx_twice_is_mx_once(name, data):
    once = QUANTIZERS[name](data.draw(tensors(elements=USUAL)))
    assert torch.equal(QUANTIZERS[name](once), once)


@EACH
@given(st.data())
def test_no_other_point_of_the_grid_is_nearer(name, data):
    """But for blocks that are clipped, the error of an element is that of the nearest number on its block's grid."""
    x = data.draw(tensors(torch.float64, shape=data.draw(two_axes()), elements=st.floats(-8, 8)))
    codes = QUANTIZERS[name].encode(x)
    levels = codes.levels[codes.levels.isfinite()]
    grid = levels * codes.scale.expand(x.shape)[..., None]
    best = (grid - x[..., None]).abs().min(-1).values
    torch.testing.assert_close((codes.decode() - x).abs(), best, rtol=1e-9, atol=1e-15)


@EACH
def test_the_gradient_passes(name):
    x = torch.tensor([[0.3, -2.0, 5.0]], requires_grad=True)
    (QUANTIZERS[name](x) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [[1, 2, 3]]


@EACH
def test_half_precision_is_computed_in_float32(name):
    x = torch.randn(4, 40, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = QUANTIZERS[name](x)
    assert found.dtype == torch.float32
    assert same_bits(found, QUANTIZERS[name](x.float()))


@EACH
@pytest.mark.parametrize("case", [*BAD_FLOATS, *BAD_VALUES])
def test_bad_input_is_named(name, case):
    x, error, message = (BAD_FLOATS | BAD_VALUES)[case]
    for call in (QUANTIZERS[name], QUANTIZERS[name].encode):
        with pytest.raises(error, match=message):
            call(x)


@pytest.mark.parametrize("quantizer", [FP8Quantizer(), NVFP4Quantizer()])
def test_magnitudes_that_leave_no_room_are_refused(quantizer):
    with pytest.raises(ValueError, match=r"too close to the largest of torch\.float32"):
        quantizer(torch.tensor([1.0, 3e38]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_smallest_numbers_do_not_break_a_scale(dtype):
    tiny = torch.finfo(dtype).smallest_normal
    x = torch.tensor([[tiny, 0.0, float(np.nextafter(NUMPY[dtype](0), NUMPY[dtype](1)))]], dtype=dtype)
    for quantizer in QUANTIZERS.values():
        assert quantizer(x).isfinite().all()
        assert (quantizer(x).abs() <= 2 * tiny).all()


@pytest.mark.parametrize(("make", "error"), [(MXQuantizer, "E9M9"), (FP8Quantizer, "INT8")])
def test_an_unknown_format_is_refused(make, error):
    with pytest.raises(ValueError, match=f"format must be one of .*{error}"):
        make(error)


@pytest.mark.parametrize("block", [0, -1, 2**16])
def test_a_block_out_of_range_is_refused(block):
    for make in (MXQuantizer, NVFP4Quantizer):
        with pytest.raises(ValueError, match="block must lie between"):
            make(block=block)


@pytest.mark.parametrize("block", [True, 4.0, None])
def test_a_block_of_another_type_is_refused(block):
    with pytest.raises(TypeError, match="block must be an int"):
        NVFP4Quantizer(block=block)


def test_scales_of_blocks_follow_the_weights():
    x = torch.tensor([[1.0, 2.0, 3.0, 40.0]])
    for quantizer in (MXQuantizer(block=2), NVFP4Quantizer(block=2)):
        codes = quantizer.encode(x)
        assert torch.equal(block_scales(codes, block_maxima(x, 2)), codes.block_scales)
    with pytest.raises(ValueError, match="codes have no blocks"):
        block_scales(FP8Quantizer().encode(x), block_maxima(x, 2))
