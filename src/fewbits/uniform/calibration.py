"""Calibration: which interval of a tensor should the integers cover? (wu2020 Sec. 3.4)

Covering everything wastes steps on a few outliers; clipping too much saturates what matters. Three answers follow. Each
returns ``(low, high)`` and never widens the tensor's own range.
"""

import numpy as np
import torch
from torch import Tensor

from fewbits.core.checks import check_bits, check_channel_axis, check_finite


def max_range(x: Tensor, channel_axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Minimum and maximum: nothing is clipped.

    Args:
        x: any shape, finite.
        channel_axis: one pair for each index of that axis, or None for one pair.
    Returns:
        low, high: () each, or broadcastable to ``x`` with all axes but ``channel_axis`` of length 1.
    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, or holds NaN or Inf.
    Source: wu2020 Sec. 3.4; jacob2018 Sec. 3.1 (weights)
    """
    check_finite(x)
    check_channel_axis(x, channel_axis)
    if channel_axis is None:
        return x.amin(), x.amax()  # torch.aminmax is many times slower where channels come last in memory
    axes = [axis for axis in range(x.dim()) if axis != channel_axis % x.dim()]
    return (x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)) if axes else (x.clone(), x.clone())


def percentile_range(x: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """The interval that the given percentage of magnitudes falls into; the rest saturates.

    Args:
        x: any shape, finite.
        percentile: 0 < percentile <= 100; wu2020 tries 99.9 to 99.9999. Linear interpolation between neighbours.
    Returns:
        low, high: (); ``x`` clipped to ±(percentile of |x|).
    Raises:
        ValueError: ``percentile`` out of range, ``x`` empty or not finite.
    Source: wu2020 Sec. 3.4
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must lie in (0, 100], got {percentile}")
    check_finite(x)
    return _clipped(x, float(np.percentile(x.detach().abs().cpu().double().numpy(), percentile)))  # wu2020 Sec. 3.4


def entropy_range(x: Tensor, bits: int, bins: int = 2048) -> tuple[Tensor, Tensor]:
    """The interval whose quantized histogram tells most about the original one: least Kullback–Leibler divergence.

    For every threshold T (a border of the histogram of |x|) the reference P is the histogram clipped at T, with what
    lies above added to its last bin. Q is the part below T merged to the number of magnitudes that ``bits`` can tell
    apart, and spread again over the bins that were not empty. The T of least KL(P‖Q) wins. Zeros do not count: they
    have an exact code at any T, and half of a ReLU's output would otherwise pass for a mass that merging smears.

    Args:
        x: any shape, finite.
        bits: bits of the code; half of the codes go to negative values if ``x`` has any.
        bins: resolution of the histogram of magnitudes; nothing is clipped where it has no more bins than levels.
    Returns:
        low, high: (), ``x`` clipped to ±T.
    Raises:
        ValueError: ``bits`` or ``bins`` out of range, ``x`` empty or not finite.
    Source: wu2020 Sec. 3.4 (names the idea); own (histogram procedure, zeros left out)
    """
    check_bits(bits)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    check_finite(x)
    magnitude = x.detach().abs().flatten().cpu().double().numpy()
    largest = float(magnitude.max())
    signed = bool((x < 0).any())
    levels = 2 ** (bits - 1) if signed and bits > 1 else 2**bits
    if largest == 0 or levels >= bins:
        return _clipped(x, largest)
    counts, borders = np.histogram(magnitude[magnitude > 0] / largest, bins=bins, range=(0.0, 1.0))
    divergence = [_clipping_divergence(counts, kept, levels) for kept in range(levels, bins + 1)]  # wu2020 Sec. 3.4
    return _clipped(x, largest * float(borders[levels + int(np.argmin(divergence))]))


def _clipping_divergence(counts: np.ndarray, kept: int, levels: int) -> float:
    """KL(P‖Q) when the first ``kept`` bins of ``counts`` are represented by ``levels`` levels."""
    inside = counts[:kept].astype(np.float64)
    reference = inside.copy()
    reference[-1] += counts[kept:].sum()
    occupied = inside > 0
    group = np.arange(kept) * levels // kept
    total = np.bincount(group, weights=inside, minlength=levels)
    members = np.bincount(group, weights=occupied, minlength=levels)
    quantized = np.where(occupied, total[group] / np.maximum(members[group], 1), 0.0)
    if quantized.sum() == 0 or (reference[~occupied] > 0).any():
        return np.inf  # Q calls impossible what P has seen
    p, q = reference[occupied] / reference.sum(), quantized[occupied] / quantized.sum()
    return float((p * np.log(p / q)).sum())


def _clipped(x: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    low, high = torch.aminmax(x)
    return low.clamp(min=-threshold), high.clamp(max=threshold)
