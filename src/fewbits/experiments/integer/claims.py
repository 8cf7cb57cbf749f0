"""The claims of chapter ``integer``, from its recorded tables."""

import pandas as pd

from fewbits.experiments.common import recorded

GHOLAMI = {"key": "gholami2021", "where": "Sec. IV-A"}
JACOB = {"key": "jacob2018", "where": "Sec. 2.2"}


def make_claims(part: str) -> list[dict]:
    """Claims without verdicts, of those tables of a part that are there."""
    claims = []
    for table, function in PARTS[part].items():
        frame = recorded(table, [])
        if len(frame):
            claims += function(frame)
    return claims


def exactness_claims(frame: pd.DataFrame) -> list[dict]:
    return [
        {
            "id": "integer/folding-exact",
            "statement": "Folding BN moves no float64 logit of the small ResNets by more than 10⁻¹² of the largest",
            "paper": {"key": "jacob2018", "where": "Sec. 3.2", "value": "exact"},
            "ours": {
                "unit": "× 10⁻¹⁵",
                "values": (1e15 * frame.float64).round(2).tolist(),
                "seeds": frame.seed.tolist(),
                "scale": "notebook",
            },
            "expect": {"max": 1000.0, "scale": "notebook"},
        },
    ]


def accuracy_claims(frame: pd.DataFrame) -> list[dict]:
    small = frame.query("network == 'residual' and weight_bits == 8").sort_values("seed")
    eight = frame.query("weight_bits == 8").groupby("network").first()
    seeds = small.seed.tolist()

    def per_seed(values: pd.Series) -> dict:
        return {"unit": "pt", "values": values.round(4).tolist(), "seeds": seeds, "scale": "notebook"}

    claims = [
        {
            "id": "integer/accuracy-gap",
            "statement": "Simulated minus integer-only accuracy lies within 0.2 points (small ResNet, 8 bits)",
            "paper": GHOLAMI | {"value": "simulated usually a little more accurate"},
            "ours": per_seed(small.simulated - small.integer),
            "expect": {"min": -0.2, "max": 0.2, "scale": "notebook"},
        },
        {
            "id": "integer/float-gap",
            "statement": "8-bit integers without retraining cost at most 1 point (small ResNet)",
            "paper": {"key": "wu2020", "where": "abstract", "value": 1.0, "unit": "pt"},
            "ours": per_seed(small.float - small.integer),
            "expect": {"max": 1.0, "scale": "notebook"},
        },
        {
            "id": "integer/memory",
            "statement": "The 8-bit file of integers takes at most 0.3 of the float file (dense)",
            "paper": {"key": "jacob2018", "where": "Sec. 1", "value": 0.25, "unit": "×"},
            "ours": one((eight.integer_bytes / eight.float_bytes)["dense"], "×"),
            "expect": {"max": 0.3, "scale": "notebook"},
        },
    ]
    if "MobileNet" in eight.index:
        row = eight.loc["MobileNet"]
        claims += [
            {
                "id": "integer/accuracy-gap-mobilenet",
                "statement": "Simulated minus integer-only accuracy lies within 0.2 points (MobileNet, CIFAR-100)",
                "paper": GHOLAMI | {"value": "simulated usually a little more accurate"},
                "ours": one(row.simulated - row.integer, "pt", "full"),
                "expect": {"min": -0.2, "max": 0.2},
            },
            {
                "id": "integer/float-gap-mobilenet",
                "statement": "8-bit integers without retraining cost at most 1 point (MobileNet, CIFAR-100)",
                "paper": {"key": "wu2020", "where": "abstract", "value": 1.0, "unit": "pt"},
                "ours": one(row.float - row.integer, "pt", "full"),
                "expect": {"max": 1.0},
            },
        ]
    return claims


def one(value: float, unit: str, scale: str = "notebook") -> dict:
    return {"value": round(float(value), 4), "unit": unit, "scale": scale}


def bias_claims(frame: pd.DataFrame) -> list[dict]:
    off = frame.query("network == 'residual'").pivot(index="seed", columns="bias_fraction", values="off").sort_index()
    return [
        {
            "id": "integer/coarse-biases",
            "statement": "At 4 bits, 8 fraction bits in the biases remove at least 90 % of the output codes in which "
            "integers and simulation differ (small ResNet)",
            "paper": {"key": "jacob2018", "where": "Sec. 2.4", "value": "no fraction bits"},
            "ours": {
                "unit": "%",
                "values": (100 * (1 - off[8] / off[0])).round(3).tolist(),
                "seeds": off.index.tolist(),
                "scale": "notebook",
            },
            "expect": {"min": 90.0, "scale": "notebook"},
        },
    ]


def cause_claims(frame: pd.DataFrame) -> list[dict]:
    exact = frame.query("cause == 'exact'")
    others = frame.query("cause != 'exact'")
    return [
        {
            "id": "integer/simulation-exact",
            "statement": f"Of {exact.elements.sum():,} codes, integers and a float64 simulation with the same biases "
            "and tie rule differ in none",
            "paper": JACOB | {"value": 0, "unit": "codes"},
            "ours": {"value": int(exact.off.sum()), "unit": "codes", "scale": "notebook"},
            "expect": {"max": 0, "scale": "notebook"},
        },
        {
            "id": "integer/step-within-one",
            "statement": "Given the same input codes, no other bias, tie rule or float format moves a step by more "
            "than one unit",
            "ours": {"value": int(others.largest.max()), "unit": "units", "scale": "notebook"},
            "expect": {"max": 1, "scale": "notebook"},
        },
        {
            "id": "integer/two-roundings",
            "statement": "gemmlowp's second rounding moves more codes than float32 sums do",
            "ours": one(total(others, "ties: double") / max(total(others, "float32 sums"), 1), "×"),
            "expect": {"min": 1.0, "scale": "notebook"},
        },
    ]


def total(frame: pd.DataFrame, cause: str) -> int:
    return int(frame[frame.cause == cause].off.sum())


def runtime_claims(frame: pd.DataFrame) -> list[dict]:
    integer = frame.query("form == 'QOperator'")
    clipped = frame.query("form == 'QOperator, 16-bit sums'")
    return [
        {
            "id": "integer/onnx-within-one",
            "statement": f"ONNX Runtime's integer operators give our output codes within one unit, "
            f"on {integer.images.min():,} inputs of each of {len(integer)} networks",
            "ours": {"value": int(integer.largest.max()), "unit": "units", "scale": "full"},
            "expect": {"max": 1},
        },
        {
            "id": "integer/onnx-rate",
            "statement": "At most 1 % of these output codes differ, in the worst of the networks",
            "ours": one((100 * integer.off / integer.elements).max(), "%", "full"),
            "expect": {"max": 1.0},
        },
        {
            "id": "integer/sixteen-bit-sums",
            "statement": "With pairs of products added in 16 bits more than half of the output codes differ, "
            "on average over these networks (only on a CPU without VNNI)",
            "ours": one((100 * clipped.off / clipped.elements).mean(), "%", "full"),
            "expect": {"min": 50.0},
        },
    ]


def step_claims(frame: pd.DataFrame) -> list[dict]:
    return [
        {
            "id": "integer/onnx-step-within-one",
            "statement": f"Each of {len(frame)} steps of the MobileNet, alone and on our own codes, is within one unit "
            "in ONNX Runtime",
            "ours": {"value": int(frame.largest.max()), "unit": "units", "scale": "notebook"},
            "expect": {"max": 1, "scale": "notebook"},
        },
    ]


def folding_claims(frame: pd.DataFrame) -> list[dict]:
    four = frame.query("bits == 4").pivot(index="seed", columns="way", values="accuracy").sort_index()
    widths = frame.groupby("seed").first()

    def gain(way: str, over: str) -> dict:
        values = (four[way] - four[over]).round(4).tolist()
        return {"unit": "pt", "values": values, "seeds": four.index.tolist(), "scale": "notebook"}

    return [
        {
            "id": "integer/equalization-ranges",
            "statement": "Equalization makes the widest channel narrower, against the median channel",
            "paper": {"key": "nagel2019", "where": "abstract", "value": "equalizes the ranges"},
            "ours": {
                "unit": "×",
                "values": (widths.width_folded / widths.width_equalized).round(3).tolist(),
                "seeds": widths.index.tolist(),
                "scale": "notebook",
            },
            "expect": {"min": 1.0, "scale": "notebook"},
        },
        {
            "id": "integer/equalization-helps",
            "statement": "Equalization wins accuracy at 4 bits and one scale per tensor",
            "paper": {"key": "nagel2019", "where": "abstract", "value": "near the original accuracy (int8, ImageNet)"},
            "ours": gain("per tensor, equalized", "per tensor"),
            "expect": {"min": 0.0, "scale": "notebook"},
        },
        {
            "id": "integer/folded-training-helps",
            "statement": "Four epochs with folded, quantized weights win accuracy at 4 bits and one scale per tensor",
            "paper": {"key": "jacob2018", "where": "Sec. 3", "value": "small networks lose accuracy without it"},
            "ours": gain("frozen halfway", "per tensor"),
            "expect": {"min": 0.0, "scale": "notebook"},
        },
        {
            "id": "integer/freezing-helps",
            "statement": "Freezing the statistics halfway is better than never freezing them",
            "ours": gain("frozen halfway", "never frozen"),
            "expect": {"min": 0.0, "scale": "notebook"},
        },
    ]


def speed_claims(frame: pd.DataFrame) -> list[dict]:
    claims = []
    for name in ("dense", "MobileNet"):
        here = frame.query("network == @name and batch == 32").set_index(["form", "repeat"]).speedup
        slug = name.lower()

        def ours(form: str, here=here) -> dict:
            return {"unit": "×", "values": here[form].tolist(), "scale": "notebook"}

        claims += [
            {
                "id": f"integer/simulated-saves-no-time-{slug}",
                "statement": f"The simulated network is no faster than the float one ({name}, batches of 32)",
                "paper": GHOLAMI | {"value": "saves memory, not time"},
                "ours": ours("simulated"),
                "expect": {"max": 1.0, "scale": "notebook"},
            },
            {
                "id": f"integer/faster-{slug}",
                "statement": f"The integer-only network is faster than the float one ({name}, batches of 32)",
                "paper": GHOLAMI | {"value": "faster"},
                "ours": ours("integer"),
                "expect": {"min": 1.0, "scale": "notebook"},
            },
        ]
    return claims


# Part of the experiment -> its tables, and the claims that follow from each.
PARTS = {
    "networks": {
        "integer_exactness": exactness_claims,
        "integer_accuracy": accuracy_claims,
        "integer_biases": bias_claims,
        "integer_causes": cause_claims,
        "integer_runtimes": runtime_claims,
        "integer_steps": step_claims,
    },
    "folding": {"integer_folding": folding_claims},
    "speed": {"integer_speed": speed_claims},
}
