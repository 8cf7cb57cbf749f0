"""Whole layers, which load their own weights, in Verilator: every output of every channel equal, bit for bit."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from float_vectors import numpy_product, numpy_sum
from rtl_bench import Job, run
from shift_vectors import signed32, wrapped_dots

from fewbits.fpga.float_units import fused_dot, truncated_product, truncated_sum
from fewbits.fpga.synthesis import rtl

# What Verilator compiles once: the halves of a layer, of which there are as many copies as channels.
HALVES = {0: ("depthwise", "pointwise"), 1: ("float_depthwise", "float_pointwise")}
LATENCIES = {"shift": (11, 1), "float": (37, 5), "truncating": (29, 4), "fused": (29, 2)}


@dataclasses.dataclass
class Layer:
    """Weights, biases and pixels of a layer, all as unsigned numbers of their ports."""

    spatial: np.ndarray  # (channels, 9)
    mixing: np.ndarray  # (channels, channels)
    biases: np.ndarray  # (2, channels)
    columns: np.ndarray  # (cycles, channels, 3)

    def job(self, parameters: dict, bits: int) -> Job:
        """First the weights, beside them the biases, then the pixels."""
        weights = np.concatenate([self.spatial.ravel(), self.mixing.ravel()])
        channels, load = len(self.spatial), len(weights)
        cycles = load + len(self.columns)
        stimulus = {
            name: np.zeros(cycles, np.int64) for name in ("load_weight", "weight", "load_bias", "bias")
        }  # fmt: skip
        stimulus["load_weight"][:load], stimulus["weight"][:load] = 1, weights
        stimulus["load_bias"][: 2 * channels], stimulus["bias"][: 2 * channels] = 1, self.biases.ravel()
        columns = np.zeros((cycles, channels * 3), np.int64)
        columns[load:] = self.columns.reshape(len(self.columns), -1)
        widths = {"load_weight": 1, "weight": bits, "load_bias": 1, "bias": 32}
        inputs = {name: (width, stimulus[name]) for name, width in widths.items()}
        return Job("stored_layer", parameters, inputs | {"columns": (32, columns)}, ("y", 32 * channels))

    def expected(self, spatial_dot: Callable, mixing_dot: Callable, add: Callable, relu: Callable) -> np.ndarray:
        """(windows, channels): what comes out for the window that begins in each cycle."""
        count, channels = len(self.columns) - 2, len(self.spatial)
        between = np.zeros((count, channels), np.uint32)
        # Row by row, left to right: pixel (r, k) of the window that starts at cycle t is columns[t + k, c, r].
        for c in range(channels):
            windows = np.stack([self.columns[k : count + k, c, r] for r in range(3) for k in range(3)], axis=1)
            sums = spatial_dot(windows.astype(np.uint32), np.broadcast_to(self.spatial[c], windows.shape))
            between[:, c] = relu(add(sums, np.full(count, self.biases[0, c], np.uint32)))
        outputs = np.zeros_like(between)
        for c in range(channels):
            sums = mixing_dot(between, np.broadcast_to(self.mixing[c], between.shape))
            outputs[:, c] = relu(add(sums, np.full(count, self.biases[1, c], np.uint32)))
        assert (between > 0).any()
        assert (between == 0).any()
        return outputs


def shift_layer(channels: int, cycles: int) -> Layer:
    rng = np.random.default_rng(channels)
    spatial, mixing = (
        16 * rng.integers(0, 2, s) + rng.integers(0, 9, s) for s in ((channels, 9), (channels, channels))
    )
    numbers = rng.integers(-(2**31), 2**31, (cycles, channels, 3)) & 0xFFFFFFFF
    return Layer(spatial, mixing, rng.integers(-(2**20), 2**20, (2, channels)) & 0xFFFFFFFF, numbers)


def float_layer(channels: int, cycles: int) -> Layer:
    rng = np.random.default_rng(channels)
    shapes = ((channels, 9), (channels, channels), (2, channels), (cycles, channels, 3))
    numbers = [rng.normal(size=shape).astype(np.float32).view(np.uint32).astype(np.int64) for shape in shapes]
    numbers[3][rng.random(shapes[3]) < 0.1] = 0
    return Layer(*numbers)


def tree(terms: np.ndarray, add: Callable) -> np.ndarray:
    """(n, k) to (n,): pairs, then pairs of pairs; one without a partner waits."""
    while terms.shape[1] > 1:
        pairs = [add(terms[:, i], terms[:, i + 1]) for i in range(0, terms.shape[1] - 1, 2)]
        terms = np.stack([*pairs, *[terms[:, -1]] * (terms.shape[1] % 2)], axis=1)
    return terms[:, 0]


def rows_of_three(product: Callable, add: Callable) -> tuple[Callable, Callable]:
    """Dot products of a depthwise filter, three rows of three, and of a pixel, as the circuits add them."""

    def products(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return product(x.ravel(), np.ascontiguousarray(w, np.uint32).ravel()).reshape(x.shape)

    def spatial(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        found = products(x, w)
        return tree(np.stack([tree(found[:, 3 * r : 3 * r + 3], add) for r in range(3)], axis=1), add)

    return spatial, lambda x, w: tree(products(x, w), add)


def float_relu(values: np.ndarray) -> np.ndarray:
    return np.where(values >> np.uint32(31), np.uint32(0), values)


def shift_dot(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Dot products of elements of 8 exponents: a code of 15 exponents whose e is 7 larger shifts as far."""
    wide = np.where(codes % 16, codes + 7, codes)
    return wrapped_dots(signed32(x), wide) & 0xFFFFFFFF


def simulated(kind: str, channels: int, cycles: int, folder, sources: dict | None = None) -> tuple:
    """What the layer computes, and what it should."""
    base, step = LATENCIES[kind]
    latency = base + step * (channels - 1).bit_length()
    if kind == "shift":
        layer = shift_layer(channels, cycles)
        parameters, bits = {"CHANNELS": channels}, 5
        expected = layer.expected(
            shift_dot, shift_dot, lambda a, b: a + b & 0xFFFFFFFF, lambda v: np.where(v >> 31, 0, v)
        )  # fmt: skip
    else:
        layer, bits = float_layer(channels, cycles), 32
        number = ("float", "truncating", "fused").index(kind)
        soft = 52 if channels == 32 else channels + 1
        parameters = {"CHANNELS": channels, "FLOAT": 1, "KIND": number, "SOFT": soft}
        add = numpy_sum if kind == "float" else truncated_sum
        dots = rows_of_three(numpy_product if kind == "float" else truncated_product, add)
        spatial, mixing = (fused_dot, fused_dot) if kind == "fused" else dots
        expected = layer.expected(spatial, mixing, add, float_relu)
    (found,) = run(
        "verilator",
        rtl() if sources is None else sources,
        [layer.job(parameters, bits)],
        folder,
        HALVES[kind != "shift"],
    )
    # The window is complete with its third column, two cycles after its first.
    start = channels * (9 + channels) + 2 + latency
    return found[start:], expected[: len(found) - start]


@pytest.mark.parametrize("kind", LATENCIES)
def test_layer_of_four_channels(kind, tmp_path):
    found, expected = simulated(kind, 4, 110, tmp_path)
    assert found.shape == expected.shape
    assert len(found) > 40
    assert (found == expected).all()


@pytest.mark.parametrize("kind", ["shift", "float"])
def test_layer_of_the_article(kind, tmp_path):
    """32 channels, 1,312 products in parallel."""
    found, expected = simulated(kind, 32, 128, tmp_path)
    assert found.shape[1] == 32
    assert len(found) > 60
    assert (found == expected).all()


def test_planted_bug_in_the_order_of_weights_is_caught(tmp_path):
    sources = rtl()
    good = "held <= {next, held[N*BITS-1:BITS]}"
    assert sources["weight_store.v"].count(good) == 1
    sources["weight_store.v"] = sources["weight_store.v"].replace(good, "held <= {held[(N-1)*BITS-1:0], next}")
    found, expected = simulated("shift", 4, 60, tmp_path, sources)
    assert (found != expected).any()
