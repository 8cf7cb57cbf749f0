"""Checks of arguments: one clear error, raised before anything is computed, that names the argument."""

import torch
from torch import Tensor

MAX_BITS = 16
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.int64)


def check_bits(bits: int, minimum: int = 1, name: str = "bits") -> int:
    """Return ``bits`` if it is an integer between ``minimum`` and 16.

    Raises:
        TypeError: ``bits`` is not an ``int`` (``True`` and ``4.0`` are refused too).
        ValueError: ``bits`` is out of range.
    """
    if isinstance(bits, bool) or not isinstance(bits, int):
        raise TypeError(f"{name} must be an int, got {type(bits).__name__}")
    if not minimum <= bits <= MAX_BITS:
        raise ValueError(f"{name} must lie between {minimum} and {MAX_BITS}, got {bits}")
    return bits


def check_float(x: Tensor, name: str = "x") -> Tensor:
    """Return ``x`` if it is a floating point tensor with at least one element.

    Raises:
        TypeError: ``x`` is not a tensor, or not of a floating point dtype of 16 to 64 bits.
        ValueError: ``x`` is empty.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be a floating point tensor, got {x.dtype}")
    if x.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(x.shape)}")
    return x


def check_finite(x: Tensor, name: str = "x") -> Tensor:
    """Return ``x`` if it passes :func:`check_float` and holds neither NaN nor Inf.

    Raises:
        TypeError, ValueError: as :func:`check_float`; ValueError also for NaN or Inf.
    """
    check_float(x, name)
    # The extremes are NaN where anything is; asking each element takes torch many times as long.
    if not (x.amin().isfinite() and x.amax().isfinite()):
        raise ValueError(f"{name} holds NaN or Inf")
    return x


def check_integers(values: Tensor, low: int, high: int, name: str = "values") -> Tensor:
    """Return ``values`` if it is an integer tensor with every element in ``low … high``.

    Raises:
        TypeError: ``values`` is not a tensor, or not of an integer dtype (bool is not one; uint64 is refused too).
        ValueError: an element is out of range.
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(values).__name__}")
    if values.dtype not in INTEGERS:
        raise TypeError(f"{name} must be an integer tensor, got {values.dtype}")
    if values.numel():
        least, greatest = (bound.item() for bound in torch.aminmax(values.long()))
        if least < low or greatest > high:
            raise ValueError(f"{name} must lie between {low} and {high}, got {least} to {greatest}")
    return values


def working_precision(x: Tensor) -> Tensor:
    """``x`` in float32 if it is of half precision (its 8 to 11 significant bits cannot hold every code), else as is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check_channel_axis(x: Tensor, channel_axis: int | None, name: str = "x") -> tuple[int, ...]:
    """Shape of one number per channel of ``x``: () if ``channel_axis`` is None, else 1 in all other axes.

    Raises:
        TypeError: ``channel_axis`` is neither ``None`` nor an ``int``.
        ValueError: ``channel_axis`` is not an axis of ``x``.
    """
    if channel_axis is None:
        return ()
    if isinstance(channel_axis, bool) or not isinstance(channel_axis, int):
        raise TypeError(f"channel_axis must be an int or None, got {type(channel_axis).__name__}")
    if not -x.dim() <= channel_axis < x.dim():
        raise ValueError(f"channel_axis {channel_axis} is not an axis of {name} with shape {tuple(x.shape)}")
    return tuple(size if axis == channel_axis % x.dim() else 1 for axis, size in enumerate(x.shape))
