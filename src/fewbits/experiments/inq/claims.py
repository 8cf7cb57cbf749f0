"""Tables of the experiment ``inq``, and the claims that follow from them."""

import pandas as pd

STANDARD, BN_KEPT, LEAST_ERROR = "standard", "BN kept as a scale", "n1 of least error"  # settings in ``inq_small``
KEYS = ["network", "seed", "setting", "bits"]  # of ``inq_small``; ``stage`` in addition in ``inq_small_stages``


def points_lost(table: pd.DataFrame, setting: str, bits: int, network: str = "MobileNet") -> pd.Series:
    """Points of test accuracy that INQ costs, by seed; ``table`` has the rows of ``inq_small``."""
    by = table[table.network == network].set_index(["setting", "bits", "seed"]).accuracy.sort_index()
    return by["float", 32] - by[setting, bits]


def small_claims(table: pd.DataFrame) -> list[dict]:
    """What zhou2017 say of INQ, on ``mnist5k``; rows of ``inq_small``."""
    net = table[table.network == "MobileNet"]
    seeds = sorted(net.seed.unique().tolist())

    def claim(slug: str, statement: str, where: str, value, values, unit: str = "pt", **expect) -> dict:
        ours = {"unit": unit, "values": [round(float(v), 4) for v in values], "seeds": seeds, "scale": "notebook"}
        source = {"key": "zhou2017", "where": where, "value": value}
        return {"id": f"inq/{slug}", "statement": statement, "paper": source, "ours": ours, "expect": expect}

    def gain(setting: str, other: str, bits: int) -> pd.Series:
        return (points_lost(table, other, bits) - points_lost(table, setting, bits))[seeds]

    runs = table[table.changed.notna()].groupby("seed")
    kept = "{}-bit INQ of the weights, BN kept, costs {}"
    five, three = (points_lost(table, BN_KEPT, bits) for bits in (5, 3))
    claims = [
        claim(
            "drop-5-bit",
            kept.format(5, "nothing"),
            "Sec. 3",
            "better than float",
            five,
            max=0.0,
        ),
        claim("drop-3-bit", kept.format(3, "at most a point"), "Sec. 3", "small", three, max=1.0),
        claim(
            "retraining-pays",
            "At 5 bits, INQ step by step beats rounding everything at once",
            "Sec. 1",
            "better",
            gain(STANDARD, "one shot", 5),
            min=0.0,
        ),
        claim(
            "magnitude-beats-random",
            "At 5 bits, freezing the largest first beats a random order",
            "Sec. 3",
            "better",
            gain(STANDARD, "random", 5),
            min=0.0,
        ),
        claim(
            "frozen-stay",
            "A frozen weight never changes again: changed ones, in all runs of a seed",
            "Sec. 2.2",
            0,
            runs.changed.sum()[seeds],
            "",
            max=0,
            scale="notebook",
        ),
    ]
    least = "At 3 bits, n1 of least squared error beats the n1 of the largest weight"
    our_own = claim("least-error-pays", least, "", 0, gain(LEAST_ERROR, STANDARD, 3), min=0.0, scale="notebook")
    del our_own["paper"]
    return [*claims, our_own]
