"""The claims of chapter ``integer``, from its recorded tables."""

from typing import Any

import pandas as pd

from fewbits import evidence
from fewbits.evidence import own_claim, paper_claim, part
from fewbits.experiments.common import recorded
from fewbits.experiments.integer.speed import OURS

INDEPENDENT = "float networks, trained from different seeds"
SMALL = "networks on mnist5k in place of ImageNet networks"
CIFAR = "one MobileNet of 159,236 parameters on CIFAR-100 in place of ImageNet networks"
ONE_NETWORK = "one float network, so that only its test images vary"
SIMULATED_LEADS = ("gholami2021", "Sec. IV-A", "simulated usually a little more accurate")
EXACT_SUMS = (
    "the runtime is asked for exact sums, and not for its fastest kernels, which may clip sums of 8-bit products"
)
BOOTSTRAP = "bootstrap over the 10,000 test images of one network"


def make_claims(name: str) -> list[evidence.Claim]:
    """Claims without words, of those tables of part ``name`` of the experiment that are there."""
    claims = []
    for table, function in PARTS[name].items():
        frame = recorded(table, [])
        if len(frame):
            claims += function(frame)
    return claims


def exactness_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    return [
        paper_claim(
            "integer/folding-exact",
            "Folding BN moves no float64 logit of the small ResNets by more than 10⁻¹² of the largest",
            ("jacob2018", "Sec. 3.2", "exact"),
            _by_seed((1e15 * frame.set_index("seed").float64).round(2), "× 10⁻¹⁵", frame, type="identity", high=1000.0),
            scale="notebook",
        ),
    ]


def accuracy_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    small = frame.query("network == 'residual' and weight_bits == 8").set_index("seed").sort_index()
    eight = frame.query("weight_bits == 8").groupby("network").first()
    within_one = ("wu2020", "abstract", 1.0, "pt")
    claims = [
        paper_claim(
            "integer/accuracy-gap",
            "Simulated, a network is more accurate than integer-only, by at most a point (small ResNet, 8 bits)",
            SIMULATED_LEADS,
            _by_seed(small.simulated - small.integer, "pt", frame, low=0.0, high=1.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[SMALL],
        ),
        paper_claim(
            "integer/float-gap",
            "8-bit integers without retraining cost at most 1 point (small ResNet)",
            within_one,
            _by_seed(small.float - small.integer, "pt", frame, high=1.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[SMALL],
        ),
        paper_claim(
            "integer/memory",
            "The 8-bit file of integers takes at most 0.3 of the float file (dense)",
            ("jacob2018", "Sec. 1", 0.25, "×"),
            _one((eight.integer_bytes / eight.float_bytes)["dense"], "×", "dense", frame, type="size", high=0.3),
            scale="notebook",
            departs=["a network of 77,562 numbers, in whose file names, 32-bit biases and factors weigh more"],
        ),
    ]
    if "MobileNet" in eight.index:
        row = eight.loc["MobileNet"]
        # The table has the interval of integer minus simulated.
        resampled = {"type": "estimate", "interval": [-float(row.high), -float(row.low)], "method": BOOTSTRAP}
        claims += [
            paper_claim(
                "integer/accuracy-gap-mobilenet",
                "Simulated, a network is more accurate than integer-only, by at most a point (MobileNet, CIFAR-100)",
                SIMULATED_LEADS,
                _one(row.simulated - row.integer, "pt", "float 0", frame, low=0.0, high=1.0, **resampled),
                scale="reduced",
                independent=ONE_NETWORK,
                departs=[CIFAR],
                headline=True,
            ),
            paper_claim(
                "integer/float-gap-mobilenet",
                "8-bit integers without retraining cost at most 1 point (MobileNet, CIFAR-100)",
                within_one,
                _one(row.float - row.integer, "pt", "float 0", frame, high=1.0),
                scale="reduced",
                independent=INDEPENDENT,
                departs=[CIFAR],
            ),
        ]
    return claims


def bias_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    off = frame.query("network == 'residual'").pivot(index="seed", columns="bias_fraction", values="off").sort_index()
    return [
        own_claim(
            "integer/coarse-biases",
            "At 4 bits, 8 fraction bits in the biases remove at least 90 % of the output codes in which "
            "integers and simulation differ (small ResNet)",
            _by_seed((100 * (1 - off[8] / off[0])).round(3), "%", frame, low=90.0),
            scale="notebook",
            independent=INDEPENDENT,
            paper=("jacob2018", "Sec. 2.4", "no fraction bits"),
        ),
    ]


def cause_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    exact = frame.query("cause == 'exact'")
    others = frame.query("cause != 'exact'")
    return [
        own_claim(
            "integer/simulation-exact",
            f"Of {exact.elements.sum():,} codes, integers and a float64 simulation with the same biases "
            "and tie rule differ in none",
            _counted(int(exact.off.sum()), "codes", frame, high=0),
            scale="notebook",
            paper=("jacob2018", "Sec. 2.2", "the same quantized arithmetic"),
        ),
        own_claim(
            "integer/step-within-one",
            "Given the same input codes, no other bias, tie rule or float format moves a step by more than one unit",
            _counted(int(others.largest.max()), "units", frame, high=1),
            scale="notebook",
        ),
        own_claim(
            "integer/two-roundings",
            "gemmlowp's second rounding moves more codes than float32 sums do",
            _counted(total(others, "ties: double") / max(total(others, "float32 sums"), 1), "×", frame, low=1.0),
            scale="notebook",
        ),
    ]


def total(frame: pd.DataFrame, cause: str) -> int:
    return int(frame[frame.cause == cause].off.sum())


def runtime_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    integer = frame.query("form == 'QOperator'")
    clipped = frame.query("form == '16-bit sums'")
    return [
        own_claim(
            "integer/onnx-within-one",
            f"ONNX Runtime's integer operators give our output codes within one unit, "
            f"on {integer.images.min():,} inputs of each of {len(integer)} networks",
            _counted(int(integer.largest.max()), "units", frame, high=1),
            scale="reduced",
        ),
        own_claim(
            "integer/onnx-rate",
            "At most 1 % of these output codes differ, in the worst of the networks",
            _counted((100 * integer.off / integer.elements).max(), "%", frame, high=1.0),
            scale="reduced",
        ),
        own_claim(
            "integer/sixteen-bit-sums",
            "With pairs of products added in 16 bits, as processors without VNNI do, more than half of the output "
            "codes differ, on average over these networks",
            _counted((100 * clipped.off / clipped.elements).mean(), "%", frame, low=50.0),
            scale="reduced",
        ),
    ]


def step_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    return [
        own_claim(
            "integer/onnx-step-within-one",
            f"Each of {len(frame)} steps of the MobileNet, alone and on our own codes, is within one unit "
            "in ONNX Runtime",
            _counted(int(frame.largest.max()), "units", frame, high=1),
            scale="reduced",
        ),
    ]


def folding_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    four = frame.query("bits == 4").pivot(index="seed", columns="way", values="accuracy").sort_index()
    widths = frame.groupby("seed").first()

    def gain(way: str, over: str) -> evidence.Part:
        return _by_seed(four[way] - four[over], "pt", frame, low=0.0)

    return [
        paper_claim(
            "integer/equalization-ranges",
            "Equalization makes the widest channel narrower, against the median channel",
            ("nagel2019", "abstract", "equalizes the ranges"),
            _by_seed((widths.width_folded / widths.width_equalized).round(3), "×", frame, low=1.0),
            scale="notebook",
            independent=INDEPENDENT,
            departs=[SMALL],
        ),
        own_claim(
            "integer/equalization-helps",
            "Equalization wins accuracy at 4 bits and one scale per tensor",
            gain("per tensor, equalized", "per tensor"),
            scale="notebook",
            independent=INDEPENDENT,
            paper=("nagel2019", "abstract", "near the original accuracy (int8, ImageNet)"),
        ),
        own_claim(
            "integer/folded-training-helps",
            "Four epochs with folded, quantized weights win accuracy at 4 bits and one scale per tensor",
            gain("frozen halfway", "per tensor"),
            scale="notebook",
            independent=INDEPENDENT,
            paper=("jacob2018", "Sec. 3", "small networks lose accuracy without it"),
        ),
        own_claim(
            "integer/freezing-helps",
            "Freezing the statistics halfway is better than never freezing them",
            gain("frozen halfway", "never frozen"),
            scale="notebook",
            independent=INDEPENDENT,
        ),
    ]


def speed_claims(frame: pd.DataFrame) -> list[evidence.Claim]:
    """For each kind of processor."""
    claims = []
    for kind, here in frame.groupby(kinds_of_kernels(frame), sort=False):
        for name in ("dense", "MobileNet"):
            claims += _speed_claims(here.query("network == @name and batch == 32"), name, kind == "VNNI")
    return claims


def kinds_of_kernels(frame: pd.DataFrame) -> pd.Series:
    """Of each row of ``integer_speed``; the oldest do not say, and are of a processor without VNNI."""
    unknown = pd.Series("16-bit sums", frame.index, dtype=str)
    return frame["kernels"].fillna(unknown) if "kernels" in frame else unknown


def _speed_claims(here: pd.DataFrame, name: str, vnni: bool) -> list[evidence.Claim]:
    largest = name == "MobileNet"
    slug = name.lower() + ("-vnni" if vnni else "")
    where = f"{name}, batches of 32" + (", a processor with VNNI" if vnni else "")
    departs = [CIFAR if largest else SMALL, *([] if vnni else [EXACT_SUMS])]

    def ratios(form: str, **band: Any) -> evidence.Part:
        rows = here[here.form == form]
        origins = evidence.origins(rows)
        band |= {"origins": origins} if any(origins) else {}
        (device,) = rows.device.unique()
        processor = f"{rows.cpu.iloc[0]}, {device}" if vnni else device
        runs = [f"round {repeat}" for repeat in rows["repeat"]]
        path = f"ONNX Runtime, one thread, {'VNNI' if vnni else 'sums of 32 bits'}"
        return part(rows.speedup.tolist(), unit="×", type="speed", runs=runs, path=path, processor=processor, **band)

    scale = "reduced" if largest else "notebook"
    about: dict[str, Any] = {"scale": scale, "independent": ROUNDS, "departs": departs}
    claims = [
        paper_claim(
            f"integer/simulated-saves-no-time-{slug}",
            f"The simulated network is no faster than the float one ({where})",
            ("gholami2021", "Sec. IV-A", "saves memory, not time"),
            ratios("simulated", high=1.0),
            headline=largest,
            **about,
        ),
        paper_claim(
            f"integer/faster-{slug}",
            f"The integer-only network is faster than the float one ({where})",
            ("gholami2021", "Sec. IV-A", "faster"),
            ratios("integer", low=1.0),
            headline=largest,
            **about,
        ),
    ]
    if OURS in set(here.form):
        path = f"our kernels, one thread, {'VNNI' if vnni else 'pairs of 16 bits'}"
        statement = f"On kernels of our own, the integer-only network is faster than float in ONNX Runtime ({where})"
        ours = ratios(OURS, low=1.0) | {"path": path}
        claims.append(own_claim(f"integer/our-kernels-{slug}", statement, ours, scale=scale, independent=ROUNDS))
    return claims


ROUNDS = "rounds with new sessions, of one network; all forms take turns in each"


def _by_seed(values: pd.Series, unit: str, frame: pd.DataFrame, **more: Any) -> evidence.Part:
    """The ``values`` of seeds, from the rows of ``frame``."""
    origins = [evidence.origins(frame[frame.seed == seed])[-1] for seed in values.index]
    more |= {"origins": origins} if any(origins) else {}
    return part([round(float(v), 4) for v in values], unit=unit, runs=values.index.tolist(), **more)


def _one(value: float, unit: str, run: str, frame: pd.DataFrame, **more: Any) -> evidence.Part:
    """A value from the rows of ``frame``, which one run has written."""
    origins = evidence.origins(frame)[-1:]
    more |= {"origins": origins} if any(origins) else {}
    return part([round(float(value), 4)], unit=unit, runs=[run], **more)


def _counted(value: float, unit: str, frame: pd.DataFrame, **band: Any) -> evidence.Part:
    """What was counted on the networks and images of a table, so that nothing is estimated."""
    origins = evidence.origins(frame)[-1:]
    band |= {"origins": origins} if any(origins) else {}
    value = value if isinstance(value, int) else round(float(value), 4)
    return part([value], unit=unit, type="count", runs=["all rows"], **band)


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
