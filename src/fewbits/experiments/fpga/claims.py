"""The claims of the experiment ``fpga``. All bounds were set before anything was measured."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fewbits.core.macs import layer_work
from fewbits.experiments.mixed_precision.latency_claims import STRONG, WEAK
from fewbits.fpga.latency import ShiftAdderArray, pipeline
from fewbits.mobileone import MobileNetV1, reparameterize

NAMES = {"mobilenet": "MobileNet-V1", "mobileone": "MobileOne"}
LAYER = 32 * 9 + 32 * 32  # shift-adders of the article's circuit
ENOUGH = 0.5  # points of accuracy that a format may cost and still be enough
FORMAT = "Sec. 2.2"


def make_claims(tables: Mapping[str, pd.DataFrame]) -> list[dict]:
    """What follows from the tables ``fpga_<name>``, those without rows left out; without verdicts."""
    claims = factor_claims() + correlation_claims(tables["correlations"])
    accuracy = tables["accuracy"]
    for name in accuracy.network.unique() if len(accuracy) else ():
        rows = {kind: table[table.network == name] for kind, table in tables.items() if "network" in table}
        claims += network_claims(name, rows)
    return claims + speed_claims(tables["speed"])


def _claim(slug: str, statement: str, where: str | None, paper: object, value: float, unit: str, reason: str, **expect):
    claim = {"id": f"fpga/{slug}", "statement": statement, "expect": expect, "reason": reason}
    claim["ours"] = {"value": value, "unit": unit, "scale": "full"}
    if where:
        claim["paper"] = {"key": "yokota2024", "where": where, "value": paper, "unit": unit}
    return claim


# --- From the model ---------------------------------------------------------------------------------------------------


def factor_claims() -> list[dict]:
    """How many times the article's layer the whole network takes, by two ways of counting."""
    works = layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    elements, cycles = pipeline(ShiftAdderArray(), works)
    weights = sum(work.weights for work in works)
    statement = "The whole network takes ten-odd times the shift-adders of the layer from 32 to 32 channels, "
    how = "The article does not say how it counts. "
    where, paper = "Sec. 3.2", "ten-odd"
    return [
        _claim(
            "whole-network-factor",
            statement + "with one array of 32 × 32 for each layer",
            where,
            paper,
            round(elements / LAYER, 2),
            "",
            f"{how}Every layer then takes at most {cycles:,} cycles an image.",
            min=10,
            max=20,
        ),
        _claim(
            "whole-network-factor-unrolled",
            statement + "with one shift-adder for each weight",
            where,
            paper,
            round(weights / LAYER, 2),
            "",
            f"{how}{weights:,} weights; the article's layer has one shift-adder for each of its {LAYER:,}.",
            min=10,
            max=20,
        ),
    ]


def correlation_claims(table: pd.DataFrame) -> list[dict]:
    """What nakata2021 says of its processor, asked of the shift-adder: layers of ResNet-18 at 3 and 5 bits."""
    rows = table[(table.network == "ResNet-18") & (table.processor == "shift-adder")].set_index("metric")
    claims = []
    for slug, metric, subject, how, expect in (
        ("size", "weight_bits_total", "The weight data size", "weakly", WEAK),
        ("work", "macs_bits", "MACs × bits", "strongly", STRONG),
    ):
        row = rows.loc[metric]
        claims.append(
            {
                "id": f"fpga/latency-correlation-{slug}",
                "statement": f"{subject} of a layer correlates {how} with its time on the shift-adder array (model, "
                "Pearson r, ResNet-18)",
                "paper": {"key": "nakata2021", "where": "Fig. 2, Tesla T4", "value": how.removesuffix("ly")},
                "ours": {"value": row.pearson, "scale": "full"},
                "expect": expect,
                "reason": f"n = {row.n} points, each layer at 3 and 5 bits; 95 % bootstrap interval "
                f"{row.pearson_low:.2f} to {row.pearson_high:.2f}. MACs without the bits: "
                f"r = {rows.loc['macs'].pearson:.2f}. The article speaks of another processor.",
            }
        )
    return claims


# --- From the test images ---------------------------------------------------------------------------------------------


def network_claims(name: str, rows: Mapping[str, pd.DataFrame]) -> list[dict]:
    """Accuracy, overflows and formats of one network."""
    forms = rows["accuracy"].set_index("form")
    fixed, census, formats = forms.loc["Q16.16"], rows["census"], rows["formats"]
    network, images = NAMES[name], f"{fixed.images:,} test images"
    outside = int(census[["products", "partial_sums"]].to_numpy().sum())
    claims = [
        _claim(
            f"accuracy-fixed-vs-float-{name}",
            f"{network} with INQ on CIFAR-100: Q16.16 and shifts change the accuracy by 0.1 points at most",
            None,
            None,
            round(fixed.accuracy - forms.loc["inq"].accuracy, 4),
            "pt",
            f"{fixed.differing} of {images} get another class than in float32.",
            min=-0.1,
            max=0.1,
        ),
        _claim(
            f"overflow-{name}",
            f"{network} with INQ on CIFAR-100: no product and no sum leaves Q16.16",
            FORMAT,
            "none",
            outside,
            "",
            f"{images}, {census.additions.sum():,} additions.",
            max=0,
        ),
        _claim(
            f"integer-bits-{name}",
            f"{network} with INQ on CIFAR-100: 16 integer bits hold every sum",
            FORMAT,
            16,
            int(census.integer_bits.max()),
            "bits",
            f"{images}; the m of the shortest Qm.16 that holds every sum.",
            max=16,
        ),
    ]
    if len(formats):
        claims.append(
            _claim(
                f"fraction-bits-{name}",
                f"{network} with INQ on CIFAR-100: 16 bits after the point are enough",
                FORMAT,
                16,
                fewest_fraction_bits(formats),
                "bits",
                f"{images}; the fewest that cost at most {ENOUGH} points, with 16 integer bits.",
                max=16,
            )
        )
    return claims


def fewest_fraction_bits(formats: pd.DataFrame) -> int:
    """Fewest bits after the point that cost at most `ENOUGH` points, and so does every longer format."""
    rows = formats[(formats.integer_bits == 16) & (formats.overflow == "wrap")].sort_values("fraction_bits")
    accuracy = rows.accuracy.to_numpy()
    too_few = np.flatnonzero(accuracy < accuracy[-1] - ENOUGH)
    return int(rows.fraction_bits.iloc[too_few[-1] + 1 if len(too_few) else 0])


# --- From the benchmark -----------------------------------------------------------------------------------------------


def speed_claims(speed: pd.DataFrame) -> list[dict]:
    """Images a second of the simulator, where ``fpga_speed`` has been measured."""
    if not len(speed):
        return []
    rows = speed[speed.form == "shift-adder"].set_index("threads")
    most = rows.loc[rows.index.max()]
    claims = [
        _claim(
            "throughput",
            "The bit-accurate network computes at least 1,000 images (32 × 32) a second on two cores",
            None,
            None,
            float(most.images_per_s),
            "images/s",
            f"{rows.index.max()} threads; {most.images_per_s / most.limit:.0%} of two vector shifts a cycle.",
            min=1000,
        )
    ]
    for threads, row in rows.iterrows():
        claims.append(
            _claim(
                f"throughput-vs-float32-{threads}",
                f"The bit-accurate network is no slower than float32 in PyTorch (threads: {threads}, ratio of speeds)",
                None,
                None,
                round(1 / row.ratio, 2),
                "×",
                f"Median of 9 rounds; range {1 / row.high:.2f} to {1 / row.low:.2f}. PyTorch with channels last.",
                min=1.0,
            )
        )
    return claims
