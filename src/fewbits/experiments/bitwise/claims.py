"""The claims of the experiment ``bitwise``, for each processor and each path of the kernels that was run on it.

Bounds were set before the first race on a processor of the kind. A value of a speed is a ratio from one whole run of
the race, so five runs are needed for an answer.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from torch import nn

from fewbits import evidence
from fewbits.bitwise.gemm import LAYOUTS
from fewbits.bitwise.network import pack_network
from fewbits.evidence import Claim, cited_claim, own_claim, paper_claim, part
from fewbits.experiments.bitwise.race import SHAPES

FLOAT, ONNX_FLOAT, INT8 = "torch float32", "onnxruntime float32", "onnxruntime int8"
FLOATS = (FLOAT, "torch float32, channels last")
TWO_BOUNDS: dict[str, Any] = {"low": 28.8, "high": 35.2}  # a 32nd of the memory, within 10 %
# Path -> smallest ratios of the product to float32 in torch, in ONNX Runtime and to int8, and of the convolution to
# float32. ONNX Runtime has registers twice as wide as torch on processors of AMD with AVX-512: half of 25 there.
BOUNDS = {"plain": (1.0, 1.0, 1.0, 1.0), "avx2": (4.5, 4.5, 3.0, 4.5), "vpopcnt": (25.0, 12.5, 5.0, 15.0)}
ROOFS = {"avx2": "paired tables", "vpopcnt": "prefix tile"}


def memory_ratio(model: nn.Sequential) -> dict[str, float]:
    """Bytes of a BinaryNet's float32 weights over those of its words, and over those of each path's layout."""
    packed = pack_network(model, 1 / 127.5, -1.0)
    floats = 4 * sum(layer.weights.words.shape[1] * layer.inputs for layer in packed.layers)
    ratios = {"words": floats / packed.nbytes()}
    for path, (layout, _) in LAYOUTS.items():
        ratios[path] = floats / sum(layout(plane).nbytes for layer in packed.layers for plane in layer.weights.words)
    return ratios


class Runs:
    """The rows of the runs of the race on one processor and one path.

    Args:
        rows: as in ``bitwise_race``. The first contestant of a task is its reference. Rows without ``speedup``, of
            the oldest runs, have the shortest times in ``milliseconds``, and the ratio follows from these.
        suffix: of the ids of claims. where: in statements.
    """

    def __init__(self, rows: pd.DataFrame, suffix: str, where: str):
        reference = rows.groupby(["run", "task"])["milliseconds"].transform("first")
        by_shortest = reference / rows.milliseconds
        self.rows = rows.assign(gain=rows["speedup"].fillna(by_shortest) if "speedup" in rows else by_shortest)
        self.path, cpu = rows.path.iloc[0], rows.cpu.iloc[0]
        self.about = {"path": f"{self.path} kernels", "processor": cpu}
        self.suffix, self.where = suffix, where

    def tasks(self, start: str) -> list[str]:
        """The tasks whose names start so, in the order of the table."""
        return [task for task in self.rows.task.unique() if task.startswith(start)]

    def best(self, task: str, contestants: Sequence[str], threads: int = 1, column: str = "gain") -> pd.Series:
        """Of the fastest of ``contestants``, by run; runs without any of them are left out."""
        chosen = self.rows[(self.rows.task == task) & self.rows.contestant.isin(contestants)]
        return chosen[chosen.threads == threads].groupby("run")[column].max()

    def part(self, values: pd.Series, low: float, unit: str = "×", **more: Any) -> evidence.Part:
        """The ``values`` by run as a speed."""
        values = values.dropna()
        origins = [evidence.origins(self.rows[self.rows.run == run])[0] for run in values.index]
        more |= {"origins": origins} if any(origins) else {}
        named = [f"run {run}" for run in values.index]
        return part(values.tolist(), type="speed", unit=unit, low=low, runs=named, **self.about, **more)

    def ratio(self, task: str, slow: Sequence[str], fast: Sequence[str], low: float, **more: Any) -> evidence.Part:
        """How many times as fast the fastest of ``fast`` is as the fastest of ``slow``."""
        return self.part(self.best(task, fast) / self.best(task, slow), low, **more)

    def products(self, slow: str, low: float) -> list[evidence.Part]:
        """Ratios of the binary product on each shape."""
        return [self.ratio(_task(shape), [slow], ["xnor"], low, name=_shape(_task(shape))) for shape in SHAPES]

    def claim(self, slug: str, statement: str, *parts: evidence.Part, scale: str = "full") -> list[Claim]:
        """A claim about times, or none where nobody measured them; a single part needs no name."""
        if not any(each["values"] for each in parts):
            return []
        independent = "whole runs of the race"
        return [
            own_claim(
                f"bitwise/{slug}{self.suffix}", statement + self.where, *parts, scale=scale, independent=independent
            )
        ]


def all_runs(race: pd.DataFrame) -> list[Runs]:
    """One for each processor and path; the claims of the first of them have no suffix.

    Args:
        race: rows as in ``bitwise_race``.
    """
    found: list[Runs] = []
    for (cpu, path), rows in race.groupby(["cpu", "path"], sort=False):
        named = (f"-{cpu}-{path}", f" ({cpu}, {path} kernels)") if found else ("", "")
        found.append(Runs(rows, *named))
    return found


def make_claims(race: pd.DataFrame, roofs: pd.DataFrame, memory: dict[str, float]) -> list[Claim]:
    """Claims of all runs of the race, without words.

    Args:
        race: rows as in ``bitwise_race``.
        roofs: rows as in ``bitwise_roofs``; none where no run had AVX2.
        memory: of :func:`memory_ratio`.
    """
    claims = [
        paper_claim(
            "bitwise/memory-1-32",
            "Packed into words, the weights of a BinaryNet take a 32nd of the memory of float32, within 10 %",
            MEMORY,
            _size(memory["words"], paper=32, margin=3.2),
            scale="notebook",
            departs=["Rows are filled up to whole words, and ours are short: 784 signs take 13 words, 832 bits."],
            headline=True,
        ),
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
    for runs in all_runs(race):
        claims += _speeds(runs, roofs)
        claims.append(
            own_claim(
                f"bitwise/memory-layout{runs.suffix}",
                "The layout that the fastest kernel reads takes a 32nd of the memory of float32 as well, within 10 %"
                + runs.where,
                _size(memory[runs.path]),
                scale="notebook",
                paper=MEMORY,
            )
        )
    return claims


def _speeds(runs: Runs, roofs: pd.DataFrame) -> list[Claim]:
    few, vector = "few bits", "vector"
    planes, tables = ["planes 3×3"], ["tables 3×3"]
    to_float, to_onnx_float, to_int8, convolution = BOUNDS[runs.path]
    threads = runs.best("threads", ["xnor"], threads=2) / runs.best("threads", ["xnor"])
    roof = roofs[roofs.roof == ROOFS.get(runs.path, "")].set_index("run")["value"]
    share = 100 * runs.best(_task(SHAPES[0]), ["xnor"], column="gops") / roof
    return [
        *runs.claim(
            "xnor-vs-float",
            f"The binary matrix product is at least {to_float:g} times as fast as float32 in torch, on each of four "
            "shapes",
            *runs.products(FLOAT, to_float),
        ),
        *runs.claim(
            "xnor-vs-onnx-float",
            f"The binary matrix product is at least {to_onnx_float:g} times as fast as float32 in ONNX Runtime, on "
            "each of four shapes",
            *runs.products(ONNX_FLOAT, to_onnx_float),
        ),
        *runs.claim(
            "xnor-vs-int8",
            f"The binary matrix product is at least {to_int8:g} times as fast as int8 in ONNX Runtime, on each of four "
            "shapes",
            *runs.products(INT8, to_int8),
        ),
        *runs.claim(
            "xnor-vs-peer",
            "The binary matrix product is at least 1.4 times as fast as NumKong's Hamming distances, on each of "
            "four shapes",
            *runs.products("numkong", 1.4),
        ),
        *runs.claim(
            "convolution-vs-float",
            f"A binary 3×3 convolution, packing included, is at least {convolution:g} times as fast as float32, on "
            "each of four shapes",
            *(
                runs.ratio(task, FLOATS, ["xnor, with packing"], convolution, name=_shape(task))
                for task in runs.tasks("convolution")
            ),
        ),
        *runs.claim("threads", "Two threads are at least 1.7 times as fast as one", runs.part(threads, 1.7)),
        *runs.claim(
            "share-of-roof",
            "The large binary product reaches at least 85 % of what its instructions could do without memory",
            runs.part(share, 85.0, unit="%"),
        ),
        *runs.claim(
            "three-bit",
            "3-bit weights and 3-bit activations, bit by bit, are faster than float32",
            runs.ratio(few, [FLOAT], planes, 1.0),
        ),
        *runs.claim(
            "three-bit-tables",
            "With tables of partial sums, 3-bit weights and activations are faster than bit by bit",
            runs.ratio(few, planes, tables, 1.0),
        ),
        *runs.claim(
            "three-bit-vs-int8",
            "3-bit weights and activations, by the better of both ways, are faster than int8 in ONNX Runtime",
            runs.ratio(few, [INT8], planes + tables, 1.0),
        ),
        *runs.claim(
            "three-bit-vector-vs-int8",
            "A matrix of 3-bit weights times a vector is faster by tables than int8 in ONNX Runtime",
            runs.ratio(vector, [INT8], ["tables 3 bits"], 1.0),
        ),
        *runs.claim(
            "bytes-vs-int8",
            "Our product of bytes has at least 0.9 times the speed of int8 in ONNX Runtime",
            runs.ratio(few, [INT8], ["bytes 8×8"], 0.9),
        ),
        *runs.claim(
            "lut-gemv",
            "A matrix of 4-bit weights times a vector of 4-bit activations is at least 8 times as fast as float32",
            runs.ratio(vector, [FLOAT], ["tables 4 bits"], 8.0),
        ),
        *runs.claim(
            "lut-gemv-vs-4-bit",
            "A matrix of 4-bit weights times a vector is faster by tables than in ONNX Runtime",
            runs.ratio(vector, ["onnxruntime 4 bits"], ["tables 4 bits"], 1.0),
        ),
        *runs.claim(
            "gemv-vs-4-bit",
            "A matrix of 4-bit weights times a vector, by products of bytes, is faster than in ONNX Runtime",
            runs.ratio(vector, ["onnxruntime 4 bits"], ["bytes 4 bits"], 1.0),
        ),
        *runs.claim(
            "ternary-vector-vs-2-bit",
            "A matrix of ternary weights times a vector of bytes is faster than 2-bit weights in ONNX Runtime",
            runs.ratio(vector, ["onnxruntime 2 bits"], ["bytes 2 bits"], 1.0),
        ),
        *runs.claim(
            "ternary-vector-vs-ggml",
            "A matrix of ternary weights times a vector of bytes is faster than in ggml's form TQ2_0",
            runs.ratio(vector, ["ggml ternary"], ["bytes 2 bits"], 1.0),
        ),
        *runs.claim(
            "network",
            "The trained BinaryNet as a whole is faster on packed bits than in float32",
            runs.ratio("network", ["float32"], ["packed"], 1.0),
            scale="notebook",
        ),
    ]


MEMORY = ("hubara2016bnn", "memory", 32, "×")


def _size(ratio: float, **more: Any) -> evidence.Part:
    return part([ratio], type="size", unit="×", runs=["layout"], **TWO_BOUNDS, **more)


def _task(shape: tuple[int, int, int]) -> str:
    return f"product {shape[0]} {shape[1]} {shape[2]}"


def _shape(task: str) -> str:
    """The name of a part: "product 784 256 2304" is "784×256×2304"; of a convolution "side×side×channels"."""
    kind, *sizes = task.split()
    return "×".join([sizes[0], *sizes] if kind == "convolution" else sizes)
