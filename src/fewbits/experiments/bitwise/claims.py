"""The claims of the experiment ``bitwise``. Bounds were set before the race was run, for a processor with AVX2."""

import pandas as pd
from torch import nn

from fewbits.bitwise.network import pack_network
from fewbits.experiments.bitwise.race import SHAPES


def memory_ratio(model: nn.Sequential) -> dict[str, float]:
    """Bytes of a BinaryNet's float32 weights over those of its words, and over those of the kernels' layout."""
    packed = pack_network(model, 1 / 127.5, -1.0)
    floats = 4 * sum(layer.weights.words.shape[1] * layer.inputs for layer in packed.layers)
    laid_out = sum(panel.nbytes for layer in packed.layers for panel in layer.weights.panels)
    return {"words": floats / packed.nbytes(), "layout": floats / laid_out}


def make_claims(table: pd.DataFrame, roofs: dict[str, float], memory: dict[str, float]) -> list[dict]:
    """Claims of one run, without verdicts.

    Args:
        table: rows of the run, as in ``bitwise_race``.
        roofs: of :func:`fewbits.experiments.bitwise.roofs.roofs`, or empty.
        memory: of :func:`memory_ratio`.
    """
    times = table.set_index(["task", "contestant", "threads"])["milliseconds"]

    def ratio(task: str, slow: str, fast: str) -> float:
        return float(times[task, slow, 1] / times[task, fast, 1])

    tasks = [f"product {m} {n} {k}" for m, n, k in SHAPES]
    convolutions = [task for task in table["task"].unique() if task.startswith("convolution")]
    float_convs = {
        task: min(ratio(task, name, "xnor, with packing") for name in ("torch float32", "torch float32, channels last"))
        for task in convolutions
    }
    peers = "numkong" in set(table["contestant"])
    rastegari = {"key": "rastegari2016", "where": "abstract, an operation count"}
    claims = [
        _claim(
            "xnor-vs-float",
            "The binary matrix product is at least 4.5 times as fast as float32, on four shapes (the least)",
            [ratio(task, "torch float32", "xnor") for task in tasks],
            {"min": 4.5},
            rastegari | {"value": 58, "unit": "×"},
        ),
        _claim(
            "xnor-vs-int8",
            "It is at least 3 times as fast as int8 in ONNX Runtime (the least of four shapes)",
            [ratio(task, "onnxruntime int8", "xnor") for task in tasks],
            {"min": 3.0},
        ),
        _claim(
            "convolution-vs-float",
            "A binary 3×3 convolution, packing included, is at least 4.5 times as fast as float32 (the least of four)",
            list(float_convs.values()),
            {"min": 4.5},
            rastegari | {"value": 58, "unit": "×"},
        ),
        _claim(
            "threads",
            "Two threads are at least 1.7 times as fast as one",
            [float(times["threads", "xnor", 1] / times["threads", "xnor", 2])],
            {"min": 1.7},
        ),
        _claim(
            "three-bit",
            "3-bit weights and 3-bit activations, bit by bit, are faster than float32",
            [ratio("few bits", "torch float32", "planes 3×3")],
            {"min": 1.0},
        ),
        _claim(
            "three-bit-tables",
            "With tables of partial sums, 3-bit weights and activations are faster than bit by bit",
            [ratio("few bits", "planes 3×3", "tables 3×3")],
            {"min": 1.0},
        ),
        _claim(
            "three-bit-vs-int8",
            "The better of both is faster than int8 in ONNX Runtime",
            [
                max(
                    ratio("few bits", "onnxruntime int8", "planes 3×3"),
                    ratio("few bits", "onnxruntime int8", "tables 3×3"),
                )
            ],
            {"min": 1.0},
        ),
        _claim(
            "lut-gemv",
            "A matrix of 4-bit weights times a vector of 4-bit activations is at least 8 times as fast as float32",
            [ratio("vector", "torch float32", "tables 4 bits")],
            {"min": 8.0},
        ),
        _claim(
            "lut-gemv-vs-4-bit",
            "It is faster than ONNX Runtime's product of 4-bit weights",
            [ratio("vector", "onnxruntime 4 bits", "tables 4 bits")],
            {"min": 1.0},
        ),
        _claim(
            "network",
            "The trained BinaryNet as a whole is faster on packed bits than in float32",
            [ratio("network", "float32", "packed")],
            {"min": 1.0},
            {"key": "hubara2016bnn", "where": "abstract, MNIST network on a GPU", "value": 7, "unit": "×"},
        ),
        {
            "id": "bitwise/memory-1-32",
            "statement": "The layout that the fastest kernel reads takes a 32nd of the memory of float32",
            "paper": {"key": "hubara2016bnn", "where": "memory", "value": 32, "unit": "×"},
            "ours": {"value": memory["layout"], "unit": "×", "scale": "notebook"},
            "expect": {"min": 32, "scale": "notebook"},
            "reason": f"At rest, in words, it is {memory['words']:.1f} (rows of 784 signs fill 13 words, 832 bits).",
        },
    ]
    if peers:
        claims.append(
            _claim(
                "xnor-vs-peer",
                "It is at least 1.4 times as fast as NumKong's Hamming distances (the least of four shapes)",
                [ratio(task, "numkong", "xnor") for task in tasks],
                {"min": 1.4},
            )
        )
    if roofs:
        large = table[(table.task == tasks[0]) & (table.contestant == "xnor")]["gops"].iloc[0]
        share = _claim(
            "share-of-roof",
            "The large binary product reaches at least 85 % of what its instructions could do without memory",
            [100 * float(large) / roofs["paired tables"]],
            {"min": 85.0},
        )
        share["ours"]["unit"] = "%"
        claims.append(share)
    return claims


def _claim(slug: str, statement: str, ratios: list[float], expect: dict, paper: dict | None = None) -> dict:
    """A claim about the least of some ratios."""
    claim = {
        "id": f"bitwise/{slug}",
        "statement": statement,
        "ours": {"value": min(ratios), "unit": "×", "scale": "full"},
        "expect": expect,
    }
    if len(ratios) > 1:
        claim["reason"] = f"The ratios: {', '.join(f'{value:.1f}' for value in ratios)}."
    return claim if paper is None else claim | {"paper": paper}
