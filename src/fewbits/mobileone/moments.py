"""First and second moments of what the kernel of a convolution sees.

The output of a convolution is linear in the numbers under its kernel. So the mean and the variance of the outputs of
*any* kernel w, over all positions and images, are wᵀ·mean and wᵀ·covariance·w: one pass over the input serves every
branch of a :class:`fewbits.mobileone.network.ConvBranches`.
"""

import itertools
import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from fewbits.mobileone.window_sums import ALONE, product_sums


class _Moments(Function):
    """Mean (n,) and covariance (n, n) of the rows of a (P, n), with one product in the backward pass.

    Autograd would use two, keep a copy of the rows less their mean, and write the gradient of the mean for each row.
    """

    @staticmethod
    def forward(ctx, a):
        mean = a.mean(0)
        ctx.save_for_backward(a, mean)
        centered = a - mean
        return mean, centered.mT @ centered / len(a)

    @staticmethod
    def backward(ctx, grad_mean, grad_covariance):
        a, mean = ctx.saved_tensors
        factor = (grad_covariance + grad_covariance.mT) / len(a)
        return torch.addmm(grad_mean / len(a) - mean @ factor, a, factor)


def patch_moments(x: Tensor, kernel: int = 1, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Mean (n,) and covariance (n, n) of the n = C·kernel² numbers that each output of a convolution sees.

    Args:
        x: (N, C, H, W).
        kernel: odd; padded by kernel // 2.
    Source: own (moments of what a kernel sees)
    """
    if kernel == 1:
        patches = x[:, :, ::stride, ::stride].movedim(1, 3).reshape(-1, x.shape[1])
    else:
        patches = F.unfold(x, kernel, padding=kernel // 2, stride=stride).movedim(1, 2).flatten(0, 1)
    return _Moments.apply(patches)


def depthwise_moments(x: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Mean (C, 9) and covariance (C, 9, 9) of each channel's 3×3 windows, with a border of zeros.

    Args:
        x: (N, C, H, W).
    Source: own (moments of what a kernel sees)
    """
    compiled = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    first, second = (_window_sums if compiled else _unfolded_sums)(x, stride)
    windows = len(x) * math.prod(_windows(x, stride))
    mean = first / windows
    covariance = second / windows - mean[:, :, None] * mean[:, None]
    return mean.to(x.dtype), covariance.to(x.dtype)


def _windows(x: Tensor, stride: int) -> list[int]:
    """Rows and columns of windows."""
    return [(size - 1) // stride + 1 for size in x.shape[2:]]


def _unfolded_sums(x: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Sums over all windows of what place i sees, (C, 9), and of i times j, (C, 9, 9), from a copy of all windows."""
    patches = F.unfold(x.flatten(0, 1)[:, None], 3, padding=1, stride=stride).unflatten(0, x.shape[:2])
    return patches.sum((0, 3)), (patches @ patches.mT).sum(0)


def _window_sums(x: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The same in float64, put together from a few sums of products of two pixels."""
    parts, signs = _steps_and_edges() if stride == 1 else _pairs()
    rows, columns = ({ALL: (0, end), FIRST: (0, 1), LAST: (end - 1, end)} for end in _windows(x, stride))
    products = [(*one, *other, *rows[row], *columns[column]) for one, other, row, column in parts]
    first, second = (product_sums(x, np.array(products), stride) @ signs).split((9, 81), 1)
    return first, second.unflatten(1, (9, 9))


# A part of the sums: two pixels of a 5×5 window, or one and ALONE, and in which rows and columns of windows.
Part = tuple[tuple[int, int], tuple[int, int], str, str]
ALL, FIRST, LAST = "all", "first", "last"
CENTER = (2, 2)
PLACES = list(itertools.product((1, 2, 3), (1, 2, 3)))  # the 3×3 window
PAIRS = list(itertools.product(PLACES, PLACES))


@cache
def _pairs() -> tuple[list[Part], Tensor]:
    """:func:`_steps_and_edges` for any stride: 9 places and 45 pairs, as i times j is j times i."""
    alone: list[dict[Part, int]] = [{(place, ALONE, ALL, ALL): 1} for place in PLACES]
    return _numbered(alone + [{(min(pair), max(pair), ALL, ALL): 1} for pair in PAIRS])


@cache
def _steps_and_edges() -> tuple[list[Part], Tensor]:
    """What the sums over all windows are made of at stride 1.

    i times j, summed over all windows, depends on the step from i to j and little else: it is the autocorrelation of
    the image at that step. So 13 products per pixel (of 25 steps, opposite ones agree) take the place of the 45 pairs.
    The rest is at the edges. The lowest places of a window never see the first row, and the uppermost never the last;
    what the autocorrelation has there in excess is subtracted, at the corners twice, so they are added once.

    Returns:
        The parts, and the sign that each has in the 9 sums of one place and the 81 of two, (P, 90), or 0.
    """
    unseen = {(1, 1): LAST, (3, 3): FIRST}  # by the line of i and that of j
    sums: list[dict[Part, int]] = []
    for i, j in [(place, place) for place in PLACES] + PAIRS:
        down, right = max((j[0] - i[0], j[1] - i[1]), (i[0] - j[0], i[1] - j[1]))  # one of the two opposite steps
        other = (2 + down, 2 + right) if len(sums) >= 9 else ALONE
        row, column = (unseen.get(lines) for lines in zip(i, j, strict=True))
        signs = {(CENTER, other, ALL, ALL): 1}
        if row:
            signs[CENTER, other, row, ALL] = -1
        if column:
            signs[CENTER, other, ALL, column] = -1
        if row and column:
            signs[CENTER, other, row, column] = 1
        sums.append(signs)
    return _numbered(sums)


def _numbered(sums: list[dict[Part, int]]) -> tuple[list[Part], Tensor]:
    """All parts, and the sign of each in each sum, float64."""
    parts = sorted({part for signs in sums for part in signs})
    return parts, torch.tensor([[signs.get(part, 0) for signs in sums] for part in parts], dtype=torch.float64)
