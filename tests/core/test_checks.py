"""Arguments that are refused, the words of the refusal, and arguments that must pass."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_BITS, BAD_FLOATS, BAD_VALUES, DTYPES, shapes, tensors

from fewbits.core.checks import (
    MAX_BITS,
    check_bits,
    check_channel_axis,
    check_finite,
    check_float,
    check_integers,
    working_precision,
)


@pytest.mark.parametrize("bits", range(1, 17))
def test_bits_1_to_16_pass(bits):
    assert check_bits(bits) == bits


@pytest.mark.parametrize("case", BAD_BITS)
def test_other_bits_are_refused_by_name(case):
    bits, error = BAD_BITS[case]
    with pytest.raises(error, match=r"^weight_bits must"):
        check_bits(bits, name="weight_bits")


def test_minimum_of_bits():
    assert check_bits(2, minimum=2) == 2
    with pytest.raises(ValueError, match=r"^bits must lie between 2 and 16, got 1$"):
        check_bits(1, minimum=2)
    assert MAX_BITS == 16


@pytest.mark.parametrize("case", BAD_FLOATS)
@pytest.mark.parametrize("check", [check_float, check_finite])
def test_other_than_real_tensors_are_refused(check, case):
    x, error, message = BAD_FLOATS[case]
    with pytest.raises(error, match=message):
        check(x)
    with pytest.raises(error, match=message.replace("x ", "image ", 1)):
        check(x, "image")


@pytest.mark.parametrize("case", BAD_VALUES)
def test_only_check_finite_refuses_nan_and_inf(case):
    x, error, message = BAD_VALUES[case]
    assert check_float(x) is x
    with pytest.raises(error, match=message):
        check_finite(x)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_finite_floats_pass_as_they_are(dtype, data):
    x = data.draw(tensors(dtype, largest=torch.finfo(dtype).max))
    assert check_float(x) is x
    assert check_finite(x) is x


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_passes_and_is_widened(dtype):
    x = torch.tensor([1.0, -0.5], dtype=dtype)
    assert check_finite(x) is x
    assert working_precision(x).dtype == torch.float32
    assert torch.equal(working_precision(x), x.float())


@pytest.mark.parametrize("dtype", DTYPES)
def test_working_precision_leaves_the_rest_alone(dtype):
    x = torch.ones(2, dtype=dtype)
    assert working_precision(x) is x


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.int64])
def test_integers_in_range_pass(dtype):
    values = torch.tensor([[0, 100], [3, 7]]).to(dtype)
    assert check_integers(values, 0, 100) is values
    with pytest.raises(ValueError, match=r"^codes must lie between 0 and 99, got 0 to 100$"):
        check_integers(values, 0, 99, "codes")
    with pytest.raises(ValueError, match="between 1 and 100, got 0 to 100"):
        check_integers(values, 1, 100)


def test_no_integers_pass_any_range():
    assert check_integers(torch.empty(0, dtype=torch.int32), 5, 6).numel() == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(2), "values must be an integer tensor, got torch.float32"),
        (torch.tensor([True]), "values must be an integer tensor, got torch.bool"),
        (torch.ones(2, dtype=torch.complex64), "values must be an integer tensor, got torch.complex64"),
        (torch.ones(2, dtype=torch.uint64), "values must be an integer tensor, got torch.uint64"),
        ([1, 2], "values must be a torch.Tensor, got list"),
    ],
)
def test_other_than_integer_tensors_are_refused(values, message):
    with pytest.raises(TypeError, match=message):
        check_integers(values, 0, 3)


@given(shapes(min_dims=1), st.data())
def test_channel_axis_gives_the_shape_of_one_number_per_channel(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = torch.zeros(shape)
    per_channel = check_channel_axis(x, axis)
    others = [other for other in range(len(shape)) if other != axis % len(shape)]
    assert per_channel == (tuple(x.sum(others, keepdim=True).shape) if others else shape)
    assert check_channel_axis(x, None) == ()


@pytest.mark.parametrize(("shape", "axis"), [((), 0), ((), -1), ((3,), 1), ((3,), -2), ((2, 3), 2), ((2, 3), -3)])
def test_an_axis_that_x_lacks_is_refused(shape, axis):
    with pytest.raises(
        ValueError, match=f"channel_axis {axis} is not an axis of weight with shape {re.escape(str(shape))}"
    ):
        check_channel_axis(torch.zeros(shape), axis, "weight")


@pytest.mark.parametrize("axis", [True, 0.0, 0.5, "0", (0,)])
def test_an_axis_that_is_no_int_is_refused(axis):
    with pytest.raises(TypeError, match=r"^channel_axis must be an int or None"):
        check_channel_axis(torch.zeros(2, 3), axis)
