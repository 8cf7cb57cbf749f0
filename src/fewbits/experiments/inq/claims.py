"""Tables of the experiment ``inq``, and the claims that follow from them."""

from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import own_claim, paper_claim, part

# Settings in ``inq_small``.
STANDARD, BN_KEPT, LEAST_ERROR = "standard", "BN kept as a scale", "n1 of least error"
PAPER_STAGES = "BN kept, the paper's stages"
KEYS = ["network", "seed", "setting", "bits"]  # of ``inq_small``; ``stage`` in addition in ``inq_small_stages``
INDEPENDENT = "float networks, trained from different seeds, each with one run of INQ"
DEPARTS: list[str | dict] = [
    "a depthwise separable network of 4,378 parameters on mnist5k in place of ImageNet networks",
    "a float network of 20 epochs, and 12 epochs of INQ in all",
]
FOLDED = "BN is folded before INQ, and biases are quantized as well; the authors' code leaves BN and biases in float"


def points_lost(table: pd.DataFrame, setting: str, bits: int, network: str = "MobileNet") -> pd.Series:
    """Points of test accuracy that INQ costs, by seed; ``table`` has the rows of ``inq_small``."""
    by = table[table.network == network].set_index(["setting", "bits", "seed"]).accuracy.sort_index()
    return by["float", 32] - by[setting, bits]


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``inq_small`` that claims and figures count.

    Seed 0 is the network that the chapters take apart and that settings were tried on.
    """
    return table[table.seed > 0]


def by_seed(values: pd.Series, rows: pd.DataFrame, unit: str = "pt", **band: Any) -> evidence.Part:
    """A part with one value a float network, from ``values`` by seed; the last row of a seed says which run it is."""
    values = values.dropna().sort_index()
    found = [evidence.origins(rows[rows.seed == seed])[-1] for seed in values.index]
    more: dict[str, Any] = {"origins": found} if any(found) else {}
    return part([round(float(v), 4) for v in values], unit=unit, runs=values.index.tolist(), **band, **more)


def small_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """What zhou2017 say of INQ, on ``mnist5k``; rows of ``inq_small``."""
    table = counted(table)

    def gain(setting: str, other: str, bits: int) -> pd.Series:
        return points_lost(table, other, bits) - points_lost(table, setting, bits)

    changed = table[table.changed.notna()].groupby("seed").changed.sum()
    kept = "{}-bit INQ of the weights, BN kept, costs {}"
    return [
        paper_claim(
            "inq/drop-5-bit",
            kept.format(5, "nothing"),
            ("zhou2017", "Sec. 3", "better than float"),
            by_seed(points_lost(table, BN_KEPT, 5), table, high=0.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=DEPARTS,
            headline=True,
        ),
        paper_claim(
            "inq/drop-3-bit",
            kept.format(3, "at most a point"),
            ("zhou2017", "Sec. 3", "small"),
            by_seed(points_lost(table, PAPER_STAGES, 3), table, high=1.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=DEPARTS,
        ),
        paper_claim(
            "inq/retraining-pays",
            "At 5 bits, INQ step by step is more accurate than rounding everything at once",
            ("zhou2017", "Sec. 1", "better"),
            by_seed(gain(STANDARD, "one shot", 5), table, low=0.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[*DEPARTS, FOLDED],
        ),
        paper_claim(
            "inq/magnitude-beats-random",
            "At 5 bits, freezing the largest first is more accurate than a random order",
            ("zhou2017", "Sec. 3", "better"),
            by_seed(gain(STANDARD, "random", 5), table, low=0.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[*DEPARTS, FOLDED],
        ),
        paper_claim(
            "inq/frozen-stay",
            "A frozen weight never changes again: changed ones, in all runs of a seed",
            ("zhou2017", "Sec. 2.2", 0),
            by_seed(changed, table, unit="", type="identity", high=0),
            scale="notebook",
        ),
        own_claim(
            "inq/least-error-pays",
            "At 3 bits, folded, n1 of least squared error is more accurate than the n1 of the largest weight",
            by_seed(gain(LEAST_ERROR, STANDARD, 3), table, low=0.0),
            scale="notebook",
            independent=INDEPENDENT,
        ),
    ]


RESNET_KEYS = ["seed", "bits"]  # of ``inq_resnet``; ``stage`` in addition in ``inq_resnet_stages``
# What zhou2017 say of ResNet-18 against floating point, by bits.
RESNET_PAPER: dict[int, tuple] = {
    5: ("zhou2017", "Table 1: 31.73 to 31.02 % top-1 error", 0.71, "pt"),
    4: ("zhou2017", "Abstract", "better or very similar"),
    3: ("zhou2017", "Abstract", "better or very similar"),
}


def resnet_claims(table: pd.DataFrame) -> list[evidence.Claim]:
    """What INQ with zhou2017's schedules leaves of ResNet-18 on CIFAR-100; rows of ``inq_resnet``."""
    claims = []
    accuracy = table.pivot(index="seed", columns="bits", values="accuracy")
    for bits, source in RESNET_PAPER.items():
        if bits not in accuracy or 32 not in accuracy:
            continue
        rows = table[table.bits == bits]
        measured = by_seed(accuracy[bits] - accuracy[32], rows, low=0.0)
        claims.append(
            paper_claim(
                f"inq/resnet-{bits}-bit",
                f"ResNet-18 with {bits}-bit INQ of its weights is no less accurate than in floating point",
                source,
                measured,
                scale="reduced",
                independent=INDEPENDENT,
                departs=["CIFAR-100 in place of ImageNet, with a stem for small images"],
            )
        )
    return claims
