"""The network of the experiment ``mobileone``, 159,236 parameters, compressed after training: no weight to spare."""

import copy
import time

import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.mobileone.cifar100 import cifar100
from fewbits.experiments.vector.training import other_sizes, size
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.training import load_model, percent
from fewbits.vector import DeepCompression, plain_state

BITS = (3, 4, 5, 6, 8)
KEEP = (1.0, 0.7)


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
