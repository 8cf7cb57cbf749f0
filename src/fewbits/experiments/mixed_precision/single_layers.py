"""What rounding a single layer of the MobileNet costs, and whether that says what rounding several layers costs.

The network of the experiment ``mobileone`` is rounded after training: each weight to the nearest point of a uniform
grid with a scale for each filter, without any correction. Written is ``data/results/mixed_precision_layers.csv``, which
the interactive figure of the chapter reads: a row an allocation, with the bits of each layer (32 is not rounded) and
the test images of CIFAR-100, of the first ``IMAGES``, that the network gets right.
"""

import copy
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantizer import quantize_weights, weight_layers
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.training import correct
from fewbits.uniform import UniformQuantizer

BITS = range(2, 9)
IMAGES = 500
RANDOM = 20  # allocations of random bits, to see how far the estimate from single layers is from what is measured
TABLE = "mixed_precision_layers"


def run_layers(command: str) -> pd.DataFrame:
    """Measure everything; the table that is written."""
    started = time.perf_counter()
    evidence.code_version()
    data = cifar100(torch.device("cpu"), IMAGES)
    images, labels = data.test_images, data.test_labels
    model = nn.Sequential(*_steps(float_network("mobilenet")))
    rows = [
        {"kind": "float", "bits": _text([32] * len(weight_layers(model))), "correct": correct(model, images, labels)}
    ]
    rows += [{"kind": "single"} | row for row in single_layers(model, images, labels)]
    for kind, bits in allocations(layer_work(model, (3, 32, 32))):
        rows.append({"kind": kind, "bits": _text(bits), "correct": correct(rounded(model, bits), images, labels)})
        print(rows[-1], flush=True)
    table = evidence.stamped(pd.DataFrame(rows).assign(images=IMAGES), command, time.perf_counter() - started)
    evidence.write_rows(TABLE, table)
    return table


def _steps(model: nn.Module) -> list[nn.Module]:
    """The network as one chain, so that what comes before a layer is computed once for all its bits."""
    features, pool, classifier = model.children()
    return [*features.children(), *pool.children(), classifier]


def _text(bits: Sequence[int]) -> str:
    return " ".join(map(str, bits))


def rounded(model: nn.Sequential, bits: Sequence[int]) -> nn.Sequential:
    """A copy with the weights of layer i rounded to ``bits[i]`` bits; layers with 32 bits stay as they are."""
    model = copy.deepcopy(model)
    for layer, count in zip(weight_layers(model).values(), bits, strict=True):
        if count < 32:
            quantize_weights(layer, partial(UniformQuantizer, count, channel_axis=0), skip=())
    return model


def single_layers(model: nn.Sequential, images: Tensor, labels: Tensor) -> Iterator[dict]:
    """Images right with one layer rounded, for each layer and each number of bits."""
    layers = list(weight_layers(model))
    for index, name in enumerate(layers):
        with torch.no_grad():
            inputs = model[: int(name)](images)
        for count in BITS:
            bits = [count if i == index else 32 for i in range(len(layers))]
            yield {"bits": _text(bits), "correct": correct(rounded(model, bits)[int(name) :], inputs, labels)}
        print(name, flush=True)


def allocations(works: Sequence[LayerWork]) -> Iterator[tuple[str, list[int]]]:
    """Whole networks: equal bits, 4 bits for the layers that hold half the weights or do half the work, random bits."""
    for count in BITS:
        yield "equal", [count] * len(works)
    for kind, shares in (("weights", [w.weights for w in works]), ("MACs", [w.macs for w in works])):
        yield kind, [4 if chosen else 8 for chosen in heaviest(shares)]
    draw = random.Random(0)
    for _ in range(RANDOM):
        yield "random", [draw.randrange(3, 9) for _ in works]


def heaviest(shares: Sequence[int]) -> list[bool]:
    """Which of the layers hold half of the sum, counted from the largest; of equal ones the first."""
    chosen, total = [False] * len(shares), 0
    for index in sorted(range(len(shares)), key=lambda i: -shares[i]):
        if 2 * total >= sum(shares):
            break
        chosen[index] = True
        total += shares[index]
    return chosen
