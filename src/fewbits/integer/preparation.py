"""Put quantizers where an integer-only network needs them; what comes out is the *simulated* network.

It computes in floating point and can be trained further. :mod:`fewbits.integer.conversion` turns it into integers.
"""

import copy

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from fewbits.core.graph import Call, read
from fewbits.core.quantizer import as_its_input, put_quantizer
from fewbits.uniform import UniformQuantizer, calibrate

BORDER_BITS = 8  # of input and output: pixels are bytes already


def prepare(
    model: nn.Module, images: Tensor, weight_bits: int = 8, activation_bits: int = 8, channel_axis: int | None = 0
) -> fx.GraphModule:
    """A copy of ``model`` with a quantizer at each place where an integer network has 8-bit codes.

    Weights and activations that are quantized already keep their quantizers and ranges. New weight quantizers are
    symmetric; new activation quantizers are affine and calibrated on ``images``, after the ReLU or ReLU6 where there is
    one. The input and the output of the last layer get 8 bits whatever ``activation_bits`` is.

    Args:
        model: linear and convolution layers, ReLU, ReLU6, additions, zero padding, global average and max pooling,
            without BN; as modules, functions or methods. What else there is stays as it is, and
            :func:`fewbits.integer.to_integers` refuses it.
        images: (N, …) calibration inputs.
        weight_bits, activation_bits: 2 to 8.
        channel_axis: 0 for one weight scale per output channel, None for one per layer.
    Raises:
        ValueError: the forward pass cannot be read (:func:`fewbits.core.graph.read`); the message names the module.
    Source: jacob2018 Sec. 3; jacob2018 Alg. 1 (step 2)
    """
    model = copy.deepcopy(model).eval()
    quantizers = [module for module in model.modules() if isinstance(module, UniformQuantizer)]
    known = {module: (module.low, module.high) for module in quantizers if not module.low.isnan().any()}
    network = read(model)
    root, graph = network.root, network.graph
    for call in network.calls:
        if call.layer is not None and not parametrize.is_parametrized(call.layer, "weight"):
            quantizer = UniformQuantizer(weight_bits, channel_axis=channel_axis)
            put_quantizer(call.layer, quantizer)
        if not (call.op == "input" or _leaves_sum(call)):
            continue
        end = call
        while end.only_user is not None and end.only_user.op in ("relu", "relu6", "identity"):
            end = end.only_user
        if all(isinstance(user.module, UniformQuantizer) for user in end.users):
            continue
        border = call.op == "input" or all(user.op == "output" for user in end.users)
        name = f"quantize_{call.node.name}"
        while hasattr(root, name):  # a module of the user's
            name += "_"
        quantizer = UniformQuantizer(BORDER_BITS if border else activation_bits, symmetric=False)
        quantizer.register_forward_hook(as_its_input)
        root.add_module(name, quantizer)
        readers = list(end.node.users)
        with graph.inserting_after(end.node):
            quantized = graph.call_module(name, (end.node,))
        for reader in readers:
            reader.replace_input_with(end.node, quantized)
    prepared = fx.GraphModule(root, graph).eval()
    calibrate(prepared, images, UniformQuantizer)
    for quantizer, (low, high) in known.items():
        quantizer.low, quantizer.high = low, high
    return prepared


def _leaves_sum(call: Call) -> bool:
    return call.layer is not None or call.op in ("add", "global_average")
