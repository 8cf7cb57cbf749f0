"""The claims of the experiment ``fpga``. All bounds were set before anything was measured."""

from collections.abc import Mapping

import pandas as pd

from fewbits import evidence
from fewbits.core.macs import layer_work
from fewbits.evidence import Claim, own_claim, paper_claim, part
from fewbits.experiments.mixed_precision.latency_claims import STRONG, WEAK
from fewbits.experiments.mixed_precision.latency_statistics import RESAMPLES
from fewbits.fpga.latency import ShiftAdderArray, pipeline
from fewbits.mobileone import MobileNetV1, reparameterize

NAMES = {
    "mobilenet": "MobileNet-V1",
    "mobileone": "MobileOne",
    "mobileone-mean": "MobileOne, normalized by the mean,",
}
LAYER = 32 * 9 + 32 * 32  # shift-adders of the article's circuit
FORMAT = ("yokota2024", "Sec. 2.2", "Q16.16")
FACTOR = ("yokota2024", "Sec. 3.2", "ten-odd")


def make_claims(tables: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """What follows from the tables ``fpga_<name>``, those without rows left out; without words."""
    claims = factor_claims() + correlation_claims(tables["correlations"])
    accuracy = tables["accuracy"]
    for name in accuracy.network.unique() if len(accuracy) else ():
        rows = {kind: table[table.network == name] for kind, table in tables.items() if "network" in table}
        claims += network_claims(name, rows)
    return claims + speed_claims(tables["speed"])


def _origins(rows: pd.DataFrame) -> dict:
    """``origins`` for a part of one value that comes from ``rows`` of one run, if they say which."""
    origin = evidence.origins(rows)[0]
    return {} if origin is None else {"origins": [origin]}


# --- From the model ---------------------------------------------------------------------------------------------------


def factor_claims() -> list[Claim]:
    """How many times the article's layer the whole network takes, by two ways of counting."""
    works = layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    elements, cycles = pipeline(ShiftAdderArray(), works)
    weights = sum(work.weights for work in works)
    statement = "The whole network takes ten-odd times the shift-adders of the layer from 32 to 32 channels, with "
    return [
        paper_claim(
            "fpga/whole-network-factor",
            statement + "an array of at most 32 × 32 of them for each layer",
            FACTOR,
            _ten_odd(elements / LAYER),
            scale="full",
            departs=[
                "The article does not say how it counts. This is one way; one shift-adder for each weight is another.",
                "The article means all resources, this counts shift-adders.",
                "The layers of the network are inferred from its number of parameters.",
            ],
            reason=f"Every layer then takes at most {cycles:,} cycles an image.",
        ),
        own_claim(
            "fpga/whole-network-factor-unrolled",
            statement + "one for each weight",
            _ten_odd(weights / LAYER),
            scale="full",
            paper=FACTOR,
            reason=f"{weights:,} weights; the article's layer has one shift-adder for each of its {LAYER:,}.",
        ),
    ]


def _ten_odd(factor: float) -> evidence.Part:
    return part([round(factor, 2)], type="count", unit="×", runs=["model"], low=10, high=20)


def correlation_claims(table: pd.DataFrame) -> list[Claim]:
    """What nakata2021 says of a GPU, asked of the shift-adder: layers of ResNet-18 at 3 and 5 bits."""
    rows = table[(table.network == "ResNet-18") & (table.processor == "shift-adder")].set_index("metric")

    def correlation(name: str, metric: str, expect: dict[str, float]) -> evidence.Part:
        row = rows.loc[metric]
        return part(
            [row.pearson],
            name=name,
            type="estimate",
            runs=[f"{row.n // 2} layers"],
            interval=[float(row.pearson_low), float(row.pearson_high)],
            method=f"percentile bootstrap over the layers, {RESAMPLES:,} resamples",
            low=expect.get("low"),
            high=expect.get("high"),
        )

    return [
        own_claim(
            "fpga/latency-correlation",
            "On the shift-adder array, as on a GPU, the time of a layer correlates weakly with the size of its weights "
            "and strongly with its MACs × bits (model, Pearson r, ResNet-18)",
            correlation("size", "weight_bits_total", WEAK),
            correlation("work", "macs_bits", STRONG),
            scale="full",
            independent="layers of ResNet-18; a layer's two widths, 3 and 5 bits, are drawn together",
            paper=("nakata2021", "press text, Fig. 2: Tesla T4", "size weak, MACs × bits strong"),
            reason=f"MACs without the bits: r = {rows.loc['macs'].pearson:.2f}.",
        )
    ]


# --- From the test images ---------------------------------------------------------------------------------------------


def network_claims(name: str, rows: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """Accuracy and overflows of one network."""
    fixed, census = rows["accuracy"][rows["accuracy"].form == "Q16.16"], rows["census"]
    row, network = fixed.iloc[0], NAMES[name]
    gained, lost, of = int(row.gained), int(row.lost), int(row.images)
    outside = int(census[["products", "partial_sums"]].to_numpy().sum())
    accuracy = own_claim(
        f"fpga/accuracy-fixed-vs-float-{name}",
        f"{network} with INQ on CIFAR-100: Q16.16 and shifts change the accuracy by 0.1 points at most",
        part(
            [100 * (gained - lost) / of],
            type="paired images",
            unit="pt",
            low=-0.1,
            high=0.1,
            images={"gained": gained, "lost": lost, "of": of},
            **_origins(fixed),
        ),
        scale="full",
        independent="test images, all classified by one trained network",
        reason=f"{row.differing} of {of:,} test images get another class than in float32.",
    )
    statement = f"{network} with INQ on CIFAR-100: with 16 integer bits no product and no sum leaves the range"
    parts = (
        part([outside], name="out of range", type="count", high=0, **_origins(census)),
        part(
            [int(census.integer_bits.max())],
            name="integer bits",
            type="count",
            unit="bits",
            high=16,
            method="the m of the shortest Qm.16 that holds every sum",
            **_origins(census),
        ),
    )
    reason = f"{of:,} test images, {census.additions.sum():,} additions."
    id = f"fpga/overflow-{name}"
    if name != "mobileone":  # the article chose the format for MobileOne
        return [accuracy, own_claim(id, statement, *parts, scale="full", paper=FORMAT, reason=reason)]
    departs = [
        "One network, trained with settings of our own.",
        "The article leaves open how products are rounded and in which order they are added.",
    ]
    return [accuracy, paper_claim(id, statement, FORMAT, *parts, scale="full", departs=departs, reason=reason)]


# --- From the benchmark -----------------------------------------------------------------------------------------------


def speed_claims(speed: pd.DataFrame) -> list[Claim]:
    """Images a second of the simulator, where ``fpga_speed`` has been measured, with the largest registers."""
    if not len(speed):
        return []
    table = speed[(speed.form == "shift-adder") & (speed.register == speed.register.max())]
    most = table[table.threads == table.threads.max()]
    share = (most.images_per_s / most.limit).median()
    claims = [
        own_claim(
            "fpga/throughput",
            "The bit-accurate network computes at least 1,000 images (32 × 32) a second on two cores",
            _speed(most, most.images_per_s, "images/s", 1000),
            scale="full",
            independent=RUNS,
            reason=f"{most.threads.iloc[0]} threads; {share:.0%} of two vector shifts a cycle and core.",
        )
    ]
    for threads, rows in table.groupby("threads"):
        claims.append(
            own_claim(
                f"fpga/throughput-vs-float32-{threads}",
                f"The bit-accurate network is no slower than float32 in PyTorch (threads: {threads}, ratio of speeds)",
                _speed(rows, (1 / rows.ratio).round(3), "×", 1.0),
                scale="full",
                independent=RUNS,
                reason="PyTorch with channels last; its speed depends on where its memory lies and differs by run.",
            )
        )
    return claims


RUNS = "processes, each with its own memory; in each, the median of nine rounds"


def _speed(rows: pd.DataFrame, values: pd.Series, unit: str, low: float) -> evidence.Part:
    path, processor = f"Numba, registers of {rows.register.iloc[0]} bytes", rows.device.iloc[0]
    origins = evidence.origins(rows)
    about = {"path": path, "processor": processor} | ({"origins": origins} if any(origins) else {})
    runs = [f"run {run}" for run in rows.run]
    return part(values.tolist(), type="speed", unit=unit, runs=runs, low=low, **about)
