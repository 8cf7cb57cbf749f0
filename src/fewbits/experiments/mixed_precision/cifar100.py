"""Bits under two penalties for the network of the experiment ``mobileone`` (159,236 parameters), on CIFAR-100.

Its positions run from 1,024 at the first convolutions to 1 at the linear layer. Budgets are 4 to 6 mean bits, where the
paper's -1.4 bits at -21 % of the time lie if time follows MACs × bits; and 3 and 2, because the first networks with 4
were as accurate as float. Each seed has its own float network, folded, which was trained in ``mobileone``. A row that
is there is not trained again, and a training that was interrupted goes on from its last epoch. What decides the claim
comes first: the smallest budgets of the two penalties, for all seeds. Fixed bits follow, and the size penalty with
learned bits of the activations.
"""

import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
import torch

from fewbits import evidence
from fewbits.data import random_crop_flip
from fewbits.experiments.common import recorded, run_folder, seeds
from fewbits.experiments.mixed_precision.claims import PENALTIES, WITH_ACTIVATIONS
from fewbits.experiments.mixed_precision.training import METHODS, Method, measure, train_quantized
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.mixed_precision import Processor, filter_bits

# The rate of Uhlich et al. (2020), whose limit to the gradients goes with it. With Adam at 0.0005, as in the first try,
# two of three trainings of the folded network failed: its steps are often no larger than the rate.
EPOCHS, LR, START = 3, 0.01, 8
PLAN = [
    ("float", 32.0),
    *((method, budget) for budget in (4.0, 3.0, 2.0) for method in PENALTIES),
    *(("fixed", bits) for bits in (3, 4)),
    *((WITH_ACTIVATIONS, budget) for budget in (4.0, 2.0)),
    *((method, budget) for budget in (5.0, 6.0) for method in (*PENALTIES, "fixed")),
]
METHODS_HERE = METHODS | {WITH_ACTIVATIONS: Method((4.0, 2.0), "size", activations=True)}
PROCESSOR = Processor()


def run_cifar100(count: int, command: str) -> Iterator[pd.DataFrame]:
    """Train what is missing of ``count`` seeds.

    Yields:
        the table ``mixed_precision_cifar100``, whose new rows keep the ``command``: as it is, then after each row.
    """
    columns = ("method", "setting", "seed", "accuracy", "bits_per_filter", "bits_per_weight", "bits_per_mac", "cycles")
    name, data = "mixed_precision_cifar100", cifar100(torch.device("cpu"))
    yield recorded(name, columns)
    for (method, setting), seed in itertools.product(PLAN, seeds(count)):
        table = recorded(name, columns)
        if ((table.method == method) & (table.setting == setting) & (table.seed == seed)).any():
            continue
        started = time.perf_counter()
        float_model = model = float_network("mobilenet", seed)
        if method != "float":
            folder = run_folder(f"mixed-precision-{method.replace(', ', '-').replace(' ', '-')}-{setting:g}-{seed}")
            folder.mkdir(parents=True, exist_ok=True)
            train = partial(
                train_quantized,
                epochs=EPOCHS,
                lr=LR,
                start=START,
                clip=True,
                augment=random_crop_flip,
                channels_last=True,
            )
            files: dict[str, Any] = {"checkpoint": folder / "state.safetensors", "log": folder / "log.csv"}
            model = train(float_model, METHODS_HERE[method], setting, data, seed, progress=True, **files)
        row = {"method": method, "setting": setting, "seed": seed} | measure(model, data, PROCESSOR)
        row["seconds"] = round(time.perf_counter() - started, 1)
        print(row, flush=True)
        new = evidence.stamped(pd.DataFrame([row]), command, row["seconds"])
        evidence.write_rows(name, pd.concat([table, new]).round(4))
        _keep_bits(model, row)
        yield recorded(name, columns)


def _keep_bits(model: torch.nn.Module, row: dict) -> None:
    where = {key: row[key] for key in ("method", "setting", "seed")}
    rows = [where | {"layer": name, "bits": " ".join(map(str, bits))} for name, bits in filter_bits(model).items()]
    if rows:
        table = recorded("mixed_precision_cifar100_bits", list(rows[0]))
        evidence.write_rows("mixed_precision_cifar100_bits", pd.concat([table, pd.DataFrame(rows)]))
