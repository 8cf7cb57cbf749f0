"""First and second moments of what the kernel of a convolution sees.

The output of a convolution is linear in the numbers under its kernel. So the mean and the variance of the outputs of
*any* kernel w, over all positions and images, are wᵀ·mean and wᵀ·covariance·w: one pass over the input serves every
branch of a :class:`fewbits.nets.mobileone.ConvBranches`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


class _Gram(Function):
    """``aᵀ a`` for (P, n), with one matrix product in the backward pass where autograd would use two."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a.mT @ a

    @staticmethod
    def backward(ctx, grad):
        (a,) = ctx.saved_tensors
        return a @ (grad + grad.mT)


def patch_moments(x: Tensor, kernel: int = 1, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Mean (n,) and covariance (n, n) of the n = C·kernel² numbers that each output of a convolution sees.

    Args:
        x: (N, C, H, W).
        kernel: odd; padded by kernel // 2.
    """
    if kernel == 1:
        patches = x[:, :, ::stride, ::stride].movedim(1, 3).reshape(-1, x.shape[1])
    else:
        patches = F.unfold(x, kernel, padding=kernel // 2, stride=stride).movedim(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    # The covariance does not change to first order with the point that is subtracted, so no gradient goes through it.
    return mean, _Gram.apply(patches - mean.detach()) / len(patches)


def depthwise_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C, 9) and covariance (C, 9, 9) of each channel's 3×3 windows, at stride 1 with a border of zeros.

    Args:
        x: (N, C, H, W).
    """
    first, second = _WindowSums.apply(x)
    count = x.numel() // x.shape[1]
    mean = first.flatten(1) / count
    return mean, second.flatten(3).flatten(1, 2) / count - mean[:, :, None] * mean[:, None]


class _WindowSums(Function):
    """Sums over all 3×3 windows of what place i sees, (C, 3, 3), and of i times j, (C, 3, 3, 3, 3), each row by column.

    i times j, summed over all windows, depends on the step from i to j and little else: it is the autocorrelation of
    the image at that step. So 13 products per pixel (of 25 steps, opposite ones agree) take the place of the 45 pairs.
    The rest is at the edges. Place 2, below the middle, never sees the first row, and place 0 never the last; what the
    autocorrelation has there in excess is subtracted, at the corners twice, so they are added once. The backward pass
    is written out because autograd would make a whole image of every edge.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        first = x.sum((0, 2, 3))[:, None, None].repeat(1, 3, 3)
        second = _autocorrelation(x).flatten(1)[:, _steps(2, x.device)]
        for line, missing, twice in _edges(x):
            first[missing] -= line.sum((0, 2))[:, None]
            second[twice] -= _autocorrelation(line[:, :, None])[:, 2, _steps(1, x.device)]
        for pixel, missing, twice in _corners(x):
            first[missing] += pixel.sum(0)
            second[twice] += pixel.square().sum(0)
        return first, second

    @staticmethod
    def backward(ctx, grad_first, grad_second):
        (x,) = ctx.saved_tensors
        steps = _add_up(grad_second, _steps(2, x.device)).unflatten(1, (5, 5))
        grad = F.conv2d(x, _both_ways(steps), grad_first.sum((1, 2)), padding=2, groups=x.shape[1])
        for (line, missing, twice), (target, *_) in zip(_edges(x), _edges(grad), strict=True):
            steps = _add_up(grad_second[twice], _steps(1, x.device))
            target -= F.conv1d(line, _both_ways(steps), grad_first[missing].sum(1), padding=2, groups=x.shape[1])
        for (pixel, missing, twice), (target, *_) in zip(_corners(x), _corners(grad), strict=True):
            target += grad_first[missing] + 2 * grad_second[twice] * pixel
        return grad


def _autocorrelation(x: Tensor) -> Tensor:
    """Sums of x(q)·x(q + step) over all pixels q of (N, C, H, W), for the steps (−2, −2) to (2, 2): (C, 5, 5)."""
    height, width = x.shape[2:]
    result = x.new_zeros(x.shape[1], 5, 5)
    for down in range(min(3, height)):
        for right in range(-2 if down else 0, 3):
            if abs(right) < width:
                start, end = max(-right, 0), width - max(right, 0)
                here, there = x[:, :, : height - down, start:end], x[:, :, down:, start + right : end + right]
                result[:, 2 + down, 2 + right] = (here * there).sum((0, 2, 3))
    result[:, :2] = result[:, 3:].flip(1, 2)
    result[:, 2, :2] = result[:, 2, 3:].flip(1)
    return result


def _steps(dimensions: int, device: torch.device) -> Tensor:
    """Which of the 5 (or 5·5) steps leads from place i to place j: (3, 3), or (3, 3, 3, 3)."""
    places = torch.arange(3, device=device)
    steps = places - places[:, None] + 2
    return steps if dimensions == 1 else 5 * steps[:, None, :, None] + steps[:, None]


def _add_up(grad: Tensor, steps: Tensor) -> Tensor:
    """Gradient of each step, (C, 5) or (C, 25), from that of the pairs that it serves."""
    sums = grad.new_zeros(len(grad), 5 ** (steps.ndim // 2))
    return sums.index_add_(1, steps.flatten(), grad.flatten(1))


def _both_ways(steps: Tensor) -> Tensor:
    """The kernel that gives each pixel its gradient: it has one neighbour at the step and one at its opposite."""
    return (steps + steps.flip(*range(1, steps.ndim))).unsqueeze(1)


def _edges(x: Tensor) -> list[tuple[Tensor, tuple, tuple]]:
    """First and last row and column, (N, C, L), where they are missing in the first sums, and where in the second."""
    every = slice(None)
    return [
        (x[:, :, 0], (every, 2), (every, 2, every, 2)),
        (x[:, :, -1], (every, 0), (every, 0, every, 0)),
        (x[..., 0], (every, every, 2), (every, every, 2, every, 2)),
        (x[..., -1], (every, every, 0), (every, every, 0, every, 0)),
    ]


def _corners(x: Tensor) -> list[tuple[Tensor, tuple, tuple]]:
    """The pixels in the corners, (N, C), and the same."""
    every, ends = slice(None), ((0, 2), (-1, 0))
    return [(x[:, :, h, w], (every, i, j), (every, i, j, i, j)) for h, i in ends for w, j in ends]
