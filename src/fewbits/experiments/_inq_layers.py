"""Which layers hurt: 5-bit codebooks of INQ put on one layer at a time, without training (experiment ``inq``)."""

import copy

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.checkpoint import load_model
from fewbits.constant_channels import fold_constant_channels
from fewbits.data import Dataset
from fewbits.experiments._inq_cifar100 import cifar100
from fewbits.experiments._inq_training import ALIGNED_WITH
from fewbits.experiments.common import checkpoint_path
from fewbits.inq import Inq, InqQuantizer
from fewbits.nets.mobileone import MobileNetV1, reparameterize
from fewbits.quantizer import weight_layers
from fewbits.scale_alignment import align_scales
from fewbits.training import correct

BITS = 5
LARGEST = 0.02
NETWORKS = ("mobilenet", "mobileone")


def run_layers(images: int | None) -> None:
    """Write ``inq_layers.csv`` from the float networks of seed 0 in ``data/checkpoints``.

    Each in three forms: "as trained", one layer at a time and all together; and only all together, "constants folded"
    by :func:`fold_constant_channels`, and then "aligned" by :func:`align_scales`, with training images as in INQ.
    """
    data = cifar100(torch.device("cpu"), images)
    rows = []
    for network in NETWORKS:
        trained = load_model(reparameterize(MobileNetV1().eval()), checkpoint_path(f"inq-{network}-float")).eval()
        folded = fold_constant_channels(trained, data.train_images)
        aligned = align_scales(folded, data.train_images[:ALIGNED_WITH])
        for form, model in {"as trained": trained, "constants folded": folded, "aligned": aligned}.items():
            found = layer_rows(model, data, one_by_one=model is trained)
            rows += [{"network": network, "form": form} | row for row in found]
    table = pd.DataFrame(rows)
    print(table.to_string())
    if images is None:
        evidence.write_rows("inq_layers", table)


def layer_rows(model: nn.Module, data: Dataset, one_by_one: bool = True) -> list[dict]:
    """One row a layer, before them two for all of them: "all", and "largest", with INQ's step for the largest of each.

    Without ``one_by_one`` only these two have a ``drop``.

    ``drop`` is what the test accuracy loses, in points, when weights and biases of the layer become 0 or powers of two;
    ``error`` the squared error of its weights over their squared sum; ``zeros`` the share of its weights that become 0;
    ``largest`` the largest magnitude of its weights before.
    """

    def percent(network: nn.Module) -> float:
        # 250 images at a time stay in the cache: 3 times faster than the default.
        right = correct(network, data.test_images, data.test_labels, batch_size=250)
        return 100 * right / len(data.test_labels)

    start = percent(model)
    layers = weight_layers(model)
    rows = []
    for name, fraction in {"all": 1.0, "largest": LARGEST}.items():
        schedule = Inq(copy.deepcopy(model), BITS, biases=True)
        schedule.step(fraction)
        rows.append({"layer": name, "kind": "all", "drop": start - percent(schedule.model)})
    for name, layer in layers.items():
        changed = copy.deepcopy(model)
        quantized = changed.get_submodule(name)
        quantize(quantized)
        weight, rounded = layer.weight.detach().double(), quantized.weight.detach().double()
        error = ((rounded - weight).square().sum() / weight.square().sum()).item()
        row = {"layer": name, "kind": kind(layer)} | ({"drop": start - percent(changed)} if one_by_one else {})
        row |= {"error": error, "zeros": (rounded == 0).double().mean().item(), "largest": weight.abs().max().item()}
        rows.append(row)
    return [{key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()} for row in rows]


@torch.no_grad()
def quantize(layer: nn.Module) -> None:
    """Weights and biases of one layer on their codebooks."""
    for parameter in layer.parameters():
        parameter.copy_(InqQuantizer(BITS)(parameter))


def kind(layer: nn.Module) -> str:
    """What a layer of these networks is: "full", "depthwise" or "pointwise" convolution, or "linear"."""
    if isinstance(layer, nn.Linear):
        return "linear"
    if layer.groups > 1:
        return "depthwise"
    return "pointwise" if layer.kernel_size == (1, 1) else "full"
