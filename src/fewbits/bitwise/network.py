"""A BinaryNet on packed bits: linear layers of signs, batch normalization and sign as one threshold per unit.

The first layer's inputs are pixels of 8 bits, taken plane by plane (courbariaux2016). The sign of a normalized sum
only asks on which side of a threshold the sum is; sums are integers, so the threshold may be one too. Where the
normalization's weight is negative, the unit's weights change their signs and "at most" becomes "at least".
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fewbits.bitwise.gemm import Weights, prepare, signs_gemm, xnor_gemm
from fewbits.bitwise.pack import bit_planes, sign_words, threshold_words

_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class PackedLayer:
    """Signs of (N, K) weights, and N thresholds; the last layer has a bias instead."""

    weights: Weights
    inputs: int
    limits: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass(frozen=True)
class PackedNetwork:
    """What :func:`pack_network` makes."""

    layers: tuple[PackedLayer, ...]

    def hidden(self, pixels: np.ndarray, threads: int = 1) -> list[np.ndarray]:
        """Packed signs behind each hidden layer, each (M, ceil(units / 64)) uint64.

        Args:
            pixels: (M, K) uint8.
        """
        signs = []
        for layer in self.layers[:-1]:
            if signs:
                sums = xnor_gemm(signs[-1], layer.weights, layer.inputs, threads)
            else:
                sums = signs_gemm(bit_planes(pixels, 8), layer.weights, threads=threads)
            signs.append(threshold_words(sums, layer.limits))
        return signs

    def __call__(self, pixels: np.ndarray, threads: int = 1) -> np.ndarray:
        """Logits (M, classes) float32 of ``pixels`` (M, K) uint8."""
        last = self.layers[-1]
        sums = xnor_gemm(self.hidden(pixels, threads)[-1], last.weights, last.inputs, threads)
        return sums.astype(np.float32) + last.bias

    def nbytes(self) -> int:
        """Bytes of all packed weights."""
        return sum(layer.weights.words.nbytes for layer in self.layers)


def pack_network(model: nn.Sequential, scale: float, offset: float) -> PackedNetwork:
    """Pack a trained BinaryNet of linear layers.

    Args:
        model: ``Flatten``, then linear, ``BatchNorm1d`` and a sign for each hidden layer, then linear, in eval mode.
            All weights are ±1, and hidden layers have no bias.
        scale, offset: the network was trained on ``scale * pixel + offset``, scale > 0.
    Raises:
        ValueError: the layers are others, or a weight is not ±1.
    """
    modules = list(model)
    if len(modules) < 5 or len(modules) % 3 != 2 or not isinstance(modules[0], nn.Flatten):
        raise ValueError("model must be Flatten, (linear, normalization, sign) for each hidden layer, linear")
    layers = []
    for linear, norm in zip(modules[1:-1:3], modules[2:-1:3], strict=True):
        if not isinstance(norm, nn.BatchNorm1d) or linear.bias is not None:
            raise ValueError("model: hidden layers must be linear without bias, then BatchNorm1d")
        weight = _signs(linear)
        mean, deviation = norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt()
        gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
        if not layers:  # sums of pixels: the offset, times the sum of the weights, goes to the mean
            mean, deviation = (mean - offset * weight.sum(1)) / scale, deviation / scale
        flip = torch.where(gamma < 0, -1.0, 1.0)
        limits = _least_integer(mean * flip, deviation, gamma * flip, beta)
        words = sign_words((weight * flip[:, None]).numpy())
        layers.append(PackedLayer(prepare(words), linear.in_features, limits))
    last = modules[-1]
    bias = np.zeros(last.out_features, np.float32) if last.bias is None else last.bias.detach().float().numpy()
    layers.append(PackedLayer(prepare(sign_words(_signs(last).numpy())), last.in_features, bias=bias))
    return PackedNetwork(tuple(layers))


def _signs(linear: nn.Module) -> torch.Tensor:
    if not isinstance(linear, nn.Linear) or not bool((linear.weight.abs() == 1).all()):
        raise ValueError("model: weights must be those of linear layers, and ±1")
    return linear.weight.detach().double()


def _least_integer(mean, deviation, gamma, beta) -> np.ndarray:
    """For each unit the least integer s with ``(s - mean) / deviation * gamma + beta >= 0``, gamma >= 0."""
    limits = []
    for m, d, g, b in zip(mean.tolist(), deviation.tolist(), gamma.tolist(), beta.tolist(), strict=True):
        if g == 0:
            limits.append(-_LIMIT if b >= 0 else _LIMIT)
        else:
            limits.append(int(max(-_LIMIT, min(_LIMIT, math.ceil(m - b * d / g)))))
    return np.array(limits, np.int32)
