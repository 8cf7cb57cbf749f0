"""Rows and mean magnitudes against plain Python sums."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_FLOATS, BAD_VALUES, same_bits, tensors

from fewbits.core.channels import channel_rows, mean_magnitude

AXES = [((), None), ((4,), None), ((4,), 0), ((2, 3), 1), *(((2, 3, 4), axis) for axis in (None, 0, 1, 2, -1, -2, -3))]


@pytest.mark.parametrize(("shape", "axis"), AXES)
@given(data=st.data())
def test_rows_and_means_are_those_of_the_channels(shape, axis, data):
    x = data.draw(tensors(shape=shape))
    channels = [x] if axis is None else list(x.unbind(axis))
    rows = channel_rows(x, axis)
    assert rows.tolist() == [channel.flatten().tolist() for channel in channels]
    mean = mean_magnitude(x, axis)
    assert mean.shape == (
        (1,) * 0 if axis is None else tuple(x.shape[a] if a == axis % x.dim() else 1 for a in range(x.dim()))
    )
    exact = torch.tensor([sum(abs(value) for value in row) / len(row) for row in rows.tolist()])
    torch.testing.assert_close(mean.flatten(), exact, rtol=2e-7, atol=2e-45)
    assert same_bits(mean, mean_magnitude(x.contiguous(), axis))


@pytest.mark.parametrize("count", [3, 7, 1000, 12345])
def test_the_mean_of_equal_numbers_is_that_number(count):
    x = torch.full((count,), 0.1)
    assert mean_magnitude(x, None) == x[0]
    assert (x.mean() != x[0]) or count < 1000  # in float32 it is not: what the wide accumulator is for


@pytest.mark.parametrize(("x", "error", "message"), [*BAD_FLOATS.values(), *BAD_VALUES.values()])
def test_bad_input_is_refused(x, error, message):
    with pytest.raises(error, match=message):
        mean_magnitude(x, None)


def test_a_sum_that_overflows_is_refused():
    with pytest.raises(ValueError, match="the mean magnitude of x holds NaN or Inf"):
        mean_magnitude(torch.full((2,), 1e308, dtype=torch.float64), None)
    assert mean_magnitude(torch.full((9,), 3e38), None) == torch.tensor(3e38)  # float32 has room in float64


def test_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="channel_axis 2 is not an axis of x"):
        channel_rows(torch.ones(2, 3), 2)
