"""Learned step size: the step of a uniform grid is a parameter, trained with the weights (LSQ, esser2020)."""

import math

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from fewbits.core.channels import mean_magnitude
from fewbits.core.checks import check_bits, check_finite, check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.quantizer import Quantizer
from fewbits.core.ste import in_blocks, round_backward, round_ste
from fewbits.uniform import integer_range, symmetric_scale

LEAST_STEP = 2.0**-20


def lsq_codes(x: Tensor, step: Tensor, q_min: int, q_max: int) -> Tensor:
    """Codes of ``x`` on the grid of ``step`` > 0: integers in its dtype, differentiable.

    Source: esser2020 Eq. 1; esser2020 Eq. 3; esser2020 Eq. 5; book eq-lsq
    """
    # esser2020 Eq. 1; autograd turns this line into esser2020 Eq. 3 and esser2020 Eq. 5
    return round_ste((x / step).clamp(q_min, q_max))


def lsq_values(x: Tensor, step: Tensor, q_min: int, q_max: int) -> Tensor:
    """The numbers that the codes of ``x`` stand for, differentiable in ``x`` and ``step``.

    Source: esser2020 Eq. 2; book eq-lsq
    """
    # esser2020 Eq. 2
    return lsq_codes(x, step, q_min, q_max) * step + 0.0  # + 0.0: integers have one zero


class _LearnedStep(Function):
    """:func:`lsq_values` in few passes over memory, block by block, with the gradients written out."""

    @staticmethod
    def forward(ctx, x, step, q_min, q_max):
        ctx.save_for_backward(x, step)
        ctx.bounds = q_min, q_max
        values = torch.empty_like(x)
        for block in in_blocks(x, step):
            codes = torch.div(block(x), step, out=block(values)).clamp_(q_min, q_max).round_()  # esser2020 Eq. 1
            codes.mul_(step).add_(0.0)  # esser2020 Eq. 2
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, step = ctx.saved_tensors
        gradient, of_step = torch.empty_like(x), torch.zeros_like(step)
        if grad.stride() != x.stride():
            grad = torch.empty_like(x).copy_(grad)  # in the layout of x, so that its blocks are those of x
        for block in in_blocks(x, step):
            ratio = block(x) / step
            slope = ratio.clamp(*ctx.bounds)
            inside = torch.eq(slope, ratio, out=block(gradient))  # 0 or 1
            slope.round_().addcmul_(ratio, inside, value=-1)  # esser2020 Eq. 3
            of_step += slope.mul_(block(grad)).sum()
            inside.mul_(block(grad))  # esser2020 Eq. 5
        return gradient, of_step, None, None


class LSQ(Quantizer):
    """Even grid ``s * round(clip(v / s, -Q_N, Q_P))`` with one learned step s per tensor.

    Weights are signed, with Q_N = 2^(b-1) and Q_P = Q_N - 1. Activations are not, with Q_N = 0 and Q_P = 2^b - 1, and
    negative inputs become 0. Ties go to the even integer. With g the gradient of the output:

    * v: g where ``-Q_N <= v / s <= Q_P``, 0 elsewhere (Eq. 5);
    * s: the sum of ``g * (round(v / s) - v / s)`` inside, ``-g * Q_N`` below and ``g * Q_P`` above (Eq. 3), times the
      gradient scale ``1 / sqrt(N * Q_P)`` (Sec. 2.2), where N counts weights, or the features of one image.

    The paper puts ``v / s = Q_P`` itself outside; differentiation of the formula puts it inside, and so do we.

    The first input sets the step to ``2 * mean|v| / sqrt(Q_P)`` (Sec. 2.1): a layer's weights when the quantizer is
    registered, or the first batch of activations in train mode or in calibration; in eval mode activations without a
    step are refused. All zero gives 1. NaN and ±Inf are refused there and in ``encode``; later ``forward`` keeps NaN
    and saturates ±Inf. Half precision is computed in float32. Training can take the step below 0, where it is refused:
    train with ``after_step=constrain`` (:func:`fewbits.core.quantizer.constrain`).

    Args:
        bits: 2 to 16, or 1 to 16 where not ``signed``.
        signed: True for weights, False for activations after a ReLU.
        scale_gradient: False leaves the gradient scale out.
    Raises:
        TypeError, ValueError: ``bits`` is no integer or out of range.
    Source: esser2020 Eq. 1; esser2020 Eq. 2; esser2020 Eq. 3; esser2020 Eq. 5; esser2020 Sec. 2.1 (start);
        esser2020 Sec. 2.2 (factor of the gradient); book eq-lsq; book eq-lsq-scale
    """

    def __init__(self, bits: int, signed: bool = True, scale_gradient: bool = True):
        super().__init__()
        self.bits = check_bits(bits, minimum=2 if signed else 1)  # one signed bit has no code above 0
        self.signed, self.scale_gradient = signed, scale_gradient
        self.q_min, self.q_max = integer_range(bits, signed)
        self.step_size = nn.Parameter(torch.ones(()))
        self.started: Tensor
        self.register_buffer("started", torch.tensor(False))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Set the step to where ``x`` starts it."""
        mean = mean_magnitude(working_precision(check_float(x)), None).to(self.step_size)
        self.step_size.copy_(symmetric_scale(2 * math.sqrt(self.q_max) * mean, self.q_max))  # esser2020 Sec. 2.1
        self.started.fill_(True)

    def gradient_scale(self, x: Tensor) -> float:
        """``1 / sqrt(N * Q_P)``: what the gradient of the step is multiplied with for an input like ``x``."""
        batch = 1 if self.signed or x.dim() == 0 else len(x)
        return 1 / math.sqrt(x.numel() // batch * self.q_max)  # esser2020 Sec. 2.2

    def _positive(self, step: Tensor) -> Tensor:
        if not (torch.isfinite(step) and step > 0):
            raise ValueError(
                f"step_size must be positive and finite, got {step.item()}; call keep_positive in training"
            )
        return step

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        if not self.started:
            self.check_batch()
            self.fit(x)
        step: Tensor = self.step_size
        if self.scale_gradient:
            factor = self.gradient_scale(x)
            step = round_backward(step, lambda gradient: factor * gradient)
        return _LearnedStep.apply(x, self._positive(step.to(x.dtype)), self.q_min, self.q_max)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        if not self.started:
            raise ValueError("step_size has not started: call the quantizer, or fit, before encode")
        x = working_precision(check_finite(x))
        step = self.step_size.detach().to(x.dtype, copy=True)  # training must not change what is stored
        codes = lsq_codes(x, self._positive(step), self.q_min, self.q_max)
        return Codes(codes.to(torch.int32), self.bits, step, signed=self.signed)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the step up to at least 2^-20; call it after each step of the optimizer.

        Source: own (guard)
        """
        self.step_size.clamp_(min=LEAST_STEP)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, {'signed' if self.signed else 'unsigned'}, scale_gradient={self.scale_gradient}"


@torch.no_grad()
def least_error_step(x: Tensor, bits: int, signed: bool = True, candidates: int = 400) -> float:
    """The step whose grid of ``bits`` bits has the least squared error for ``x``, of ``candidates`` tried.

    They are equally spaced from 0 to the step that clips nothing, so it is found to within 1/``candidates`` of that.

    Args:
        x: any shape, finite, floating point.
        bits, signed: as in :class:`LSQ`.
        candidates: at least 1.
    Raises:
        ValueError: ``x`` is 0 everywhere.
    Source: esser2020 Sec. 3.6 (the comparison); own (search)
    """
    q_min, q_max = integer_range(bits, signed)
    x = working_precision(check_finite(x)).flatten()
    widest = x.abs().max() / q_max
    if widest == 0:
        raise ValueError("x is 0 everywhere: every step has no error")
    steps = [widest * (index + 1) / candidates for index in range(candidates)]
    errors = [(lsq_values(x, step, q_min, q_max) - x).square().sum().item() for step in steps]
    return steps[min(range(candidates), key=errors.__getitem__)].item()


def keep_positive(model: nn.Module) -> None:
    """Bring every learned step of ``model`` up to at least 2^-20: ``after_step`` of :func:`fewbits.training.fit`.

    Source: own (guard)
    """
    for module in model.modules():
        if isinstance(module, LSQ):
            module.constrain()
