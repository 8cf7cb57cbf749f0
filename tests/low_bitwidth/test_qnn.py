"""QNN's quantizers: by hand, against brute force over the grid, torch's own fake quantization and exact decoding."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, NAN, same_bits, tensors

from fewbits.core.packing import unpack
from fewbits.low_bitwidth import AP2Quantizer, LinearQuantizer

BOTH = [LinearQuantizer, AP2Quantizer]
BITS = st.sampled_from([2, 3, 4, 6, 7])
RANGES = st.sampled_from([None, 0.25, 1.0, 8.0])


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_simulated_and_stored_agree_and_take_k_bits(make, dtype):
    @given(tensors(dtype, largest=1e30), BITS, RANGES)
    def check(x, bits, max_value):
        quantizer = make(bits, max_value)
        y, codes = quantizer(x), quantizer.encode(x)
        assert y.dtype == dtype
        assert torch.equal(y, codes.decode())
        assert same_bits(quantizer(x.contiguous()), y)
        assert codes.bits == bits
        assert codes.nbits == bits * x.numel() + 32
        assert torch.equal(unpack(codes.packed(), bits, x.numel(), codes.signed), codes.values.flatten().int())
        assert ((y == 0) | (y.sign() == x.sign())).all()
        if max_value is not None:
            assert (y.abs() <= max_value).all()
            assert torch.equal(quantizer(y), y)

    check()


def test_linear_by_hand():
    x = torch.tensor([0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62])
    # 3 bits: steps of 1/4, from -1 to 3/4. 0.62 / 0.25 = 2.48.
    assert (4 * LinearQuantizer(3)(x)).tolist() == [3, -2, 1, 0, 1, -3, 0, 2]
    assert LinearQuantizer(3).encode(x).values.tolist() == [3, -2, 1, 0, 1, -3, 0, 2]
    assert LinearQuantizer(3)(torch.tensor([1.0, -1.0, 5.0, -5.0])).tolist() == [0.75, -1, 0.75, -1]


def test_ap2_by_hand():
    x = torch.tensor([0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62])
    # 3 bits: 0, ±1/4, ±1/2, ±1. On a log scale 0.7 is nearer to 1/2 (border √½ = 0.7071), 0.2 to 1/4 (border 0.1768).
    assert AP2Quantizer(3)(x).tolist() == [1, -0.5, 0.25, 0, 0.25, -0.5, 0, 0.5]
    assert AP2Quantizer(3).encode(x).values.tolist() == [6, 1, 4, 3, 4, 1, 3, 5]
    assert AP2Quantizer(2)(x).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]  # 0 and ±1 only: ternary
    assert AP2Quantizer(3)(torch.tensor([5.0, -1.3, -1.5])).tolist() == [1, -1, -1]


@given(tensors(torch.float64, largest=4), st.sampled_from([2, 3, 4, 8]))
def test_linear_is_torchs_fixed_point(x, bits):
    half = 2 ** (bits - 1)
    expected = torch.fake_quantize_per_tensor_affine(x.float(), 1 / half, 0, -half, half - 1)
    assert torch.equal(LinearQuantizer(bits)(x.float()), expected + 0.0)


@given(tensors(torch.float64, largest=4), st.sampled_from([2, 3, 4, 5]))
def test_ap2_is_the_nearest_of_its_powers_on_a_log_scale(x, bits):
    powers = [2.0**-j for j in range(2 ** (bits - 1) - 1)]
    y = AP2Quantizer(bits)(x)
    for value, result in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True):
        if abs(value) < powers[-1] * math.sqrt(0.5):
            assert result == 0
        else:
            nearest = min(powers, key=lambda power: abs(math.log2(abs(value)) - math.log2(power)))
            assert result == math.copysign(nearest, value)


@given(tensors(shape=(6,), largest=1e30), BITS)
def test_a_range_from_the_input_is_the_least_power_of_two(x, bits):
    greatest = x.abs().max().item()
    if greatest < 2.0**-60:
        return
    largest = LinearQuantizer(bits, None).encode(x).scale.item() * 2 ** (bits - 1)
    assert math.frexp(largest)[0] == 0.5
    assert largest / 2 < greatest <= largest
    top = x.abs().argmax()
    assert AP2Quantizer(bits, None)(x)[top].abs() in (largest, largest / 2) or bits == 2


@pytest.mark.parametrize("make", BOTH)
def test_gradient_passes_inside_the_range(make):
    x = torch.tensor([-1.5, -1.0, -0.01, 0.0, 0.4, 1.0, 1.01], requires_grad=True)
    make(3)(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 1, 0]
    x.grad = None
    make(3, None)(x).sum().backward()
    assert x.grad.tolist() == [1] * 7


@pytest.mark.parametrize("make", BOTH)
def test_zeros_one_element_and_half_precision(make):
    for max_value in (1.0, None):
        assert make(4, max_value)(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]
        half = torch.randn(3, 5).half()
        assert same_bits(make(4, max_value)(half), make(4, max_value)(half.float()))
    assert make(4, None)(torch.tensor(-0.3)).item() == -0.25 or make is LinearQuantizer
    assert LinearQuantizer(4, None)(torch.tensor(-0.3)).item() == -0.3125  # -5 steps of 1/16


@pytest.mark.parametrize("make", BOTH)
def test_nan_and_inf_with_a_fixed_range(make):
    y = make(3)(torch.tensor([NAN, math.inf, -math.inf]))
    assert y.isnan().tolist() == [True, False, False]
    assert y[1:].tolist() == [0.75 if make is LinearQuantizer else 1, -1]


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("x", "error", "message"), BAD_FLOATS.values())
def test_what_is_no_real_tensor_is_refused(make, x, error, message):
    for method in (make(2), make(2).encode, make(2, None)):
        with pytest.raises(error, match=message):
            method(x)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("x", "error", "message"), BAD_VALUES.values())
def test_nan_and_inf_are_refused_where_they_would_spoil_the_result(make, x, error, message):
    for method in (make(2).encode, make(2, None), make(2, None).encode):
        with pytest.raises(error, match=message):
            method(x)


@pytest.mark.parametrize("make", BOTH)
def test_a_range_that_overflows_is_refused(make):
    with pytest.raises(ValueError, match="the range of x"):
        make(3, None)(torch.tensor([3e38]))


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("bits", "error"), [*BAD_BITS.values(), (1, ValueError)])
def test_bad_bits_are_refused(make, bits, error):
    with pytest.raises(error, match="bits must"):
        make(bits)


def test_too_many_powers_are_refused():
    with pytest.raises(ValueError, match="bits must lie between 2 and 7, got 8"):
        AP2Quantizer(8)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("max_value", [0.0, -1.0, 0.3, 3.0, math.inf, NAN, 2.0**40])
def test_bad_ranges_are_refused(make, max_value):
    with pytest.raises(ValueError, match="max_value must be a power of two"):
        make(4, max_value)


@pytest.mark.parametrize("make", BOTH)
def test_a_power_for_each_row_is_the_quantizer_of_each_row(make):
    @given(tensors(torch.float64, shape=(3, 4), largest=1e30), st.sampled_from([0, 1, -1]))
    def check(x, axis):
        quantizer = make(4, None, axis)
        rows = [make(4, None)(row) for row in x.unbind(axis)]
        assert torch.equal(quantizer(x), torch.stack(rows, axis))
        codes = quantizer.encode(x)
        assert torch.equal(codes.decode(), quantizer(x))
        assert (torch.frexp(codes.scale).mantissa == 0.5).all()  # powers of two: shifts, no multiplication
        assert codes.nbits == 4 * 12 + 32 * codes.scale.numel()

    check()


@pytest.mark.parametrize("make", BOTH)
def test_one_largest_value_for_all_rows_is_refused(make):
    with pytest.raises(ValueError, match="channel_axis 0 needs max_value=None"):
        make(4, 1.0, 0)
    with pytest.raises(ValueError, match="channel_axis"):
        make(4, None, 2)(torch.ones(2, 2))
