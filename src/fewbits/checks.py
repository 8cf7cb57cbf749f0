"""Checks of arguments: one clear error, raised before anything is computed, that names the argument."""

import torch
from torch import Tensor

MAX_BITS = 16


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
        TypeError: ``x`` is not a tensor, or not of a floating point dtype.
        ValueError: ``x`` is empty.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
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
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or Inf")
    return x


def working_precision(x: Tensor) -> Tensor:
    """``x`` in float32 if it is of half precision (its 8 to 11 significant bits cannot hold every code), else as is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check_channel_axis(x: Tensor, channel_axis: int | None, name: str = "x") -> None:
    """Refuse a ``channel_axis`` that ``x`` does not have.

    Raises:
        ValueError: ``channel_axis`` is neither ``None`` nor an axis of ``x``.
    """
    if channel_axis is not None and not -x.dim() <= channel_axis < x.dim():
        raise ValueError(f"channel_axis {channel_axis} is not an axis of {name} with shape {tuple(x.shape)}")
