"""Learned step size: 2, 3 and 4 bits against uniform grids, and what learning and the gradient scale contribute.

The network and the recipe are those of the map of methods: all layers quantized, weights and activations with the same
number of bits, 20 epochs from scratch. Written are ``data/results/learned_step_runs.csv`` (one row per method and seed;
only what is missing is trained) and ``data/results/learned_step.json`` (claims).
"""

from functools import partial

import torch
from torch import nn

from fewbits import evidence
from fewbits.core.quantizer import weight_quantizers
from fewbits.experiments.common import seeds
from fewbits.experiments.comparison import FLOAT, Method, Network, chosen, run_missing
from fewbits.experiments.learned_step.claims import DATA, make_claims
from fewbits.experiments.method_map.methods import learned_steps, uniform
from fewbits.learned_step import LSQ, keep_positive
from fewbits.training import sgd

BITS = (2, 3, 4)


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments learned_step``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="only these methods (default: all)")


def changed_steps(network: Network, learn: bool, factor: float = 1.0) -> nn.Module:
    """As `learned_steps` with 2 bits, but started elsewhere or not learned at all.

    Args:
        network: see `Network`.
        learn: False keeps every step, of weights and activations, where it starts.
        factor: of the start of the weights' steps.
    """
    model = learned_steps(network, 2)
    for _, quantizer, _ in weight_quantizers(model):
        assert isinstance(quantizer, LSQ)
        quantizer.step_size.data.mul_(factor)
    for module in model.modules():
        if isinstance(module, LSQ):
            module.step_size.requires_grad_(learn)
    return model


# Plain gradient descent with momentum, as in the paper: unlike Adam it sees the size of a gradient.
SGD = partial(sgd, lr=0.1)


def learned(bits: int, **options) -> Method:
    """The method of the chapter; ``options`` of `learned_steps`."""
    return Method(partial(learned_steps, bits=bits, **options), after_step=keep_positive)


METHODS = {
    "float": FLOAT,
    **{f"uniform, {bits} bits": Method(partial(uniform, bits=bits)) for bits in BITS},
    **{f"lsq, {bits} bits": learned(bits) for bits in BITS},
    "fixed start, 2 bits": Method(partial(changed_steps, learn=False)),
    "quarter start, 2 bits": Method(partial(changed_steps, learn=True, factor=0.25), after_step=keep_positive),
    "fixed quarter start, 2 bits": Method(partial(changed_steps, learn=False, factor=0.25)),
    "lsq, 2 bits, no scale": learned(2, scale_gradient=False),
    "float, sgd": Method(FLOAT.build, SGD),
    "uniform, 2 bits, sgd": Method(partial(uniform, bits=2), SGD),
    "fixed start, 2 bits, sgd": Method(partial(changed_steps, learn=False), SGD),
    "lsq, 2 bits, sgd": Method(partial(learned_steps, bits=2), SGD, keep_positive),
    "lsq, 2 bits, sgd, no scale": Method(partial(learned_steps, bits=2, scale_gradient=False), SGD, keep_positive),
}


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    frame = run_missing(
        "learned_step_runs", chosen(METHODS, options.methods), DATA, list(seeds(options.seeds)), command
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    evidence.record(
        "learned_step", make_claims(frame), command=command, wall_s=float(frame.seconds.sum()), device=device
    )
