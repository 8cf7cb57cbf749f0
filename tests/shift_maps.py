"""Feature maps of a network of shifts, layer by layer: an oracle in NumPy, by exponents instead of by products."""

from collections.abc import Sequence

import numpy as np

from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.layers import ShiftLayer


def maps(layers: Sequence[ShiftLayer], images: np.ndarray, form: QFormat) -> list[np.ndarray]:
    """Output of each layer, (N, channels, height, width) int64; averaged already before a pool."""
    found: list[np.ndarray] = []
    x = images.astype(np.int64)
    for layer in layers:
        if layer.pool:
            x = x.sum(axis=(2, 3), keepdims=True) // (x.shape[2] * x.shape[3])  # // rounds down
            found[-1] = x
        x = _layer(layer, x, form)
        found.append(x)
    return found


def _layer(layer: ShiftLayer, x: np.ndarray, form: QFormat) -> np.ndarray:
    rows, columns = layer.output_size(*x.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), *[(layer.padding,) * 2] * 2))
    sign = 1 - 2 * (layer.codes >> 4).astype(np.int64)
    e = layer.codes & 15
    total = np.zeros((len(x), len(layer.codes), rows, columns), np.int64)
    for exponent in range(1, 9):
        n = 8 - exponent - layer.n1
        moved = padded >> n if n >= 0 else padded << -n
        weights = sign * (e == exponent)
        for i, j in np.ndindex(layer.codes.shape[2:]):
            part = moved[
                :, :, i : i + rows * layer.stride : layer.stride, j : j + columns * layer.stride : layer.stride
            ]
            if layer.groups == 1:
                total += np.einsum("mc,nchw->nmhw", weights[:, :, i, j], part)
            else:
                total += weights[None, :, 0, i, j, None, None] * part
    total = form.wrap(total + layer.bias[:, None, None])
    return np.maximum(total, 0) if layer.relu else total
