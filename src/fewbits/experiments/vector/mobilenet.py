"""The network of the experiment ``mobileone``, 159,236 parameters, compressed after training: no weight to spare."""

import copy
import time
from typing import Any

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.experiments.common import checkpoint_path, recorded, seeds
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.experiments.vector.claims import PAPER
from fewbits.experiments.vector.training import other_sizes, size
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.training import load_model, percent
from fewbits.vector import INITS, DeepCompression, plain_state

BITS = (3, 4, 5, 6, 8)
KEEP = (1.0, 0.7)
START_BITS = (2, 3, 4, 5, 6, 7, 8)  # as in han2015, Fig. 8


def compress_mobilenet() -> None:
    """Share, without any training, with codebooks of 3 to 8 bits; all weights, or the largest 70 % of each layer.

    Writes ``vector_mobilenet.csv``; does nothing but say so if there is no checkpoint.
    """
    path = checkpoint_path("inq-mobilenet-float")
    if not path.exists():
        print(f"no {path.name}: run the experiment mobileone first")
        return
    data = cifar100(torch.device("cpu"))
    model = load_model(reparameterize(MobileNetV1().eval()), path)
    rows = [{"keep": 1.0, "bits": 32, "accuracy": percent(model, data), "bytes": size(model, "plain")}]
    for keep in KEEP:
        for bits in BITS:
            rows.append({"keep": keep, "bits": bits} | shared(model, data, keep, 2**bits))
            print(rows[-1], flush=True)
    evidence.write_rows("vector_mobilenet", pd.DataFrame(rows))


def shared(model: nn.Module, data, keep: float, k: int) -> dict:
    """Accuracy and bytes after sharing ``k`` values in each layer."""
    started = time.perf_counter()
    compression = DeepCompression(copy.deepcopy(model))
    compression.prune(keep)
    compression.share(k, "optimal")
    small = compression.model
    row = {"accuracy": percent(small, data), "bytes": size(small, "huffman")}
    row |= other_sizes(plain_state(small))
    return row | {"seconds": round(time.perf_counter() - started, 1)}


def compare_starts(count: int, command: str) -> None:
    """Accuracy of ``count`` float networks after sharing with codebooks from each start, without any training.

    Adds rows of the data ``cifar100`` and the network ``mobilenet`` to ``vector_inits``; what is there is kept.
    """
    data = cifar100(torch.device("cpu"))
    for seed in seeds(count):
        model = float_network("mobilenet", seed)
        for bits in START_BITS:
            table = recorded("vector_inits", ["data", "network", "seed", "init", "bits"])
            known = table[(table.data == "cifar100") & (table.network == "mobilenet") & (table.seed == seed)]
            rows: list[dict[str, Any]] = []
            for init in sorted(set(INITS) - set(known[known.bits == bits].init)):
                started = time.perf_counter()
                compression = DeepCompression(copy.deepcopy(model))
                compression.share(2**bits, init, seed)
                row: dict[str, Any] = {
                    "data": "cifar100",
                    "network": "mobilenet",
                    "seed": seed,
                    "method": "k-means",
                    "init": init,
                }
                row |= {"settings": PAPER, "bits": bits, "before": percent(compression.model, data)}
                rows.append(row | {"seconds": round(time.perf_counter() - started, 1)})
                print(rows[-1], flush=True)
            if rows:
                new = evidence.stamped(pd.DataFrame(rows), command, sum(row["seconds"] for row in rows))
                evidence.write_rows("vector_inits", pd.concat([table, new]))
