"""The claims of the experiment ``bitwise``. Bounds were set before the race was run, for a processor with AVX2.

A value of a speed is a ratio of shortest times from one whole run of the race, so five runs are needed for an answer.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from torch import nn

from fewbits import evidence
from fewbits.bitwise.network import pack_network
from fewbits.evidence import Claim, cited_claim, own_claim, paper_claim, part
from fewbits.experiments.bitwise.race import SHAPES

FLOAT, INT8 = "torch float32", "onnxruntime int8"
FLOATS = (FLOAT, "torch float32, channels last")
TWO_BOUNDS = {"low": 28.8, "high": 35.2}  # a 32nd of the memory, within 10 %


def memory_ratio(model: nn.Sequential) -> dict[str, float]:
    """Bytes of a BinaryNet's float32 weights over those of its words, and over those of the kernels' layout."""
    packed = pack_network(model, 1 / 127.5, -1.0)
    floats = 4 * sum(layer.weights.words.shape[1] * layer.inputs for layer in packed.layers)
    laid_out = sum(panel.nbytes for layer in packed.layers for panel in layer.weights.panels)
    return {"words": floats / packed.nbytes(), "layout": floats / laid_out}


class Runs:
    """The rows of all runs of the race on the path and the processor of the newest run.

    Args:
        race: rows as in ``bitwise_race``.
    """

    def __init__(self, race: pd.DataFrame):
        newest = race[race.run == race.run.max()].iloc[0]
        self.rows = race[(race.path == newest.path) & (race.cpu == newest.cpu)]
        self.about = {"path": f"{newest.path} kernels", "processor": newest.cpu}

    def tasks(self, start: str) -> list[str]:
        """The tasks whose names start so, in the order of the table."""
        return [task for task in self.rows.task.unique() if task.startswith(start)]

    def times(self, task: str, contestants: Sequence[str], threads: int = 1, column: str = "milliseconds") -> pd.Series:
        """Of the fastest of ``contestants``, by run; runs without any of them are left out."""
        chosen = self.rows[(self.rows.task == task) & self.rows.contestant.isin(contestants)]
        return chosen[chosen.threads == threads].groupby("run")[column].min()

    def part(self, values: pd.Series, low: float, unit: str = "×", **more: Any) -> evidence.Part:
        """The ``values`` by run as a speed."""
        values = values.dropna()
        origins = [evidence.origins(self.rows[self.rows.run == run])[0] for run in values.index]
        more |= {"origins": origins} if any(origins) else {}
        named = [f"run {run}" for run in values.index]
        return part(values.tolist(), type="speed", unit=unit, low=low, runs=named, **self.about, **more)

    def ratio(self, task: str, slow: Sequence[str], fast: Sequence[str], low: float, **more: Any) -> evidence.Part:
        """How many times as fast the fastest of ``fast`` is as the fastest of ``slow``."""
        return self.part(self.times(task, slow) / self.times(task, fast), low, **more)


def make_claims(race: pd.DataFrame, roofs: pd.DataFrame, memory: dict[str, float]) -> list[Claim]:
    """Claims of all runs of the race, without words.

    Args:
        race: rows as in ``bitwise_race``.
        roofs: rows as in ``bitwise_roofs``; none where no run had AVX2.
        memory: of :func:`memory_ratio`.
    """
    runs = Runs(race)
    few, vector = "few bits", "vector"
    planes, tables = ["planes 3×3"], ["tables 3×3"]
    threads = runs.times("threads", ["xnor"]) / runs.times("threads", ["xnor"], threads=2)
    claims = [
        _claim(
            "xnor-vs-float",
            "The binary matrix product is at least 4.5 times as fast as float32, on each of four shapes",
            *_products(runs, FLOAT, 4.5),
        ),
        _claim(
            "xnor-vs-int8",
            "The binary matrix product is at least 3 times as fast as int8 in ONNX Runtime, on each of four shapes",
            *_products(runs, INT8, 3.0),
        ),
        _claim(
            "convolution-vs-float",
            "A binary 3×3 convolution, packing included, is at least 4.5 times as fast as float32, on each of four "
            "shapes",
            *(
                runs.ratio(task, FLOATS, ["xnor, with packing"], 4.5, name=_shape(task))
                for task in runs.tasks("convolution")
            ),
        ),
        _claim("threads", "Two threads are at least 1.7 times as fast as one", runs.part(threads, 1.7)),
        _claim(
            "three-bit",
            "3-bit weights and 3-bit activations, bit by bit, are faster than float32",
            runs.ratio(few, [FLOAT], planes, 1.0),
        ),
        _claim(
            "three-bit-tables",
            "With tables of partial sums, 3-bit weights and activations are faster than bit by bit",
            runs.ratio(few, planes, tables, 1.0),
        ),
        _claim(
            "three-bit-vs-int8",
            "3-bit weights and activations, by the better of both ways, are faster than int8 in ONNX Runtime",
            runs.ratio(few, [INT8], planes + tables, 1.0),
        ),
        _claim(
            "lut-gemv",
            "A matrix of 4-bit weights times a vector of 4-bit activations is at least 8 times as fast as float32",
            runs.ratio(vector, [FLOAT], ["tables 4 bits"], 8.0),
        ),
        _claim(
            "lut-gemv-vs-4-bit",
            "A matrix of 4-bit weights times a vector is faster by tables than in ONNX Runtime",
            runs.ratio(vector, ["onnxruntime 4 bits"], ["tables 4 bits"], 1.0),
        ),
        _claim(
            "network",
            "The trained BinaryNet as a whole is faster on packed bits than in float32",
            runs.ratio("network", ["float32"], ["packed"], 1.0),
            scale="notebook",
        ),
        *memory_claims(memory),
        cited_claim(
            "bitwise/operations-58",
            "A binary convolution takes 58 times fewer high-precision operations than one in float32",
            ("rastegari2016", "abstract", 58, "×"),
            reason="It is a count of operations, each on one word or on one float, and no time. The times of the same "
            "products were measured here and are claims of our own.",
            headline=True,
        ),
        cited_claim(
            "bitwise/gpu-7",
            "A BinaryNet for MNIST runs 7 times as fast on a GPU with a binary kernel as with an unoptimized one",
            ("hubara2016bnn", "abstract", 7, "×"),
            reason="There is no GPU kernel here. On a CPU, against optimized float32, see the claim about the network.",
            headline=True,
        ),
    ]
    if "numkong" in set(runs.rows.contestant):
        claims.append(
            _claim(
                "xnor-vs-peer",
                "The binary matrix product is at least 1.4 times as fast as NumKong's Hamming distances, on each of "
                "four shapes",
                *_products(runs, "numkong", 1.4),
            )
        )
    roof = roofs[roofs.roof == "paired tables"].set_index("run")["value"]
    share = 100 * runs.times(_task(SHAPES[0]), ["xnor"], column="gops") / roof
    if share.notna().any():
        claims.append(
            _claim(
                "share-of-roof",
                "The large binary product reaches at least 85 % of what its instructions could do without memory",
                runs.part(share, 85.0, unit="%"),
            )
        )
    return claims


def memory_claims(memory: dict[str, float]) -> list[Claim]:
    """What a BinaryNet takes at rest, and in the layout of the fastest kernel."""
    source = ("hubara2016bnn", "memory", 32, "×")
    about: dict[str, Any] = {"type": "size", "unit": "×", "runs": ["layout"], **TWO_BOUNDS}
    return [
        paper_claim(
            "bitwise/memory-1-32",
            "Packed into words, the weights of a BinaryNet take a 32nd of the memory of float32, within 10 %",
            source,
            part([memory["words"]], paper=32, margin=3.2, **about),
            scale="notebook",
            departs=["Rows are filled up to whole words, and ours are short: 784 signs take 13 words, 832 bits."],
            headline=True,
        ),
        own_claim(
            "bitwise/memory-layout",
            "The layout that the fastest kernel reads takes a 32nd of the memory of float32 as well, within 10 %",
            part([memory["layout"]], **about),
            scale="notebook",
            paper=source,
        ),
    ]


def _claim(slug: str, statement: str, *parts: evidence.Part, scale: str = "full") -> Claim:
    """A claim about times; a single part needs no name."""
    return own_claim(f"bitwise/{slug}", statement, *parts, scale=scale, independent="whole runs of the race")


def _products(runs: Runs, slow: str, low: float) -> list[evidence.Part]:
    return [runs.ratio(_task(shape), [slow], ["xnor"], low, name=_shape(_task(shape))) for shape in SHAPES]


def _task(shape: tuple[int, int, int]) -> str:
    return f"product {shape[0]} {shape[1]} {shape[2]}"


def _shape(task: str) -> str:
    """The name of a part: "product 784 256 2304" is "784×256×2304"; of a convolution "side×side×channels"."""
    kind, *sizes = task.split()
    return "×".join([sizes[0], *sizes] if kind == "convolution" else sizes)
