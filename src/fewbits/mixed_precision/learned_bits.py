"""Learned bit widths: the step and the range of a grid are trained, and the bits follow (uhlich2020).

A signed grid of step d that ends at q_max has the codes -K … K with K = q_max / d. It needs ``ceil(log2(K + 1)) + 1``
bits. Training moves d and q_max by gradient descent, for each layer or for each filter. A penalty limits the bits:
:mod:`fewbits.mixed_precision.bit_costs`.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.optim import Optimizer

from fewbits.core.channels import channel_rows
from fewbits.core.checks import check_bits, check_channel_axis, check_finite, check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.filter_codes import FilterCodes, nearest_code
from fewbits.core.powers import ap2, power_below
from fewbits.core.quantizer import Quantizer, quantize_weights, weight_quantizers
from fewbits.core.ste import straight_through

RULES = ("paper", "released")


class _LearnedGrid(Function):
    """Round to the grid; see :class:`LearnedBits` for the gradients."""

    @staticmethod
    def forward(ctx, x, step, q_max, signed, rule):
        last = torch.floor(q_max / step + 0.5)
        code = nearest_code(x, step).clamp(-last if signed else torch.zeros_like(last), last)  # uhlich2020 Eq. 1
        ctx.save_for_backward(x, step, q_max, code)
        ctx.signed, ctx.rule = signed, rule
        return code * step + 0.0  # + 0.0: integers have one zero

    @staticmethod
    def backward(ctx, grad):
        x, step, q_max, code = ctx.saved_tensors
        above = x > q_max
        below = x < (-q_max if ctx.signed else 0)
        side = above.to(x.dtype) - below.to(x.dtype) if ctx.signed else above.to(x.dtype)
        by_step = (code - x / step).where(~(above | below), 0.0)  # uhlich2020 Eq. 3c
        if ctx.rule == "released":  # the clipped value is rounded too, and its rounding error depends on the step
            by_step = by_step + side * (torch.floor(q_max / step + 0.5) - q_max / step)
        return (
            grad.where(~(above | below), 0.0),  # uhlich2020 Eq. 2
            (grad * by_step).sum_to_size(step.shape),  # uhlich2020 Eq. 3c
            (grad * side).sum_to_size(q_max.shape),  # uhlich2020 Eq. 3c
            None,
            None,
        )


class LearnedBits(Quantizer):
    """Uniform grid with learned step d and range q_max; the number of bits is derived from them.

    ``Q(x) = d * sign(x) * floor(|x| / d + 1/2)`` up to ``|x| = q_max``, and the last point of the grid outside. The
    last point is ``K * d`` with K = q_max / d rounded to an integer: the paper writes q_max itself, which is on the
    grid only if it is a multiple of d. Bits: ``ceil(log2(K + 1)) + 1``; one less where ``signed`` is False.

    Gradients, with g that of the output and "outside" for ``|x| > q_max``:

    * x: g inside, 0 outside;
    * q_max: 0 inside, ``sign(x) * g`` outside;
    * d: ``(Q(x) - x) / d * g`` inside. Outside 0 by the rule "paper"; ``sign(x) * (K - q_max / d) * g`` by the rule
      "released", because the authors' code rounds the clipped value. Both agree where q_max is a multiple of d.

    With ``power_of_two`` the step in use is the power of two nearest to the learned one on a log scale; its gradient
    goes to the learned one unchanged. All gradients are sums over the filter or the tensor.

    Half precision is computed in float32. NaN and ±Inf, empty tensors and other dtypes are refused. With a
    ``channel_axis`` the first input fits the grids, with ``max_bits``, unless :meth:`fit` came before.

    Args:
        channel_axis: d and q_max for each index of this axis (filter-wise, signed only), or None for one of each.
        signed: False for data that is never negative, such as the output of a ReLU; negative inputs become 0.
        power_of_two: allow only powers of two as steps, so that scaling is a shift.
        rule: "paper" or "released", the gradient of d outside the range.
        min_bits, max_bits: the bits stay between them. If they are equal only the step is learned, and q_max is the
            largest code times the step, with its gradient. Signed grids have at least 2 bits.
    Raises:
        ValueError: ``rule`` is unknown, bits are out of range or in the wrong order, or an unsigned grid per channel.
    Source: uhlich2020 Eq. 1; uhlich2020 Eq. 2; uhlich2020 Eq. 3c; uhlich2020 Sec. 2.2 (powers of two); own (last point
        K d, grids per filter, rule "released"); book eq-mixed-q; book eq-mixed-grad
    """

    def __init__(
        self,
        channel_axis: int | None = None,
        signed: bool = True,
        power_of_two: bool = True,
        rule: str = "paper",
        min_bits: int = 2,
        max_bits: int = 8,
    ):
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule must be one of {RULES}, got {rule!r}")
        if channel_axis is not None and not signed:
            raise ValueError("channel_axis needs a signed grid: activations have one grid per tensor")
        check_bits(max_bits, minimum=check_bits(min_bits, minimum=2 if signed else 1, name="min_bits"), name="max_bits")
        self.channel_axis, self.signed, self.power_of_two, self.rule = channel_axis, signed, power_of_two, rule
        self.min_bits, self.max_bits = min_bits, max_bits
        self.step_size = nn.Parameter(torch.tensor(2.0 ** (1 - max_bits)))
        self.q_max = nn.Parameter(torch.tensor(1.0))

    @torch.no_grad()
    def fit(self, x: Tensor, bits: int | None = None) -> None:
        """Start with ``bits`` bits (None: ``max_bits``): of four steps the one with the smallest squared error.

        Each is half of the one before. The first is the smallest step (or power of two) whose grid reaches ``max|x|``.
        An all-zero channel gets q_max = 1.

        Source: own (start of least error)
        """
        bits = self.max_bits if bits is None else check_bits(bits, self.min_bits)
        if bits > self.max_bits:
            raise ValueError(f"bits must lie between {self.min_bits} and {self.max_bits}, got {bits}")
        x = working_precision(check_finite(x))
        shape = check_channel_axis(x, self.channel_axis)
        largest = channel_rows(x.abs(), self.channel_axis).amax(1).reshape(shape)
        largest = torch.where(largest > 0, largest, 1.0)
        codes = 2 ** (bits - self.signed) - 1
        step = largest / codes
        if self.power_of_two:
            step = torch.where(power_below(step) < step, 2 * power_below(step), step)
        least, best = torch.full(shape, torch.inf).to(x), step
        for halvings in range(4):
            tried = step / 2**halvings
            off = nearest_code(x, tried).clamp(-codes, codes) * tried - x
            error = channel_rows(off, self.channel_axis).square().sum(1).reshape(shape)
            best, least = torch.where(error < least, tried, best), torch.minimum(error, least)
        self.step_size = nn.Parameter(best.clone())
        self.q_max = nn.Parameter(torch.minimum(codes * best, largest))

    def _has_a_grid_for_each_channel(self) -> bool:
        """False before the first input, because the number of channels is not known yet."""
        return self.channel_axis is None or self.step_size.dim() > 0

    def _grid(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Step and range in use, differentiable: the step on a power of two, the range within the allowed bits."""
        if not (torch.isfinite(self.step_size) & (self.step_size > 0) & torch.isfinite(self.q_max)).all():
            raise ValueError("step_size must be positive, and it and q_max finite; call constrain after each step")
        step = ap2(self.step_size) if self.power_of_two else self.step_size
        if self.min_bits == self.max_bits:
            return step.to(dtype), self._range_of(step)[1].to(dtype)
        low, high = self._range_of(step.detach())
        # Not torch.minimum and maximum: where both are equal, these give half of the gradient to each.
        q_max = torch.where(self.q_max < low, low, torch.where(self.q_max > high, high, self.q_max))
        return step.to(dtype), q_max.to(dtype)

    def _range_of(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum and maximum q_max that ``min_bits`` and ``max_bits`` allow."""
        return 2 ** (self.min_bits - self.signed - 1) * step, (2 ** (self.max_bits - self.signed) - 1) * step

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring step and range back to what the bits allow; call it after each step of the optimizer.

        The range follows the step. Steps stay above 2^-20.

        Source: own (keeps the bits within their limits)
        """
        self.step_size.clamp_(min=2.0**-20)
        step = ap2(self.step_size) if self.power_of_two else self.step_size
        low, high = self._range_of(step)
        self.q_max.copy_(torch.minimum(torch.maximum(self.q_max, low), high))

    def bits(self) -> Tensor:
        """Bits per code, shaped like ``step_size``, in its dtype: integers whose gradient is that of the formula
        without the rounding up, ``log2(q_max / d + 1)``.

        Source: uhlich2020 Sec. 4; book eq-mixed-q
        """
        step, q_max = self._grid(self.step_size.dtype)
        last = torch.floor((q_max / step).detach() + 0.5)
        # frexp writes K as m · 2^e with m in [½, 1): e is the number of binary digits of K,
        # and no logarithm is rounded.
        exact = torch.frexp(last).exponent.to(step.dtype) + self.signed
        smooth = torch.log2(q_max / step + 1) + self.signed  # uhlich2020 Sec. 4, not rounded up
        return straight_through(smooth, exact)

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_finite(check_float(x)))
        if not self._has_a_grid_for_each_channel():
            self.check_batch()
            self.fit(x)
        return _LearnedGrid.apply(x, *self._grid(x.dtype), self.signed, self.rule)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes | FilterCodes:
        """Codes; :class:`fewbits.core.filter_codes.FilterCodes` if there is a ``channel_axis``."""
        x = working_precision(check_finite(x))
        if not self._has_a_grid_for_each_channel():
            raise ValueError("the grids of the channels have not started: call the quantizer, or fit, before encode")
        step, q_max = self._grid(x.dtype)
        last = torch.floor(q_max / step + 0.5)
        values = nearest_code(x, step).clamp(-last if self.signed else torch.zeros_like(last), last).to(torch.int32)
        bits = self.bits().to(torch.int64)
        if self.channel_axis is None:
            return Codes(values, int(bits), step, signed=self.signed)
        return FilterCodes(values, bits.reshape(-1), step, self.channel_axis)

    def extra_repr(self) -> str:
        grid = f"power_of_two={self.power_of_two}, rule={self.rule!r}, bits {self.min_bits} to {self.max_bits}"
        return f"channel_axis={self.channel_axis}, signed={self.signed}, {grid}"


def learn_weight_bits(model: nn.Module, bits: int, channel_axis: int | None = 0, **options) -> nn.Module:
    """Give every layer of ``model`` a :class:`LearnedBits` for its weights, fitted to them, in place.

    Args:
        bits: where all filters start.
        channel_axis: 0 for a step and a range per filter, None for one of each per layer.
        options: of :class:`LearnedBits`.
    Returns:
        ``model``; train it with ``after_step=constrain`` and, by SGD, :func:`clip_grid_gradients`.
    Source: own (quantizers for a network)
    """
    quantize_weights(model, lambda: LearnedBits(channel_axis, **options), skip=())
    for _, quantizer, latent in weight_quantizers(model):
        assert isinstance(quantizer, LearnedBits)
        quantizer.fit(latent, bits)
    return model


def clip_grid_gradients(optimizer: Optimizer, model: nn.Module) -> None:
    """Before each step from now on, limit the gradients of every step d and range in ``model`` to -d … d.

    Those of weights and of activations alike, as they are when the optimizer takes its step.

    With plain SGD of rate r, each then changes by at most the share r of the step, whether a filter's weights are large
    or small. Without the limit, or with Adam, the steps of small filters change by a multiple of themselves.

    Raises:
        ValueError: ``model`` has no :class:`LearnedBits`.
    Source: own (from the authors' code of uhlich2020)
    """
    grids = [module for module in model.modules() if isinstance(module, LearnedBits)]
    if not grids:
        raise ValueError("model has no LearnedBits whose gradients could be limited")

    @torch.no_grad()
    def clip(*_: object) -> None:
        for grid in grids:
            for parameter in (grid.step_size, grid.q_max):
                if parameter.grad is not None:
                    parameter.grad.clamp_(-grid.step_size, grid.step_size)

    optimizer.register_step_pre_hook(clip)
