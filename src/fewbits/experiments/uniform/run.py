"""Accuracy against bits for uniform quantization, after training (PTQ) and during training (QAT).

The network is a 784-128-64-10 perceptron on ``mnist5k``, so the whole run takes minutes on a laptop. Written are
``data/results/uniform.json`` (claims), ``data/results/uniform_bits.csv`` (one row per method, bit width and seed),
``data/results/uniform_calibration.csv`` (20 float networks: rules for the range of activations),
``data/results/uniform_layers.csv`` (one layer at a time), and the networks of seed 0 in ``data/checkpoints``.
"""

import copy
import time
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core.graph import replace_module
from fewbits.core.quantizer import calibrate, quantize_activations, weight_layers
from fewbits.data import Dataset, load
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.experiments.uniform.claims import make_claims
from fewbits.nets import MLP
from fewbits.training import adam, one_cycle, percent, save_model, seed_everything, train
from fewbits.uniform import UniformQuantizer, entropy_range, integer_linear, max_range, percentile_range, quantize_model

SIZES = (784, 128, 64, 10)
BITS = (8, 6, 5, 4, 3, 2)
FLOAT_EPOCHS, QAT_EPOCHS = 20, 8
CALIBRATION_IMAGES = 512


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments uniform``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")


CLIPPING_SEEDS = 20  # float networks for the rules of calibration, which need no training


def train_float(seed: int, data: Dataset, epochs: int = FLOAT_EPOCHS) -> nn.Module:
    """The float network of one seed: Adam, one-cycle learning rate up to 0.003, batches of 128."""
    seed_everything(seed)
    model = MLP(SIZES)
    train(model, data, adam(model, 3e-3), epochs=epochs, seed=seed, schedule=one_cycle)
    return model


def run(options, command: str) -> None:
    """Train and measure everything, then write claims, tables and checkpoints."""
    started = time.perf_counter()
    evidence.code_version()  # before the run, so that a later commit does not take the credit
    data = load("mnist5k")
    calibration_images = data.train_images[:CALIBRATION_IMAGES]
    curve, calibration, layers, weight_errors, mismatches = [], [], [], [], []
    for seed in seeds(max(options.seeds, CLIPPING_SEEDS)):
        model = train_float(seed, data)
        for bits in BITS:
            calibration += compare_calibrations(model, bits, seed, data, calibration_images)
        layers += one_layer_at_a_time(model, seed, data, calibration_images)
        if seed not in seeds(options.seeds):
            continue
        curve.append({"method": "float", "bits": 32, "seed": seed, "accuracy": percent(model, data)})
        weight_errors.append(per_channel_error_ratio(model))
        mismatches.append(integer_mismatches(model, data))
        for bits in BITS:
            # Per tensor only in weights; everything else as in "ptq".
            for method, axis in (("ptq", 0), ("ptq per tensor", None)):
                quantized = quantize_model(model, bits, bits, calibration_images, channel_axis=axis)
                row = {"method": method, "bits": bits, "seed": seed, "accuracy": percent(quantized, data)}
                curve.append(row)
            quantized = quantize_model(model, bits, bits, calibration_images)
            train(quantized, data, adam(quantized, 1e-3), epochs=QAT_EPOCHS, seed=seed, schedule=one_cycle)
            curve.append({"method": "qat", "bits": bits, "seed": seed, "accuracy": percent(quantized, data)})
            if seed == 0 and bits == 2:
                save_model(quantized, checkpoint_path("uniform-mlp-w2a2"))
        if seed == 0:
            save_model(model, checkpoint_path("uniform-mlp"))
        print(pd.DataFrame(curve).query("seed == @seed").pivot(index="bits", columns="method", values="accuracy"))
    curve = pd.DataFrame(curve)
    calibration = pd.DataFrame(calibration)
    evidence.write_rows("uniform_bits", curve)
    evidence.write_rows("uniform_calibration", calibration)
    evidence.write_rows("uniform_layers", pd.DataFrame(layers))
    claims = make_claims(curve, calibration, weight_errors, mismatches)
    evidence.record("uniform", claims, command=command, wall_s=time.perf_counter() - started)


def one_layer_at_a_time(model: nn.Module, seed: int, data: Dataset, images: Tensor) -> list[dict]:
    """Test accuracy with the weights of one layer, or the outputs of one ReLU, at 2 bits and all else in float."""
    rows = []
    for index, name in enumerate(weight_layers(model), start=1):
        quantized = copy.deepcopy(model)
        layer = weight_layers(quantized)[name]
        with torch.no_grad():
            layer.weight.copy_(UniformQuantizer(2, channel_axis=0)(layer.weight))
        rows.append({"part": "weights", "layer": index, "seed": seed, "accuracy": percent(quantized, data)})
    whole = quantize_activations(copy.deepcopy(model), lambda: UniformQuantizer(2, signed=False))
    calibrate(whole, images)
    places = [name for name, module in whole.named_modules() if isinstance(module, UniformQuantizer)]
    for index, name in enumerate(places, start=1):
        quantized = copy.deepcopy(whole)
        for other in places:
            if other != name:
                replace_module(quantized, quantized.get_submodule(other), nn.Identity())
        rows.append({"part": "activations", "layer": index, "seed": seed, "accuracy": percent(quantized, data)})
    rows.append({"part": "none", "layer": 0, "seed": seed, "accuracy": percent(model, data)})
    return rows


def compare_calibrations(model, bits: int, seed: int, data, images) -> list[dict]:
    """Test accuracy after PTQ with each way to choose the activation range; weights at 8 bits."""
    methods: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
        "max": max_range,
        "percentile 99.9": partial(percentile_range, percentile=99.9),
        "percentile 99.99": partial(percentile_range, percentile=99.99),
        "entropy": partial(entropy_range, bits=bits),
    }
    return [
        {
            "calibration": name,
            "bits": bits,
            "seed": seed,
            "accuracy": percent(quantize_model(model, 8, bits, images, range_of=range_of), data),
        }
        for name, range_of in methods.items()
    ]


def per_channel_error_ratio(model, bits: int = 4) -> float:
    """Squared weight error per tensor divided by that per channel, all layers together."""

    def squared_error(axis):
        quantizer = UniformQuantizer(bits, channel_axis=axis)
        layers = weight_layers(model).values()
        return sum(F.mse_loss(quantizer(w), w, reduction="sum").item() for w in (layer.weight for layer in layers))

    return squared_error(None) / squared_error(0)


@torch.no_grad()
def integer_mismatches(model, data, bits: int = 8) -> int:
    """Outputs of the first layer on all test images where integers and float64 simulation differ by more than 1e-12."""
    layer = next(iter(weight_layers(model.double()).values()))
    x_quantizer, w_quantizer = UniformQuantizer(bits, symmetric=False), UniformQuantizer(bits, channel_axis=0)
    images = data.test_images.double().flatten(1)
    x, w = x_quantizer.encode(images), w_quantizer.encode(layer.weight)
    accumulator, scale = integer_linear(x, w)
    simulated = F.linear(x_quantizer(images), w_quantizer(layer.weight))
    model.float()
    return int((accumulator * scale - simulated).abs().gt(1e-12 * simulated.abs().max()).sum())
