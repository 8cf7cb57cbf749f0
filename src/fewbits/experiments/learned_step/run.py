"""Learned step size: 2, 3 and 4 bits against uniform grids, and what learning and the gradient scale contribute.

The network and the recipe are those of the map of methods: all layers quantized, weights and activations with the same
number of bits, 20 epochs from scratch. Written are ``data/results/learned_step_runs.csv`` (one row per method and seed;
only what is missing is trained) and ``data/results/learned_step.json`` (claims).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from fewbits import evidence
from fewbits.core.quantizer import put_quantizer, remove_quantizer, weight_layers, weight_quantizers
from fewbits.experiments import comparison
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.experiments.comparison import FLOAT, Method, Network, chosen, run_missing
from fewbits.experiments.learned_step.claims import make_claims
from fewbits.experiments.method_map.methods import learned_steps, uniform
from fewbits.learned_step import LSQ, keep_positive, least_error_step
from fewbits.training import cosine, save_model, sgd
from fewbits.uniform import UniformQuantizer

BITS = (2, 3, 4)
DATA = "mnist5k"


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments learned_step``."""
    comparison.add_arguments(parser, tuple(METHODS_OF))


def changed_steps(network: Network, bits: int = 2, learn: bool = True, factor: float = 1.0) -> nn.Module:
    """As `learned_steps`, but started elsewhere or not learned at all.

    Args:
        network: see `Network`.
        bits: of weights and activations.
        learn: False keeps every step, of weights and activations, where it starts.
        factor: of the start of the weights' steps.
    """
    model = learned_steps(network, bits)
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


def clipped(network: Network, bits: int) -> nn.Module:
    """Fixed steps of least squared error for the weights, LSQ's start for the activations; nothing is learned."""
    model = learned_steps(network, bits)
    for _, quantizer, latent in weight_quantizers(model):
        assert isinstance(quantizer, LSQ)
        quantizer.step_size.data.fill_(least_error_step(latent.detach(), bits))
    for module in model.modules():
        if isinstance(module, LSQ):
            module.step_size.requires_grad_(False)
    return model


METHODS = {
    "float": FLOAT,
    **{f"uniform, {bits} bits": Method(partial(uniform, bits=bits)) for bits in BITS},
    **{f"lsq, {bits} bits": learned(bits) for bits in BITS},
    "fixed start, 2 bits": Method(partial(changed_steps, learn=False)),
    "quarter start, 2 bits": Method(partial(changed_steps, learn=True, factor=0.25), after_step=keep_positive),
    "fixed quarter start, 2 bits": Method(partial(changed_steps, learn=False, factor=0.25)),
    "fixed least error, 2 bits": Method(partial(clipped, bits=2)),
    "lsq, 2 bits, no scale": learned(2, scale_gradient=False),
    "float, sgd": Method(FLOAT.build, SGD),
    "uniform, 2 bits, sgd": Method(partial(uniform, bits=2), SGD),
    "fixed start, 2 bits, sgd": Method(partial(changed_steps, learn=False), SGD),
    "lsq, 2 bits, sgd": Method(partial(learned_steps, bits=2), SGD, keep_positive),
    "lsq, 2 bits, sgd, no scale": Method(partial(learned_steps, bits=2, scale_gradient=False), SGD, keep_positive),
}


# The gradient scale at four learning rates of SGD; the paper has such a table.
SCALE_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
SCALES = {
    f"lsq, 2 bits, sgd {rate:g}{'' if scaled else ', no scale'}": Method(
        partial(learned_steps, bits=2, scale_gradient=scaled), partial(sgd, lr=rate), keep_positive, from_float=True
    )
    for rate in SCALE_RATES
    for scaled in (True, False)
}


def real_ends(network: Network, bits: int, build: Callable[..., nn.Module]) -> nn.Module:
    """Weights and activations of ``bits`` bits; the weights of the first and the last layer have 8."""
    model = build(network, bits)
    for layer in (list(weight_layers(model).values())[i] for i in (0, -1)):
        remove_quantizer(layer)
        put_quantizer(layer, UniformQuantizer(8, channel_axis=0))
    return model


_FINE = partial(sgd, lr=0.01, weight_decay=1e-4)  # the paper's learning rate, from a trained network
_COSINE = {"schedule": cosine}
METHODS_OF = {
    "mnist5k": METHODS | SCALES,
    "cifar10": {
        "float": FLOAT,
        **{
            f"{name}, {bits} bits": Method(
                partial(real_ends, bits=bits, build=build),
                _FINE,
                after_step,
                from_float=True,
                options=_COSINE,
            )
            for bits in BITS
            for name, build, after_step in (
                ("lsq", learned_steps, keep_positive),
                ("fixed start", partial(changed_steps, learn=False), None),
                ("uniform", uniform, None),
            )
        },
    },
}
KEPT = "lsq, 2 bits"


def run(options, command: str) -> None:
    """Train what is missing, then write claims."""
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    for name in options.data:
        methods = chosen(METHODS_OF[name], options.methods)
        table = "learned_step_pilots" if options.pilot else "learned_step_runs"
        limits = {"epochs": options.epochs, "minutes": options.minutes, "pilot": options.pilot}
        saving = keep if name == DATA and not options.pilot else None
        frame = run_missing(table, methods, name, list(seeds(options.seeds)), command, saving, **limits)
        if not options.pilot:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            seconds = float(frame.seconds.sum())
            evidence.record("learned_step", make_claims(frame), command=command, wall_s=seconds, device=device)


def keep(name: str, seed: int, model: nn.Module) -> None:
    """Save the network that the chapter evaluates."""
    if name == KEPT and seed == 0:
        save_model(model.cpu(), checkpoint_path("learned-step-lsq"))
