"""Networks whose weights, activations and gradients have few bits: DoReFa-Net, and QNN on a CNN and an LSTM.

The CNN has four small convolutions and is trained on ``mnist5k``; the LSTM reads characters of one book. Every network
of a kind gets the same recipe and number of epochs. Written are ``data/results/low_bitwidth.json`` (claims),
``low_bitwidth_cnn.csv`` and ``low_bitwidth_lstm.csv`` (one row a run), and networks of seed 0 in ``data/checkpoints``.

Other parts, which may be stopped at any time and go on with the same command:

* ``--part bit-planes``: the CNN trained to the end on packed bits, and its simulated twin (minutes).
* ``--part cifar``: DoReFa-Net's VGG-small on CIFAR-100 with 1-bit weights, 2-bit activations and gradients of 32, 6 and
  4 bits in four roundings; needs ``FEWBITS_DATA``. Some 20 minutes of one core for each of the 11 runs of a seed:
  ``python -m fewbits.experiments low_bitwidth --part cifar --seeds 2``, with ``--minutes M`` in pieces.
* ``--part words``: the LSTM on words, float, in fixed point and as powers of two. Half an hour to an hour of one core a
  run: ``python -m fewbits.experiments low_bitwidth --part words --seeds 3 --text bible.txt``; with ``--held-out`` it
  chooses epochs and rate.
"""

import time
from functools import partial

import pandas as pd
from torch import nn

from fewbits import evidence
from fewbits.binary import BinaryConnect, clip_latent
from fewbits.core.quantizer import quantize_weights
from fewbits.data import CharText, bits_per_character, load, load_text, windows
from fewbits.experiments.common import checkpoint_path, measured, seeds
from fewbits.experiments.low_bitwidth.bit_training import run_bit_planes
from fewbits.experiments.low_bitwidth.cifar import run_cifar
from fewbits.experiments.low_bitwidth.claims import SETTING, make_claims
from fewbits.experiments.low_bitwidth.networks import CNN_EPOCHS, clip, cnn, round_gradients, train_cnn
from fewbits.experiments.low_bitwidth.words import run_words
from fewbits.low_bitwidth import AP2Quantizer, DoReFaActivation, DoReFaWeights, LinearQuantizer
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
)
from fewbits.uniform import UniformQuantizer

LSTM_EPOCHS, LSTM_LR, HIDDEN, WINDOW = 6, 3e-2, 96, 32
GRADIENT_BITS = (8, 6, 4, 2)
ROUNDINGS = ("noise", "nearest", "zero")  # of gradients; see round_gradients
PARTS = ("small", "bit-planes", "cifar", "words")
QNN = {"qnn linear": LinearQuantizer, "qnn ap2": AP2Quantizer}
# Which CNNs of seed 0 are kept, by their setting.
KEPT = {
    ("float", 32, 32, 32, "", "scratch"): "low-bitwidth-float",
    ("dorefa", 8, 8, 8, "noise", "scratch"): "low-bitwidth-w8a8g8",
    ("dorefa", 8, 8, 4, "nearest", "scratch"): "low-bitwidth-w8a8g4-nearest",
    ("dorefa", 1, 4, 32, "", "float"): "low-bitwidth-w1a4",
}
LSTMS = (("float", 32), ("qnn linear", 4), ("qnn ap2", 4), ("qnn linear", 2), ("uniform", 4))


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments low_bitwidth``."""
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default 5)")
    parser.add_argument("--part", choices=PARTS, default="small", help="what to run (default small: CNN and LSTM)")
    parser.add_argument("--minutes", type=float, help="stop after so long, for the parts cifar and words")
    parser.add_argument("--text", help="words: a plain text of some 300,000 words or more")
    parser.add_argument("--held-out", action="store_true", help="words: choose epochs and rate on the validation part")


# --- Networks -------------------------------------------------------------------------------------------------------


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
    """Train and measure everything of a part, then write claims, tables and checkpoints."""
    if options.held_out and options.part != "words":
        raise SystemExit(f"--held-out is for the part words, not for {options.part}")
    if options.part == "bit-planes":
        return run_bit_planes(command)
    if options.part == "cifar":
        return run_cifar(options, command)
    if options.part == "words":
        return run_words(options, command)
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
    wall_s = time.perf_counter() - started
    evidence.record("low_bitwidth", measured(claims, command, wall_s), command=command, wall_s=wall_s)
