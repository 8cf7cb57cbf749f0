"""What 5-bit codebooks of INQ cost without training: one layer at a time, and in three forms of a network."""

import copy
import time
from functools import partial
from itertools import product

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.bn_folding import correct_statistics
from fewbits.core.quantizer import LinearOrConv, weight_layers
from fewbits.data import Dataset
from fewbits.experiments.inq.training import ALIGNED_WITH
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.experiments.mobileone.claims import current_claims
from fewbits.inq import Inq, InqQuantizer
from fewbits.mobileone import align_scales, fold_constant_channels
from fewbits.training import percent

BITS = 5
LARGEST = 0.02
NETWORKS = ("mobilenet", "mobileone")
SEEDS = range(3)  # of the float networks in data/checkpoints
CORRECTED_WITH = 1000  # training images, without their labels


def run_layers(images: int | None, command: str) -> None:
    """Write ``mobileone_layers.csv``: rows of :func:`layer_rows`, float networks of seed 0 in ``data/checkpoints``."""
    started = time.perf_counter()
    data = cifar100(torch.device("cpu"), images)
    rows = [{"network": network} | row for network in NETWORKS for row in layer_rows(float_network(network), data)]
    _write("mobileone_layers", rows, images, command, time.perf_counter() - started)


def run_forms(images: int | None, command: str) -> None:
    """Write ``mobileone_forms.csv``, rows of :func:`form_row` for all stored float networks in three forms.

    "as trained"; "constants folded" by :func:`fold_constant_channels`; "aligned" by :func:`align_scales` after that;
    with training images as in INQ.
    """
    started = time.perf_counter()
    data = cifar100(torch.device("cpu"), images)
    rows = []
    for network, seed in product(NETWORKS, SEEDS):
        model = float_network(network, seed)
        folded = fold_constant_channels(model, data.train_images)
        aligned = align_scales(folded, data.train_images[:ALIGNED_WITH])
        forms = {"as trained": model, "constants folded": folded, "aligned": aligned}
        rows += [
            {"network": network, "seed": seed, "form": form} | form_row(changed, data)
            for form, changed in forms.items()
        ]
    _write("mobileone_forms", rows, images, command, time.perf_counter() - started)


def _write(name: str, rows: list[dict], images: int | None, command: str, wall_s: float) -> None:
    table = pd.DataFrame(rows).round(6)
    print(table.to_string())
    if images is None:
        evidence.write_rows(name, evidence.stamped(table, command, wall_s))
        evidence.record("mobileone", current_claims(), command=command, wall_s=wall_s)


# 250 images at a time stay in the cache: 3 times faster than the default.
score = partial(percent, batch_size=250)


def layer_rows(model: nn.Module, data: Dataset) -> list[dict]:
    """One row a layer, and before them one for all layers together.

    ``drop`` is what the test accuracy loses, in points, when weights and biases of the layer become 0 or powers of two;
    ``error`` the squared error of its weights over their squared sum; ``zeros`` the share of its weights that become 0.
    """
    start = score(model, data)
    rows = [{"layer": "all", "kind": "all", "drop": start - score(rounded(model, 1.0), data)}]
    for name, layer in weight_layers(model).items():
        changed = copy.deepcopy(model)
        quantize(changed.get_submodule(name))
        row = {"layer": name, "kind": kind(layer), "drop": start - score(changed, data)}
        rows.append(row | rounding_error(layer, weight_layers(changed)[name]))
    return rows


def form_row(model: nn.Module, data: Dataset) -> dict:
    """Test accuracy in percent, of the model itself (``float``), and after one step of INQ without training.

    ``largest`` is after the step that takes the largest :data:`LARGEST` of each tensor, ``all`` after that which takes
    everything. ``means`` is that with the means of all channels put back, which changes biases only, and ``corrected``
    with their variances, too (:func:`fewbits.bn_folding.correct_statistics`).
    ``error`` and ``zeros`` are as in :func:`layer_rows`, for everything, averaged over the layers.
    """
    everything = rounded(model, 1.0)
    before, after = weight_layers(model), weight_layers(everything)
    errors = pd.DataFrame([rounding_error(before[name], after[name]) for name in before]).mean()
    row = {"float": score(model, data), "largest": score(rounded(model, LARGEST), data)}
    images = data.train_images[:CORRECTED_WITH]
    row |= {
        "all": score(everything, data),
        "means": score(correct_statistics(everything, model, images, variance=False), data),
    }
    row["corrected"] = score(correct_statistics(everything, model, images), data)
    return row | errors.to_dict()


def rounded(model: nn.Module, fraction: float) -> nn.Module:
    """A copy of ``model`` after one step of INQ: of each tensor the largest ``fraction`` is on the codebook.

    After a fraction of 1 it has plain parameters again.
    """
    schedule = Inq(copy.deepcopy(model), BITS, biases=True)
    schedule.step(fraction)
    return schedule.model if fraction < 1 else schedule.finish()


def rounding_error(layer: LinearOrConv, quantized: LinearOrConv) -> dict[str, float]:
    """``error`` and ``zeros`` of :func:`layer_rows`, from a layer before and after rounding."""
    before, after = (module.weight.detach().double() for module in (layer, quantized))
    error = (after - before).square().sum() / before.square().sum()
    return {"error": error.item(), "zeros": (after == 0).double().mean().item()}


@torch.no_grad()
def quantize(layer: nn.Module) -> None:
    """Weights and biases of one layer on their codebooks."""
    for parameter in layer.parameters():
        parameter.copy_(InqQuantizer(BITS)(parameter))


def kind(layer: LinearOrConv) -> str:
    """What a layer of these networks is: "full", "depthwise" or "pointwise" convolution, or "linear"."""
    if isinstance(layer, nn.Linear):
        return "linear"
    if layer.groups > 1:
        return "depthwise"
    return "pointwise" if layer.kernel_size == (1, 1) else "full"
