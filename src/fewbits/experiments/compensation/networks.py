"""Rounding without training, on the network of 159,236 parameters: grids, and what is done about its errors.

The float networks are those of the experiment ``mobileone`` (CIFAR-100, batch normalization and branches folded). All
weights are put on the grid, those of the first and the last layer, too; biases get 16 bits.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from fewbits import evidence
from fewbits.bn_folding import correct_statistics
from fewbits.compensation import MXQuantizer, NVFP4Quantizer, adaround, compensate, gptq
from fewbits.core.quantize import quantize
from fewbits.core.quantizer import Quantizer, attach_codes, weight_layers
from fewbits.core.size import size_report
from fewbits.data import Dataset, held_out
from fewbits.experiments.common import hex_of, merge_rows, recorded
from fewbits.experiments.inq.training import prepared
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.inq import InqQuantizer
from fewbits.ternary import TWN
from fewbits.uniform import UniformQuantizer

SEEDS = range(3)  # of the float networks in data/checkpoints
CALIBRATED_WITH = 512  # training images, without their labels
MEMORY = 10_000  # training images that are kept: more than all the steps together need; and all test images
CHOSEN_WITH = 1000  # of the training images that are held out
BIAS_BITS = 16
DAMPINGS = (0.01, 0.1)
ADAROUND_STEPS = 500
MEANS = " + means"  # of a form: the means of all channels put back by the biases
BEST_INQ = "mean-only+aligned+distilled"
KEYS = ["grid", "form", "seed"]
CHOICE_KEYS = ["grid", "damping", "setting"]


@dataclass(frozen=True)
class GridOf:
    """A grid of the comparison.

    Attributes:
        make: the quantizer of a weight.
        forms: how weights are put on it, in the order of their runs.
        unit: the circuit that multiplies by such weights, in the tables of units; "" for none.
        chosen_for: the grid whose choice of settings counts for this one, too.
    """

    make: Callable[[], Quantizer]
    forms: tuple[str, ...] = ("nearest", "GPTQ", "GPTQ" + MEANS)
    unit: str = ""
    chosen_for: str = ""

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """What GPTQ may do beside damping: the order, or new scales for blocks."""
        found: dict[str, dict[str, Any]] = {"given": {}, "activation": {"order": "activation"}}
        if isinstance(self.make(), MXQuantizer | NVFP4Quantizer):
            found["rescale"] = {"rescale": True}
        return found


ALIGNED = "INQ, aligned"
GRIDS = {
    "uniform 4": GridOf(
        partial(UniformQuantizer, 4, channel_axis=0),
        ("nearest", "nearest" + MEANS, "AdaRound", "GPTQ", "GPTQ" + MEANS),
        "4 bits × 8 bits",
    ),
    "INQ": GridOf(partial(InqQuantizer, 5), unit="INQ × 8 bits"),
    ALIGNED: GridOf(partial(InqQuantizer, 5), unit="INQ × 8 bits", chosen_for="INQ"),
    "ternary": GridOf(partial(TWN, channel_axis=0), unit="ternary × 8 bits"),
    "MXFP4": GridOf(MXQuantizer, unit="MXFP4 × 8 bits"),
    "NVFP4": GridOf(NVFP4Quantizer, unit="NVFP4 × 8 bits"),
    "MXFP8": GridOf(partial(MXQuantizer, "E4M3"), ("nearest",)),
}


def on_grid(model: nn.Module, grid: GridOf, base: str, images: Tensor, **settings: Any) -> nn.Module:
    """``model`` with all weights on ``grid``: "nearest", as the quantizer does it, "AdaRound" or "GPTQ".

    Raises:
        ValueError: there is no such way.
    """
    if base == "nearest":
        return quantize(model, grid.make)
    if base == "AdaRound":
        return compensate(model, grid.make, images, rounding=partial(adaround, steps=ADAROUND_STEPS))
    if base == "GPTQ":
        return compensate(model, grid.make, images, rounding=partial(gptq, **settings))
    raise ValueError(f"form must begin with nearest, AdaRound or GPTQ; got {base!r}")


def finished(small: nn.Module, model: nn.Module, form: str, images: Tensor) -> nn.Module:
    """A copy of ``small`` with the means of ``model`` if the form asks for it, and biases of 16 bits."""
    with_means = form.endswith(MEANS)
    small = correct_statistics(small, model, images, variance=False) if with_means else copy.deepcopy(small)
    biases = {
        f"{name}.bias": UniformQuantizer(BIAS_BITS).encode(layer.bias.detach())
        for name, layer in weight_layers(small).items()
        if layer.bias is not None
    }
    return attach_codes(small, biases).eval()


def classes_of(model: nn.Module, images: Tensor) -> Tensor:
    """Class of each image, (N,) int64; few images at a time stay in the cache."""
    with torch.no_grad():
        return torch.cat([model(batch).argmax(1) for batch in images.split(125)])


def choose(command: str, grids: Sequence[str]) -> None:
    """Write ``compensation_choice.csv``: accuracy on held-out training images, by damping and order, seed 0.

    The float networks were trained on these images, too: their accuracy there is higher than on test images.
    """
    data = held_out(cifar100(torch.device("cpu")))
    images, labels = data.test_images[:CHOSEN_WITH], data.test_labels[:CHOSEN_WITH]
    model = float_network("mobileone", 0)
    for name in grids:
        grid = GRIDS[name]
        if grid.chosen_for or "GPTQ" not in grid.forms:
            continue
        for damping, (setting, options) in product(DAMPINGS, grid.settings.items()):
            known = recorded("compensation_choice", CHOICE_KEYS)
            if len(known.query("grid == @name and damping == @damping and setting == @setting")):
                continue
            started = time.perf_counter()
            small = on_grid(model, grid, "GPTQ", data.train_images[:CALIBRATED_WITH], damping=damping, **options)
            right = classes_of(small, images) == labels
            row = {"grid": name, "damping": damping, "setting": setting}
            row["accuracy"] = 100 * int(right.sum()) / len(right)
            print(row, flush=True)
            new = evidence.stamped(pd.DataFrame([row]), command, time.perf_counter() - started)
            merge_rows("compensation_choice", new, CHOICE_KEYS)


def chosen(grid: str) -> tuple[float, str]:
    """Damping and setting of the most accurate row of ``compensation_choice``; of equal ones the first.

    Raises:
        ValueError: there is none for this grid.
    """
    name = GRIDS[grid].chosen_for or grid
    rows = recorded("compensation_choice", [*CHOICE_KEYS, "accuracy"]).query("grid == @name")
    if not len(rows):
        raise ValueError(f"nothing is chosen for {name}: run --part choose first")
    best = rows.loc[rows.accuracy.astype(float).idxmax()]
    return float(best.damping), str(best.setting)


def measure(command: str, grids: Sequence[str], seeds: Sequence[int]) -> None:
    """Write ``compensation_networks.csv``, one row a grid, form and float network; what is there is not run again."""
    data = cifar100(torch.device("cpu"), MEMORY)
    images = data.train_images[:CALIBRATED_WITH]
    for seed in seeds:
        model = float_network("mobileone", seed)
        aligned = prepared(model, data, ["aligned"]) if ALIGNED in grids else model
        for name in grids:
            grid, start = GRIDS[name], aligned if name == ALIGNED else model
            for base in dict.fromkeys(form.removesuffix(MEANS) for form in grid.forms):
                forms = [form for form in grid.forms if form.removesuffix(MEANS) == base and _lacks(name, form, seed)]
                if not forms:
                    continue
                settings = dict.fromkeys(("damping", "setting"), "")
                options: dict[str, Any] = {}
                if base == "GPTQ":
                    damping, setting = chosen(name)
                    settings = {"damping": str(damping), "setting": setting}
                    options = {"damping": damping} | grid.settings[setting]
                started = time.perf_counter()
                small = on_grid(start, grid, base, images, **options)
                spent = time.perf_counter() - started
                for form in forms:
                    row = {"grid": name, "form": form, "seed": seed} | settings
                    row |= measured(finished(small, start, form, images), data) | {"seconds": round(spent, 1)}
                    print({key: value for key, value in row.items() if key != "right"}, flush=True)
                    new = evidence.stamped(pd.DataFrame([row]), command, spent)
                    merge_rows("compensation_networks", new, KEYS)


def _lacks(grid: str, form: str, seed: int) -> bool:
    known = recorded("compensation_networks", KEYS)
    return not len(known.query("grid == @grid and form == @form and seed == @seed"))


def measured(small: nn.Module, data: Dataset) -> dict[str, Any]:
    """Accuracy on all test images in percent, which of them are right (`hex_of`), and bits to store."""
    right = classes_of(small, data.test_images) == data.test_labels
    accuracy = 100 * int(right.sum()) / len(right)
    return {"accuracy": accuracy, "bits": size_report(small).bits, "right": hex_of(right.numpy())}
