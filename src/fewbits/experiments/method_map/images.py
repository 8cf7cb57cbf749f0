"""The map on images: every method of the book in one small VGG network on CIFAR-10.

Every row has seen the images 20 times. A method that starts from a trained network spends 15 epochs on the float
network, which all rows of a seed share, and 5 on its own training: SGD, from a rate of 0.01 (TTQ, BWN: 0.1) down
along a cosine. A method that only rounds spends those 5 on the float network, too. A method whose paper starts from
scratch has all 20. Batches have 128 images, cropped and mirrored. Activations have 8 bits, fixed after training, or
as few as the name of the method says.

Written is ``data/results/method_map_images.csv``, a row for each method and seed; runs that it has are not repeated.
``--pilot`` tries learning rates on held-out training images, into ``method_map_images_pilot.csv``. One rate serves all
methods that start from the float network; unless methods are named, four of them (`PILOTED`) choose it.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import training
from fewbits.compensation import MXQuantizer, NVFP4Quantizer, compensate
from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantize import quantize
from fewbits.core.quantizer import attach_codes, quantize_weights, weight_layers
from fewbits.core.size import size_report
from fewbits.data import Dataset
from fewbits.experiments.binary.run import METHODS_OF as BINARY
from fewbits.experiments.binary.run import scaled_weights
from fewbits.experiments.common import run_folder, run_missing_rows
from fewbits.experiments.comparison import FLOAT, TASKS, Method, Network, float_network, prepared, started, trained
from fewbits.experiments.method_map.methods import (
    CALIBRATION_IMAGES,
    MEAN_BITS,
    SHARED,
    START_BITS,
    STEP,
    STRENGTH,
    Units,
    every,
    learned_steps,
    log_weights,
    round_activations,
    shares,
    uniform,
)
from fewbits.experiments.method_map.prices import constant_tables, works_of
from fewbits.experiments.ternary.run import ternary_weights, ttq_weights
from fewbits.inq import Inq
from fewbits.learned_step import LSQ, keep_positive
from fewbits.logarithmic import LogQuantizer
from fewbits.low_bitwidth import DoReFaActivation, DoReFaWeights
from fewbits.mixed_precision import (
    DistributionQuantizer,
    clip_grid_gradients,
    constrain,
    filter_bits,
    learn_weight_bits,
    mac_bits,
    over_budget,
)
from fewbits.ternary import TWN, ExactTernary
from fewbits.training.checkpoint import load_state
from fewbits.uniform import UniformQuantizer
from fewbits.vector import DeepCompression, SoftSharing

TABLE = "method_map_images"
TASK = TASKS["cifar10"]
OWN_EPOCHS = 5  # after those of the float network
EPOCHS = TASK.epochs + OWN_EPOCHS
RATE, RATES = 0.01, (0.003, 0.01, 0.03)
PILOTED = ("float", "LSQ, 2 bits, activations too", "TWN", "INQ, 5 bits")
INQ_STAGES = ((0.5, 2), (0.75, 2), (0.875, 1), (1.0, 0))  # share of the weights that are powers of two, epochs after
# Soft weight-sharing by its authors' tutorial, whose rates are for 7,050 steps: in five epochs of 391 the mixture gets
# as far as theirs if all rates are larger by the ratio of the steps. The strength is that of the experiment `vector`.
TAU, MERGE, SOFT_RATES, SOFT_STEPS = 0.02, 1e-10, (5e-4, 1e-4, 3e-3), 7050


@dataclass(frozen=True)
class Job:
    """What a run starts from.

    Attributes:
        data, seed: of training.
        state: of the float network after its 15 epochs.
        rate: learning rate of a method's own 5 epochs.
        path: of the checkpoint.
        minutes: that are left; None for no limit.
        seconds: filled while a method trains: its own epochs, those before an interruption too, or its rounding. The
            float networks that rows share are not its own.
    """

    data: Dataset
    seed: int
    state: Mapping[str, Tensor]
    rate: float
    path: Path
    minutes: float | None
    seconds: list[float] = field(default_factory=list)


Train = Callable[[Job], nn.Module | None]  # None: the time was over first


@dataclass(frozen=True)
class Entry:
    """One row of the map on images.

    Attributes:
        train: to the trained network.
        units: what a product takes in the first layer, in those between, and in the last one; None if it follows from
            the bits of each filter; empty if no circuit of the book multiplies so.
        real_activations: hidden activations are left in floating point; they are rounded to 8 bits afterwards.
    """

    train: Train
    units: tuple[Units, Units, Units] | tuple[()] | None
    real_activations: bool = True


# --- Training ---------------------------------------------------------------------------------------------------------


def go_on(model: nn.Module, job: Job, epochs: int, **options: Any) -> nn.Module | None:
    """Train ``model`` further for ``epochs``; None if the time was over first."""
    optimizer = options.pop("optimizer", None) or training.sgd(model, job.rate, weight_decay=1e-4)
    recipe = dict(TASK.options) | {"schedule": training.cosine, "minutes": job.minutes} | options
    history = training.train(model, job.data, optimizer, epochs=epochs, seed=job.seed, **recipe)
    job.seconds.extend(record["seconds"] for record in history)
    return model if len(history) == epochs else None


def tuned(
    build: Callable[[Network], nn.Module],
    after_step: Callable[[nn.Module], object] | None = None,
    times: float = 1.0,
) -> Train:
    """The float network, changed by ``build``, and five epochs at so many times the rate of the others."""

    def run(job: Job) -> nn.Module | None:
        job = replace(job, rate=times * job.rate)
        training.seed_everything(job.seed)
        model = build(started(TASK.network, job.state))
        return go_on(model, job, OWN_EPOCHS, after_step=after_step, checkpoint=job.path)

    return run


def scratch(method: Method) -> Train:
    """All epochs with the method."""

    def run(job: Job) -> nn.Module | None:
        more: dict[str, Any] = {"checkpoint": job.path, "minutes": job.minutes}
        model, history = trained(method, TASK, job.data, job.seed, EPOCHS, **more)
        job.seconds.extend(record["seconds"] for record in history)
        return model if len(history) == EPOCHS else None

    return run


def float_name(rate: float, seed: int) -> str:
    """Name of the checkpoint of the float network after all epochs, which is kept for the methods that round it."""
    return f"float-{rate:g}-{seed}.safetensors"


floats = tuned(float_network)


def rounded(method: Callable[[nn.Module, Tensor], nn.Module]) -> Train:
    """All epochs in floating point; then ``method``, of the network and some training images."""

    def run(job: Job) -> nn.Module | None:
        model = floats(replace(job, path=job.path.with_name(float_name(job.rate, job.seed)), seconds=[]))
        if model is None:
            return None
        begun = time.perf_counter()
        model = method(model.cpu(), job.data.train_images[:CALIBRATION_IMAGES])
        job.seconds.append(time.perf_counter() - begun)
        return model

    return run


def dorefa(network: Network, activation_bits: int) -> nn.Module:
    """Weights of one bit in all layers, and activations of few."""
    model = network(activation=partial(DoReFaActivation, activation_bits))
    return quantize_weights(model, partial(DoReFaWeights, 1), skip=())


def weights_only(network: Network, make_quantizer: Callable[[], Any]) -> nn.Module:
    """All weights by the quantizer, real activations."""
    return quantize_weights(network(activation=nn.ReLU), make_quantizer, skip=())


def inq(job: Job) -> nn.Module | None:
    """INQ of 5 bits, a half of the remaining weights at a time; the five epochs are shared out among the steps."""
    training.seed_everything(job.seed)
    model = started(TASK.network, job.state)(activation=nn.ReLU)
    schedule = Inq(model)
    for share, epochs in INQ_STAGES:
        schedule.step(share)
        if epochs and go_on(model, job, epochs) is None:
            return None
    codes = schedule.encode()
    return attach_codes(schedule.finish(), codes)


def learned_bits(job: Job) -> nn.Module | None:
    """Weights and the bits of each filter together."""
    training.seed_everything(job.seed)
    model = learn_weight_bits(started(TASK.network, job.state)(activation=nn.ReLU), START_BITS)
    work = layer_work(model, job.data.train_images.shape[1:])
    budget = MEAN_BITS * sum(layer.macs for layer in work)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels) + STRENGTH * over_budget(mac_bits(model, work), budget)

    optimizer = training.sgd(model, job.rate, weight_decay=1e-4)
    clip_grid_gradients(optimizer, model)
    return go_on(model, job, OWN_EPOCHS, loss=loss, after_step=constrain, optimizer=optimizer)


def shared(job: Job) -> nn.Module | None:
    """Deep Compression's sharing, without pruning, and its fine-tuning by the recipe of the experiment ``vector``.

    The gradient of a shared value is a sum over thousands of weights, far too large for the rate of the others.
    """
    training.seed_everything(job.seed)
    compression = DeepCompression(started(TASK.network, job.state)(activation=nn.ReLU))
    compression.share(SHARED)
    optimizer = training.adam(compression.model, 2e-4, weight_decay=1e-5)
    return go_on(compression.model, job, OWN_EPOCHS, checkpoint=job.path, optimizer=optimizer)


def soft_shared(job: Job) -> nn.Module | None:
    """Soft weight-sharing with 16 components, by its authors' optimizer, at constant rates; then rounding."""
    training.seed_everything(job.seed)
    model = started(TASK.network, job.state)(activation=nn.ReLU)
    sharing = SoftSharing(model, TAU, len(job.data.train_images))
    prior, faster = sharing.prior, SOFT_STEPS / training.step_count(len(job.data.train_images), OWN_EPOCHS)
    parameters = (list(model.parameters()), [prior.means], [prior.log_precision, prior.logits])
    groups = [{"params": some, "lr": faster * rate} for some, rate in zip(parameters, SOFT_RATES, strict=True)]
    options: dict[str, Any] = {"loss": sharing.loss, "optimizer": torch.optim.Adam(groups), "schedule": None}
    if go_on(model, job, OWN_EPOCHS, **options) is None:
        return None
    sharing.quantize(MERGE)
    return attach_codes(model, sharing.encode())


_ADAM, _COSINE = partial(training.adam, lr=3e-3), {"schedule": training.cosine}
_SIGN, _TERNARY = every("sign × 8 bits"), every("ternary × 8 bits")


def _integers(bits: int) -> tuple[Units, Units, Units]:
    """Weights of ``bits`` bits by activations of 8; the uniform grid of 2 bits has three levels."""
    return every(f"{bits} bits × 8 bits") if bits > 2 else _TERNARY


def _steps(bits: int) -> tuple[Units, Units, Units]:
    """LSQ's grid of 2 bits has four levels."""
    return every(f"{bits} bits × 8 bits")


def _both(bits: int, levels: str) -> tuple[Units, Units, Units]:
    """Weights and activations of ``bits`` bits, but for the pixels, which have 8."""
    between = {f"{levels} × {bits} bits": 1.0}
    return ({f"{levels} × 8 bits": 1.0}, between, between)


def _per_channel(bits: int) -> Callable[[], UniformQuantizer]:
    return partial(UniformQuantizer, bits, channel_axis=0)


def _nearest(make_quantizer: Callable[[], Any]) -> Callable[[nn.Module, Tensor], nn.Module]:
    return lambda model, _: quantize(model, make_quantizer)


ENTRIES: dict[str, Entry] = {
    "float": Entry(floats, every("float × float"), False),
    **{
        f"uniform, {bits} bits, after training": Entry(rounded(_nearest(_per_channel(bits))), _integers(bits))
        for bits in (8, 4, 3, 2)
    },
    "GPTQ, 4 bits": Entry(rounded(lambda model, x: compensate(model, _per_channel(4), x)), _integers(4)),
    "MXFP4": Entry(rounded(_nearest(MXQuantizer)), every("MXFP4 × 8 bits")),
    "NVFP4": Entry(rounded(_nearest(NVFP4Quantizer)), every("NVFP4 × 8 bits")),
    "bits after training": Entry(rounded(_nearest(partial(DistributionQuantizer, STEP))), None),
    **{
        f"uniform, {bits} bits": Entry(tuned(partial(weights_only, make_quantizer=_per_channel(bits))), _integers(bits))
        for bits in (4, 3, 2)
    },
    **{
        f"uniform, {bits} bits, activations too": Entry(
            tuned(partial(uniform, bits=bits)), _both(bits, "ternary" if bits == 2 else f"{bits} bits"), False
        )
        for bits in (4, 3, 2)
    },
    **{
        f"LSQ, {bits} bits": Entry(
            tuned(partial(weights_only, make_quantizer=partial(LSQ, bits)), keep_positive), _steps(bits)
        )
        for bits in (4, 3, 2)
    },
    **{
        f"LSQ, {bits} bits, activations too": Entry(
            tuned(partial(learned_steps, bits=bits), keep_positive), _both(bits, f"{bits} bits"), False
        )
        for bits in (4, 3, 2)
    },
    "BinaryConnect": Entry(scratch(BINARY["cifar10"]["binaryconnect"]), _SIGN),
    # Its gradients carry the scale as a factor, so that they are as small beside those of TWN as TTQ's.
    "BWN": Entry(tuned(scaled_weights, times=10), _SIGN),
    "BinaryNet": Entry(
        scratch(BINARY["cifar10"]["binarynet"]), ({"sign × 8 bits": 1}, *every("sign × sign")[1:]), False
    ),
    "XNOR-Net": Entry(
        scratch(BINARY["cifar10"]["xnor-net"]),
        ({"float × float": 1}, {"sign × sign": 1}, {"float × float": 1}),
        False,
    ),
    "DoReFa-Net, 1 and 2 bits": Entry(
        scratch(Method(partial(dorefa, activation_bits=2), _ADAM, options=_COSINE)),
        ({"sign × 8 bits": 1}, *every("sign × 2 bits")[1:]),
        False,
    ),
    "DoReFa-Net, 1 and 8 bits": Entry(
        scratch(Method(partial(dorefa, activation_bits=8), _ADAM, options=_COSINE)), _SIGN, False
    ),
    "TWN": Entry(tuned(partial(ternary_weights, make_quantizer=TWN)), _TERNARY),
    # Two magnitudes: what is positive and what is negative must be summed apart.
    # Its scales start at 1, so that gradients of the weights are small beside those of TWN; its paper's rate is 0.1.
    "TTQ": Entry(tuned(ttq_weights, times=10), every("0 or 1 × 8 bits", 2)),
    "exact ternary": Entry(tuned(partial(ternary_weights, make_quantizer=ExactTernary)), _TERNARY),
    "log2, 4 bits": Entry(tuned(log_weights), every("log 4 bits × 8 bits")),
    "log √2, 5 bits": Entry(tuned(partial(weights_only, make_quantizer=partial(LogQuantizer, 5, "sqrt2"))), ()),
    "INQ, 5 bits": Entry(inq, every("INQ × 8 bits")),
    "learned bits": Entry(learned_bits, None),
    "shared, 16 values": Entry(shared, every("codebook of 16 × 8 bits")),
    "soft-shared, 16 values": Entry(soft_shared, every("codebook of 16 × 8 bits")),
}


# By the beginning of a method's name, its name in `fewbits.plots.COLORS`; the first that fits counts.
STYLES = {
    "float": "float",
    **{f"uniform, {bits} bits, after": "ptq" for bits in (8, 4, 3, 2)},
    "uniform": "uniform",
    **dict.fromkeys(("GPTQ", "MXFP4", "NVFP4"), "ptq"),
    "bits after": "sasaki",
    "LSQ": "lsq",
    "BinaryConnect": "binaryconnect",
    "BWN": "xnor-net",
    "BinaryNet": "binarynet",
    "XNOR": "xnor-net",
    "DoReFa": "dorefa",
    "TWN": "twn",
    "TTQ": "ttq",
    "exact": "exact ternary",
    "log2": "log2",
    "log √2": "log-sqrt2",
    "INQ": "inq",
    "learned": "nakata",
    "shared": "k-means",
    "soft": "soft weight-sharing",
}


def style(name: str) -> str:
    """Name in :data:`fewbits.plots.COLORS` of a method."""
    return next(found for beginning, found in STYLES.items() if name.startswith(beginning))


# --- Runs -------------------------------------------------------------------------------------------------------------


def units_of(entry: Entry, model: nn.Module) -> list[Units]:
    """What a product takes, layer by layer; empty if no circuit of the book does it."""
    if entry.units is None:
        return [shares(bits) for bits in filter_bits(model).values()]
    if not entry.units:
        return []
    first, between, last = entry.units
    return [first, *[between] * (len(weight_layers(model)) - 2), last]


def works(shape: Sequence[int] = (3, 32, 32)) -> list[LayerWork]:
    """What each layer of the network computes; the methods change no shape."""
    return works_of(TASK.network().eval(), shape)


def float_state(data: Dataset, seed: int, minutes: float | None, pilot: bool) -> Mapping[str, Tensor] | None:
    """The float network of a seed, which other experiments share; None if the time was over first."""
    path = run_folder("float-pilot" if pilot else "float") / f"cifar10-{TASK.epochs}-{seed}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    _, history = trained(FLOAT, TASK, data, seed, checkpoint=path, minutes=minutes)
    return load_state(path)["model"] if len(history) == TASK.epochs else None


def measure(row: dict[str, Any], minutes: float | None, data: Dataset, pilot: bool) -> dict[str, Any] | None:
    """Train one row; None if the time was over first."""
    entry, seed = ENTRIES[row["method"]], row["seed"]
    folder = run_folder(f"{TABLE}_pilot" if pilot else TABLE)
    folder.mkdir(parents=True, exist_ok=True)
    state = float_state(data, seed, minutes, pilot)
    if state is None:
        return None
    rate = row.get("rate", RATE)
    name = f"{row['method'].replace(' ', '-').replace(',', '')}-{rate:g}-{seed}.safetensors"
    job = Job(data, seed, state, rate, folder / name, minutes)
    model = entry.train(job)
    if model is None:
        return None
    model = model.cpu().eval()
    real = training.percent(model, data)
    report, units = size_report(model), units_of(entry, model)
    constant = constant_tables(model, units, works(data.train_images.shape[1:]))
    if entry.real_activations:
        model = round_activations(model, data.train_images[:CALIBRATION_IMAGES])
    names = {f"{layer}.weight" for layer in weight_layers(model)}
    weights = [item for item in report.rows if item.name in names]
    if name != float_name(rate, seed):
        (folder / name).unlink(missing_ok=True)
    return {
        "accuracy": training.percent(model, data),
        "accuracy_real_activations": real,
        "bits_per_weight": sum(item.bits for item in weights) / sum(item.count for item in weights),
        "file_bytes": report.file_bytes,
        "units": json.dumps(units, ensure_ascii=False),
        "constant_luts": math.nan if constant is None else constant,
        "minutes": sum(job.seconds) / 60,
    }


def run(methods: Mapping[str, Entry], seeds: range, command: str, minutes: float | None, pilot: bool) -> None:
    """Train what the table lacks, seed after seed."""
    data = prepared("cifar10", pilot)
    rows = [{"method": name, "seed": seed} for seed in seeds for name in methods]
    if pilot:
        rows = [row | {"rate": rate} for row in rows for rate in RATES]
    table = f"{TABLE}_pilot" if pilot else TABLE
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run_missing_rows(table, rows, partial(measure, data=data, pilot=pilot), command, minutes, device)
