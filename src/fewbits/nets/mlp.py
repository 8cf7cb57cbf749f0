"""Multi-layer perceptron."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Flatten, then linear → [batch normalization] → activation for each hidden layer, then a linear layer.

    Input (N, ...) with ``sizes[0]`` numbers per sample, output (N, ``sizes[-1]``) logits.

    Args:
        sizes: number of inputs, of each hidden layer's units, and of classes.
        activation: called without arguments for each hidden layer; gives a fresh module (``nn.ReLU``, or a quantized
            activation).
        batch_norm: put ``nn.BatchNorm1d`` before each activation; the linear layer before it then has no bias, since
            the normalization would subtract it.
        output_norm: put ``nn.BatchNorm1d`` after the last layer too, which then has no bias: BinaryConnect and
            BinaryNet end so. Binary weights make sums of hundreds, which no loss would bear.
        norm_first: XNOR-Net's order. Each layer but the first is preceded by a batch normalization and its activation:
            ``activation`` before the hidden layers, ReLU after the first layer's own normalization and before the last
            layer.
    Raises:
        ValueError: fewer than two sizes, or one below 1; ``norm_first`` without ``batch_norm``.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        batch_norm: bool = False,
        output_norm: bool = False,
        norm_first: bool = False,
    ):
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be at least two positive numbers, got {tuple(sizes)}")
        if norm_first and not batch_norm:
            raise ValueError("norm_first needs batch_norm")
        layers: list[nn.Module] = [nn.Flatten()]
        hidden = list(pairwise(sizes[:-1]))
        for index, (inputs, outputs) in enumerate(hidden):
            if norm_first and index:
                layers += [nn.BatchNorm1d(inputs), activation()]
            layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
            if batch_norm and (not norm_first or index in (0, len(hidden) - 1)):
                layers.append(nn.BatchNorm1d(outputs))
            if not norm_first:
                layers.append(activation())
            elif index in (0, len(hidden) - 1):
                layers.append(nn.ReLU())
        layers.append(nn.Linear(sizes[-2], sizes[-1], bias=not output_norm))
        super().__init__(*layers, *([nn.BatchNorm1d(sizes[-1])] if output_norm else []))
