"""Put quantizers where an integer-only network needs them; what comes out is the *simulated* network.

It computes in floating point and can be trained further. :mod:`fewbits.integer.conversion` turns it into integers.
"""

import copy
import operator

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from fewbits.core.quantizer import LAYERS, Quantizer, weight_layers
from fewbits.uniform import UniformQuantizer, calibrate

ADDS = (operator.add, torch.add)
BORDER_BITS = 8  # of input and output: pixels are bytes already


class _Tracer(fx.Tracer):
    """Quantizers and layers are nodes of the graph, not looked into."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (Quantizer, *LAYERS)) or super().is_leaf_module(module, name)


def read_graph(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    """The calls of ``model`` in order, and its modules by name."""
    return _Tracer().trace(model), dict(model.named_modules(remove_duplicate=False))


def kind_of(node: fx.Node, modules: dict[str, nn.Module]) -> object:
    """The module that a node calls, or its function."""
    return modules[node.target] if node.op == "call_module" else node.target


def prepare(
    model: nn.Module, images: Tensor, weight_bits: int = 8, activation_bits: int = 8, channel_axis: int | None = 0
) -> fx.GraphModule:
    """A copy of ``model`` with a quantizer at each place where an integer network has 8-bit codes.

    Weights and activations that are quantized already keep their quantizers and ranges. New weight quantizers are
    symmetric; new activation quantizers are affine and calibrated on ``images``, behind the ReLU where there is one.
    The input and the output of the last layer get 8 bits whatever ``activation_bits`` is.

    Args:
        model: linear and convolution layers, ReLU, additions, global average and max pooling, without BN.
        images: (N, …) calibration inputs.
        weight_bits, activation_bits: 2 to 8.
        channel_axis: 0 for one weight scale per output channel, None for one per layer.
    """
    model = copy.deepcopy(model).eval()
    quantizers = [module for module in model.modules() if isinstance(module, UniformQuantizer)]
    known = {module: (module.low, module.high) for module in quantizers if not module.low.isnan().any()}
    for layer in weight_layers(model).values():
        if not parametrize.is_parametrized(layer, "weight"):
            quantizer = UniformQuantizer(weight_bits, channel_axis=channel_axis)
            parametrize.register_parametrization(layer, "weight", quantizer)
    graph, modules = read_graph(model)
    for node in list(graph.nodes):
        if not (node.op == "placeholder" or _leaves_sum(node, modules)):
            continue
        end = node
        while len(end.users) == 1 and isinstance(kind_of(next(iter(end.users)), modules), nn.ReLU | nn.Identity):
            end = next(iter(end.users))
        if all(isinstance(kind_of(user, modules), UniformQuantizer) for user in end.users):
            continue
        border = node.op == "placeholder" or all(user.op == "output" for user in end.users)
        name = f"quantize_{node.name}"
        model.add_module(name, UniformQuantizer(BORDER_BITS if border else activation_bits, symmetric=False))
        with graph.inserting_after(end):
            quantized = graph.call_module(name, (end,))
        end.replace_all_uses_with(quantized, delete_user_cb=lambda user, new=quantized: user is not new)
    prepared = calibrate(fx.GraphModule(model, graph).eval(), images)
    for quantizer, (low, high) in known.items():
        quantizer.low, quantizer.high = low, high
    return prepared


def _leaves_sum(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    kind = kind_of(node, modules)
    return kind in ADDS if node.op == "call_function" else isinstance(kind, (*LAYERS, nn.AdaptiveAvgPool2d))
