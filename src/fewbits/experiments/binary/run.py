"""Binary weights and activations: BinaryConnect, BinaryNet and XNOR-Net in one network, by one recipe.

Written are ``data/results/binary_runs.csv`` (one row per data set, method and seed; only what is missing is trained),
``data/results/binary.json`` (claims) and, on ``mnist5k``, the networks of seed 0 in ``data/checkpoints``.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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
    center_latent,
    clip_latent,
    glorot_groups,
    start_latent,
    use_shift_batch_norm,
)
from fewbits.core.packing import pack_signs
from fewbits.core.quantizer import Quantizer, encode_weights, quantize_weights
from fewbits.evidence import results_dir
from fewbits.experiments import comparison
from fewbits.experiments.binary.claims import cited_claims, exact_claims, make_claims
from fewbits.experiments.binary.scales import record_scales
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.experiments.comparison import (
    FLOAT,
    TASKS,
    Method,
    Network,
    chosen,
    float_network,
    prepared,
    run_missing,
)
from fewbits.nets import MLP
from fewbits.training import cosine, exponential, load_model, save_model, squared_hinge


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments binary``."""
    comparison.add_arguments(parser, tuple(METHODS_OF))


def shift_name(norm: bool, optimizer: bool, power: int) -> str:
    """Of a row of the table: "shift BN, AdaMax, 2^-8"."""
    kinds = ("shift BN" if norm else "BN", "shift AdaMax" if optimizer else "AdaMax")
    return f"{kinds[0]}, {kinds[1]}, 2^{power}"


def pooled_signs(network: Network, scale_input: bool = True) -> nn.Module:
    """XNOR-Net's layers in the usual order: a pool sees signs, most of which it makes +1."""
    model = binarize_inputs(network(activation=SignActivation), scale_input)
    return quantize_weights(model, XnorWeights)


def binary_weights(
    network: Network,
    quantizer: Callable[[], Quantizer] = BinaryConnect,
    wide_start: bool = True,
    output_norm: bool = True,
) -> nn.Module:
    """BinaryConnect as its authors have it: all weights binary, ReLU activations, normalization after the last layer.

    Args:
        network: see `Network`.
        quantizer: of the weights.
        wide_start: latent weights start anywhere in [-1, 1], not where a float network starts.
        output_norm: as in :class:`fewbits.nets.MLP`.
    """
    model = quantize_weights(network(activation=nn.ReLU, output_norm=output_norm), quantizer, skip=())
    return start_latent(model) if wide_start else model


def scaled_weights(network: Network, skip: Sequence[str] = (), **options) -> nn.Module:
    """Binary-Weight-Network: weights binary with a scale per filter, ReLU activations; ``options`` of `XnorWeights`."""
    return quantize_weights(network(activation=nn.ReLU), partial(XnorWeights, **options), skip=skip)


def binary_net(
    network: Network,
    shifts: bool = False,
    wide_start: bool = True,
    output_norm: bool = True,
    skip: Sequence[str] = (),
    **options,
) -> nn.Module:
    """BinaryNet as its authors have it: binary weights and hidden activations, normalization after the last layer.

    Args:
        network: see `Network`.
        shifts: batch normalization by shifts.
        wide_start, output_norm: as in `binary_weights`.
        skip: layers whose weights stay real.
        options: of ``network``.
    """
    model = network(activation=SignActivation, output_norm=output_norm, **options)
    quantize_weights(model, BinaryConnect, skip=skip)
    model = start_latent(model) if wide_start else model
    return use_shift_batch_norm(model) if shifts else model


def xnor_net(
    network: Network,
    quantizer: Callable[[], Quantizer] = XnorWeights,
    scale_input: bool = True,
    shift_input: bool = False,
    wide_start: bool = False,
    centered: bool = False,
    **options,
) -> nn.Module:
    """XNOR-Net: weights and inputs binary in all layers but the first and the last, in the paper's blocks.

    Args:
        network: see `Network`.
        quantizer: of the weights.
        scale_input: use K.
        shift_input: round K to a power of two.
        wide_start: as in `binary_weights`.
        centered: start with centred and clipped latent weights, as the released code has them.
        options: of ``network``; the order of a block.
    """
    model = binarize_inputs(network(activation=nn.Identity, **options), scale_input, shift_input)
    quantize_weights(model, quantizer)
    if wide_start:
        start_latent(model)
    if centered:
        center_and_clip(model)
    return model


BLOCKS: dict[str, Any] = {"norm_first": True}  # of an MLP; XNOR-Net's order
VGG_BLOCKS: dict[str, Any] = {"order": "norm-activation-conv-pool"}


def center_and_clip(model: nn.Module) -> None:
    """What XNOR-Net's released code does with its latent weights before each forward pass."""
    center_latent(model)
    clip_latent(model)


def with_units(_: Network, units: int, method: Method) -> nn.Module:
    """The network of ``method`` with another number of units in its three hidden layers."""
    return method.build(partial(MLP, (784, units, units, units, 10), batch_norm=True))


def adam_of(model: nn.Module, lr: float, glorot: bool) -> torch.optim.Optimizer:
    """Adam, if so wanted with BinaryConnect's learning rates: ``lr`` divided by each layer's Glorot coefficient."""
    return torch.optim.Adam(glorot_groups(model, lr) if glorot else model.parameters(), lr, fused=True)


def adamax_of(model: nn.Module, lr: float, shifts: bool) -> torch.optim.Optimizer:
    """AdaMax, ordinary or by shifts, with BinaryConnect's learning rates."""
    groups = glorot_groups(model, lr)
    return ShiftAdaMax(groups, lr=lr) if shifts else torch.optim.Adamax(groups, lr=lr)


GLOROT = partial(adam_of, lr=3e-3, glorot=True)
PLAIN = partial(adam_of, lr=3e-3, glorot=False)
HINGE = {"loss": squared_hinge}
RELEASED = partial(XnorWeights, gradient="released")

METHODS = {
    "float": FLOAT,
    "float, output BN": Method(partial(float_network, output_norm=True)),
    "binaryconnect": Method(binary_weights, GLOROT, clip_latent),
    "binaryconnect stochastic": Method(
        partial(binary_weights, quantizer=partial(BinaryConnect, True)), GLOROT, clip_latent, latent=True
    ),
    "bwn": Method(scaled_weights),
    "bwn, exact gradient": Method(partial(scaled_weights, gradient="exact")),
    "bwn, real ends": Method(partial(scaled_weights, skip=("first", "last"))),
    "bwn, shift": Method(partial(scaled_weights, power_of_two=True)),
    "binarynet": Method(binary_net, GLOROT, clip_latent),
    "xnor-net": Method(partial(xnor_net, **BLOCKS)),
    "xnor-net, no K": Method(partial(xnor_net, scale_input=False, **BLOCKS)),
    "xnor-net, released": Method(
        partial(xnor_net, quantizer=RELEASED, scale_input=False, centered=True, **BLOCKS), after_step=center_and_clip
    ),
    "xnor-net, shift alpha": Method(partial(xnor_net, quantizer=partial(XnorWeights, power_of_two=True), **BLOCKS)),
    "xnor-net, shifts": Method(
        partial(xnor_net, quantizer=partial(XnorWeights, power_of_two=True), shift_input=True, **BLOCKS)
    ),
}
# BinaryConnect, changed one thing at a time.
CHANGES = {
    "binaryconnect, scale": Method(partial(binary_weights, quantizer=XnorWeights), GLOROT, clip_latent),
    "binaryconnect, small start": Method(partial(binary_weights, wide_start=False), GLOROT, clip_latent),
    "binaryconnect, one rate": Method(binary_weights, PLAIN, clip_latent),
    "binaryconnect, no clip": Method(binary_weights, GLOROT),
    "binaryconnect, no output BN": Method(partial(binary_weights, output_norm=False), GLOROT, clip_latent),
    "binaryconnect, hinge": Method(binary_weights, GLOROT, clip_latent, options=HINGE),
}
# From what this book once took for BinaryNet to XNOR-Net, one change a rung. "binarynet" and "xnor-net" are among them.
LADDER = {
    "binarynet, bare": Method(partial(binary_net, wide_start=False, output_norm=False), PLAIN, clip_latent),
    "binarynet, + output BN": Method(partial(binary_net, wide_start=False), PLAIN, clip_latent),
    "binarynet, + start": Method(binary_net, PLAIN, clip_latent),
    "binarynet, hinge": Method(binary_net, GLOROT, clip_latent, options=HINGE),
    "+ real first layer": Method(partial(binary_net, skip=("first",)), GLOROT, clip_latent),
    "+ real last layer": Method(partial(binary_net, skip=("first", "last")), GLOROT, clip_latent),
    "+ blocks": Method(
        partial(xnor_net, quantizer=BinaryConnect, scale_input=False, wide_start=True, **BLOCKS), GLOROT, clip_latent
    ),
    "+ usual start, one rate": Method(
        partial(xnor_net, quantizer=BinaryConnect, scale_input=False, **BLOCKS), PLAIN, clip_latent
    ),
}
RUNGS = (
    "binarynet, bare",
    "binarynet, + output BN",
    "binarynet, + start",
    "binarynet",
    "+ real first layer",
    "+ real last layer",
    "+ blocks",
    "+ usual start, one rate",
    "xnor-net, no K",
    "xnor-net",
)
# Batch normalization and AdaMax, each ordinary or by shifts, at three learning rates.
RATES = (-7, -8, -9)
SHIFTS = {
    shift_name(norm, optimizer, power): Method(
        partial(binary_net, shifts=norm), partial(adamax_of, lr=2.0**power, shifts=optimizer), clip_latent
    )
    for norm in (False, True)
    for optimizer in (False, True)
    for power in RATES
}
# Does a wider network make up for its binary activations? Beside the 128 units that all have.
WIDTHS = {
    f"{name}, {units} units": dataclasses.replace(
        METHODS[name], build=partial(with_units, units=units, method=METHODS[name])
    )
    for units in (32, 64, 256, 512)
    for name in ("float", "binarynet")
}
KEPT = ("float", "binaryconnect", "binarynet", "xnor-net")

# The recipe of BinaryConnect's and BinaryNet's released code, but for width and epochs; see TASKS["mnist-1024"].
_WIDE = {
    "float": Method(float_network, partial(adam_of, lr=1e-3, glorot=False)),
    "binaryconnect": Method(binary_weights, partial(adam_of, lr=1e-3, glorot=True), clip_latent),
    "binaryconnect stochastic": Method(
        partial(binary_weights, quantizer=partial(BinaryConnect, True)),
        partial(adam_of, lr=1e-3, glorot=True),
        clip_latent,
        latent=True,
    ),
    "binarynet": Method(binary_net, GLOROT, clip_latent, options={"schedule": partial(exponential, final=1e-4)}),
    "xnor-net": Method(partial(xnor_net, output_norm=False, **BLOCKS), partial(adam_of, lr=1e-3, glorot=False)),
}
_COSINE = {"schedule": cosine}  # of Adam, where the float network has SGD and one cycle
_IMAGES = {
    "float": FLOAT,
    "binaryconnect": Method(binary_weights, GLOROT, clip_latent, options=HINGE | _COSINE),
    "bwn, real ends": Method(partial(scaled_weights, skip=("first", "last")), PLAIN, from_float=True, options=_COSINE),
    "binarynet": Method(
        partial(binary_net, order="conv-pool-norm-activation"), GLOROT, clip_latent, options=HINGE | _COSINE
    ),
    "xnor-net": Method(partial(xnor_net, **VGG_BLOCKS), PLAIN, options=_COSINE),
    "xnor-net, no K": Method(partial(xnor_net, scale_input=False, **VGG_BLOCKS), PLAIN, options=_COSINE),
    "xnor-net, released": Method(
        partial(xnor_net, quantizer=RELEASED, scale_input=False, centered=True, **VGG_BLOCKS),
        PLAIN,
        center_and_clip,
        options=_COSINE,
    ),
    "xnor-net, old blocks": Method(pooled_signs, PLAIN, options=_COSINE),
    "xnor-net, old blocks, no K": Method(partial(pooled_signs, scale_input=False), PLAIN, options=_COSINE),
}
_LENET = {
    "float": FLOAT,
    "bwn": Method(scaled_weights),
    "binaryconnect": Method(binary_weights, GLOROT, clip_latent, options=HINGE | _COSINE),
}
METHODS_OF = {
    "mnist5k": METHODS | CHANGES | LADDER | SHIFTS | WIDTHS,
    "mnist-1024": _WIDE,
    "mnist-lenet": _LENET,
    "cifar10": _IMAGES,
}


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    for name in options.data:
        methods = chosen(METHODS_OF[name], options.methods)
        table = "binary_pilots" if options.pilot else "binary_runs"
        saving = keep if name == "mnist5k" and not options.pilot else None
        limits = {"epochs": options.epochs, "minutes": options.minutes, "pilot": options.pilot}
        frame = run_missing(table, methods, name, list(seeds(options.seeds)), command, saving, **limits)
        if name == "mnist5k" and not options.pilot and not (results_dir() / "binary_scales.csv").exists():
            record_scales()
        if not options.pilot:
            record_claims(frame, name, command)


def keep(name: str, seed: int, model: nn.Module) -> None:
    """Save the networks that the chapter evaluates."""
    if name in KEPT and seed == 0:
        save_model(model.cpu(), checkpoint_path(f"binary-{name}"))


def record_claims(frame: pd.DataFrame, data_name: str, command: str) -> None:
    """Store the claims that ``frame`` allows for one data set, and on ``mnist5k`` what the kept network shows."""
    wall = float(frame[frame.data == data_name].seconds.sum())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    claims = make_claims(frame, data_name)
    if data_name == "mnist5k":
        claims += exact_claims(*exact_numbers()) + cited_claims(frame)
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
    hidden = model[:4](prepared("mnist5k").test_images.double())  # after the first sign
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
