"""An integer network on kernels of our own: the same codes, bit for bit, in a fraction of the time.

:class:`fewbits.integer.network.IntegerNetwork` computes with torch's int32 tensors, which no CPU library makes fast.
Here pixels lie with their channels side by side (N, H, W, C), as bytes. The places under a filter become a row of
bytes, rows meet weights in :mod:`fewbits.bitwise.dots`, and the 256 sums of a tile are requantized before they leave
the cache. What has no kernel (other groups, dilation, weights of 16 bits, codes of int8 that are read, other tie rules,
operands of two shapes) is computed by its step as before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewbits.bitwise.dots import LANES, MOST_LENGTH, TILE, prepare_dots, tile_of_bytes, tile_of_shorts
from fewbits.bitwise.simd import wide_vectors
from fewbits.bitwise.simd64 import (
    clipped,
    copy_bytes,
    fill_bytes,
    larger,
    load_ints,
    no_ints,
    same_number,
    scaled,
    store_low_bytes,
    times_power,
    widen_codes,
)
from fewbits.core.checks import check_integers
from fewbits.core.compiled import njit
from fewbits.integer.network import IntegerNetwork
from fewbits.integer.requantization import FRACTION_BITS
from fewbits.integer.steps import Add, Flatten, Layer, MaxPool, Requantizer, Step

CHUNK = 64  # rows of bytes that are made, then multiplied
Compute = Callable[..., np.ndarray]


@dataclass(frozen=True)
class FastNetwork:
    """An :class:`IntegerNetwork` with a kernel for each step; made by :func:`compile_network`.

    Attributes:
        network: it computes the same.
        computes: of each step, pixels (N, H, W, C) or (N, K) as uint8 or int8 to the same.
        kernels: of each step, the name of its kernel, "torch" where it has none.
    Source: own (kernels)
    """

    network: IntegerNetwork
    computes: dict[str, Compute]
    kernels: dict[str, str]

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes (N, …) of the input grid to codes of the output grid.

        Raises:
            TypeError, ValueError: ``codes`` are not integers, lie outside the input grid, or have a shape that a layer
                cannot read.
        """
        grid = self.network.grids["input"]
        values = {"input": _pixels(check_integers(codes, grid.q_min, grid.q_max, "codes").to(grid.dtype))}
        for name, compute in self.computes.items():
            values[name] = compute(*(values[source] for source in self.network.inputs[name]))
        return _channels_first(values[name])


def compile_network(network: IntegerNetwork) -> FastNetwork:
    """``network`` on the kernels that the processor allows; sixteen channels or more are treated at once.

    Args:
        network: any; steps without a kernel run as before.
    Source: own (kernels)
    """
    computes, kernels = {}, {}
    for name, step in network.steps.items():
        inputs = [network.grids[source].dtype for source in network.inputs[name]]
        kernels[name], computes[name] = _kernel(step, inputs)
    return FastNetwork(network, computes, kernels)


def _kernel(step: Step, inputs: Sequence[torch.dtype]) -> tuple[str, Compute]:
    # A subclass may compute otherwise.
    unsigned, by_torch = set(inputs) == {torch.uint8}, _by_torch(step)
    if isinstance(step, Flatten):
        return "flatten", lambda x: _channels_first(x).flatten(1).contiguous().numpy()
    if isinstance(step, MaxPool) and unsigned and _is_plain_pool(step.geometry):
        size, stride = (np.broadcast_to(step.geometry[name], 2).tolist() for name in ("kernel_size", "stride"))
        return "max", lambda x: _pool(x, size, stride) if x.ndim == 4 and x.shape[3] >= 16 else by_torch(x)
    if isinstance(step, Add) and unsigned and step.output.rounding == "upward":
        add = _addition(step)
        return "add", lambda x, y: add(x, y) if x.shape == y.shape else by_torch(x, y)
    if type(step) is Layer and unsigned and step.output.rounding == "upward" and step.weight.dtype == torch.int8:
        geometry = step.geometry or {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        simple = set(np.ravel(geometry["dilation"]).tolist()) == {1} and not isinstance(geometry["padding"], str)
        if simple and geometry["groups"] == 1 and step.weight[0].numel() <= MOST_LENGTH:
            return "products", _products(step, geometry)
        if simple and geometry["groups"] == len(step.weight) >= 16 and step.weight.shape[1] == 1:
            return "depthwise", _depthwise(step, geometry)
    return "torch", by_torch


def _check_shape(x: np.ndarray, weight: Tensor, channels: int) -> None:
    """Kernels do not check indices: codes of another shape would be read beyond their end."""
    if x.ndim != weight.dim() or x.shape[-1] != channels:
        shape = (len(x), x.shape[-1], *x.shape[1:-1])
        raise ValueError(f"codes of a layer must have {weight.dim()} axes and {channels} channels, got {shape}")


def _by_torch(step: Step) -> Compute:
    return lambda *values: _pixels(step(*(_channels_first(value) for value in values)))


def _pixels(codes: Tensor) -> np.ndarray:
    return (codes.permute(0, 2, 3, 1) if codes.dim() == 4 else codes).contiguous().numpy()


def _channels_first(codes: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(codes)
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor


def _is_plain_pool(geometry: dict) -> bool:
    settings = (np.ravel(geometry[name]).tolist() for name in ("padding", "dilation"))
    return [set(each) for each in settings] == [{0}, {1}] and not geometry["ceil_mode"]


# --- From sums to codes -----------------------------------------------------------------------------------------------


def _numbers(bias: np.ndarray, fraction: int, output: Requantizer, padded: int) -> tuple:
    """What :func:`_code` needs: bias, multiplier, half a step and shift of (padded,) channels, and four numbers."""
    multiplier, shift, biases = np.zeros(padded, np.int32), np.ones(padded, np.int64), np.zeros(padded, np.int32)
    biases[: len(bias)] = bias
    multiplier[: len(bias)] = output.multiplier.numpy()
    shift[: len(bias)] = FRACTION_BITS + output.shift.numpy()
    limits = fraction, output.zero_point, output.q_min, output.q_max
    return biases, multiplier, np.left_shift(1, shift - 1), shift, *(np.int32(number) for number in limits)


@njit(cache=True, inline="always")
def _code(sums, c, numbers):
    """Sixteen sums of channels from c on to codes: as :class:`Requantizer` with ties upward, and as simple."""
    bias, multiplier, half, shift, fraction, zero, low, high = numbers
    total = times_power(sums, fraction) + load_ints(bias, c)
    return clipped(scaled(total, multiplier, half, shift, c) + same_number(zero), low, high)


# --- Layers whose outputs read all channels ---------------------------------------------------------------------------


def _products(layer: Layer, geometry: dict) -> Compute:
    weight = layer.weight if layer.geometry is None else layer.weight.permute(0, 2, 3, 1)
    rows = weight.flatten(1).contiguous().numpy()
    width = len(rows)
    length = -(-rows.shape[1] // 4) * 4
    weights = prepare_dots(np.pad(rows, ((0, 0), (0, length - rows.shape[1]))))
    padded = -(-width // (2 * LANES)) * 2 * LANES
    # Sums are those of codes as they are; the zero point is taken off here, modulo 2**32, in which they are exact.
    moved = (layer.zero_point * weights.totals.astype(np.int64)) << layer.bias_fraction
    bias = (layer.bias.numpy() - moved).astype(np.int32)
    numbers = _numbers(bias, layer.bias_fraction, layer.output, padded)
    kind = np.int8 if layer.output.q_min < 0 else np.uint8
    fours = weights.path == "vnni"
    size = (1, 1) if layer.geometry is None else tuple(layer.weight.shape[2:])
    stride, padding = (tuple(np.broadcast_to(geometry[name], 2).tolist()) for name in ("stride", "padding"))
    whole_rows = size == (1, 1) and stride == (1, 1) and padding == (0, 0) and length == rows.shape[1]

    def compute(x: np.ndarray) -> np.ndarray:
        _check_shape(x, layer.weight, layer.weight.shape[1])
        if x.ndim == 2 and not whole_rows:
            x = np.pad(x, ((0, 0), (0, length - x.shape[1])))
        sides: tuple = x.shape[:-1]
        if x.ndim == 4:
            sides = (len(x), *_outputs(x.shape[1:3], size, stride, padding))
        out = np.empty((*sides, width), np.uint8)
        more = (weights.panels, numbers, fours)
        if x.ndim == 2 or whole_rows:
            _multiply_rows(x.reshape(-1), out.size // width, length, out.reshape(-1), 0, width, *more)
        else:
            _convolve(x, out, *size, *stride, *padding, layer.zero_point, length, *more)
        return out.view(kind)

    return compute


def _outputs(
    sides: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> tuple[int, ...]:
    each = zip(sides, size, stride, padding, strict=True)
    return tuple((side + 2 * border - kernel) // step + 1 for side, kernel, step, border in each)


@njit(cache=True, nogil=True)
def _convolve(images, out, high, wide, down, across, top, left, zero_in, length, panels, numbers, fours):
    """Rows of bytes under the filter for ``CHUNK`` outputs, then their products."""
    wide_vectors()
    flat_out, flat, width, zero = out.reshape(-1), images.reshape(-1), out.shape[3], np.uint8(zero_in)
    height, pixels_wide, channels = images.shape[1:]
    outputs, run = out.shape[1] * out.shape[2], wide * channels
    rows = np.zeros(CHUNK * length, np.uint8)
    for image in range(images.shape[0]):
        start = image * height * pixels_wide * channels
        for first in range(0, outputs, CHUNK):
            count = min(CHUNK, outputs - first)
            for i in range(count):
                y, x = (first + i) // out.shape[2] * down - top, (first + i) % out.shape[2] * across - left
                begin, end = max(0, -x) * channels, min(wide, pixels_wide - x) * channels
                for row in range(high):
                    to, at = i * length + row * run, start + ((y + row) * pixels_wide + x) * channels
                    if 0 <= y + row < height and begin < end:
                        fill_bytes(rows, to, zero, begin)
                        copy_bytes(rows, to + begin, flat, at + begin, end - begin)
                        fill_bytes(rows, to + end, zero, run - end)
                    else:
                        fill_bytes(rows, to, zero, run)
            to = (image * outputs + first) * width
            _multiply_rows(rows, count, length, flat_out, to, width, panels, numbers, fours)


@njit(cache=True, nogil=True)
def _multiply_rows(rows, count, length, out, to, width, panels, numbers, fours):
    """Codes of ``count`` rows of ``length`` bytes and all weights, to ``out`` from ``to``."""
    wide_vectors()
    tile, lanes, item = (TILE, 2 * LANES, 1) if fours else (4, LANES, 2)
    sums, last, codes = np.empty(TILE * 2 * LANES, np.int32), np.zeros(TILE * length, np.uint8), np.empty(16, np.uint8)
    shorts = np.zeros(1 if fours else (CHUNK + 4) * length, np.int16)
    words = shorts.view(np.uint8)
    copy_bytes(last, 0, rows, count // TILE * TILE * length, count % TILE * length)
    for first in range(0, count, CHUNK):
        here = min(CHUNK, count - first)
        if not fours:
            shorts[: here * length] = rows[first * length : (first + here) * length]
        for start in range(0, width, lanes):
            place = start * length * item
            for row in range(0, here, tile):
                some, p = min(tile, here - row), (first + row) * length
                if not fours:
                    tile_of_shorts(panels, place, words, 2 * row * length, 2 * length, length // 2, sums)
                elif some == tile:
                    tile_of_bytes(panels, place, place + LANES * length, rows, p, length, length // 4, sums)
                else:
                    tile_of_bytes(panels, place, place + LANES * length, last, 0, length, length // 4, sums)
                for i in range(some):
                    goal = to + (first + row + i) * width
                    for part in range(0, lanes, 16):
                        channel = start + part
                        found = _code(load_ints(sums, lanes * i + part), channel, numbers)
                        if channel + 16 <= width:
                            store_low_bytes(out, goal + channel, found)
                        elif channel < width:
                            store_low_bytes(codes, 0, found)
                            copy_bytes(out, goal + channel, codes, 0, width - channel)


# --- Depthwise layers -------------------------------------------------------------------------------------------------


def _depthwise(layer: Layer, geometry: dict) -> Compute:
    channels, size = len(layer.weight), tuple(layer.weight.shape[2:])
    taps = layer.weight.reshape(channels, -1).T.to(torch.int32).reshape(-1).numpy()
    numbers = _numbers(layer.bias.numpy(), layer.bias_fraction, layer.output, channels)
    kind = np.int8 if layer.output.q_min < 0 else np.uint8
    stride, padding = (tuple(np.broadcast_to(geometry[name], 2).tolist()) for name in ("stride", "padding"))

    def compute(x: np.ndarray) -> np.ndarray:
        _check_shape(x, layer.weight, channels)
        out = np.empty((len(x), *_outputs(x.shape[1:3], size, stride, padding), channels), np.uint8)
        _convolve_depthwise(x, out, *size, *stride, *padding, layer.zero_point, taps, numbers)
        return out.view(kind)

    return compute


@njit(cache=True, nogil=True)
def _convolve_depthwise(images, out, high, wide, down, across, top, left, zero_in, taps, numbers):
    """Sixteen channels at a time; the last sixteen may have been done in part before."""
    wide_vectors()
    height, pixels_wide, channels = images.shape[1:]
    flat, flat_out, zero = images.reshape(-1), out.reshape(-1), same_number(np.int32(zero_in))
    for image in range(images.shape[0]):
        for out_y in range(out.shape[1]):
            for out_x in range(out.shape[2]):
                y, x = out_y * down - top, out_x * across - left
                to = ((image * out.shape[1] + out_y) * out.shape[2] + out_x) * channels
                begin, end = max(0, -x), min(wide, pixels_wide - x)
                for block in range(0, channels, 16):
                    c = min(block, channels - 16)
                    sums = no_ints()
                    for row in range(max(0, -y), min(high, height - y)):
                        at = ((image * height + y + row) * pixels_wide + x) * channels + c
                        for column in range(begin, end):
                            code = widen_codes(flat, at + column * channels) - zero
                            sums += code * load_ints(taps, (row * wide + column) * channels + c)
                    store_low_bytes(flat_out, to + c, _code(sums, c, numbers))


# --- Steps without weights --------------------------------------------------------------------------------------------


def _addition(step: Add) -> Compute:
    shift = FRACTION_BITS + int(step.output.shift)
    first, second = (int(m) for m in step.multipliers)
    kind = np.int8 if step.output.q_min < 0 else np.uint8

    def compute(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, np.uint8)
        operands = x.reshape(-1), y.reshape(-1), out.reshape(-1)
        _add(
            *operands,
            first,
            second,
            *step.zero_points,
            shift,
            1 << (shift - 1),
            step.output.zero_point,
            step.output.q_min,
            step.output.q_max,
        )
        return out.view(kind)

    return compute


@njit(cache=True, nogil=True)
def _add(x, y, out, first, second, zero_x, zero_y, shift, half, zero, low, high):
    wide_vectors()
    for i in range(len(x)):
        total = (np.int64(x[i]) - zero_x) * first + (np.int64(y[i]) - zero_y) * second
        out[i] = np.uint8(min(max(((total + half) >> shift) + zero, low), high))


def _pool(x: np.ndarray, size: Sequence[int], stride: Sequence[int]) -> np.ndarray:
    out = np.empty((len(x), *_outputs(x.shape[1:3], tuple(size), tuple(stride), (0, 0)), x.shape[3]), np.uint8)
    _take_largest(x, out, *size, *stride)
    return out


@njit(cache=True, nogil=True)
def _take_largest(images, out, high, wide, down, across):
    wide_vectors()
    height, width, channels = images.shape[1:]
    flat, flat_out = images.reshape(-1), out.reshape(-1)
    for image in range(images.shape[0]):
        for out_y in range(out.shape[1]):
            for out_x in range(out.shape[2]):
                to = ((image * out.shape[1] + out_y) * out.shape[2] + out_x) * channels
                at = ((image * height + out_y * down) * width + out_x * across) * channels
                for block in range(0, channels, 16):
                    c = min(block, channels - 16)
                    most = no_ints()
                    for row in range(high):
                        for column in range(wide):
                            most = larger(most, widen_codes(flat, at + (row * width + column) * channels + c))
                    store_low_bytes(flat_out, to + c, most)
