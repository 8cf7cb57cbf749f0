"""The claims of ``mixed_precision --part latency``.

Nakata et al. (2021) write that the correlation of weight size and time is weak and that of MACs × bits strong, without
numbers. We call a Pearson correlation r weak up to 0.5 in magnitude, and strong from 0.8 on: bounds that were set
before anything was measured. The points that count are the different layers of ResNet-18 at 8 and 16 bits, one image
at a time. They were chosen after a first look at the times of eight layers, and before any correlation
was computed from times.
"""

from typing import Any

import pandas as pd

from fewbits import evidence

WEAK: dict[str, Any] = {"low": -0.5, "high": 0.5}
STRONG: dict[str, Any] = {"low": 0.8}
BOUNDS = {"weight size": ("size", WEAK), "MACs×bits": ("work", STRONG)}
STATEMENT = "correlates weakly with the size of its weights and strongly with its MACs × bits (Pearson r, ResNet-18)"
LAYERS = "different layers of ResNet-18"
NOT_GIVEN = "the bounds of weak (|r| at most 0.5) and strong (r at least 0.8) are ours: the article gives no numbers"


def make_claims(table: pd.DataFrame) -> list[dict]:
    """Claims that follow from the table ``mixed_precision_latency_correlations``, without words.

    Layers on the processor and on the CPU, whole networks with random bits on the processor; the claim on the CPU only
    where the table has measured times. Only that one is the article's: it measured layers, and no model.
    """
    table = table[(table.network == "ResNet-18") & (table.variant == "default") & (table.subset == "all")]
    layers = table[(table.points == "layers") & (table.bits == "8 and 16") & (table.batch == 1)]
    by_layer = table[(table.points == "allocations by layer") & (table.backend == "processor")]
    claims = []
    for path, measured in layers[layers.backend == "onnxruntime"].groupby("path"):
        unit = "VNNI" in path or "AMX" in path
        claims.append(
            evidence.paper_claim(
                f"mixed_precision/correlation-layers-cpu{'-accelerated' * unit}",
                f"On a CPU {'with' if unit else 'without'} a unit for 8-bit products ({path}; ONNX Runtime, 1 thread) "
                f"the time of a layer {STATEMENT}",
                ("nakata2021", "press text, Fig. 2: Tesla T4", "size weak, MACs × bits strong"),
                *_parts(measured, "both widths of a layer drawn together"),
                scale="reduced",
                independent=LAYERS,
                departs=[
                    "a CPU in ONNX Runtime in place of a Tesla T4",
                    "the CPU computes 16-bit floats as 32-bit ones",
                    "the points are taken to be layers: the article does not say what they are",
                    evidence.departure(NOT_GIVEN),
                ],
                headline=True,
            )
        )
    for slug, points, subject, independent, drawn in (
        (
            "layers-model",
            layers[layers.backend == "processor"],
            "layer",
            LAYERS,
            "both widths of a layer drawn together",
        ),
        (
            "allocations-model",
            by_layer,
            "network with random bits in each layer",
            "random allocations of 2 to 8 bits to the layers of ResNet-18",
            "allocations drawn singly",
        ),
    ):
        if len(points):
            claims.append(
                evidence.own_claim(
                    f"mixed_precision/correlation-{slug}",
                    f"On the filter-wise processor (model) the time of a {subject} {STATEMENT}",
                    *_parts(points, drawn),
                    scale="full",
                    independent=independent,
                    paper=("nakata2021", "press text, Fig. 2: Tesla T4", "size weak, MACs × bits strong"),
                )
            )
    return claims


def _parts(rows: pd.DataFrame, drawn: str) -> list[dict]:
    """Two parts, ``size`` and ``work``, with the bootstrap intervals of the table."""
    return [
        evidence.part(
            [row.pearson],
            name=BOUNDS[row.metric][0],
            type="estimate",
            runs=[f"n = {row.n}"],
            interval=[row.pearson_low, row.pearson_high],
            method=f"percentile bootstrap of {row.n} points, {drawn}",
            **BOUNDS[row.metric][1],
        )
        for row in rows.itertuples()
    ]
