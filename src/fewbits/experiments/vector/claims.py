"""The claims of the experiment ``vector``, from its tables."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from fewbits import evidence
from fewbits.vector import SharedWeights

NAMES = {"lenet-300-100": "LeNet-300-100", "lenet-5": "LeNet-5"}
METHODS = {"deep": "deep compression", "soft": "soft weight-sharing"}
CODES = {"huffman": "Huffman", "arithmetic": "adaptive arithmetic"}
PAPER, FIRST = "paper", "first"  # settings of rows of the tables
LAST = {"deep compression": "huffman", "soft weight-sharing": "argmax"}
FLOATS = "float networks, trained from different seeds"
SIZE_MARGIN = 0.1  # of the paper's factor: how far ours may be from it, and how far below it the claim still holds
NO_LOSS = 0.1  # points of accuracy that count as none: one standard error with 10,000 test images
ERROR_MARGIN = 0.2  # points: what 10,000 test images can tell apart
RULE_BITS = (2, 3, 4)  # where the codebook is small enough for its start to matter
LINEAR_BITS = (2, 4, 5, 6, 7, 8)  # where the paper finds the linear start best: all but 3
OVERHEAD = 1.0  # percent above the entropy that we allow to Huffman's code


@dataclass(frozen=True)
class Reported:
    """What a paper reports of one network, and how our run departs from it.

    Attributes:
        statement: of the claim.
        paper: key and place.
        times: how many times smaller the network is.
        lost: points of error that were added.
        scale: see ``evidence.SCALES``.
        departs: see ``evidence.paper_claim``.
        first: what departed, beside these, in the first runs, which count until those by the paper's settings are made.
        then: what departs, beside these, in the runs by the paper's settings.
    """

    statement: str
    paper: tuple[str, str]
    times: float
    lost: float
    scale: str
    departs: tuple[str | dict, ...]
    first: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


WEIGHTS_ONLY = evidence.departure(
    "bytes are those of a file of the weights, with positions, codebooks and code tables, but without biases", False
)
MORE_EPOCHS = evidence.departure("the compressed network was trained for more epochs than the float one", False)
SOFT_RECIPE = "the strength of the prior is 0.05 and all learning rates differ; the authors' tutorial has 0.003"
PRIOR = "the strength of the prior is 0.02, chosen on held-out training images of LeNet-300-100; the tutorial has 0.003"
OTHER_FLOAT = "another float network than the authors'"
REPORTED = {
    ("deep", "lenet-300-100"): Reported(
        "Deep Compression makes LeNet-300-100 40 times smaller without loss of accuracy",
        ("han2015", "Table 1, MNIST"),
        40,
        -0.06,
        "full",
        (
            "retrained for five epochs a stage; the paper does not say for how long",
            WEIGHTS_ONLY,
            MORE_EPOCHS,
        ),
        ("5-bit codebooks, where the paper has 6 bits",),
    ),
    ("deep", "lenet-5"): Reported(
        "Deep Compression makes LeNet-5 39 times smaller without loss of accuracy",
        ("han2015", "Table 1, MNIST"),
        39,
        -0.06,
        "full",
        (
            "retrained for one epoch a stage; the paper does not say for how long",
            WEIGHTS_ONLY,
            MORE_EPOCHS,
        ),
        ("5-bit codebooks for convolutions, where the paper has 8 bits",),
    ),
    ("soft", "lenet-300-100"): Reported(
        "Soft weight-sharing makes LeNet-300-100 64 times smaller for 0.05 points of accuracy",
        ("ullrich2017", "MNIST, as commonly reported"),
        64,
        0.05,
        "full",
        ("the settings are those of the authors' tutorial, which has another network", OTHER_FLOAT, WEIGHTS_ONLY),
        (SOFT_RECIPE, "20 epochs, where the authors' tutorial has 30"),
        (PRIOR,),
    ),
    ("soft", "lenet-5"): Reported(
        "Soft weight-sharing makes LeNet-5 162 times smaller for 0.09 points of accuracy",
        ("ullrich2017", "MNIST, as commonly reported"),
        162,
        0.09,
        "full",
        (OTHER_FLOAT, WEIGHTS_ONLY),
        (SOFT_RECIPE, "4 epochs, where the authors' tutorial has 30"),
        (PRIOR,),
    ),
}


def make_claims(
    runs: pd.DataFrame, inits: pd.DataFrame, streams: pd.DataFrame, sizes: pd.DataFrame, data: str = "mnist"
) -> list[dict]:
    """The claims on rows of ``data``, and on the starts of k-means for CIFAR-100, without words."""
    starts = inits[(inits.data == "cifar100") & (inits.network == "mobilenet")]
    runs = runs[runs.data == data]
    inits, streams, sizes = (chosen(frame[frame.data == data]) for frame in (inits, streams, sizes))
    claims = [index_claim(), imagenet_claim(), start_claim(starts)]
    claims += [compression_claim(runs, method, network) for method, network in REPORTED]
    claims += [file_claim(runs, method) for method in METHODS]
    if len(inits):
        claims += init_claims(inits)
    if len(streams):
        claims += stream_claims(streams, runs)
    deep = sizes[(sizes.method == "deep compression") & (sizes.network == "lenet-300-100")].set_index("seed")
    if len(deep):
        files, _ = last(runs, "lenet-300-100", "deep compression")
        claims.append(
            evidence.own_claim(
                "vector/file-beats-xz",
                "Deep Compression of LeNet-300-100: xz needs more bytes for the indices than the whole file has",
                measured(deep["xz of indices"] / files.bytes, files, unit="×", low=1.0),
                scale="full",
                independent=FLOATS,
            )
        )
    return claims


def measured(values: pd.Series, rows: pd.DataFrame | None = None, **options: Any) -> dict:
    """A part from values by seed; ``rows`` by seed say which runs they come from."""
    values = values.dropna().sort_index()
    if rows is not None:
        origins = dict(zip(rows.index, evidence.origins(rows), strict=True))
        found = [origins[seed] for seed in values.index]
        options |= {"origins": found} if any(found) else {}
    return evidence.part(
        [round(float(value), 4) for value in values], runs=[int(seed) for seed in values.index], **options
    )


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """For each network and method the rows by the paper's settings; where there are none, those of the first runs."""
    groups = [rows for _, rows in frame.groupby(["network", "method"], sort=False)]
    best = [rows[(rows.settings == PAPER) | (rows.settings != PAPER).all()] for rows in groups]
    return pd.concat(best) if best else frame


def last(runs: pd.DataFrame, network: str, method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the final stage, by seed, and those of the float networks that it came from."""
    rows = chosen(runs[(runs.network == network) & (runs.method == method) & (runs.stage == LAST[method])])
    floats = runs[(runs.network == network) & (runs.method == "float") & runs.settings.isin(rows.settings)]
    return rows.set_index("seed"), floats.set_index("seed")


def compression_claim(runs: pd.DataFrame, method: str, network: str) -> dict:
    """How many times smaller the weights are than in float32, and what that costs, seed by seed: one claim."""
    reported = REPORTED[method, network]
    final, start = last(runs, network, METHODS[method])
    now = reported.first if (final.settings != PAPER).any() else reported.then
    times, lost, margin = reported.times, reported.lost, SIZE_MARGIN * reported.times
    smaller = measured(
        start.weight_bytes / final.weight_bytes,
        final,
        name="size",
        unit="×",
        low=times - margin,
        paper=times,
        margin=margin,
    )
    error = measured(
        start.accuracy - final.accuracy,
        final,
        name="error",
        unit="pt",
        high=NO_LOSS,
        paper=lost,
        margin=ERROR_MARGIN,
    )
    return evidence.paper_claim(
        f"vector/{method}-{network}",
        reported.statement,
        (*reported.paper, times, "×"),
        smaller,
        error,
        scale=reported.scale,
        independent=FLOATS,
        departs=(*now, *reported.departs),
        headline=True,
    )


def file_claim(runs: pd.DataFrame, method: str) -> dict:
    """Everything in the file, by the paper's settings: what is left of the factors that papers count for weights."""
    parts = []
    for network, name in NAMES.items():
        final, start = last(runs[runs.settings == PAPER], network, METHODS[method])
        low = (1 - SIZE_MARGIN) * REPORTED[method, network].times
        parts.append(measured(start.bytes / final.bytes, final, name=name.lower(), unit="×", low=round(low, 1)))
    return evidence.own_claim(
        f"vector/{method}-file",
        f"{METHODS[method].capitalize()}: with biases, names and checksum in the file, it is smaller by at least nine "
        "tenths of the paper's factor",
        *parts,
        scale="full",
        independent=FLOATS,
    )


def start_claim(starts: pd.DataFrame) -> dict:
    """The linear start against the better one of the two others, for each number of bits, by seed."""
    parts = []
    for bits in LINEAR_BITS:
        rows = starts[starts.bits == bits]
        by_init = rows.pivot_table("before", "seed", "init").reindex(columns=["linear", "density", "random"])
        gain = by_init["linear"] - by_init[["density", "random"]].max(axis=1)
        origins = rows.drop_duplicates("seed", keep="last").set_index("seed")
        parts.append(measured(gain, origins, name=f"bits-{bits}", unit="pt", low=0.0))
    return evidence.paper_claim(
        "vector/linear-init-best",
        "Of 2 and 4 to 8 bits, at each the linear start is more accurate than the random and the density start",
        ("han2015", "Sec. 3.2, Fig. 8", "best but for 3 bits"),
        *parts,
        scale="reduced",
        independent=FLOATS,
        departs=[
            "MobileNet on CIFAR-100, not pruned, where the paper has a network for ImageNet",
            "no fine-tuning after clustering",
        ],
    )


def init_claims(inits: pd.DataFrame) -> list[dict]:
    """Linear against random, density and the optimum: mean over 2, 3 and 4 bits, by seed."""
    chosen = inits[inits.bits.isin(RULE_BITS)]
    before, after = (chosen.pivot_table(column, "seed", "init") for column in ("before", "after"))
    rows = chosen.drop_duplicates("seed", keep="last").set_index("seed")
    best = [
        measured(after["linear"] - after[other], rows, name=other, unit="pt", low=0.0)
        for other in ("random", "density")
    ]
    return [
        evidence.own_claim(
            "vector/linear-after-tuning",
            "LeNet-300-100, 2 to 4 bits: after fine-tuning, the linear start is more accurate than the two others",
            *best,
            scale="full",
            independent=FLOATS,
            paper=("han2015", "Sec. 3.2, Fig. 8", "best but for 3 bits"),
        ),
        *(
            evidence.own_claim(
                f"vector/least-error-{when}-tuning",
                f"{when.capitalize()} fine-tuning, the optimal clustering is more accurate than the linear start",
                measured(accuracy["optimal"] - accuracy["linear"], rows, unit="pt", low=0.0),
                scale="full",
                independent=FLOATS,
            )
            for when, accuracy in (("before", before), ("after", after))
        ),
    ]


def stream_claims(streams: pd.DataFrame, runs: pd.DataFrame) -> list[dict]:
    """The rule of every stream, by seed; and for each method and code all streams, in percent above the entropy."""
    broken = (streams.huffman < streams.entropy - 1e-6) | (streams.huffman >= streams.entropy + 1)
    rows = chosen(runs).drop_duplicates("seed", keep="last").set_index("seed")
    rule = measured(broken.groupby(streams.seed).sum(), rows, type="identity", unit="streams", low=0, high=0)
    claims = [
        evidence.own_claim(
            "vector/huffman-rule",
            "No stream has a Huffman code that is not within entropy and entropy + 1 bit per symbol",
            rule,
            scale="full",
        )
    ]
    lengths = ["huffman", "arithmetic", "entropy"]
    bits = streams.assign(**{name: streams[name] * streams.symbols for name in lengths})
    for slug, method in METHODS.items():
        of_method = bits[bits.method == method]
        if of_method.empty:
            continue
        for code in ("huffman", "arithmetic"):
            parts = []
            for network, rows in of_method.groupby("network"):
                total = rows.dropna(subset=[code]).groupby("seed")[lengths].sum()
                final, _ = last(runs, str(network), method)
                above = 100 * (total[code] / total.entropy - 1)
                parts.append(measured(above, final, name=str(network), unit="%", high=OVERHEAD))
            claims.append(
                evidence.own_claim(
                    f"vector/{code}-above-entropy-{slug}",
                    f"{method.capitalize()}, gaps of 5 bits: {CODES[code]} codes are at most 1 % above the entropy",
                    *parts,
                    scale="full",
                    independent=FLOATS,
                )
            )
    return claims


def index_claim() -> dict:
    """Tried for every codebook of 2 to 256 values: is the stored stream as large as the paper's formula says?"""
    wrong = 0
    for k in range(2, 257):
        x = torch.arange(1, 2 * k + 1, dtype=torch.float32)
        codes = SharedWeights(x, k).encode(x)
        # The least b with 2^b >= k, counted up.
        bits = next(b for b in range(1, 17) if 2**b >= k)
        wrong += codes.bits != bits or len(codes.packed()) != -(-2 * k * bits // 8)
    return evidence.paper_claim(
        "vector/index-bits",
        "Of the codebooks of 2 to 256 values none has indices that do not take ⌈log₂ k⌉ bits when packed",
        ("han2015", "Sec. 3", "⌈log₂ k⌉ bits"),
        evidence.part([wrong], type="identity", unit="codebooks", runs=["all codebooks"], low=0, high=0),
        scale="notebook",
    )


def imagenet_claim() -> dict:
    """The paper's networks for ImageNet."""
    return evidence.cited_claim(
        "vector/deep-imagenet",
        "Deep Compression makes AlexNet 35 and VGG-16 49 times smaller without loss of accuracy",
        ("han2015", "Table 1, ImageNet", "35 × and 49 ×"),
        "ImageNet is not at hand, and pruning takes many retrainings of networks with 61 and 138 million weights",
        headline=True,
    )
