"""Ternary weights: -1, 0 and +1 times a scale. Which weights become zero?

TWN (li2016) answers with a fixed share of the mean magnitude, TTQ (zhu2016) with a fixed share of the largest magnitude
and learns one scale for each sign, and Yin et al. (yin2016) compute the answer of least squared error. In all three a
real latent weight is trained through a straight-through gradient; codes take 2 bits.

A weight exactly on the threshold becomes 0. NaN and ±Inf, empty tensors and other than floating point dtypes are
refused; half precision is computed in float32.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function

from fewbits.channels import channel_rows, mean_magnitude
from fewbits.checks import check_channel_axis, check_finite, check_float, working_precision
from fewbits.codes import Codes
from fewbits.powers import nearest_power, power_below
from fewbits.quantizer import Quantizer
from fewbits.ste import straight_through

# --- Ternary Weight Networks ---------------------------------------------------------------------------------------


def threshold_ternary(x: Tensor, threshold: Tensor, channel_axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Codes ``sign(x) * (|x| > threshold)`` and their least squares scale, the mean of the surviving magnitudes.

    li2016, Eq. 3 and 5.

    Args:
        x: any shape, finite.
        threshold: >= 0, () or one per channel, broadcastable to ``x``.
        channel_axis: axis with a scale of its own for each index, or None for one scale.
    Returns:
        codes: int8 in {-1, 0, 1}, shape of ``x``.
        scale: dtype of ``x``, () or broadcastable to it; 0 where nothing survives.
    Raises:
        TypeError, ValueError: as :func:`fewbits.channels.mean_magnitude`.
    """
    check_finite(x)
    survives = x.abs() > threshold
    rows = channel_rows(survives, channel_axis)
    magnitudes = channel_rows(x.abs(), channel_axis).double()
    scale = ((magnitudes * rows).sum(1) / rows.sum(1).clamp(min=1)).to(x.dtype)
    check_finite(scale, "the scale of x")
    return (x.sign() * survives).to(torch.int8), scale.reshape(check_channel_axis(x, channel_axis))


class TWN(Quantizer):
    """Ternary weights with threshold ``ratio * mean|w|`` (li2016, Eq. 6); the gradient passes unchanged.

    All zero gives scale 0 and zeros.

    Args:
        ratio: 0.7, the paper's compromise, or 2/3 for uniformly distributed weights; see :func:`optimal_ratio`.
        channel_axis: one threshold and scale for each index of this axis, or None for one of each (the paper).
    Raises:
        ValueError: ``ratio`` is negative or NaN.
    """

    def __init__(self, ratio: float = 0.7, channel_axis: int | None = None):
        super().__init__()
        if not 0 <= ratio < torch.inf:
            raise ValueError(f"ratio must be finite and not negative, got {ratio}")
        self.ratio, self.channel_axis = ratio, channel_axis

    def codes_and_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scale as in :func:`threshold_ternary`."""
        return threshold_ternary(x, self.ratio * mean_magnitude(x, self.channel_axis), self.channel_axis)

    def forward(self, x: Tensor) -> Tensor:
        return _simulate(self, x)

    def encode(self, x: Tensor) -> Codes:
        return _encode(self, x)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio:.4g}, channel_axis={self.channel_axis}"


def optimal_ratio(distribution) -> float:
    """Threshold of least squared error, divided by the mean magnitude, for infinitely many weights.

    With threshold Δ the best scale is ``a = E[|w| given |w| > Δ]``, and the error is least where no weight would be
    better off with another code: at ``Δ = a / 2``. The root of that equation lies between 0 and E|w| for any
    distribution whose density of |w| is log-concave (normal, uniform, Laplace).

    Args:
        distribution: of **|w|**, a frozen continuous distribution of ``scipy.stats``: ``halfnorm()`` for normal
            weights gives 0.767…, ``uniform()`` exactly 2/3, ``expon()`` (Laplace weights) exactly 1.
    """
