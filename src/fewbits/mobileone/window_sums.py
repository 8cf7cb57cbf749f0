"""Sums of products of pixels over all windows of all images, on the CPU: see :mod:`fewbits.mobileone.moments`.

PyTorch would write each product to memory, one pass over all images for each pair of pixels. Here one image at a time
is in the cache, and everything is added up while it is there. Images are stored channels last, so a row is one run of
numbers; with a stride, its columns are sorted so that those which one pixel of the window meets are adjacent.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from fewbits.core.compiled import njit

BORDER = 2
ALONE = (-1, -1)
BLOCK = 16  # images; fixed, so that the order of the sums does not depend on the number of threads


def product_sums(x: Tensor, products: np.ndarray, stride: int) -> Tensor:
    """Sums over 5×5 windows, each of the product of two of its pixels, or of one pixel.

    Args:
        x: (N, C, H, W) on the CPU, float32 or float64, with a border of two zeros. Windows are centered on each
            ``stride``-th row and column.
        products: (P, 8) int64. Row and column of a pixel in the window; those of the other, or :data:`ALONE`; and which
            windows take part: first row, end of the rows, first column, end of the columns.
    Returns:
        (C, P) float64; the gradient flows to ``x``.
    Source: own (sums over windows)
    """
    return _ProductSums.apply(x, products, stride)


class _ProductSums(Function):
    @staticmethod
    def forward(ctx, x, products, stride):
        ctx.save_for_backward(x)
        ctx.products, ctx.stride = products, stride
        blocks = _by_blocks(lambda images: _sums(images, products, stride), _channels_last(x))
        return torch.from_numpy(sum(blocks)).T

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        images, factors = _channels_last(x), grad.T.to(x.dtype).contiguous().numpy()
        result = np.empty_like(images)
        _by_blocks(lambda *blocks: _gradient(*blocks, ctx.products, factors, ctx.stride), images, result)
        return torch.from_numpy(result).movedim(3, 1), None, None


def _channels_last(x: Tensor) -> np.ndarray:
    return x.detach().movedim(1, 3).contiguous().numpy()


def _by_blocks(function: Callable, *arrays: np.ndarray) -> list:
    """``function`` of each block of images, in order; by as many threads as PyTorch has."""
    blocks = [[array[start : start + BLOCK] for array in arrays] for start in range(0, len(arrays[0]), BLOCK)]
    if (threads := torch.get_num_threads()) == 1:
        return [function(*block) for block in blocks]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, *zip(*blocks, strict=True)))


_compiled = njit(cache=True, nogil=True, fastmath={"contract"})


@_compiled
def _padded(images, stride):
    """Zeros for one image with its border, (rows, stride, columns, C)."""
    _, height, width, channels = images.shape
    columns = (width + 2 * BORDER + stride - 1) // stride
    return np.zeros((height + 2 * BORDER, stride, columns, channels), images.dtype)


@_compiled
def _fill(padded, image):
    stride = padded.shape[1]
    height, width, channels = image.shape
    for row in range(height):
        for column in range(width):
            at = column + BORDER
            here, there = image[row, column], padded[row + BORDER, at % stride, at // stride]
            for c in range(channels):
                there[c] = here[c]


@_compiled
def _where(product, stride, channels):
    """Rows of the first window and after the last, length of a row, and for each pixel its row, phase and beginning."""
    row_a, column_a, row_b, column_b, first_row, end_row, first_column, end_column = product
    a = row_a, column_a % stride, (column_a // stride + first_column) * channels
    b = row_b, column_b % stride, (column_b // stride + first_column) * channels
    return first_row * stride, end_row * stride, (end_column - first_column) * channels, a, b


@_compiled
def _sums(images, products, stride):
    channels = images.shape[3]
    padded = _padded(images, stride)
    rows = padded.reshape(padded.shape[0], stride, -1)
    part = np.empty(rows.shape[2], images.dtype)  # of one image: a longer sum in float32 would lose digits
    sums = np.zeros((len(products), channels))
    for n in range(len(images)):
        _fill(padded, images[n])
        for p in range(len(products)):
            first_row, end_row, length, (row_a, phase_a, begin_a), (row_b, phase_b, begin_b) = _where(
                products[p], stride, channels
            )
            part[:length] = 0
            for row in range(first_row, end_row, stride):
                a = rows[row + row_a, phase_a, begin_a : begin_a + length]
                if row_b < 0:
                    for i in range(length):
                        part[i] += a[i]
                else:
                    b = rows[row + row_b, phase_b, begin_b : begin_b + length]
                    for i in range(length):
                        part[i] += a[i] * b[i]
            for begin in range(0, length, channels):
                for c in range(channels):
                    sums[p, c] += part[begin + c]
    return sums


@_compiled
def _gradient(images, result, products, factors, stride):
    """Each pixel of a product gets the other one times the factor (P, C) of the product; a pixel alone the factor."""
    height, width, channels = images.shape[1:]
    padded, grads = _padded(images, stride), _padded(images, stride)
    rows, grad_rows = padded.reshape(len(padded), stride, -1), grads.reshape(len(padded), stride, -1)
    tiled = np.empty((len(products), rows.shape[2]), images.dtype)
    for begin in range(0, tiled.shape[1], channels):
        tiled[:, begin : begin + channels] = factors
    for n in range(len(images)):
        _fill(padded, images[n])
        grads[:] = 0
        for p in range(len(products)):
            first_row, end_row, length, (row_a, phase_a, begin_a), (row_b, phase_b, begin_b) = _where(
                products[p], stride, channels
            )
            factor = tiled[p, :length]
            for row in range(first_row, end_row, stride):
                grad_a = grad_rows[row + row_a, phase_a, begin_a : begin_a + length]
                if row_b < 0:
                    for i in range(length):
                        grad_a[i] += factor[i]
                else:
                    a = rows[row + row_a, phase_a, begin_a : begin_a + length]
                    b = rows[row + row_b, phase_b, begin_b : begin_b + length]
                    grad_b = grad_rows[row + row_b, phase_b, begin_b : begin_b + length]
                    for i in range(length):
                        grad_a[i] += factor[i] * b[i]
                    for i in range(length):
                        grad_b[i] += factor[i] * a[i]
        for row in range(height):
            for column in range(width):
                at = column + BORDER
                here, there = grads[row + BORDER, at % stride, at // stride], result[n, row, column]
                for c in range(channels):
                    there[c] = here[c]
