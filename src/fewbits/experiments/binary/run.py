"""Binary weights and activations: BinaryConnect, BinaryNet and XNOR-Net in one network, by one recipe.

Written are ``data/results/binary_runs.csv`` (one row per data set, method and seed; only what is missing is trained),
``data/results/binary.json`` (claims) and, on ``mnist5k``, the networks of seed 0 in ``data/checkpoints``.
"""

from functools import partial

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from fewbits import evidence
from fewbits.binary import (
    BinaryConnect,
    ShiftAdaMax,
    SignActivation,
    XnorWeights,
    binarize_inputs,
    binary_inner_product,
    clip_latent,
    glorot_groups,
    use_shift_batch_norm,
)
from fewbits.core.packing import pack_signs
from fewbits.core.quantizer import encode_weights, quantize_weights, weight_quantizers
from fewbits.experiments import comparison
from fewbits.experiments.binary.claims import exact_claims, make_claims
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.experiments.comparison import FLOAT, TASKS, Method, Network, chosen, prepared, run_missing
from fewbits.nets import MLP
from fewbits.training import load_model, save_model


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments binary``."""
    comparison.add_arguments(parser)


def binary_weights(network: Network, stochastic: bool = False) -> nn.Module:
    """BinaryConnect: all weights binary, ReLU activations; latent weights start anywhere in [-1, 1].

    The usual start, within ±0.04 here, makes every stochastic weight a fair coin: nothing is learned for a long while.
    """
    model = quantize_weights(network(activation=nn.ReLU), partial(BinaryConnect, stochastic), skip=())
    for _, _, latent in weight_quantizers(model):
        nn.init.uniform_(latent, -1, 1)
    return model


def scaled_weights(network: Network, gradient: str = "paper") -> nn.Module:
    """Binary-Weight-Network: all weights binary with a scale per filter, ReLU activations."""
    return quantize_weights(network(activation=nn.ReLU), partial(XnorWeights, gradient=gradient), skip=())


def binary_net(network: Network, shifts: bool = False) -> nn.Module:
    """BinaryNet: all weights and all hidden activations binary; with batch normalization by shifts if so wanted."""
    model = quantize_weights(network(activation=SignActivation), BinaryConnect, skip=())
    return use_shift_batch_norm(model) if shifts else model


def inner_layers(network: Network, quantizer=XnorWeights, scale_input: bool = True) -> nn.Module:
    """Weights and inputs binary in all layers but the first and the last, as in XNOR-Net."""
    model = binarize_inputs(network(activation=nn.Identity), scale_input)
    return quantize_weights(model, quantizer)


def with_units(_: Network, units: int, method: Method) -> nn.Module:
    """The network of ``method`` with another number of units in its three hidden layers."""
    return method.build(partial(MLP, (784, units, units, units, 10), batch_norm=True))


def glorot_adam(model: nn.Module) -> torch.optim.Optimizer:
    """Adam with BinaryConnect's learning rates: a rate of 0.003, divided by the Glorot coefficient of each layer."""
    return torch.optim.Adam(glorot_groups(model, lr=3e-3))


def shift_adamax(model: nn.Module) -> torch.optim.Optimizer:
    """AdaMax by shifts, with a learning rate of 1/256."""
    return ShiftAdaMax(model.parameters(), lr=2**-8)


METHODS = {
    "float": FLOAT,
    "binaryconnect": Method(binary_weights, glorot_adam, clip_latent),
    "binaryconnect stochastic": Method(partial(binary_weights, stochastic=True), glorot_adam, clip_latent, latent=True),
    "bwn": Method(scaled_weights),
    "bwn, exact gradient": Method(partial(scaled_weights, gradient="exact")),
    "binarynet": Method(binary_net, after_step=clip_latent),
    "binarynet, shifts": Method(partial(binary_net, shifts=True), shift_adamax, clip_latent),
    # From BinaryNet to XNOR-Net, one thing at a time.
    "binarynet, real ends": Method(
        partial(inner_layers, quantizer=BinaryConnect, scale_input=False), after_step=clip_latent
    ),
    "xnor-net, no K": Method(partial(inner_layers, scale_input=False)),
    "xnor-net": Method(inner_layers),
}
# Does a wider network make up for its binary activations? Beside the 128 units that all have.
WIDTHS = {
    f"{name}, {units} units": Method(partial(with_units, units=units, method=METHODS[name]), after_step=after_step)
    for units in (32, 64, 256, 512)
    for name, after_step in (("float", None), ("binarynet", clip_latent))
}
KEPT = ("float", "binaryconnect", "binarynet", "xnor-net")


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    for name in options.data:
        notebook = name == "mnist5k"
        methods = chosen(METHODS | WIDTHS if notebook else METHODS, options.methods)
        seed_list = list(seeds(options.seeds))
        frame = run_missing("binary_runs", methods, name, seed_list, command, keep if notebook else None)
        record_claims(frame, name, command)


def keep(name: str, seed: int, model: nn.Module) -> None:
    """Save the networks that the chapter evaluates."""
    if name in KEPT and seed == 0:
        save_model(model.cpu(), checkpoint_path(f"binary-{name}"))


def record_claims(frame: pd.DataFrame, data_name: str, command: str) -> None:
    """Store the claims that ``frame`` allows for one data set, and on ``mnist5k`` what the kept network shows."""
    wall = float(frame[frame.data == data_name].seconds.sum())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    claims = make_claims(frame, data_name) + (exact_claims(*exact_numbers()) if data_name == "mnist5k" else [])
    evidence.record("binary", claims, command=command, wall_s=wall, device=device)


@torch.no_grad()
def exact_numbers() -> tuple[int, float]:
    """What the kept BinaryNet shows of arithmetic and storage on all test images.

    Returns:
        How many inner products by popcount differ from the float ones, and how many times smaller the packed weights
        are than 32-bit floats.
    """
    model = load_model(binary_net(TASKS["mnist5k"].network), checkpoint_path("binary-binarynet")).double()
    assert isinstance(model, nn.Sequential)
    model = nn.Sequential(*model)  # which can be sliced
    hidden = model[:4](prepared("mnist5k").test_images.double())  # behind the first sign
    different = 0
    to_signs: nn.Module | None
    for layer, to_signs in ((model[4], model[5:7]), (model[7], model[8:10]), (model[10], None)):
        assert isinstance(layer, nn.Linear)
        words = pack_signs(hidden)[:, None], pack_signs(layer.weight)[None]
        sums = torch.from_numpy(binary_inner_product(*words, count=layer.in_features)).double()
        different += int((sums != F.linear(hidden, layer.weight)).sum())
        hidden = to_signs(sums) if to_signs else sums
    codes = encode_weights(model).values()
    ratio = sum(4 * code.values.numel() for code in codes) / sum(len(code.packed()) for code in codes)
    return different, ratio
