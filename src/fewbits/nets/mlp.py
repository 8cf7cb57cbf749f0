"""Multi-layer perceptron."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Flatten, then linear → [batch normalization] → activation for each hidden layer, then a plain linear layer.

    Input (N, ...) with ``sizes[0]`` numbers per sample, output (N, ``sizes[-1]``) logits.

    Args:
        sizes: number of inputs, of each hidden layer's units, and of classes.
        activation: called without arguments for each hidden layer; gives a fresh module (``nn.ReLU``, or a quantized
            activation).
        batch_norm: put ``nn.BatchNorm1d`` before each activation; the linear layer before it then has no bias, since
            the normalization would subtract it.
    Raises:
        ValueError: fewer than two sizes, or one below 1.
    """

    def __init__(self, sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, batch_norm: bool = False):
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be at least two positive numbers, got {tuple(sizes)}")
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes[:-1]):
            layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(activation())
        super().__init__(*layers, nn.Linear(sizes[-2], sizes[-1]))
