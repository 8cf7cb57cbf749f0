"""Logarithmic against linear data: after training, and in training with weights, activations and gradients of 5 bits.

The network is a small CNN with batch normalization; weights, ReLU outputs and gradients are quantized per tensor, batch
normalization stays in floating point. ``--data mnist`` repeats the part after training on all of MNIST, whose 10,000
test images tell smaller differences apart; the claims on rounding then come from there.

Written are ``data/results/logarithmic.json`` (claims), ``logarithmic_bits.csv`` (after training: one row per placement,
range rule, method, bit width and seed; ``logarithmic_bits_mnist.csv`` for all of MNIST), ``logarithmic_training.csv``
(one row per training run), ``logarithmic_accumulation.csv`` and the networks of seed 0 in ``data/checkpoints``.

Other parts, which may be stopped at any time and go on with the same command; both need ``FEWBITS_DATA``:

* ``--part post-training``: the stored MobileNets of CIFAR-100, rounded with a range for each layer by search; some 15
  minutes of one core.
* ``--part vgg``: a VGG-like network for CIFAR-10 with 5-bit weights, activations and gradients. First
  ``python -m fewbits.experiments logarithmic --part vgg --held-out --epochs 3 --seeds 1``, whose best headrooms go into
  ``vgg.py`` and are committed; then ``python -m fewbits.experiments logarithmic --part vgg --seeds 3``, with
  ``--minutes M`` in pieces: half an hour to an hour of one core for each of 9 runs.
"""

import copy
import time
from collections.abc import Sequence
from itertools import product

import pandas as pd
import torch
from torch import Tensor, nn

from fewbits import evidence, training
from fewbits.core.quantizer import calibrate, quantize_activations, quantize_weights, weight_quantizers
from fewbits.data import Dataset, load
from fewbits.experiments.common import checkpoint_path, measured, seeds
from fewbits.experiments.logarithmic.claims import accumulation_claims, rounding_claims, training_claims
from fewbits.experiments.logarithmic.networks import BATCH_SIZE, quantize_training
from fewbits.experiments.logarithmic.post_training import run_post_training
from fewbits.experiments.logarithmic.quantizers import METHODS, linear_range, make_quantizer
from fewbits.experiments.logarithmic.vgg import run_vgg
from fewbits.logarithmic import (
    LogQuantizer,
    full_scale_of_least_error,
    full_scale_of_max,
    log_accumulate,
)
from fewbits.training import one_cycle, percent, save_model, seed_everything, sgd
from fewbits.uniform import UniformQuantizer

PARTS = ("small", "post-training", "vgg")
PLACEMENTS = ("activations", "weights and activations")
RULES = ("max", "least error")
BITS = (5, 4, 3)
EPOCHS = {"mnist5k": 6, "mnist": 2}
CALIBRATION_IMAGES = 256
RANGE_IMAGES = 512  # from which a fixed range of gradients comes, in batches of the training size
HEADROOM = (0, 3, 6)
# Every training run: method, bits of weights and activations, bits of gradients, headroom of a fixed gradient range in
# octaves. None: in floating point; a range that follows the largest gradient of each step.
TRAINING_RUNS = [
    ("float", None, None, None),
    *((method, 5, 5, None) for method in ("linear", "log2", "log-sqrt2")),
    *((method, None, bits, None) for method, bits in product(("linear", "log2"), (5, 4, 3))),
    *((method, None, 5, headroom) for method, headroom in product(("linear", "log2"), HEADROOM)),
]
FROZEN = {TRAINING_RUNS[0]: "cnn", ("linear", 5, 5, None): "linear5", ("log2", 5, 5, None): "log5"}


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments logarithmic``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    parser.add_argument("--data", choices=sorted(EPOCHS), default="mnist5k", help="data set (default mnist5k)")
    parser.add_argument(
        "--part", choices=PARTS, default="small", help="what to run (default small: the CNN for digits)"
    )
    parser.add_argument("--minutes", type=float, help="stop after so long (not for the part 'small'), go on later")
    parser.add_argument("--held-out", action="store_true", help="vgg: choose the headroom on held-out training images")
    parser.add_argument("--epochs", type=int, help="vgg: so many instead of 20; other numbers enter no claim")


# --- Networks ------------------------------------------------------------------------------------------------------


def network() -> nn.Sequential:
    """Three 3×3 convolutions of stride 2 and two linear layers, for (N, 1, 28, 28); 47,674 parameters."""
    layers = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


@torch.no_grad()
def quantize_model(
    model: nn.Module, method: str, weight_bits: int | None, activation_bits: int, images: Tensor, rule: str = "max"
) -> nn.Module:
    """A copy of ``model`` with ReLU outputs, and weights unless ``weight_bits`` is None, of a method in `METHODS`."""
    model = copy.deepcopy(model)
    full_scale = {"max": full_scale_of_max, "least error": full_scale_of_least_error}[rule]
    if weight_bits is not None:
        quantize_weights(model, lambda: make_quantizer(method, weight_bits, True), skip=())
        for _, quantizer, latent in weight_quantizers(model):
            if isinstance(quantizer, UniformQuantizer):
                quantizer.set_range(*linear_range(latent, method, rule, weight_bits, True))
            elif isinstance(quantizer, LogQuantizer):
                quantizer.set_full_scale(full_scale(latent, quantizer))
    quantize_activations(model, lambda: make_quantizer(method, activation_bits, False))
    if method.startswith("linear"):
        return calibrate(model, images, range_of=lambda x: linear_range(x, method, rule, activation_bits, False))
    return calibrate(model, images, rule=full_scale)


def range_images(data: Dataset) -> tuple[Tensor, Tensor]:
    """Images and labels from which ranges of gradients are fixed."""
    return data.train_images[:RANGE_IMAGES], data.train_labels[:RANGE_IMAGES]


def train(model: nn.Module, seed: int, data: Dataset, epochs: int, lr: float = 0.05) -> list[dict]:
    """Train ``model`` in place: SGD with momentum 0.9, one-cycle learning rate, batches of 128. Returns the history."""
    optimizer = sgd(model, lr)
    return training.train(model, data, optimizer, epochs=epochs, seed=seed, schedule=one_cycle, batch_size=BATCH_SIZE)


# --- The runs ------------------------------------------------------------------------------------------------------


def run(options, command: str) -> None:
    """Train and measure everything of a part, then write claims, tables and checkpoints."""
    if options.held_out and options.part != "vgg":
        raise SystemExit(f"--held-out is for the part vgg, not for {options.part}")
    if options.part == "post-training":
        return run_post_training(options, command)
    if options.part == "vgg":
        return run_vgg(options, command)
    started = time.perf_counter()
    data, epochs = load(options.data), EPOCHS[options.data]
    full = options.data == "mnist"
    trained, rounded = [], []
    for seed in seeds(options.seeds):
        for settings in TRAINING_RUNS[:1] if full else TRAINING_RUNS:
            seed_everything(seed)
            model = quantize_training(network(), *settings, *range_images(data))
            history = train(model, seed, data, epochs)
            if settings[1] is not None:  # the test finds the ranges of activations fixed
                calibrate(model, data.train_images[:CALIBRATION_IMAGES])
            names = ("method", "bits", "gradient_bits", "headroom", "seed", "loss", "accuracy")
            row = (*settings, seed, history[-1]["loss"], percent(model, data))
            trained.append(dict(zip(names, row, strict=True)))
            print(*row, flush=True)
            if seed == 0 and settings in FROZEN and not full:
                save_model(model, checkpoint_path(f"logarithmic-{FROZEN[settings]}"))
            if settings == TRAINING_RUNS[0]:
                rounded += after_training(model, seed, data)
    bits = pd.DataFrame(rounded)
    evidence.write_rows("logarithmic_bits_mnist" if full else "logarithmic_bits", bits)
    claims = rounding_claims(bits, "reduced" if full else "notebook")
    if not full:
        runs = pd.DataFrame(trained)
        evidence.write_rows("logarithmic_training", runs)
        accumulation = accumulation_errors(options.seeds)
        evidence.write_rows("logarithmic_accumulation", accumulation)
        claims += training_claims(runs) + accumulation_claims(accumulation)
    wall_s = time.perf_counter() - started
    evidence.record("logarithmic", measured(claims, command, wall_s), command=command, wall_s=wall_s)


def after_training(model: nn.Module, seed: int, data) -> list[dict]:
    """Test accuracy of one float network, itself and rounded in every way."""
    images = data.train_images[:CALIBRATION_IMAGES]
    names = ("placement", "rule", "method", "bits", "seed", "accuracy")
    rows = [("", "", "float", 32, seed, percent(model, data))]
    for placement, rule, method, bits in product(PLACEMENTS, RULES, METHODS, BITS):
        weight_bits = bits if placement == PLACEMENTS[1] else None
        quantized = quantize_model(model, method, weight_bits, bits, images, rule)
        rows.append((placement, rule, method, bits, seed, percent(quantized, data)))
    return [dict(zip(names, row, strict=True)) for row in rows]


def accumulation_errors(
    count: int, terms: Sequence[int] = (16, 64, 256, 1024), fraction_bits: Sequence[int] = (8, 16), rows: int = 500
) -> pd.DataFrame:
    """Relative error, in percent, of sums of positive products that are accumulated in the log domain.

    The products are those of 4-bit codes of base 2 of two half-normal vectors, ``rows`` sums for each of ``count``
    seeds. The accumulator s is read in two ways: as a logarithm, 2^s, and as a floating point number,
    2^floor(s) · (1 + fraction).
    """
    table = []
    for seed, length in product(seeds(count), terms):
        generator = torch.Generator().manual_seed(seed)
        quantizer = LogQuantizer(4, signed=False)
        x, w = (quantizer.encode(torch.randn(rows, 2 * length, generator=generator).abs()) for _ in range(2))
        kept = (x.signs() * w.signs()) > 0  # nearly all; a product of 0 is not added
        powers = torch.stack([p[keep][:length] for p, keep in zip(x.fields() + w.fields(), kept, strict=True)])
        exact = torch.exp2(powers.double()).sum(1)
        for bits in fraction_bits:
            s = log_accumulate(powers, bits).double() / 2**bits
            readings = {"2^s": torch.exp2(s), "1 + fraction": torch.exp2(s.floor()) * (1 + s - s.floor())}
            for reading, value in readings.items():
                error = 100 * (value / exact - 1)
                summary = {"mean": error.mean().item(), "root mean square": error.square().mean().sqrt().item()}
                row = {"terms": length, "fraction_bits": bits, "reading": reading, "seed": seed}
                table.append(row | summary)
    return pd.DataFrame(table)
