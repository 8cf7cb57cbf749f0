"""What ``vpmaddubsw`` does to a network: pairs of products of uint8 × int8 are added, and clipped to 16 bits.

Kernels for processors without VNNI use that instruction. Its arithmetic is repeated here, so that its effect can be
measured on any processor.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewbits.core.compiled import njit
from fewbits.integer import IntegerNetwork, Layer


class ShortSums(Layer):
    """A layer whose products are added in pairs of neighbours, and these clipped to int16."""

    def accumulate(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.geometry is None:
            rows, shape = x, (len(x), len(weight))
        else:
            windows = _windows(x, self)
            rows, shape = windows.flatten(3).flatten(0, 2), (*windows.shape[:3], len(weight))
            weight = weight.permute(0, 2, 3, 1)  # the runtime takes all channels of a pixel, then the next pixel
        weight = weight.flatten(1)
        sums = np.zeros((len(rows), len(weight)), np.int32)
        columns = F.pad(weight, (0, weight.shape[1] % 2)).to(torch.int32).T.contiguous()
        _add_clipped_pairs(F.pad(rows, (0, rows.shape[1] % 2)).contiguous().numpy(), columns.numpy(), sums)
        # The runtime multiplies codes as they are, and takes the zero point off afterwards.
        exact = torch.from_numpy(sums) - self.zero_point * weight.sum(1, dtype=torch.int32)
        total = (exact << self.bias_fraction) + self.bias
        return total.reshape(shape) if self.geometry is None else total.reshape(shape).permute(0, 3, 1, 2)


def with_short_sums(network: IntegerNetwork) -> IntegerNetwork:
    """``network`` with the sums of 16 bits in every layer whose input is uint8 and that has a single group.

    Depthwise layers have kernels of their own, which do not add pairs.
    """
    steps = dict(network.steps)
    for name, layer in network.layers().items():
        (source,) = network.inputs[name]
        if network.grids[source].dtype == torch.uint8 and (layer.geometry or {}).get("groups", 1) == 1:
            steps[name] = ShortSums(**vars(layer))
    return replace(network, steps=steps)


def _windows(x: Tensor, layer: Layer) -> Tensor:
    """(N, C, H, W) codes to (N, H', W', k, k, C), what the places of a filter meet; outside is the zero point."""
    geometry, (height, width) = layer.geometry or {}, layer.weight.shape[2:]
    if set(map(int, np.ravel(geometry["dilation"]))) != {1}:
        raise ValueError(f"dilation must be 1 here, got {geometry['dilation']}")
    (down, across), (step_y, step_x) = (np.broadcast_to(geometry[name], 2).tolist() for name in ("padding", "stride"))
    padded = F.pad(x, (across, across, down, down), value=layer.zero_point)
    return padded.unfold(2, height, step_y).unfold(3, width, step_x).permute(0, 2, 3, 4, 5, 1)


@njit(cache=True)
def _add_clipped_pairs(rows, columns, sums):
    """Add products of uint8 ``rows`` (R, K) and int32 ``columns`` (K, N) to ``sums`` (R, N), K even."""
    for row in range(rows.shape[0]):
        for k in range(0, rows.shape[1], 2):
            first, second = np.int32(rows[row, k]), np.int32(rows[row, k + 1])
            for n in range(columns.shape[1]):
                pair = first * columns[k, n] + second * columns[k + 1, n]
                sums[row, n] += min(max(pair, np.int32(-32768)), np.int32(32767))
