"""Ternary weights: TWN, TTQ and exact ternary in one network, by one recipe, and the effect of the threshold.

Written are ``data/results/ternary_runs.csv`` (one row per data set, method and seed; only what is missing is trained),
``data/results/ternary_errors.csv`` (squared errors of the float networks' weights), ``data/results/ternary.json``
(claims) and, on ``mnist5k``, the networks of seed 0 in ``data/checkpoints``.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.binary import BinaryConnect, XnorWeights
from fewbits.core.quantizer import quantize_weights, weight_layers, weight_quantizers
from fewbits.experiments import comparison
from fewbits.experiments.binary.run import scaled_weights
from fewbits.experiments.common import checkpoint_path, recorded, seeds
from fewbits.experiments.comparison import FLOAT, Method, Network, chosen, run_missing
from fewbits.experiments.ternary.claims import cited_claims, make_claims
from fewbits.ternary import TTQ, TWN, ExactTernary
from fewbits.training import save_model, sgd

# TWN without zeros: binary weights with one scale, whose gradient is not multiplied by the scale.
NO_ZEROS = partial(TWN, 0.0)
RATIOS = (0.1, 0.3, 0.5, 0.9, 1.2, 1.5, 2.0, 2.5)  # of threshold and mean magnitude, beside TWN's 0.7


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments ternary``."""
    comparison.add_arguments(parser, tuple(METHODS_OF))


def ternary_weights(network: Network, make_quantizer, skip: Sequence[str] = ()) -> nn.Module:
    """Weights ternary in all layers but those of ``skip``, ReLU activations."""
    return quantize_weights(network(activation=nn.ReLU), make_quantizer, skip=skip)


def ttq_weights(
    network: Network,
    threshold: float = 0.05,
    sparsity: float | None = None,
    fit_scales: bool = False,
    printed_sign: bool = False,
    skip: Sequence[str] = (),
) -> nn.Module:
    """Weights by TTQ in all layers but those of ``skip``.

    Args:
        network: see `Network`.
        threshold: share of the largest magnitude; the paper's is 0.05.
        sparsity: the paper's second rule, a fixed share of zeros, in place of the threshold.
        fit_scales: start W_p and W_n at the least squares fit, not at 1 as the authors do.
        printed_sign: give W_n the gradient of the paper's Eq. 7, whose sign is wrong.
        skip: layers that stay real; the authors leave out the first and the last.
    """
    model = ternary_weights(network, partial(TTQ, threshold, sparsity), skip)
    for _, quantizer, latent in weight_quantizers(model):
        assert isinstance(quantizer, TTQ)
        if fit_scales:
            quantizer.fit_scales(latent)
        if printed_sign:
            quantizer.w_n.register_hook(torch.neg)
    return model


ENDS = ("first", "last")
METHODS = {
    "float": FLOAT,
    "bwn": Method(scaled_weights),
    "twn": Method(partial(ternary_weights, make_quantizer=TWN)),
    "twn per channel": Method(partial(ternary_weights, make_quantizer=partial(TWN, channel_axis=0))),
    "twn, power of two": Method(partial(ternary_weights, make_quantizer=partial(TWN, power_of_two=True))),
    "ttq": Method(ttq_weights),
    "ttq, threshold 0.3": Method(partial(ttq_weights, threshold=0.3)),
    "ttq, fitted start": Method(partial(ttq_weights, fit_scales=True)),
    "ttq, fitted start, threshold 0.3": Method(partial(ttq_weights, fit_scales=True, threshold=0.3)),
    "ttq, printed sign": Method(partial(ttq_weights, printed_sign=True)),
    "ttq, fitted start, printed sign": Method(partial(ttq_weights, fit_scales=True, printed_sign=True)),
    "exact ternary": Method(partial(ternary_weights, make_quantizer=ExactTernary)),
    "exact per channel": Method(partial(ternary_weights, make_quantizer=partial(ExactTernary, channel_axis=0))),
    "exact, power of two": Method(partial(ternary_weights, make_quantizer=partial(ExactTernary, power_of_two=True))),
}
# As TTQ's paper has it: from the float network, first and last layer real. "float" goes on for as long.
FROM_FLOAT = {
    "float, from float": Method(FLOAT.build, from_float=True),
    "bwn, from float": Method(partial(scaled_weights, skip=ENDS), from_float=True),
    "twn 0, from float": Method(partial(ternary_weights, make_quantizer=NO_ZEROS, skip=ENDS), from_float=True),
    "twn, from float": Method(partial(ternary_weights, make_quantizer=TWN, skip=ENDS), from_float=True),
    "ttq, from float": Method(partial(ttq_weights, skip=ENDS), from_float=True),
    "exact, from float": Method(partial(ternary_weights, make_quantizer=ExactTernary, skip=ENDS), from_float=True),
}
THRESHOLDS = {f"twn {r:g}": Method(partial(ternary_weights, make_quantizer=partial(TWN, r))) for r in RATIOS}
SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SPARSE = {f"ttq, {round(100 * r)} % zeros": Method(partial(ttq_weights, sparsity=r)) for r in SPARSITIES}
KEPT = ("float", "bwn", "twn", "ttq", "exact ternary")
_FINE: dict[str, Any] = {
    "optimizer": partial(sgd, lr=0.01, weight_decay=2e-4),
    "from_float": True,
}  # after a trained float network
METHODS_OF = {
    "mnist5k": METHODS | FROM_FLOAT | THRESHOLDS | SPARSE,
    "mnist": METHODS,
    "mnist-lenet": {
        **{name: METHODS[name] for name in ("float", "bwn", "twn", "exact ternary", "ttq")},
        "twn 0": Method(partial(ternary_weights, make_quantizer=NO_ZEROS)),
    },
    "cifar10": {
        "float": FLOAT,
        "float, from float": Method(FLOAT.build, **_FINE),
        "bwn, from float": Method(partial(scaled_weights, skip=ENDS), **_FINE),
        "twn 0, from float": Method(partial(ternary_weights, make_quantizer=NO_ZEROS, skip=ENDS), **_FINE),
        "twn, from float": Method(partial(ternary_weights, make_quantizer=TWN, skip=ENDS), **_FINE),
        "ttq, from float": Method(partial(ttq_weights, skip=ENDS), **_FINE),
        # The rate of TTQ's paper. Scales that start at 1 make gradients of the weights small beside TWN's.
        "ttq, from float, rate 0.1": Method(
            partial(ttq_weights, skip=ENDS), optimizer=partial(sgd, lr=0.1, weight_decay=2e-4), from_float=True
        ),
        "exact, from float": Method(partial(ternary_weights, make_quantizer=ExactTernary, skip=ENDS), **_FINE),
    },
}
METHODS_OF["cifar10-resnet20"] = METHODS_OF["cifar10"]


ERRORS_OF = {
    "binaryconnect": BinaryConnect,
    "xnor-net": XnorWeights,
    "twn": TWN,
    "twn, two thirds": partial(TWN, 2 / 3),
    "twn per channel": partial(TWN, channel_axis=0),
    "ttq": TTQ,
    "exact ternary": ExactTernary,
    "exact per channel": partial(ExactTernary, channel_axis=0),
    "exact, power of two": partial(ExactTernary, power_of_two=True),
}


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    for name in options.data:
        methods = chosen(METHODS_OF[name], options.methods)
        table = "ternary_pilots" if options.pilot else "ternary_runs"
        limits = {"epochs": options.epochs, "minutes": options.minutes, "pilot": options.pilot}
        saving = None if options.pilot else partial(keep, name)
        frame = run_missing(table, methods, name, list(seeds(options.seeds)), command, saving, **limits)
        if options.pilot:
            continue
        device = "cuda" if torch.cuda.is_available() else "cpu"
        wall = float(frame[frame.data == name].seconds.sum())
        claims = make_claims(frame, evidence.rows("ternary_errors"), name) + cited_claims()
        evidence.record("ternary", claims, command=command, wall_s=wall, device=device)


def keep(data_name: str, method: str, seed: int, model: nn.Module) -> None:
    """Save the networks that the chapter evaluates, and how well each method approximates the float weights."""
    if data_name == "mnist5k" and method in KEPT and seed == 0:
        save_model(model.cpu(), checkpoint_path(f"ternary-{method.replace(' ', '-')}"))
    if method == "float":
        table = recorded("ternary_errors", ["data", "seed", "method", "error"])
        new = [
            {"data": data_name, "seed": seed, "method": name, "error": round(relative_error(model, make), 6)}
            for name, make in ERRORS_OF.items()
        ]
        evidence.write_rows("ternary_errors", pd.concat([table, pd.DataFrame(new)], ignore_index=True))


@torch.no_grad()
def relative_error(model: nn.Module, make_quantizer) -> float:
    """Squared error of all quantized weights of ``model``, divided by their sum of squares."""
    weights = [layer.weight.double() for layer in weight_layers(model).values()]
    squared = 0.0
    for weight in weights:
        quantizer = make_quantizer()
        if isinstance(quantizer, TTQ):
            quantizer.fit_scales(weight)
        squared += (quantizer(weight) - weight).square().sum().item()
    return squared / sum(weight.square().sum().item() for weight in weights)
