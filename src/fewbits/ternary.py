"""Ternary weights: -1, 0 and +1 times a scale. Which weights become zero?

TWN (li2016) answers with a fixed share of the mean magnitude, TTQ (zhu2016) with a fixed share of the largest magnitude
and learns one scale for each sign, and yin2016 computes the answer of least squared error. In all three a
real latent weight is trained through a straight-through gradient; codes take 2 bits.

A weight exactly on the threshold becomes 0. NaN and ±Inf, empty tensors and other than floating point dtypes are
refused; half precision is computed in float32.
"""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.autograd import Function

from fewbits.core.channels import channel_rows, mean_magnitude
from fewbits.core.checks import check_channel_axis, check_finite, check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.powers import nearest_power, power_below
from fewbits.core.quantizer import Quantizer
from fewbits.core.ste import straight_through

# --- Ternary Weight Networks ---------------------------------------------------------------------------------------


def threshold_ternary(x: Tensor, threshold: Tensor, channel_axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Codes ``sign(x) * (|x| > threshold)`` and their least squares scale, the mean of the surviving magnitudes.

    Args:
        x: any shape, finite.
        threshold: >= 0, () or one per channel, broadcastable to ``x``.
        channel_axis: axis with a scale of its own for each index, or None for one scale.
    Returns:
        codes: int8 in {-1, 0, 1}, shape of ``x``.
        scale: dtype of ``x``, () or broadcastable to it; 0 where nothing survives.
    Raises:
        TypeError, ValueError: as :func:`fewbits.core.channels.mean_magnitude`.
    Source: li2016 Eq. 3; li2016 Eq. 5; book eq-ternary
    """
    check_finite(x)
    survives = x.abs() > threshold  # li2016 Eq. 3
    rows = channel_rows(survives, channel_axis)
    magnitudes = channel_rows(x.abs(), channel_axis).double()
    scale = ((magnitudes * rows).sum(1) / rows.sum(1).clamp(min=1)).to(x.dtype)  # li2016 Eq. 5
    check_finite(scale, "the scale of x")
    return (x.sign() * survives).to(torch.int8), scale.reshape(check_channel_axis(x, channel_axis))


class TWN(Quantizer):
    """Ternary weights with threshold ``ratio * mean|w|``; the gradient passes unchanged.

    All zero gives scale 0 and zeros.

    Args:
        ratio: 0.7, the paper's compromise, or 2/3 for uniformly distributed weights; see :func:`optimal_ratio`.
        channel_axis: one threshold and scale for each index of this axis, or None for one of each (the paper).
        power_of_two: round the scale to the nearest power of two, best for these codes: scaling is a shift.
    Raises:
        ValueError: ``ratio`` is negative or NaN.
    Source: li2016 Eq. 6 (its approximate solution, in the text after it); own (powers of two); book eq-ternary
    """

    weights_only = True

    def __init__(self, ratio: float = 0.7, channel_axis: int | None = None, power_of_two: bool = False):
        super().__init__()
        if not 0 <= ratio < torch.inf:
            raise ValueError(f"ratio must be finite and not negative, got {ratio}")
        self.ratio, self.channel_axis, self.power_of_two = ratio, channel_axis, power_of_two

    def codes_and_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scale as in :func:`threshold_ternary`."""
        threshold = self.ratio * mean_magnitude(x, self.channel_axis)  # li2016 Eq. 6
        codes, scale = threshold_ternary(x, threshold, self.channel_axis)
        return codes, nearest_power(scale) if self.power_of_two else scale

    def forward(self, x: Tensor) -> Tensor:
        return _simulate(self, x)

    def encode(self, x: Tensor) -> Codes:
        return _encode(self, x)

    def extra_repr(self) -> str:
        return f"ratio={self.ratio:.4g}, channel_axis={self.channel_axis}, power_of_two={self.power_of_two}"


def optimal_ratio(distribution) -> float:
    """Threshold of least squared error, divided by the mean magnitude, for infinitely many weights.

    With threshold Δ the best scale is ``a = E[|w| given |w| > Δ]``, and the error is least where no weight would be
    better off with another code: at ``Δ = a / 2``. The root of that equation lies between 0 and E|w| for any
    distribution whose density of |w| is log-concave (normal, uniform, Laplace).

    Args:
        distribution: of **|w|**, a frozen continuous distribution of ``scipy.stats``: ``halfnorm()`` for normal
            weights gives 0.767…, ``uniform()`` exactly 2/3, ``expon()`` (Laplace weights) exactly 1.
    Source: own (the optimum of li2016 Eq. 6 for a distribution); book eq-ternary-optimum
    """

    def gap(threshold: float) -> float:
        # book eq-ternary-optimum
        return threshold - distribution.expect(lambda w: w, lb=threshold, conditional=True) / 2

    return brentq(gap, 0, distribution.mean(), xtol=1e-12) / distribution.mean()


# --- Trained Ternary Quantization ----------------------------------------------------------------------------------


class _TrainedTernary(Function):
    @staticmethod
    def forward(ctx, x, w_p, w_n, threshold):
        positive, negative = x > threshold, x < -threshold
        ctx.save_for_backward(positive, negative, w_p, w_n)
        return torch.where(positive, w_p, torch.where(negative, -w_n, 0.0))  # zhu2016 Eq. 6

    @staticmethod
    def backward(ctx, grad):
        positive, negative, w_p, w_n = ctx.saved_tensors
        latent = grad * torch.where(positive, w_p, torch.where(negative, w_n, 1.0))  # zhu2016 Eq. 8
        return latent, (grad * positive).sum(), -(grad * negative).sum(), None  # zhu2016 Eq. 7


class TTQ(Quantizer):
    """Weights -W_n, 0 and +W_p with learned W_p and W_n; one pair per tensor, as in the paper.

    The paper first divides the weights by their largest magnitude and then compares with ``threshold``; comparing with
    ``threshold * max|w|`` is the same without the division. With g the gradient of the output:

    * latent weight: ``g W_p`` above the threshold, ``g`` between, ``g W_n`` below (Eq. 8);
    * W_p: the sum of g over the positive codes; W_n: *minus* the sum of g over the negative ones, because the output
      there is -W_n. The paper's Eq. 7 leaves the minus sign out.

    The paper's second rule sets the threshold so that a fixed share of the weights, ``sparsity``, becomes zero. Equal
    magnitudes go together, so the share may be larger by ties.

    All zero gives zeros. W_p and W_n start at 1, as in the authors' code, which only a network that normalizes
    afterwards can use; :meth:`fit_scales` starts them at the least squares fit.

    Args:
        threshold: t, in [0, 1); the paper uses 0.05.
        sparsity: share of zeros, in [0, 1), in place of the rule with ``threshold``; None for that rule.
    Raises:
        ValueError: ``threshold`` or ``sparsity`` is out of range.
    Source: zhu2016 Eq. 6; zhu2016 Eq. 7 (with the missing minus sign); zhu2016 Eq. 8; zhu2016 Eq. 9; zhu2016 Sec. 3.2
        (constant sparsity); own (fit_scales); book eq-ternary-ttq
    """

    weights_only = True

    def __init__(self, threshold: float = 0.05, sparsity: float | None = None):
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must lie in [0, 1), got {threshold}")
        if sparsity is not None and not 0 <= sparsity < 1:
            raise ValueError(f"sparsity must lie in [0, 1) or be None, got {sparsity}")
        self.threshold, self.sparsity = threshold, sparsity
        self.w_p = nn.Parameter(torch.ones(()))
        self.w_n = nn.Parameter(torch.ones(()))

    def _absolute_threshold(self, x: Tensor) -> Tensor:
        magnitudes = check_finite(x).detach().abs()
        if self.sparsity is None:
            return self.threshold * magnitudes.max()  # zhu2016 Eq. 9
        zeros = round(self.sparsity * x.numel())
        # zhu2016 Sec. 3.2
        return magnitudes.flatten().kthvalue(zeros).values if zeros else magnitudes.new_zeros(())

    @torch.no_grad()
    def fit_scales(self, x: Tensor) -> None:
        """Set W_p and W_n to the mean magnitudes of the positive and of the negative survivors of ``x``.

        A side without survivors keeps its scale.
        """
        threshold = self._absolute_threshold(working_precision(check_float(x)))
        for scale, side in ((self.w_p, x[x > threshold]), (self.w_n, -x[x < -threshold])):
            if side.numel():
                scale.copy_(side.mean(dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        return _TrainedTernary.apply(x, self.w_p.to(x.dtype), self.w_n.to(x.dtype), self._absolute_threshold(x))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_float(x))
        threshold = self._absolute_threshold(x)
        levels = torch.stack([-self.w_n, torch.zeros_like(self.w_p), self.w_p]).to(x.dtype)
        values = 1 + (x > threshold).to(torch.uint8) - (x < -threshold).to(torch.uint8)
        return Codes(values, 2, x.new_ones(()), levels=levels, signed=False)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold:.4g}, sparsity={self.sparsity}"


# --- Exact ternary -------------------------------------------------------------------------------------------------


def exact_ternary(x: Tensor, channel_axis: int | None = None, power_of_two: bool = False) -> tuple[Tensor, Tensor]:
    """Ternary approximation ``scale * codes`` of least squared error, in O(n log n).

    Whatever the scale, the k non-zero codes belong to the k largest magnitudes. Let S_k be their sum. A scale s then
    leaves the error ``|x|² - 2 s S_k + k s²``; its minimum ``|x|² - S_k²/k`` lies at ``s = S_k / k``. So one sort and
    one cumulative sum find the best k. If s must be a power of two, the best one for given k is the one nearest to
    ``S_k / k``, because the error is a parabola in s.

    Args:
        x: any shape, finite.
        channel_axis: solve for each index of this axis by itself, or None for the whole tensor.
        power_of_two: allow only powers of two as scales.
    Returns:
        codes: int8 in {-1, 0, 1}, shape of ``x``.
        scale: dtype of ``x``, () or broadcastable to it; 0 only where all weights are 0.
    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, holds NaN or Inf, or its scale overflows.
    Source: yin2016 Sec. 2; li2016 Eq. 6 (the problem); own (powers of two); book eq-ternary-error
    """
    rows = channel_rows(check_finite(x).abs(), channel_axis).double()
    # Sums and squares of magnitudes below 2 neither overflow nor vanish; dividing by a power of two is exact.
    unit = power_below(rows.amax(1, keepdim=True))
    unit = torch.where(unit > 0, unit, 1.0)
    scale = unit * least_error_scale(_descending(rows / unit), power_of_two)
    scale = scale.squeeze(1).to(x.dtype).reshape(check_channel_axis(x, channel_axis))
    # At the optimum every weight has its nearest code, so half the scale is the threshold.
    codes = (x.sign() * (x.abs() > check_finite(scale, "the scale of x") / 2)).to(torch.int8)
    return codes, scale


def least_error_scale(magnitudes: Tensor, power_of_two: bool = False) -> Tensor:
    """The scale of the best ternary codes for sorted magnitudes.

    Args:
        magnitudes: (…, n), >= 0, along the last axis sorted from the largest to the smallest.
        power_of_two: allow only powers of two as scales.
    Returns:
        (…, 1), in the dtype of ``magnitudes``.
    Source: yin2016 Sec. 2; li2016 Eq. 6 (the problem); book eq-ternary-error
    """
    total = magnitudes.cumsum(-1)  # S_1, S_2, …, S_n
    count = torch.arange(1, magnitudes.shape[-1] + 1).to(magnitudes)
    scale = nearest_power(total / count) if power_of_two else total / count
    gain = scale * (2 * total - count * scale)  # S_k² / k where the scale is S_k / k
    best = gain.argmax(-1, keepdim=True)  # yin2016 Sec. 2; li2016 Eq. 6
    return scale.take_along_dim(best, -1)


def _descending(rows: Tensor) -> Tensor:
    """Each row sorted, largest first. On a CPU NumPy does it, ten times faster than torch."""
    if rows.device.type != "cpu":
        return rows.sort(1, descending=True).values
    return torch.from_numpy(np.sort(rows.numpy(), axis=1)).flip(1)


class ExactTernary(Quantizer):
    """Ternary weights of least squared error by :func:`exact_ternary`; the gradient passes unchanged.

    All zero gives scale 0 and zeros.

    Args:
        channel_axis: one scale for each index of this axis, or None for one scale.
        power_of_two: allow only powers of two as scales, so that scaling is a shift.
    Source: yin2016 Sec. 2
    """

    weights_only = True

    def __init__(self, channel_axis: int | None = None, power_of_two: bool = False):
        super().__init__()
        self.channel_axis, self.power_of_two = channel_axis, power_of_two

    def codes_and_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scale as in :func:`exact_ternary`."""
        return exact_ternary(x, self.channel_axis, self.power_of_two)

    def forward(self, x: Tensor) -> Tensor:
        return _simulate(self, x)

    def encode(self, x: Tensor) -> Codes:
        return _encode(self, x)

    def extra_repr(self) -> str:
        return f"channel_axis={self.channel_axis}, power_of_two={self.power_of_two}"


def _simulate(quantizer: TWN | ExactTernary, x: Tensor) -> Tensor:
    x = working_precision(check_float(x))
    codes, scale = quantizer.codes_and_scale(x.detach())
    return straight_through(x, codes.to(x.dtype) * scale)


def _encode(quantizer: TWN | ExactTernary, x: Tensor) -> Codes:
    codes, scale = quantizer.codes_and_scale(working_precision(check_float(x)).detach())
    return Codes(codes, 2, scale)
