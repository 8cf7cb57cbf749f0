"""A tensor as rows, one for each channel: what a scale per tensor or per channel is computed from."""

import torch
from torch import Tensor

from fewbits.core.checks import check_channel_axis, check_finite


def channel_rows(x: Tensor, channel_axis: int | None) -> Tensor:
    """``x`` as (C, n), one row for each index of ``channel_axis``; (1, numel) if that is None.

    Row-major whatever the memory order of ``x``, so that sums over a row do not depend on it.

    Raises:
        TypeError, ValueError: ``channel_axis`` is not an axis of ``x``.
    """
    check_channel_axis(x, channel_axis)
    return x.reshape(1, -1) if channel_axis is None else x.movedim(channel_axis, 0).reshape(x.shape[channel_axis], -1)


def per_channel(values: Tensor, dims: int, channel_axis: int = 0) -> Tensor:
    """One number for each channel, shaped so that it broadcasts over a tensor of ``dims`` axes.

    Args:
        values: (C,).
        dims: axes of the tensor.
        channel_axis: which of them counts the channels.
    Returns:
        (C, 1, …) for axis 0, (1, C, 1, …) for axis 1; a view.
    """
    return values.reshape([-1 if axis == channel_axis % dims else 1 for axis in range(dims)])


def mean_magnitude(x: Tensor, channel_axis: int | None) -> Tensor:
    """Mean of ``|x|`` over the tensor or over each channel, accumulated in float64.

    The wide accumulator makes the mean of equal numbers that number exactly, and so the quantizers idempotent.

    Args:
        x: any shape, finite.
        channel_axis: axis with a mean of its own for each index, or None for one mean.
    Returns:
        Dtype of ``x``; () for one mean, else broadcastable to ``x`` with all axes but ``channel_axis`` of length 1.
    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, holds NaN or Inf, or its sum overflows.
    """
    rows = channel_rows(check_finite(x).abs(), channel_axis)
    mean = rows.mean(1, dtype=torch.float64).to(x.dtype)
    return check_finite(mean, "the mean magnitude of x").reshape(check_channel_axis(x, channel_axis))
