"""One call that quantizes a network, whatever its style: weights, activations and their ranges.

Weights are quantized by parametrizations, which leave every module its place. Activations are quantized in the graph of
the forward pass (:mod:`fewbits.core.graph`): each *call* of an activation function gets a quantizer of its own, so that
one ``nn.ReLU`` that is called twice, or ``F.relu``, which is no module, is served as well as one module a place.
"""

import copy
import inspect
from collections.abc import Callable, Collection

from torch import Tensor, fx, nn

from fewbits.core.graph import Call, Network, function_name, is_plain, read
from fewbits.core.quantizer import (
    CLOSED,
    Quantizer,
    as_its_input,
    layers_to_quantize,
    put_quantizer,
)
from fewbits.core.quantizer import (
    calibrate as fit_ranges,
)

# The functions and methods after which a network has new activations, and the modules that do the same.
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
)
_NAMES = {"relu", "relu6", "leakyrelu", "prelu", "elu", "gelu", "silu", "mish", "hardswish", "hardtanh"}
_NAMES |= {"hardsigmoid", "tanh", "sigmoid", "softplus"}


def quantize(
    model: nn.Module,
    weights: Callable[..., Quantizer] | None = None,
    activations: Callable[[], Quantizer] | None = None,
    calibrate: Tensor | None = None,
    keep: Collection[str] = (),
) -> nn.Module:
    """A copy of ``model`` with quantized weights, quantized activations, or both; it can be trained further.

    ::

        small = quantize(model, partial(UniformQuantizer, 4, channel_axis=0))
        small = quantize(model, TWN, partial(UniformQuantizer, 8, signed=False), calibrate=train_images[:512])
        small = quantize(model, partial(SharedWeights, k=16), keep=("first", "last"))

    Layers that hold the same weight share its quantizer. Biases and normalizations stay in floating point.
    :func:`fewbits.core.size.size_report` says what was done to each layer.

    Args:
        model: any network; for ``activations`` its forward pass must be readable (:mod:`fewbits.core.graph`).
        weights: a class of quantizers or a function that makes one, per tensor or per channel as it is set. It is
            called for each weight without arguments; or with the weight, if it needs one argument, as those do that
            belong to a tensor (:class:`fewbits.vector.SharedWeights`).
        activations: makes a quantizer for each call of an activation function (:data:`ACTIVATIONS`).
        calibrate: (N, …) images to fit the ranges of the activations to, some of those for training; needed if the
            quantizers of the activations have ranges to fit.
        keep: layers whose weights stay as they are: "first", "last" or names.
    Returns:
        The copy, in the mode that ``model`` is in; with ``activations`` a ``torch.fx.GraphModule`` with the names of
        ``model``.
    Raises:
        ValueError: there is nothing to quantize, or nothing is left after ``keep``; a layer is quantized already;
            ``model`` calls no activation function, has some inside a module of torch such as ``nn.LSTM``, or its
            forward pass cannot be read; a range needs ``calibrate``. The message names the module or the argument.
            ``model`` is as it was.
    """
    if weights is None and activations is None:
        raise ValueError("give weights, activations or both: there is nothing to quantize")
    model = copy.deepcopy(model)
    if weights is not None:
        _quantize_weights(model, weights, keep)
    if activations is not None:
        model = _quantize_activations(model, activations)
        places = [module for module in _activation_quantizers(model) if hasattr(module, "fit")]
        if places and calibrate is None:
            raise ValueError(f"calibrate is needed: images to fit the ranges of {type(places[0]).__name__} with")
        if places and calibrate is not None:
            fit_ranges(model, calibrate)
    return model


def _quantize_weights(model: nn.Module, weights: Callable[..., Quantizer], keep: Collection[str]) -> None:
    made: dict[int, Quantizer] = {}
    for layer in layers_to_quantize(model, keep).values():
        weight = layer.weight
        if id(weight) not in made:
            made[id(weight)] = weights(weight.detach()) if _needs_a_tensor(weights) else weights()
        put_quantizer(layer, made[id(weight)])


def _needs_a_tensor(make: Callable[..., Quantizer]) -> bool:
    """Whether ``make`` has one parameter that must be given: the tensor that its quantizer will belong to."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        name
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind in kinds
    ]
    if len(needed) > 1:
        raise ValueError(f"weights must be callable without arguments or with a weight, but it needs {needed}")
    return bool(needed)


def is_activation(call: Call) -> bool:
    """Whether a call is one of an activation function, be it a module, a function or a method."""
    if call.module is not None:
        return is_plain(call.module, ACTIVATIONS)
    return function_name(call) in _NAMES


def _quantize_activations(model: nn.Module, activations: Callable[[], Quantizer]) -> fx.GraphModule:
    network = read(model)
    calls = [call for call in network.calls if is_activation(call)]
    if not calls:
        raise ValueError("model calls no activation function to put a quantizer after")
    for call in network.calls:
        if isinstance(call.module, CLOSED):
            raise ValueError(f"{call} has activations inside, which cannot be quantized: write it with layers")
    for call in calls:
        for user in call.users:
            if user.op == "quantizer":
                raise ValueError(f"the activations after {call} are quantized already, by {user}")
        put_after(network, call, activations(), f"quantize_{call.node.name}")
    modes = {name: module.training for name, module in network.root.named_modules()}
    quantized = fx.GraphModule(network.root, network.graph)
    for name, module in quantized.named_modules():  # those without parts of their own are new
        module.training = modes[name]
    return quantized


def put_after(network: Network, call: Call, module: nn.Module, name: str) -> None:
    """Let everything that reads the result of ``call`` read ``module`` of it, which is registered under ``name``."""
    root, graph, readers = network.root, network.graph, list(call.node.users)
    while hasattr(root, name):  # a module of the user's has the name
        name += "_"
    root.add_module(name, module)
    if isinstance(module, Quantizer):
        module.for_activations()
    module.train(root.training).register_forward_hook(as_its_input)
    with graph.inserting_after(call.node):
        node = graph.call_module(name, (call.node,))
    for reader in readers:
        reader.replace_input_with(call.node, node)


def _activation_quantizers(model: nn.Module) -> list[Quantizer]:
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, Quantizer) and "parametrizations" not in name.split(".")
    ]
