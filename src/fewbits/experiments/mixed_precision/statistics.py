"""Rounding without training, with and without a correction of the statistics of each channel.

The table ``mixed_precision_post_training``: for each float network its accuracy, and that of the network rounded to
filter-wise grids, as it is, with the means of its channels put back to what they were in float, and with means and
variances. The correction sees 1,000 training images, and no labels.
"""

import time
from collections.abc import Iterator

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.bn_folding import correct_statistics
from fewbits.core.macs import layer_work
from fewbits.data import Dataset
from fewbits.experiments.common import recorded, seeds
from fewbits.experiments.mixed_precision.claims import SASAKI_RATIO
from fewbits.experiments.mixed_precision.training import METHODS, costs_of, prepared, quantized, train_float
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.mixed_precision import filter_bits
from fewbits.training import percent

TABLE = "mixed_precision_post_training"
COLUMNS = ("data", "seed", "method", "setting", "correction", "accuracy", "bits_per_weight")
IMAGES = 1000
SETTINGS = (("post-training", 4.0), ("sasaki", SASAKI_RATIO), ("sasaki", 0.25))


def run_post_training(name: str, count: int, command: str) -> pd.DataFrame:
    """Measure what the table lacks of ``count`` float networks of the data ``name``; the whole table."""
    data = cifar100(torch.device("cpu")) if name == "cifar100" else prepared()
    for seed in seeds(count):
        table = recorded(TABLE, COLUMNS)
        if not table[(table.data == name) & (table.seed == seed)].empty:
            continue
        started = time.perf_counter()
        model = float_network("mobilenet", seed) if name == "cifar100" else train_float(data, seed)
        new = pd.DataFrame([{"data": name, "seed": seed} | row for row in rounded_rows(model.eval(), data)])
        print(new.to_string(index=False), flush=True)
        new = evidence.stamped(new.round(4), command, time.perf_counter() - started)
        evidence.write_rows(TABLE, pd.concat([table, new]))
    return recorded(TABLE, COLUMNS)


def rounded_rows(model: nn.Module, data: Dataset) -> Iterator[dict]:
    """Rows of one float network, itself first."""
    yield {"method": "float", "setting": 32.0, "correction": "none", "accuracy": percent(model, data)}
    few = data.train_images[:IMAGES]
    works = layer_work(model, data.test_images.shape[1:])
    for method, setting in SETTINGS:
        network = quantized(model, METHODS[method], setting).eval()
        row = {"method": method, "setting": setting}
        row |= {"bits_per_weight": costs_of(filter_bits(network), works)["bits_per_weight"]}
        for correction in ("none", "means", "means and variances"):
            mended = network
            if correction != "none":
                mended = correct_statistics(network, model, few, variance=correction != "means")
            yield row | {"correction": correction, "accuracy": percent(mended, data)}
