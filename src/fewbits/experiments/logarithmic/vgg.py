"""Training with weights, activations and gradients of 5 bits, as Miyashita has it: a VGG-like network on CIFAR-10.

The ranges of all layers are fixed before training, those of weights and activations at what the first batches need.
Gradients have heavy tails and change while a network learns: how many octaves their ranges lie above those of the
first batches, or below them, is chosen for each code on held-out training images (``--held-out``: rows of
``logarithmic_vgg_held_out.csv``), and then stands in `HEADROOM`. Images have 16 × 16 pixels, a quarter of the work.

Tried before, for three epochs on held-out images: one headroom for weights, activations and gradients (for both codes 0
was the best of -2 to 1), and ranges of weights that follow each step (for both codes worse than fixed ones).
"""

import time
from functools import partial

import torch
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core.quantizer import weight_quantizers
from fewbits.data import held_out, load
from fewbits.experiments.common import recorded, run_folder, run_missing_rows, seeds
from fewbits.experiments.comparison import VGG_WIDTHS
from fewbits.experiments.logarithmic.claims import vgg_claims
from fewbits.experiments.logarithmic.networks import BATCH_SIZE, fix_ranges, quantize_training
from fewbits.logarithmic import LogQuantizer
from fewbits.nets import VGGSmall
from fewbits.training import centred, half_size, one_cycle, percent, seed_everything, sgd, train
from fewbits.uniform import UniformQuantizer

TABLE = "logarithmic_vgg"
METHODS = ("float", "log2", "linear")
BITS, EPOCHS, LR = 5, 20, 0.05
HEADROOMS = (-1, 0, 1, 2)
HEADROOM = {"float": 0, "log2": 0, "linear": 0}  # octaves, of gradients
CALIBRATION_IMAGES = 512


def network(method: str, headroom: int, images: Tensor, labels: Tensor) -> nn.Module:
    """The network of one code, in training mode, with all ranges fixed: gradients' ``headroom`` octaves higher."""
    model: nn.Module = VGGSmall(3, 16, 10, VGG_WIDTHS, batch_norm=True)
    if method == "float":
        return model
    quantize_training(model, method, BITS, BITS, headroom, images, labels)
    kinds = LogQuantizer, UniformQuantizer
    activations = [module for module in model.modules() if isinstance(module, kinds) and not module.signed]

    def forward() -> None:  # batch normalization as in training: calibrate would use its initial statistics
        for x in images.split(BATCH_SIZE):
            model(x)

    fix_ranges(activations, 0, forward)
    for _, quantizer, latent in weight_quantizers(model):
        fix_ranges([quantizer], 0, partial(quantizer, latent))
    return model


def run_vgg(options, command: str) -> None:
    """Train what the table lacks, seed after seed, and record the claims."""
    started = time.perf_counter()
    data = centred(half_size(load("cifar10")))
    table = TABLE
    headrooms: dict[str, tuple[int, ...]] = {method: (HEADROOM[method],) for method in METHODS}
    if options.held_out:
        data, table = held_out(data), f"{TABLE}_held_out"
        headrooms = {method: HEADROOMS for method in METHODS[1:]}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run_folder(table).mkdir(parents=True, exist_ok=True)
    images, labels = data.train_images[:CALIBRATION_IMAGES], data.train_labels[:CALIBRATION_IMAGES]

    def measure(row: dict, minutes: float | None) -> dict[str, float] | None:
        seed_everything(row["seed"])
        model = network(row["method"], row["headroom"], images, labels).to(device)
        name = "{method}-{headroom}-{epochs}-{seed}.safetensors".format(**row)
        state: dict = {"checkpoint": run_folder(table) / name, "minutes": minutes, "progress": True}
        state["channels_last"] = True
        fit = partial(train, model, data, sgd(model, LR, weight_decay=5e-4), schedule=one_cycle)
        history = fit(epochs=row["epochs"], seed=row["seed"], **state)
        if len(history) < row["epochs"]:
            return None
        return {"accuracy": percent(model, data), "loss": history[-1]["loss"]}

    rows = [
        {"method": method, "headroom": headroom, "epochs": options.epochs or EPOCHS, "seed": seed}
        for seed in seeds(options.seeds)
        for method in headrooms
        for headroom in headrooms[method]
    ]
    finished = run_missing_rows(table, rows, measure, command, options.minutes, device)
    if options.held_out:
        if finished:
            print(evidence.rows(table).groupby(["method", "headroom"]).accuracy.mean())
        return
    runs = recorded(table, list(rows[0]))
    claims = vgg_claims(runs[(runs.epochs == EPOCHS) & (runs.headroom == runs.method.map(HEADROOM))])
    evidence.record("logarithmic", claims, command=command, wall_s=time.perf_counter() - started, device=device)
