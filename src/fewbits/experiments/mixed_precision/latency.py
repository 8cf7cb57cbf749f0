"""Which number predicts time: the size of the weights, or MACs × bits?

Fig. 2 of Nakata et al. (2021) for two networks, layer by layer and for random allocations of bits, on the processor
model of ``fewbits.mixed_precision.processor`` and on this machine's CPU with one thread. The CPU is measured first,
where the table ``mixed_precision_latency_measured`` lacks rounds: keep the machine quiet for that. Written are that
table and ``mixed_precision_latency_layers``, ``…_allocations`` and ``…_correlations``.
"""

import math
from collections.abc import Iterator

import pandas as pd

from fewbits import evidence
from fewbits.experiments.common import recorded
from fewbits.experiments.mixed_precision.latency_claims import make_claims
from fewbits.experiments.mixed_precision.latency_statistics import correlations
from fewbits.experiments.mixed_precision.latency_tables import (
    BATCHES,
    DEFAULT,
    LEAST,
    MOST,
    NETWORKS,
    VARIANTS,
    Layer,
    allocations_table,
    batched,
    layers_table,
    network_layers,
)
from fewbits.mixed_precision import Processor


def run_latency(rounds: int, allocations: int) -> list[dict]:
    """Measure what is missing, then write the tables; the claims that follow.

    Args:
        rounds: of measurement on the CPU, 0 for none.
        allocations: random allocations of bits, of each kind.
    """
    layers = {name: network_layers(name) for name in NETWORKS}
    measured = measure_cpu(layers, rounds)
    table = layers_table(layers, measured)
    evidence.write_rows("mixed_precision_latency_layers", table)
    drawn = allocations_table(layers, table, allocations)
    evidence.write_rows("mixed_precision_latency_allocations", drawn.drop(columns=list(VARIANTS)))
    found = correlations_table(layers, table, drawn)
    evidence.write_rows("mixed_precision_latency_correlations", found)
    shown = found[(found.variant == DEFAULT) & (found.subset == "all") & (found.bits == "8 and 16")]
    print(shown.drop(columns=["variant", "subset", "bits", "arithmetic"]).to_string(index=False))
    return make_claims(found)


def measure_cpu(layers: dict[str, list[Layer]], rounds: int) -> pd.DataFrame:
    """Times of each different shape on the CPU; what is recorded, where ``rounds`` is 0."""
    if rounds == 0:
        return recorded(
            "mixed_precision_latency_measured", ["network", "layer", "backend", "bits", "batch", "instructions"]
        )
    # Imported here: it needs ONNX Runtime, which the model does not.
    from fewbits.experiments.mixed_precision.latency_cpu import EMPTY, ConvShape, measure

    shapes = {("none", "empty call"): EMPTY}
    for network, its_layers in layers.items():
        for layer in its_layers:
            size = layer.stride * math.isqrt(layer.work.output_positions)
            shape = ConvShape(layer.inputs, layer.work.filters, layer.kernel, layer.stride, layer.groups, size)
            shapes.setdefault((network, layer.like), shape)
    return measure(shapes, BATCHES, rounds)


# --- Correlations -----------------------------------------------------------------------------------------------------

METRICS = {"weight_bits_total": "weight size", "macs_bits": "MACs×bits"}
REPEATS = "with repeats"  # layers of one shape count as often as they occur
SUBSETS = {"all": set(), REPEATS: set(), "without depthwise": {"depthwise"}, "without linear": {"linear"}}
SUBSETS["without both"] = {"depthwise", "linear"}


def correlations_table(layers: dict[str, list[Layer]], table: pd.DataFrame, allocations: pd.DataFrame) -> pd.DataFrame:
    """Correlation of both candidates with time for every set of points: one row a set and candidate.

    Points are the layers of a network, each shape once, at one width or at two, or its allocations; ``arithmetic`` is
    that of the layers.
    """
    rows = []
    for where, frame, column in _point_sets(layers, table, allocations):
        groups = frame.get("layer", pd.Series(frame.index))  # two widths of a layer belong together
        for metric, name in METRICS.items():
            found = correlations(frame[metric].astype(float), frame[column].astype(float), groups)
            rows.append(where | {"metric": name} | found)
    return pd.DataFrame(rows)


def _point_sets(
    layers: dict[str, list[Layer]], table: pd.DataFrame, allocations: pd.DataFrame
) -> Iterator[tuple[dict, pd.DataFrame, str]]:
    """Each set of points: what it is, the points, and the column with their time."""
    for (network, backend, path, batch), frame in table.groupby(["network", "backend", "path", "batch"]):
        column = "cycles" if backend == "processor" else "milliseconds"
        where = {"points": "layers", "network": network, "backend": backend, "path": path}
        for subset, left_out in SUBSETS.items():
            if not left_out <= set(frame["kind"]):
                continue
            different = frame["layer"] == frame["like"]
            kept = frame[~frame["kind"].isin(left_out) & (different | (subset == REPEATS))]
            for name, widths in {"8 and 16": (8, 16), "8": (8,), "16": (16,), "8 and 32": (8, 32)}.items():
                points = kept[kept["bits"].isin(widths)]
                if set(points["bits"]) == set(widths):
                    at = {"variant": DEFAULT, "subset": subset, "bits": name, "batch": batch}
                    at["arithmetic"] = ", ".join(points.sort_values("bits")["arithmetic"].unique())
                    yield where | at, points, column
        if backend == "processor":
            frame = frame[frame["layer"] == frame["like"]]
            for variant, processor in VARIANTS.items():
                if variant != DEFAULT:
                    at = {"variant": variant, "subset": "all", "bits": "8 and 16", "batch": batch}
                    yield where | at, frame.assign(cycles=_cycles(layers[network], frame, processor)), column
    for (network, backend, path, scope), frame in allocations.groupby(["network", "backend", "path", "scope"]):
        on_processor = backend == "processor"
        bits = f"{LEAST} to {MOST}" if on_processor else "8 or 16"
        where = {"points": f"allocations by {scope}", "network": network, "backend": backend, "path": path}
        for variant in VARIANTS if on_processor else (DEFAULT,):
            at = {"variant": variant, "subset": "all", "bits": bits, "batch": 1}
            yield where | at, frame, variant if on_processor else "milliseconds"


def _cycles(layers: list[Layer], frame: pd.DataFrame, processor: Processor) -> list[int]:
    works = {layer.work.name: layer.work for layer in layers}
    return [
        processor.cycles(batched(works[row.layer], row.batch), [row.bits] * works[row.layer].filters)
        for row in frame.itertuples()
    ]
