"""Networks, their layers, and the tables of ``mixed_precision --part latency``."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from fewbits.core.macs import LayerWork, layer_work
from fewbits.mixed_precision import Processor, network_cycles
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import ResNet18

WIDTHS, BATCHES = (8, 16), (1, 16)
NETWORKS = {
    "ResNet-18": (ResNet18, (3, 224, 224)),
    "MobileNet": (lambda: reparameterize(MobileNetV1().eval()), (3, 32, 32)),
}
DEFAULT = "default"
MODEL = "model"  # the path of what is not measured
VARIANTS = {
    DEFAULT: Processor(),
    "no overheads": Processor(lanes=1, columns=1, load_bits=None, store_bits=None, fill=0, setup=0),
    "free memory": Processor(load_bits=None, store_bits=None),
    "no fill, no set-up": Processor(fill=0, setup=0),
    "no overlap": Processor(overlap=False),
    "unsorted filters": Processor(sort_filters=False),
    "digits of 4 bits": Processor(digit_bits=4),
    "memory of 8 bits a cycle": Processor(load_bits=8, store_bits=8),
    "memory of 1 bit a cycle": Processor(load_bits=1, store_bits=1),
    "128 lanes, 8 columns": Processor(lanes=128, columns=8),
    "8 lanes, 128 columns": Processor(lanes=8, columns=128),
    "256 lanes, 256 columns": Processor(lanes=256, columns=256),
}


# --- Layers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """A layer of a network: its work, its geometry, and the name of the first layer of the same shape, ``like``."""

    work: LayerWork
    like: str
    kind: str  # "first", "3×3", "1×1", "depthwise" or "linear"
    inputs: int
    kernel: int
    stride: int
    groups: int


def network_layers(network: str) -> list[Layer]:
    """The layers of one of `NETWORKS`, in the order of the forward pass."""
    build, input_shape = NETWORKS[network]
    model = build()
    first: dict[tuple, str] = {}
    layers = []
    for work in layer_work(model, input_shape):
        module = model.get_submodule(work.name)
        if isinstance(module, nn.Linear):
            inputs, kernel, stride, groups, kind = module.in_features, 1, 1, 1, "linear"
        else:
            assert isinstance(module, nn.Conv2d)
            inputs, groups = module.in_channels, module.groups
            kernel, stride = module.kernel_size[0], module.stride[0]
            kind = "depthwise" if groups > 1 else "first" if inputs == 3 else f"{kernel}×{kernel}"
        shape = (work.filters, work.output_positions, inputs, kernel, stride, groups)
        layers.append(Layer(work, first.setdefault(shape, work.name), kind, inputs, kernel, stride, groups))
    return layers


def batched(work: LayerWork, batch: int) -> LayerWork:
    """The same layer for ``batch`` inputs at once: its weights are used at so many more positions."""
    return dataclasses.replace(
        work, output_positions=batch * work.output_positions, macs_per_filter=batch * work.macs_per_filter
    )


def layers_table(layers: dict[str, list[Layer]], measured: pd.DataFrame) -> pd.DataFrame:
    """One row for each network, layer, backend, path, width and batch size.

    ``weight_bits_total`` and ``macs_bits`` are the two candidates, in bits and MAC · bit. The processor model
    (``backend`` "processor") has ``cycles`` and what bounds the layer, the CPU ``milliseconds``. Layers of one shape
    (``like``) were measured once. The ``path`` is the instructions of the CPU.
    """
    rows = []
    for network, its_layers in layers.items():
        times = measured[measured.network == network].to_dict("records")
        for layer in its_layers:
            work = layer.work
            about: dict[str, Any] = {"network": network, "layer": work.name, "like": layer.like, "kind": layer.kind}
            about |= {"filters": work.filters, "weights_per_filter": work.weights_per_filter}
            about["output_positions"] = work.output_positions

            def row(backend, path, arithmetic, bits, batch, about=about, work=work):
                where = {"backend": backend, "path": path, "arithmetic": arithmetic, "bits": bits, "batch": batch}
                sizes = {"weight_bits_total": work.weights * bits, "macs_bits": work.macs * batch * bits}
                return about | where | sizes

            for bits in WIDTHS:
                for batch in BATCHES:
                    profile = VARIANTS[DEFAULT].profile(batched(work, batch), [bits] * work.filters)
                    where = row("processor", MODEL, "one bit a cycle", bits, batch)
                    rows.append(where | {"cycles": profile.total, "bound": profile.bound})
            for time_ in times:
                if time_["layer"] == layer.like:
                    where = row(*(time_[key] for key in ("backend", "instructions", "arithmetic", "bits", "batch")))
                    rows.append(where | {"milliseconds": time_["milliseconds"]})
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*dict.fromkeys([*table.columns, "milliseconds"])]).astype({"cycles": "Int64"})


# --- Random allocations -----------------------------------------------------------------------------------------------

LEAST, MOST = 2, 8  # bits of a random allocation on the processor


def random_bits(layers: list[Layer], scope: str, rng: np.random.Generator) -> dict[str, list[int]]:
    """Bits of every filter of every layer.

    Args:
        scope: "layer" gives all filters of a layer one width between 2 and 8, each equally likely; "filter" draws two
            such widths for a layer, and its filters lie between them, each width equally likely.
    """
    bits = {}
    for layer in layers:
        low, high = (
            sorted(rng.integers(LEAST, MOST + 1, 2)) if scope == "filter" else [rng.integers(LEAST, MOST + 1)] * 2
        )
        bits[layer.work.name] = rng.integers(low, high + 1, layer.work.filters).tolist()
    return bits


def allocations_table(layers: dict[str, list[Layer]], table: pd.DataFrame, count: int) -> pd.DataFrame:
    """One row for each random allocation of bits to a whole network.

    On the processor (``cycles``, and a column for each of `VARIANTS`) bits go to layers or to filters, 2 to 8. On the
    CPU each layer gets 8 or 16 bits, and ``milliseconds`` is the *sum of its layers' times*, for a batch of one.
    """
    rows = []
    for network, its_layers in layers.items():
        works = [layer.work for layer in its_layers]
        for seed, scope in enumerate(("layer", "filter")):
            rng = np.random.default_rng(seed)
            for index in range(count):
                bits = random_bits(its_layers, scope, rng)
                cycles = {name: network_cycles(variant, works, bits) for name, variant in VARIANTS.items()}
                where: dict[str, Any] = {"network": network, "backend": "processor", "path": MODEL}
                where |= {"scope": scope, "allocation": index}
                rows.append(where | _sizes(works, bits) | {"cycles": cycles[DEFAULT]} | cycles)
        rng = np.random.default_rng(2)
        measured = table[(table.network == network) & (table.batch == 1) & (table.backend != "processor")]
        for (backend, path), its_rows in measured.groupby(["backend", "path"]):
            times = its_rows.set_index(["layer", "bits"])
            for index in range(count):
                width = {work.name: int(rng.choice(WIDTHS)) for work in works}
                bits = {work.name: [width[work.name]] * work.filters for work in works}
                total = sum(times.milliseconds[name, its_width] for name, its_width in width.items())
                where = {"network": network, "backend": backend, "path": path, "scope": "layer", "allocation": index}
                rows.append(where | _sizes(works, bits) | {"milliseconds": round(float(total), 5)})
    frame = pd.DataFrame(rows)
    return frame.astype({"cycles": "Int64"} | {name: "Int64" for name in VARIANTS})


def _sizes(works: list[LayerWork], bits: dict[str, list[int]]) -> dict[str, float]:
    size = sum(work.weights_per_filter * sum(bits[work.name]) for work in works)
    weights = sum(work.weights for work in works)
    macs_bits = sum(work.macs_per_filter * sum(bits[work.name]) for work in works)
    return {"mean_bits": round(size / weights, 4), "weight_bits_total": size, "macs_bits": macs_bits}
