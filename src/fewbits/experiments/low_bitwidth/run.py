"""Networks whose weights, activations and gradients have few bits: DoReFa-Net, and QNN on a CNN and an LSTM.

The CNN has four small convolutions and is trained on ``mnist5k``; the LSTM reads characters of one book. Every network
of a kind gets the same recipe and number of epochs. Written are ``data/results/low_bitwidth.json`` (claims),
``low_bitwidth_cnn.csv`` and ``low_bitwidth_lstm.csv`` (one row a run), and networks of seed 0 in ``data/checkpoints``.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor, nn

from fewbits import evidence
from fewbits.binary import BinaryConnect, clip_latent
from fewbits.core.quantizer import Quantizer, quantize_weights, weight_layers
from fewbits.data import CharText, Dataset, bits_per_character, load, load_text, windows
from fewbits.experiments.common import checkpoint_path, seeds
from fewbits.experiments.low_bitwidth.claims import SETTING, make_claims
from fewbits.low_bitwidth import AP2Quantizer, DoReFaActivation, DoReFaWeights, LinearQuantizer, quantize_gradients
from fewbits.nets import CharLSTM
from fewbits.training import (
    adam,
    clip_gradients,
    fit,
    one_cycle,
    percent,
    save_model,
    seed_everything,
    step_count,
    train,
)
from fewbits.uniform import UniformQuantizer

CNN_EPOCHS, CNN_LR = 8, 2e-2
LSTM_EPOCHS, LSTM_LR, HIDDEN, WINDOW = 6, 3e-2, 96, 32
GRADIENT_BITS = (8, 6, 4, 2)
ROUNDINGS = ("noise", "nearest", "zero")  # of gradients; see round_gradients
QNN = {"qnn linear": LinearQuantizer, "qnn ap2": AP2Quantizer}
# Which CNNs of seed 0 are kept, by their setting.
KEPT = {
    ("float", 32, 32, 32, "", "scratch"): "low-bitwidth-float",
    ("dorefa", 8, 8, 8, "noise", "scratch"): "low-bitwidth-w8a8g8",
    ("dorefa", 8, 8, 4, "nearest", "scratch"): "low-bitwidth-w8a8g4-nearest",
    ("dorefa", 1, 4, 32, "", "float"): "low-bitwidth-w1a4",
}
LSTMS = (("float", 32), ("qnn linear", 4), ("qnn ap2", 4), ("qnn linear", 2), ("uniform", 4))

clip = partial(nn.Hardtanh, 0.0, 1.0)


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments low_bitwidth``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")


# --- Networks -------------------------------------------------------------------------------------------------------


def cnn(
    activation: Callable[[], nn.Module] = nn.ReLU,
    last: Callable[[], nn.Module] = nn.ReLU,
    weights: Callable[[], Quantizer] | None = None,
) -> nn.Module:
    """Four 3×3 convolutions with batch normalization, two with max-pooling, and a linear layer: 5,650 parameters.

    Input (N, 1, 28, 28), first averaged to 14 × 14; output (N, 10) logits. Batch normalization and pooling come before
    the activation.

    Args:
        activation: for the first three convolutions.
        last: the activation in front of the last layer, which stays in floating point in DoReFa-Net.
        weights: quantizer for all layers but the first and the last.
    """
    layers: list[nn.Module] = [nn.AvgPool2d(2)]
    for inputs, outputs, pool, act in (
        (1, 8, 0, activation),
        (8, 8, 1, activation),
        (8, 16, 0, activation),
        (16, 16, 1, last),
    ):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
        layers += [nn.MaxPool2d(2)] * pool + [act()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 3 * 3, 10))
    return model if weights is None else quantize_weights(model, weights)


def build_cnn(method: str, weight_bits: int, activation_bits: int, gradient_bits: int, rounding: str) -> nn.Module:
    """The CNN of one setting; 32 bits are floating point.

    Args:
        method: "float", "clipped" (float, but with DoReFa-Net's clipped activation in place of the ReLU), "dorefa",
            "qnn linear" or "qnn ap2".
        rounding: as in :func:`round_gradients`.
    """
    if method == "float":
        return cnn()
    if method == "clipped":
        return cnn(clip, clip)
    if method == "dorefa":
        model = cnn(partial(DoReFaActivation, activation_bits), clip, partial(DoReFaWeights, weight_bits))
    else:
        activation = partial(QNN[method], activation_bits)
        weights = BinaryConnect if weight_bits == 1 else partial(QNN[method], weight_bits, None)
        model = cnn(activation, activation, weights)
    return model if gradient_bits == 32 else round_gradients(model, gradient_bits, rounding)


def round_gradients(model: nn.Module, bits: int, rounding: str) -> nn.Module:
    """Quantize gradients after the inner layers of ``model``, in place.

    Args:
        rounding: "noise" as DoReFa-Net does; "nearest", the same without the noise; "zero", to the nearest value of a
            grid that contains 0 (-m, …, 0, …, m with 2^bits - 1 values, m per sample), without noise: ours.
    """
    if rounding != "zero":
        return quantize_gradients(model, bits, noise=rounding == "noise")
    quantizer = UniformQuantizer(bits, channel_axis=0)

    def rounded(layer: nn.Module, gradients: Any) -> tuple[Tensor]:
        return (quantizer(gradients[0]),)

    for layer in list(weight_layers(model).values())[1:-1]:
        layer.register_full_backward_pre_hook(rounded)
    return model


def build_lstm(method: str, bits: int, characters: int) -> nn.Module:
    """The LSTM with all weights, and the state that enters matrix products, in ``bits`` bits.

    Args:
        method: "float", "qnn linear", "qnn ap2", or "uniform": as "qnn linear", but the weights have a scale for each
            row, which need not be a power of two.
    """
    if method == "float":
        return CharLSTM(characters, HIDDEN)
    quantizer = QNN.get(method, LinearQuantizer)
    model = CharLSTM(characters, HIDDEN, partial(quantizer, bits))
    per_row = partial(UniformQuantizer, bits, channel_axis=0)
    return quantize_weights(model, per_row if method == "uniform" else partial(quantizer, bits, None), skip=())


def start_from(model: nn.Module, trained: nn.Module) -> nn.Module:
    """Copy parameters and statistics of ``trained`` to ``model``, whose latent weights have other names, in place."""
    ours, theirs = model.state_dict(), trained.state_dict()
    renamed = {name.replace("parametrizations.weight.original", "weight"): value for name, value in ours.items()}
    for name, value in renamed.items():
        value.copy_(theirs[name])
    return model


# --- Training -------------------------------------------------------------------------------------------------------


def train_cnn(
    model: nn.Module,
    seed: int,
    data: Dataset,
    epochs: int = CNN_EPOCHS,
    after_step: Callable[[nn.Module], object] | None = None,
) -> nn.Module:
    """Train in place: Adam, one-cycle learning rate up to 0.02, batches of 128."""
    train(model, data, adam(model, CNN_LR), epochs=epochs, seed=seed, schedule=one_cycle, after_step=after_step)
    return model


def train_lstm(model: nn.Module, seed: int, text: CharText, epochs: int = LSTM_EPOCHS) -> nn.Module:
    """Train in place: Adam, one-cycle learning rate up to 0.03, gradient norm up to 1, 32 windows of 32 characters."""
    inputs, targets = windows(text.train, WINDOW)
    optimizer = adam(model, LSTM_LR)
    clip_gradients(optimizer)
    scheduler = one_cycle(optimizer, step_count(len(inputs), epochs, 32))
    fit(model, inputs, targets, epochs=epochs, optimizer=optimizer, scheduler=scheduler, seed=seed, batch_size=32)
    return model


def cnn_settings() -> list[tuple]:
    """The `SETTING` of every run of one seed, the float network first."""
    scratch = [("float", 32, 32, 32, ""), ("clipped", 32, 32, 32, ""), ("dorefa", 8, 8, 32, "")]
    scratch += [("dorefa", 8, 8, bits, rounding) for bits in GRADIENT_BITS for rounding in ROUNDINGS]
    scratch += [("dorefa", 4, 4, 8, "noise"), ("dorefa", 1, 4, 32, ""), ("dorefa", 1, 2, 6, "noise")]
    scratch += [(method, 4, 4, *gradient) for method in QNN for gradient in ((32, ""), (6, "noise"))]
    scratch += [("qnn linear", 1, 2, 32, "")]
    warm = [("dorefa", 1, 4, 32, "", start) for start in ("float", "scratch, twice as long")]
    return [(*setting, "scratch") for setting in scratch] + warm


def run(options, command: str) -> None:
    """Train and measure everything, then write claims, tables and checkpoints."""
    started = time.perf_counter()
    evidence.code_version()
    data, text = load("mnist5k"), load_text()
    cnns, lstms = [], []
    for seed in seeds(options.seeds):
        trained: dict[str, nn.Module] = {}
        for setting in cnn_settings():
            *quantized, start = setting
            seed_everything(seed)
            model = build_cnn(*quantized)
            if start == "float":
                start_from(model, trained["float"])
            epochs = CNN_EPOCHS * (2 if start == "scratch, twice as long" else 1)
            # QNN keeps latent weights in [-1, 1], like BinaryNet.
            train_cnn(model, seed, data, epochs, clip_latent if setting[0] in QNN else None)
            trained[setting[0]] = model
            row = dict(zip(SETTING, setting, strict=True))
            cnns.append(row | {"seed": seed, "accuracy": round(percent(model, data), 4)})
            print(*cnns[-1].values(), flush=True)
            if seed == 0 and setting in KEPT:
                save_model(model, checkpoint_path(KEPT[setting]))
        for method, bits in LSTMS:
            seed_everything(seed)
            model = train_lstm(build_lstm(method, bits, len(text.alphabet)), seed, text)
            row = {"method": method, "bits": bits, "seed": seed}
            lstms.append(row | {"bits_per_character": round(bits_per_character(model, text.test), 5)})
            print(*lstms[-1].values(), flush=True)
            if seed == 0 and (method, bits) in (("float", 32), ("qnn linear", 4)):
                save_model(model, checkpoint_path(f"low-bitwidth-lstm-{bits}-bit"))
    cnns, lstms = pd.DataFrame(cnns), pd.DataFrame(lstms)
    evidence.write_rows("low_bitwidth_cnn", cnns)
    evidence.write_rows("low_bitwidth_lstm", lstms)
    claims = make_claims(cnns, lstms)
    evidence.record("low_bitwidth", claims, command=command, wall_s=time.perf_counter() - started)
