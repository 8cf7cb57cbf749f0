"""How often the weights of each layer are used: filters, weights and multiply-accumulates (MACs) from real shapes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fewbits.core.graph import Call, read
from fewbits.core.modes import evaluating

_PRODUCTS = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "bilinear", "matmul", "mm", "bmm", "addmm"}
_PRODUCTS |= {"einsum", "tensordot", "scaled_dot_product_attention"}


@dataclass(frozen=True)
class LayerWork:
    """The work of one convolution or linear layer for one input; biases are not counted.

    A filter is what makes one output channel. It has ``weights_per_filter`` weights, and all of them are used again at
    each of the ``output_positions`` places (rows × columns) of its output: once in a linear layer, 12,544 times in the
    first layer of a ResNet. Places where the filter hangs over the border are counted in full, as is usual.

    Args:
        name: of the layer in its model.
        kind: "conv" or "linear".
        filters: output channels or output features.
        macs_per_filter: ``weights_per_filter * output_positions``.
        weights_per_filter: inputs of the filter's group × kernel height × kernel width.
        output_positions: height × width of the output; 1 for a linear layer.
    Raises:
        ValueError: ``kind`` is neither "conv" nor "linear", a count is below 1, or ``macs_per_filter`` is not that
            product.
    """

    name: str
    kind: str
    filters: int
    macs_per_filter: int
    weights_per_filter: int
    output_positions: int

    def __post_init__(self) -> None:
        if self.kind not in ("conv", "linear"):
            raise ValueError(f"kind must be 'conv' or 'linear', got {self.kind!r}")
        for field in ("filters", "weights_per_filter", "output_positions"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, got {getattr(self, field)}")
        if self.macs_per_filter != self.weights_per_filter * self.output_positions:
            raise ValueError(
                f"macs_per_filter must be weights_per_filter * output_positions = "
                f"{self.weights_per_filter * self.output_positions}, got {self.macs_per_filter}"
            )

    @property
    def weights(self) -> int:
        """Weights of all filters."""
        return self.filters * self.weights_per_filter

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all filters."""
        return self.filters * self.macs_per_filter


def layer_work(model: nn.Module, input_shape: Sequence[int]) -> list[LayerWork]:
    """The work of every ``nn.Conv2d`` and ``nn.Linear``, in the order in which one forward pass calls them.

    The calls are those that :func:`fewbits.core.graph.read` finds; their shapes come from one image of zeros, in
    evaluation mode without gradients. Afterwards every module is in the mode it was in. A layer that is called twice
    has two entries. Fold or reparameterize a network that runs differently at inference before it is counted.

    Args:
        input_shape: of one input without the batch, (C, H, W) for images or (features,).
    Raises:
        ValueError: the model calls no convolution and no linear layer, cannot be read, or multiplies by weights in
            another way (a layer of another kind or with a forward of its own, ``F.linear``, ``@``); the message names
            the place.
    """
    parameter = next(model.parameters(), torch.empty(0))
    dtype = parameter.dtype if parameter.is_floating_point() else torch.float32
    image = torch.zeros(1, *input_shape, dtype=dtype, device=parameter.device)
    with evaluating(model), torch.no_grad():
        network = read(model)
        shapes = network.shapes(image)
    works = []
    for call in network.calls:
        if isinstance(call.layer, nn.Conv2d | nn.Linear):
            works.append(_work(call.name, call.layer, shapes[call].numel()))
        elif _multiplies(call):
            raise ValueError(f"{call} multiplies by weights, but only plain nn.Conv2d and nn.Linear are counted")
    if not works:
        raise ValueError("model calls no nn.Conv2d and no nn.Linear")
    return works


def _work(name: str, layer: nn.Conv2d | nn.Linear, outputs: int) -> LayerWork:
    if isinstance(layer, nn.Conv2d):
        kind, filters = "conv", layer.out_channels
        weights = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    else:
        kind, filters, weights = "linear", layer.out_features, layer.in_features
    positions = outputs // filters
    return LayerWork(name, kind, filters, weights * positions, weights, positions)


def _multiplies(call: Call) -> bool:
    if call.module is not None:
        matrices = any(parameter.dim() > 1 for parameter in call.module.parameters())
        return matrices and (call.layer is not None or call.op == "other")
    name = call.node.target if isinstance(call.node.target, str) else getattr(call.node.target, "__name__", "")
    return call.op == "other" and name in _PRODUCTS
