"""The trained INQ networks on shift-adders, bit by bit: accuracy, formats, overflows, and times from a model.

For MobileNet-V1 and MobileOne with INQ of the folded network, and for the MobileOne that lost least (normalization by
the mean, aligned scales, a teacher), where there is a checkpoint: the test images of CIFAR-100 (10,000 of them, or
``--images``) in float32, in float32 after INQ, and on the shift-adder in Q16.16; with fewer bits after the point, with
fewer before it; and what overflows where. A row is written when it is done, and what is there is not run again.

Written are ``data/results/fpga.json`` (claims), ``fpga_accuracy.csv``, ``fpga_formats.csv``, ``fpga_census.csv``,
``fpga_layers.csv`` and ``fpga_correlations.csv``. Times of this machine are those of ``benchmarks/bench_fpga.py``.
"""

import time
from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from fewbits import evidence
from fewbits.core import container
from fewbits.core.codes import StoredForm
from fewbits.data import Dataset
from fewbits.experiments.common import checkpoint_path, codes_path, merge_rows, recorded
from fewbits.experiments.fpga.claims import make_claims
from fewbits.experiments.mixed_precision.latency_statistics import correlations
from fewbits.experiments.mixed_precision.latency_tables import network_layers
from fewbits.experiments.mobileone.cifar100 import cifar100, predict
from fewbits.fpga.fixed_point import Q16_16, QFormat
from fewbits.fpga.latency import ShiftAdderArray
from fewbits.fpga.network import ShiftAdderNet
from fewbits.mixed_precision import Processor
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.training import load_model

# By the name in the tables: the codes, and the float network that INQ began with.
NETWORKS = {
    "mobilenet": ("inq-mobilenet-inq", "inq-mobilenet-float"),
    "mobileone": ("inq-mobileone-inq", "inq-mobileone-float"),
    "mobileone-mean": ("inq-mobileone-mean-only-aligned-distilled", "inq-mobileone-float"),
}
FRACTIONS = (16, 14, 12, 10, 9, 8, 7, 6, 5, 4)  # bits after the point, with 16 before it
INTEGERS = (16, 8, 7, 6, 5, 4, 3)  # bits before the point, with 16 after it
SATURATE_IMAGES = 2000  # this is slower, and the curve needs no more
WIDTHS = (3, 5)  # bits of a weight in the figure of times


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments fpga``."""
    parser.add_argument("--images", type=int, default=10_000, help="test images (default 10,000, all)")


def run(options, command: str) -> None:
    """Measure what is missing, then write tables and claims."""
    evidence.code_version()
    started = time.perf_counter()
    layers = layers_table()
    evidence.write_rows("fpga_layers", layers)
    evidence.write_rows("fpga_correlations", correlations_table(layers))
    data = None
    for name in NETWORKS:
        model = inq_network(name)
        if model is None:
            print(f"no checkpoint of {name} after INQ yet: run the experiment mobileone")
            continue
        if missing_formats(name, options.images) or not has_q16_16(name, options.images):
            data = data or cifar100(torch.device("cpu"))
            codes = container.load_codes(codes_path(NETWORKS[name][0]))
            measure(name, model, codes, data, options.images, command)
    tables = {kind: recorded(f"fpga_{kind}", []) for kind in ("accuracy", "formats", "census", "correlations", "speed")}
    evidence.record("fpga", make_claims(tables), command=command, wall_s=time.perf_counter() - started)


def inq_network(name: str, form: str = "inq") -> nn.Module | None:
    """The trained network ("inq", or "float" before INQ), or None if there is no checkpoint of it."""
    codes, before = NETWORKS[name]
    path = codes_path(codes) if form == "inq" else checkpoint_path(before)
    model = reparameterize(MobileNetV1().eval())  # MobileOne is the same at inference
    return load_model(model, path) if path.exists() else None


# --- CIFAR-100 --------------------------------------------------------------------------------------------------------


def measure(
    name: str, model: nn.Module, codes: Mapping[str, StoredForm], data: Dataset, count: int, command: str
) -> None:
    """Rows of one network: accuracy and counts of overflows, then formats. ``codes`` are those of ``model``."""
    images, labels = data.test_images[:count], data.test_labels[:count]
    in_float = predict(model, images)
    if not has_q16_16(name, len(images)):
        measure_q16_16(name, model, codes, images, labels, in_float, command)
    measure_formats(name, model, codes, images, labels, in_float)


def has_q16_16(name: str, count: int) -> bool:
    """Whether the rows of :func:`measure_q16_16` are there."""
    table = recorded("fpga_accuracy", ["network", "form", "images"])
    return bool(((table.network == name) & (table.form == str(Q16_16)) & (table.images == count)).any())


def measure_q16_16(
    name: str,
    model: nn.Module,
    codes: Mapping[str, StoredForm],
    images: Tensor,
    labels: Tensor,
    in_float: Tensor,
    command: str,
) -> None:
    """Accuracy of the network in float, after INQ in float, and in Q16.16; and what overflows there."""
    started = time.perf_counter()
    net = ShiftAdderNet.from_codes(model, codes)
    logits, census = net.count_overflows(net.encode(images))
    counts = pd.DataFrame([{"network": name, "layer": layer} | row for layer, row in census.items()])
    before = inq_network(name, "float")
    forms = {} if before is None else {"float": predict(before, images)}
    forms |= {"inq": in_float, str(Q16_16): torch.from_numpy(logits.argmax(1))}
    rows = [
        {"network": name, "form": form, "images": len(images)} | compare(classes, in_float, labels)
        for form, classes in forms.items()
    ]
    print(pd.DataFrame(rows).to_string(index=False), flush=True)
    wall_s = time.perf_counter() - started
    counts = evidence.stamped(counts.assign(images=len(images)), command, wall_s)
    merge_rows("fpga_census", counts, ["network", "layer"])
    merge_rows("fpga_accuracy", evidence.stamped(pd.DataFrame(rows), command, wall_s), ["network", "form"])


def compare(classes: Tensor, reference: Tensor, labels: Tensor) -> dict:
    """Accuracy in percent, and how many predictions differ from the reference's.

    Returns:
        accuracy; differing, right or wrong; gained and lost, images that only the one or only the other has right.
    """
    right, before = classes == labels, reference == labels
    return {
        "accuracy": 100 * int(right.sum()) / len(labels),
        "differing": int((classes != reference).sum()),
        "gained": int((right & ~before).sum()),
        "lost": int((before & ~right).sum()),
    }


FORMAT_KEYS = ["network", "integer_bits", "fraction_bits", "overflow"]


def missing_formats(name: str, count: int) -> list[dict]:
    """The rows of ``fpga_formats`` that are not there yet, without their results."""
    sweep = [(16, n, "wrap") for n in FRACTIONS]
    sweep += [(m, 16, overflow) for overflow in ("wrap", "saturate") for m in INTEGERS]
    table = recorded("fpga_formats", [*FORMAT_KEYS, "images"])
    rows = []
    for m, n, overflow in dict.fromkeys(sweep):
        row = {"network": name, "integer_bits": m, "fraction_bits": n, "overflow": overflow}
        row["images"] = min(count, SATURATE_IMAGES) if overflow == "saturate" else count
        if not (table[list(row)] == pd.Series(row)).all(axis=1).any():
            rows.append(row)
    return rows


def measure_formats(
    name: str, model: nn.Module, codes: Mapping[str, StoredForm], images: Tensor, labels: Tensor, in_float: Tensor
) -> None:
    """A row for each format that is missing."""
    for row in missing_formats(name, len(images)):
        started = time.perf_counter()
        form = QFormat(row["integer_bits"], row["fraction_bits"])
        net = ShiftAdderNet.from_codes(model, codes, form, row["overflow"])
        count = row["images"]
        row |= compare(net.classify(images[:count]), in_float[:count], labels[:count])
        row["seconds"] = round(time.perf_counter() - started, 1)
        print(row, flush=True)
        merge_rows("fpga_formats", pd.DataFrame([row]), FORMAT_KEYS)


# --- Times from the model ---------------------------------------------------------------------------------------------


def layers_table() -> pd.DataFrame:
    """Layers of ResNet-18 and of the paper's network, each shape once, at two widths, on two processors (models)."""
    rows = []
    for network in ("ResNet-18", "MobileNet"):
        for layer in network_layers(network):
            if layer.work.name != layer.like:
                continue
            for bits in WIDTHS:
                cycles = {
                    "filter-wise": Processor().cycles(layer.work, [bits] * layer.work.filters),
                    "shift-adder": ShiftAdderArray().cycles(layer.work, bits),
                }
                about = {"network": network, "layer": layer.work.name, "kind": layer.kind, "bits": bits}
                about |= {"weight_bits_total": layer.work.weights * bits, "macs": layer.work.macs}
                about["macs_bits"] = layer.work.macs * bits
                rows += [about | {"processor": name, "cycles": value} for name, value in cycles.items()]
    return pd.DataFrame(rows)


def correlations_table(layers: pd.DataFrame) -> pd.DataFrame:
    """Correlation of weight size, MACs × bits and MACs alone with cycles, by network and processor."""
    rows = []
    for (network, processor), frame in layers.groupby(["network", "processor"]):
        for metric in ("weight_bits_total", "macs_bits", "macs"):
            found = correlations(frame[metric].astype(float), frame.cycles.astype(float), frame.layer)
            rows.append({"network": network, "processor": processor, "metric": metric} | found)
    return pd.DataFrame(rows)
