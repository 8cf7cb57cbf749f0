"""The claims of ``mixed_precision --part latency``.

Nakata et al. (2021) write that the correlation of weight size and time is weak and that of MACs × bits strong, without
numbers. We call a Pearson correlation r weak up to 0.5 in magnitude, and strong from 0.8 on: bounds that were set
before anything was measured. The points that count are the different layers of ResNet-18 at 8 and 16 bits, one image
at a time. They were chosen after a first look at the times of eight layers, and before any correlation
was computed from times.
"""

import pandas as pd

WEAK, STRONG = {"min": -0.5, "max": 0.5}, {"min": 0.8}
PLACES = {
    "processor": ("model", "the filter-wise processor (model)"),
    "onnxruntime": ("cpu", "a CPU (ONNX Runtime, 1 thread)"),
}
CANDIDATES = {"weight size": ("size", "weakly", "weak", WEAK), "MACs×bits": ("work", "strongly", "strong", STRONG)}


def make_claims(table: pd.DataFrame) -> list[dict]:
    """Claims that follow from the table ``mixed_precision_latency_correlations``, without verdicts.

    Layers on the processor and on the CPU, whole networks with random bits on the processor; CPU claims only where the
    table has measured times.
    """
    table = table[(table.network == "ResNet-18") & (table.variant == "default") & (table.subset == "all")]
    layers = table[(table.points == "layers") & (table.bits == "8 and 16") & (table.batch == 1)]
    by_layer = table[table.points == "allocations by layer"]
    claims = []
    for row in layers[layers.backend.isin(list(PLACES))].itertuples():
        slug, place = PLACES[row.backend]
        statement = "{} of a layer correlates {} with its time on " + place
        source = {"key": "nakata2021", "where": "Fig. 2, Tesla T4"}
        claims.append(
            _claim(
                row,
                f"layers-{slug}",
                statement,
                f"points, {row.n // 2} layers at two widths ({row.arithmetic})",
                source,
            )
        )
    for row in by_layer[by_layer.backend == "processor"].itertuples():
        statement = "{} of the network, with random bits in each layer, correlates {} with its time on the processor"
        claims.append(_claim(row, "allocations-model", statement, "random allocations of 2 to 8 bits", None))
    return claims


def _claim(row, name: str, statement: str, points: str, source: dict | None) -> dict:
    slug, how, word, expect = CANDIDATES[row.metric]
    subject = "The weight data size" if slug == "size" else "The sum of MACs × bits"
    claim = {
        "id": f"mixed_precision/correlation-{name}-{slug}",
        "statement": f"{statement.format(subject, how)} (Pearson r, ResNet-18)",
        "ours": {"value": row.pearson, "scale": "full"},
        "expect": expect,
        "reason": f"n = {row.n} {points}; 95 % bootstrap interval {row.pearson_low:.2f} to {row.pearson_high:.2f}, "
        f"Spearman {row.spearman:.2f} ({row.spearman_low:.2f} to {row.spearman_high:.2f}). "
        f"Weak: |r| at most {WEAK['max']}, strong: r at least {STRONG['min']}; the article gives no numbers.",
    }
    return claim if source is None else claim | {"paper": source | {"value": word}}
