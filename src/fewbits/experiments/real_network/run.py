"""EfficientNet-Lite0 on 1,000 photographs: every method that needs no training, integers, sizes, times.

The photographs are read from ``$FEWBITS_DATA/imagenet1000`` (:mod:`fewbits.data.photographs` says how to build it).
Every fifth is held out: ranges and moments come from there, and nothing is chosen by accuracy. The others are four
groups of 200, measured one after the other. Each row is stored as soon as it is there, and a row that is stored is not
measured again, so that the run may be stopped at any time. Parts, with minutes of one core that does nothing else:

* ``accuracy`` (4 a group, and 3 once for GPTQ): ``real_network_accuracy.csv``, one row a method and group, with what
  became of each photograph;
* ``sensitivity`` (5): ``real_network_sensitivity.csv``, one layer alone at 4 bits;
* ``integers`` (1): folding, integers, ONNX Runtime and times in it, in ``real_network_measures.csv``;
* ``files`` (1): bytes of shared values with Huffman codes, in the same table;
* ``claims``: nothing is measured, the claims are recorded from the tables.
"""

import copy
import os
import statistics
import time

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits import evidence
from fewbits.bn_folding import channel_ranges, fold_model
from fewbits.core import container
from fewbits.core.quantizer import plain_state, weight_layers
from fewbits.core.size import size_report
from fewbits.data import Photographs, load_photographs, to_input
from fewbits.experiments.common import hex_of, merge_rows, recorded
from fewbits.experiments.real_network.claims import make_claims
from fewbits.experiments.real_network.methods import METHODS, RANGE_IMAGES, built, uniform
from fewbits.integer import IntegerNetwork, decoded, prepare, to_integers
from fewbits.integer.onnx_export import run as run_onnx
from fewbits.integer.onnx_export import session, to_onnx
from fewbits.mixed_precision import layer_sensitivity
from fewbits.nets import efficientnet_lite0
from fewbits.nets.efficientnet_lite import weights_file

ACCURACY, SENSITIVITY, MEASURES = (f"real_network_{name}" for name in ("accuracy", "sensitivity", "measures"))
PARTS = ("accuracy", "sensitivity", "integers", "files", "claims")
GROUPS = (1, 2, 3, 4)  # remainders of the class by 5; 0 is held out
BATCH = 4
EXACT_IMAGES, SENSITIVITY_IMAGES, ROUNDS = 12, 200, 7


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments real_network``."""
    parser.add_argument("--part", choices=PARTS, default="accuracy", help="what to measure (default: accuracy)")
    parser.add_argument(
        "--groups", type=int, nargs="+", choices=GROUPS, default=GROUPS, help="of 200 photographs each (accuracy)"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="name", help="some methods (default: all)")


def held_out(photographs: Photographs) -> Tensor:
    """The inputs from which ranges and moments come: 200 photographs, one for every fifth class."""
    return to_input(photographs.part(photographs.labels % 5 == 0).images)


def group(photographs: Photographs, number: int) -> Photographs:
    """200 photographs that are measured."""
    return photographs.part(photographs.labels % 5 == number)


@torch.inference_mode()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Of pixels (N, 3, 224, 224) uint8; a quantized weight is computed once."""
    with parametrize.cached():
        parts = [model(to_input(part).contiguous(memory_format=torch.channels_last)) for part in images.split(BATCH)]
    return torch.cat(parts)


def run(options, command: str) -> None:
    """Measure a part, then record the claims."""
    torch.set_num_threads(1)
    evidence.code_version()
    started = time.perf_counter()
    if options.part != "claims":
        photographs = load_photographs(os.environ.get("FEWBITS_DATA", "."))
        if options.part == "accuracy":
            for number in options.groups:
                accuracies(photographs, number, options.methods or list(METHODS), command)
        else:
            {"sensitivity": sensitivity, "integers": integers, "files": files}[options.part](photographs, command)
    claims = make_claims(recorded(ACCURACY, ACCURACY_COLUMNS), recorded(MEASURES, MEASURES_COLUMNS))
    evidence.record("real_network", claims, command=command, wall_s=time.perf_counter() - started)


ACCURACY_COLUMNS = ("method", "group", "of", "correct", "top5", "weight_bits", "bytes", "right")
MEASURES_COLUMNS = ("measure", "run", "value", "device")


def accuracies(photographs: Photographs, number: int, names: list[str], command: str) -> None:
    """A row for each method that the table lacks."""
    images, chosen, network = held_out(photographs), group(photographs, number), efficientnet_lite0()
    done = recorded(ACCURACY, ACCURACY_COLUMNS)
    for name in names:
        if ((done.method == name) & (done.group == number)).any():
            continue
        started = time.perf_counter()
        model = built(name, network, images)
        report = size_report(model)
        weights = [row for row in report.rows if row.name.endswith(".weight") and "bn" not in row.name]
        found = logits(model, chosen.images)
        right = (found.argmax(1) == chosen.labels).numpy()
        row = {"method": name, "group": number, "of": len(right), "correct": int(right.sum())}
        row |= {"top5": int((found.topk(5).indices == chosen.labels[:, None]).any(1).sum())}
        row |= {"weight_bits": round(sum(w.bits for w in weights) / sum(w.count for w in weights), 4)}
        row |= {"bytes": report.file_bytes, "right": hex_of(right)}
        merge_rows(
            ACCURACY, evidence.stamped(pd.DataFrame([row]), command, time.perf_counter() - started), ["method", "group"]
        )
        print(name, number, f"{100 * right.mean():.1f} %", f"{time.perf_counter() - started:.0f} s", flush=True)


def sensitivity(photographs: Photographs, command: str) -> None:
    """The loss on photographs held out if one layer alone has 4 bits, per channel, and what the layer is."""
    started = time.perf_counter()
    chosen = photographs.part(photographs.labels % (1000 // SENSITIVITY_IMAGES) == 0)
    folded = fold_model(efficientnet_lite0())

    def loss(model: nn.Module) -> float:
        return float(F.cross_entropy(logits(model, chosen.images), chosen.labels))

    before = loss(folded)
    rows = []
    for name, value in layer_sensitivity(folded, uniform(4, "per channel"), loss).items():
        layer = weight_layers(folded)[name]
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
        kind = "depthwise" if depthwise else "linear" if isinstance(layer, nn.Linear) else "dense"
        rows.append({"layer": name, "kind": kind, "weights": layer.weight.numel(), "loss": value, "float_loss": before})
    merge_rows(SENSITIVITY, evidence.stamped(pd.DataFrame(rows), command, time.perf_counter() - started), ["layer"])


def keep(measures: dict[str, list[float] | float], command: str, wall_s: float, device: str = "cpu") -> None:
    """Put numbers, a list if there are several rounds, into the table of measures."""
    rows = [
        {"measure": name, "run": f"round {index}" if isinstance(values, list) else "all", "value": value}
        for name, values in measures.items()
        for index, value in enumerate(values if isinstance(values, list) else [values])
    ]
    merge_rows(MEASURES, evidence.stamped(pd.DataFrame(rows), command, wall_s, device), ["measure", "run"])


@torch.no_grad()
def integers(photographs: Photographs, command: str) -> None:
    """Folding in float64; integers against their simulation and against ONNX Runtime; times in it."""
    started = time.perf_counter()
    network = efficientnet_lite0()
    folded = fold_model(network)
    images = to_input(group(photographs, 1).images[:EXACT_IMAGES])
    wide = copy.deepcopy(network).double()
    few = images[:8].double()
    expected, found = wide(few), fold_model(wide)(few)
    spreads = []
    for layer in weight_layers(folded).values():
        ranges = channel_ranges(layer.weight)
        spreads.append(float(ranges.max() / ranges[ranges > 0].min()))
    measures: dict[str, list[float] | float] = {
        "folding-float64": 1e12 * float((expected - found).abs().max() / expected.abs().max()),
        "folding-predictions": int((network(images).argmax(1) != folded(images).argmax(1)).sum()),
        "channel-ranges": round(max(spreads), 1),
    }
    prepared = prepare(folded, held_out(photographs)[:RANGE_IMAGES])
    wide_prepared = copy.deepcopy(prepared).double()
    exact = to_integers(wide_prepared, few[:1], "even")
    codes = exact.grids["input"].encode(images.double())
    simulation, ours = decoded(wide_prepared, exact), []
    differences = 0
    for part in codes.split(BATCH):
        ours.append(exact(part))
        differences += int((exact.output_grid.encode(simulation(exact.grids["input"].decode(part))) != ours[-1]).sum())
    measures |= {"integer-differences": differences, "integer-codes": sum(each.numel() for each in ours)}
    output = torch.cat(ours)
    for form in ("qoperator", "qdq"):
        off = (run_onnx(session(to_onnx(exact, form)), codes, BATCH).int() - output.int()).abs()
        end = "" if form == "qoperator" else "-qdq"
        measures[f"onnx-differ{end}"] = 100 * float((off > 0).float().mean())
        measures[f"onnx-largest{end}"] = int(off.max())
    theirs = run_onnx(session(to_onnx(exact, "qoperator")), codes, BATCH)
    measures["onnx-predictions"] = int((theirs.argmax(1) != output.argmax(1)).sum())
    file = weights_file().stat().st_size
    measures |= {"float-bytes": file, "int8-bytes": exact.stored_bits() // 8}
    measures["int8-ratio"] = round(file / (exact.stored_bits() / 8), 4)
    keep(measures, command, time.perf_counter() - started)
    print(measures, flush=True)
    times = speed(exact, images[:1])
    keep(times, command, time.perf_counter() - started)
    print(times)


def files(photographs: Photographs, command: str) -> None:
    """Bytes of the network with 64 shared values a layer, their indices Huffman coded."""
    started = time.perf_counter()
    name = "k-means, 6 bits"
    measures = huffman_measures(built(name, efficientnet_lite0(), held_out(photographs)[:1]), name)
    keep(measures, command, time.perf_counter() - started)
    print(measures)


def huffman_measures(model: nn.Module, name: str) -> dict[str, list[float] | float]:
    """Bytes of a file with Huffman codes, and how many times smaller than the package's file it is."""
    # A file Huffman codes tensors of few values only; codes, which stored_state gives, keep their full width.
    size = len(container.to_bytes(plain_state(model), "huffman"))
    return {f"huffman-bytes, {name}": size, "huffman-ratio": round(weights_file().stat().st_size / size, 4)}


def speed(network: IntegerNetwork, image: Tensor) -> dict[str, list[float] | float]:
    """CPU time of one photograph in ONNX Runtime: float, integer operators and QDQ take turns."""
    codes = network.grids["input"].encode(image)
    contestants = {"float": (session(to_onnx(network, "float")), image.numpy())}
    contestants["int8"] = (session(to_onnx(network, "qoperator")), codes.numpy())
    contestants["qdq"] = (session(to_onnx(network, "qdq")), codes.numpy())
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(9):
            for name, (ready, value) in contestants.items():
                begin = time.thread_time()
                ready.run(None, {"input": value})
                times[name].append(time.thread_time() - begin)
        rounds.append({name: statistics.median(each) for name, each in times.items()})
    measures: dict[str, list[float] | float] = {
        "int8-speedup": [round(each["float"] / each["int8"], 4) for each in rounds],
        "qdq-speedup": [round(each["float"] / each["qdq"], 4) for each in rounds],
    }
    for name in contestants:
        measures[f"ms-{name}"] = round(1e3 * float(np.median([each[name] for each in rounds])), 3)
    return measures
