"""Bits under two penalties for the network of the experiment ``mobileone`` (159,236 parameters), on CIFAR-100.

The float network is the folded MobileNet-V1 that was trained there, one seed of it; a seed here is that of the few
epochs in which bits and weights are learned. A row that is there is not trained again, and a training that was
interrupted goes on from its last epoch.
"""

import time
from functools import partial
from typing import Any

import pandas as pd
import torch

from fewbits import evidence
from fewbits.data import random_crop_flip
from fewbits.experiments.common import recorded, run_folder, seeds
from fewbits.experiments.mixed_precision.training import METHODS, measure, train_quantized
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.mixed_precision import Processor, filter_bits

EPOCHS, LR = 3, 5e-4
SETTINGS = {
    "post-training": (4, 5, 6, 8),
    "sasaki": (0.5, 0.35, 0.25, 0.18, 0.12),
    "nakata": (3.0, 3.6, 4.4),
    "uhlich filter-wise": (3.0, 3.6, 4.4),
    "fixed": (3, 4, 5),
}
PROCESSOR = Processor()


def run_cifar100(count: int, command: str) -> pd.DataFrame:
    """Train what is missing of ``count`` seeds; the table ``mixed_precision_cifar100``, which keeps the ``command``."""
    columns = ("method", "setting", "seed", "accuracy", "bits_per_filter", "bits_per_weight", "bits_per_mac", "cycles")
    name, data = "mixed_precision_cifar100", cifar100(torch.device("cpu"))
    float_model = float_network("mobilenet")
    todo = [("float", 32.0, 0)] + [
        (method, setting, seed)
        for seed in seeds(count)
        for method, settings in SETTINGS.items()
        for setting in settings
        if seed == 0 or METHODS[method].trained
    ]
    for method, setting, seed in todo:
        table = recorded(name, columns)
        if ((table.method == method) & (table.setting == setting) & (table.seed == seed)).any():
            continue
        started, model = time.perf_counter(), float_model
        if method != "float":
            folder = run_folder(f"mixed-precision-{method.replace(' ', '-')}-{setting:g}-{seed}")
            folder.mkdir(parents=True, exist_ok=True)
            train = partial(train_quantized, epochs=EPOCHS, lr=LR, augment=random_crop_flip, channels_last=True)
            files: dict[str, Any] = {"checkpoint": folder / "state.safetensors", "log": folder / "log.csv"}
            model = train(float_model, METHODS[method], setting, data, seed, progress=True, **files)
        row = {"method": method, "setting": setting, "seed": seed} | measure(model, data, PROCESSOR)
        row["seconds"] = round(time.perf_counter() - started, 1)
        print(row, flush=True)
        new = evidence.stamped(pd.DataFrame([row]), command, row["seconds"])
        evidence.write_rows(name, pd.concat([table, new]).round(4))
        _keep_bits(model, row)
    return recorded(name, columns)


def _keep_bits(model: torch.nn.Module, row: dict) -> None:
    where = {key: row[key] for key in ("method", "setting", "seed")}
    rows = [where | {"layer": name, "bits": " ".join(map(str, bits))} for name, bits in filter_bits(model).items()]
    if rows:
        table = recorded("mixed_precision_cifar100_bits", list(rows[0]))
        evidence.write_rows("mixed_precision_cifar100_bits", pd.concat([table, pd.DataFrame(rows)]))
