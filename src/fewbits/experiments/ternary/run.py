"""Ternary weights: TWN, TTQ and exact ternary in one network, by one recipe, and the effect of the threshold.

Written are ``data/results/ternary_runs.csv`` (one row per data set, method and seed; only what is missing is trained),
``data/results/ternary_errors.csv`` (squared errors of the float networks' weights), ``data/results/ternary.json``
(claims) and, on ``mnist5k``, the networks of seed 0 in ``data/checkpoints``.
"""

from functools import partial

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
from fewbits.experiments.ternary.claims import make_claims
from fewbits.ternary import TTQ, TWN, ExactTernary
from fewbits.training import save_model

RATIOS = (0.1, 0.3, 0.5, 0.9, 1.2, 1.5, 2.0, 2.5)  # of threshold and mean magnitude, beside TWN's 0.7


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments ternary``."""
    comparison.add_arguments(parser)


def ternary_weights(network: Network, make_quantizer) -> nn.Module:
    """All weights ternary, ReLU activations."""
    return quantize_weights(network(activation=nn.ReLU), make_quantizer, skip=())


def ttq_weights(
    network: Network, threshold: float = 0.05, fit_scales: bool = True, printed_sign: bool = False
) -> nn.Module:
    """All weights by TTQ.

    Args:
        network: see `Network`.
        threshold: share of the largest magnitude; the paper's is 0.05.
        fit_scales: start W_p and W_n at the least squares fit, not at 1.
        printed_sign: give W_n the gradient of the paper's Eq. 7, whose sign is wrong.
    """
    model = ternary_weights(network, partial(TTQ, threshold))
    for _, quantizer, latent in weight_quantizers(model):
        assert isinstance(quantizer, TTQ)
        if fit_scales:
            quantizer.fit_scales(latent)
        if printed_sign:
            quantizer.w_n.register_hook(torch.neg)
    return model


METHODS = {
    "float": FLOAT,
    "bwn": Method(scaled_weights),
    "twn": Method(partial(ternary_weights, make_quantizer=TWN)),
    "twn per channel": Method(partial(ternary_weights, make_quantizer=partial(TWN, channel_axis=0))),
    "ttq": Method(ttq_weights),
    "ttq, threshold 0.3": Method(partial(ttq_weights, threshold=0.3)),
    "ttq from 1": Method(partial(ttq_weights, fit_scales=False)),
    "ttq, printed sign": Method(partial(ttq_weights, printed_sign=True)),
    "exact ternary": Method(partial(ternary_weights, make_quantizer=ExactTernary)),
    "exact per channel": Method(partial(ternary_weights, make_quantizer=partial(ExactTernary, channel_axis=0))),
    "exact, power of two": Method(partial(ternary_weights, make_quantizer=partial(ExactTernary, power_of_two=True))),
}
THRESHOLDS = {f"twn {r:g}": Method(partial(ternary_weights, make_quantizer=partial(TWN, r))) for r in RATIOS}
KEPT = ("float", "bwn", "twn", "ttq", "exact ternary")


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
        methods = METHODS | THRESHOLDS if name == "mnist5k" else METHODS
        seed_list = list(seeds(options.seeds))
        frame = run_missing(
            "ternary_runs", chosen(methods, options.methods), name, seed_list, command, partial(keep, name)
        )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        wall = float(frame[frame.data == name].seconds.sum())
        claims = make_claims(frame, evidence.rows("ternary_errors"), name)
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
