"""The claims of the experiment ``vector``, from its tables."""

import pandas as pd
import torch

from fewbits.vector import SharedWeights

PAPERS = {
    "deep compression": ("deep", "Deep Compression", "han2015"),
    "soft weight-sharing": ("soft", "Soft weight-sharing", "ullrich2017"),
}
NAMES = {"lenet-300-100": "LeNet-300-100", "lenet-5": "LeNet-5"}
# Network and method: how many times smaller, and points of error that were lost (as commonly reported).
REPORTED = {
    ("lenet-300-100", "deep compression"): (40, -0.06),
    ("lenet-5", "deep compression"): (39, -0.06),
    ("lenet-300-100", "soft weight-sharing"): (64, 0.05),
    ("lenet-5", "soft weight-sharing"): (162, 0.09),
}
LAST = {"deep compression": "huffman", "soft weight-sharing": "argmax"}
EQUAL = 0.1  # points of error that count as equal: one standard error with 10,000 test images
RULE_BITS = (2, 3, 4)  # where the codebook is small enough for its start to matter


def make_claims(
    runs: pd.DataFrame, inits: pd.DataFrame, streams: pd.DataFrame, sizes: pd.DataFrame, data: str = "mnist"
) -> list[dict]:
    """All claims for which there are rows of ``data``, without verdicts."""
    runs, inits, streams, sizes = (frame[frame.data == data] for frame in (runs, inits, streams, sizes))
    claims = [index_claim()]
    for (network, method), (times, lost) in REPORTED.items():
        claims += compression_claims(runs, network, method, times, lost)
    if len(inits):
        claims += init_claims(inits)
    if len(streams):
        claims += huffman_claims(streams)
    deep = sizes[(sizes.method == "deep compression") & (sizes.network == "lenet-300-100")].set_index("seed")
    if len(deep):
        files = last(runs, "lenet-300-100", "deep compression").bytes
        claims.append(
            {
                "id": "vector/file-beats-xz",
                "statement": "LeNet-300-100: bytes that xz needs for the indices, over those of the whole file",
                "ours": ours(deep["xz of indices"] / files, "×"),
                "expect": {"min": 1.0},
            }
        )
    return claims


def ours(values: pd.Series, unit: str, scale: str = "full") -> dict:
    """``ours`` of a claim from values by seed."""
    values = values.dropna().sort_index()
    return {
        "unit": unit,
        "values": [round(float(value), 4) for value in values],
        "seeds": [int(seed) for seed in values.index],
        "scale": scale,
    }


def last(runs: pd.DataFrame, network: str, method: str) -> pd.DataFrame:
    """Rows of the final stage, by seed."""
    chosen = (runs.network == network) & (runs.method == method) & (runs.stage == LAST[method])
    return runs[chosen].set_index("seed")


def compression_claims(runs: pd.DataFrame, network: str, method: str, times: float, lost: float) -> list[dict]:
    """How many times smaller the file is than float32, and what it costs, seed by seed."""
    final = last(runs, network, method)
    if final.empty:
        return []
    start = runs[(runs.network == network) & (runs.method == "float")].set_index("seed")
    slug, title, key = PAPERS[method]
    error = start.accuracy - final.accuracy
    return [
        {
            "id": f"vector/{slug}-{network}",
            "statement": f"{title} makes {NAMES[network]} {times} times smaller",
            "paper": {"key": key, "where": "MNIST, as commonly reported", "value": times, "unit": "×"},
            "ours": ours(start.bytes / final.bytes, "×"),
            "expect": {"min": times},
        },
        {
            "id": f"vector/{slug}-{network}-error",
            "statement": f"{title} costs {NAMES[network]} at most {EQUAL} points of accuracy",
            "paper": {"key": key, "where": "MNIST, as commonly reported", "value": lost, "unit": "pt"},
            "ours": ours(error, "pt"),
            "expect": {"max": EQUAL},
        },
    ]


def init_claims(inits: pd.DataFrame) -> list[dict]:
    """Linear against random and density, and against the optimum: mean over 2, 3 and 4 bits, by seed."""
    chosen = inits[inits.bits.isin(RULE_BITS)]
    before, after = (chosen.pivot_table(column, "seed", "init") for column in ("before", "after"))
    best_other = after[["random", "density"]].max(axis=1)
    return [
        {
            "id": "vector/linear-init-best",
            "statement": "After fine-tuning, linear init is more accurate than random and density, mean of 2 to 4 bits",
            "paper": {"key": "han2015", "where": "Sec. 3.2", "value": "best"},
            "ours": ours(after["linear"] - best_other, "pt"),
            "expect": {"min": 0.0},
        },
        {
            "id": "vector/least-error-before-tuning",
            "statement": "Before fine-tuning, the optimal clustering is more accurate than linear init",
            "ours": ours(before["optimal"] - before["linear"], "pt"),
            "expect": {"min": 0.0},
        },
        {
            "id": "vector/least-error-after-tuning",
            "statement": "After fine-tuning, the optimal clustering is more accurate than linear init",
            "ours": ours(after["optimal"] - after["linear"], "pt"),
            "expect": {"min": 0.0},
        },
    ]


def huffman_claims(streams: pd.DataFrame) -> list[dict]:
    """The rule of every stream, and the sum of all, in percent above the entropy; by seed."""
    broken = (streams.huffman < streams.entropy - 1e-6) | (streams.huffman >= streams.entropy + 1)
    bits = streams.assign(huffman=streams.huffman * streams.symbols, entropy=streams.entropy * streams.symbols)
    total = bits.groupby("seed")[["huffman", "entropy"]].sum()
    return [
        {
            "id": "vector/huffman-rule",
            "statement": "Streams whose Huffman code is not within entropy and entropy + 1 bit per symbol",
            "ours": ours(broken.groupby(streams.seed).sum(), "streams"),
            "expect": {"max": 0, "scale": "notebook"},
        },
        {
            "id": "vector/huffman-above-entropy",
            "statement": "Huffman codes of all streams, gaps of 5 bits, are at most 1 % longer than the entropy",
            "ours": ours(100 * (total.huffman / total.entropy - 1), "%"),
            "expect": {"max": 1.0},
        },
    ]


def index_claim() -> dict:
    """Tried for every codebook of 2 to 256 values: is the stored stream as large as the paper's formula says?"""
    wrong = 0
    for k in range(2, 257):
        x = torch.arange(1, 2 * k + 1, dtype=torch.float32)
        codes = SharedWeights(x, k).encode(x)
        # The least b with 2^b >= k, counted up.
        bits = next(b for b in range(1, 17) if 2**b >= k)
        wrong += codes.bits != bits or len(codes.packed()) != -(-2 * k * bits // 8)
    return {
        "id": "vector/index-bits",
        "statement": "Codebooks of 2 to 256 values whose indices do not take ceil(log2 k) bits when packed",
        "paper": {"key": "han2015", "where": "Sec. 3", "value": 0, "unit": "codebooks"},
        "ours": {"value": wrong, "unit": "codebooks", "scale": "notebook"},
        "expect": {"max": 0, "scale": "notebook"},
    }
