"""Straight-through estimators: steps in the forward pass, something with a slope in the backward pass.

A quantizer is a staircase. Its true derivative is zero almost everywhere, so nothing would ever be learned. The
straight-through estimator (bengio2013) keeps the staircase for the forward pass and pretends, for the backward
pass only, that it was the identity inside the representable range and constant outside.

Each estimator is one autograd function that works in place on its own output: the cost of simulated quantization is
memory traffic, so fewer passes over a tensor mean a faster training step (measured by ``make bench``).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.autograd import Function

# So many numbers a thread are taken through all passes before the next ones: they stay in the cache.
BLOCK = 2**16


class _Round(Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class _StraightThrough(Function):
    @staticmethod
    def forward(ctx, x, y, passes):
        ctx.passes = passes
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad if ctx.passes is None else grad * ctx.passes, None, None


class _Sign(Function):
    @staticmethod
    def forward(ctx, x, window):
        ctx.window = window
        ctx.save_for_backward(x)
        # Comparisons are written as 0 and 1 in the dtype of x: into bool they take torch many times as long.
        return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)  # courbariaux2016 Eq. 1

    @staticmethod
    def backward(ctx, grad):
        if ctx.window is None:
            return grad, None
        (x,) = ctx.saved_tensors
        inside = x.detach().abs()
        return torch.le(inside, ctx.window, out=inside).mul_(grad), None  # courbariaux2016 Eq. 4


class _FakeQuantize(Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, q_min, q_max):
        values = torch.empty_like(x)
        inside = torch.empty_like(x, dtype=torch.bool) if ctx.needs_input_grad[0] else None
        for block in in_blocks(x, scale):
            codes, unclipped = values_to_codes(block(x), scale, zero_point, q_min, q_max, out=block(values))
            if inside is not None:
                block(inside).copy_(unclipped.eq_(codes))  # in torch many times as fast as comparing into bool
            codes_to_values(codes, scale, zero_point)
        if inside is not None:
            ctx.save_for_backward(inside)
        return values

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        passes = inside.view(torch.uint8).to(grad.dtype)  # a product with bool takes torch many times as long
        return passes.mul_(grad), None, None, None, None  # book eq-ste


def in_blocks(x: Tensor, scale: Tensor) -> list[Callable[[Tensor], Tensor]]:
    """Functions that take the blocks of a tensor with the layout of ``x``, as views, one after the other.

    The whole tensor is one block where it is small, has several scales or gaps in memory, or a compiler sees the code.
    """
    if torch.compiler.is_compiling():
        return [lambda tensor: tensor]
    size = BLOCK * torch.get_num_threads()
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    if scale.dim() or x.numel() <= size or not (last or x.is_contiguous()):
        return [lambda tensor: tensor]

    def block(tensor: Tensor, at: int) -> Tensor:
        return (tensor if x.is_contiguous() else tensor.permute(0, 2, 3, 1)).view(-1)[at : at + size]

    return [partial(block, at=at) for at in range(0, x.numel(), size)]


class RoundBackward(Function):
    """What :func:`round_backward` applies."""

    @staticmethod
    def forward(ctx, x, rule):
        ctx.rule = rule
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.rule(grad).to(grad.dtype), None


def round_ste(x: Tensor) -> Tensor:
    """Round to the nearest integer, ties to even; the gradient passes unchanged.

    Source: bengio2013
    """
    return _Round.apply(x)


def straight_through(x: Tensor, y: Tensor, passes: Tensor | None = None) -> Tensor:
    """The value of ``y``, to the last bit, with the gradient going to ``x`` unchanged, or where ``passes`` says so.

    The usual ``x + (y - x).detach()`` does the same up to a rounding error, which would leave the grid.

    Args:
        x: any shape, floating point.
        y: a new tensor of the same shape and dtype, without a gradient of its own.
        passes: 1 where the gradient passes and 0 where it does not, in the shape and dtype of ``x``; None for all 1.
    Source: bengio2013
    """
    return _StraightThrough.apply(x, y, passes)


def sign_ste(x: Tensor, window: float | None = 1.0) -> Tensor:
    """Sign with ``sign(0) = +1``; the gradient passes where ``|x| <= window`` (BinaryNet), everywhere if None.

    Returns:
        -1 or +1, in the shape and dtype of ``x``; NaN gives -1, so check for it where it could occur.
    Source: courbariaux2016 Eq. 1; courbariaux2016 Eq. 4
    """
    return _Sign.apply(x, window)


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor | None, q_min: int, q_max: int) -> Tensor:
    """Round ``x`` to the grid ``(k - zero_point) * scale``, k = q_min … q_max: float in, float on the grid out.

    Ties go to the even integer. The gradient passes where the rounded integer lies inside ``q_min … q_max`` before it
    is clamped, and is 0 elsewhere; ``scale`` and ``zero_point`` are constants to it. NaN stays NaN, ±Inf saturates.

    Args:
        x: any shape, floating point.
        scale: > 0, broadcastable to ``x``, same dtype.
        zero_point: integers in the dtype of ``x``, shaped like ``scale``; None for 0.
        q_min, q_max: minimum and maximum integer.
    Source: jacob2018 Eq. 12; bengio2013 (gradient); book eq-uniform; book eq-ste
    """
    return _FakeQuantize.apply(x, scale, 0 if zero_point is None else zero_point, q_min, q_max)


def values_to_codes(
    x: Tensor, scale: Tensor, zero_point: Tensor | int, q_min: int, q_max: int, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The codes of ``x`` and what they were before clipping, both integers in the dtype of ``x``.

    Both are new tensors; or the codes are written to ``out``, which has the shape and dtype of ``x``. Other arguments
    as in :func:`fake_quantize`, with 0 for no zero point. No code is -0.0: integers have
    one zero, and adding 0 to -0.0 gives 0.0.

    Source: jacob2018 Eq. 12; book eq-uniform
    """
    unclipped = (x / scale).round_().add_(zero_point)  # jacob2018 Eq. 12
    return torch.clamp(unclipped, q_min, q_max, out=out), unclipped


def codes_to_values(codes: Tensor, scale: Tensor, zero_point: Tensor | int) -> Tensor:
    """The numbers that ``codes`` stand for, written over them.

    Source: jacob2018 Eq. 1; book eq-uniform
    """
    if isinstance(zero_point, Tensor) or zero_point:  # a pass over the tensor that 0 does not need
        codes.sub_(zero_point)
    return codes.mul_(scale)  # jacob2018 Eq. 1


def round_backward(x: Tensor, rule: Callable[[Tensor], Tensor]) -> Tensor:
    """``x`` itself; on the way back the gradient becomes ``rule(gradient)``. The opposite of a straight-through step.

    Args:
        rule: of the gradient, which has the shape and dtype of ``x``; its result may have another dtype.
    """
    return RoundBackward.apply(x, rule)
