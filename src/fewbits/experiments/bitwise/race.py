"""What is timed: products, levels, convolutions, products with one vector, few bits, threads, the network."""

import os
import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from fewbits.bitwise import isa
from fewbits.bitwise.conv import ConvWeights, conv3x3, prepare_conv
from fewbits.bitwise.dots import BITS, dot_gemm, dot_gemv, prepare_dots
from fewbits.bitwise.gemm import Weights, plane_gemm, prepare, signs_gemm, xnor_gemm
from fewbits.bitwise.levels import LEVELS
from fewbits.bitwise.lut import lut_gemm, lut_gemv, prepare_lut
from fewbits.bitwise.network import pack_network
from fewbits.bitwise.pack import bit_planes, sign_words, ternary_planes, threshold_words
from fewbits.experiments.binary.run import binary_net
from fewbits.experiments.bitwise.others import Peer, onnx_few_bits, onnx_float, onnx_int8, torch_int8, torch_products
from fewbits.experiments.bitwise.turns import Call, Times, in_turns, speedups
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.comparison import TASKS, prepared
from fewbits.training import load_model

# (M, N, K): one large product, and those of convolutions of ResNet-18 as matrices.
SHAPES = ((1024, 1024, 4096), (3136, 64, 576), (784, 256, 2304), (3136, 512, 4608))
CONVS = ((56, 64), (28, 128), (14, 256), (7, 512))  # side, channels
VECTOR = 4096
BUSY = 1.5  # load of the machine, this program included
SMALL = (64, 64, 512)  # where a contestant without fast code need not be waited for


def _rows(task: str, times: dict[str, Times], macs: int | None = None, threads: bool = False) -> Iterator[dict]:
    """A row a contestant, the first of which is the reference.

    Times are medians over rounds. GOP/s and ratios are by the processor's time, unless names are numbers of threads.
    """
    for (name, found), ratios in zip(times.items(), speedups(times, by_wall=threads).values(), strict=True):
        wall, cpu = statistics.median(found.wall), statistics.median(found.cpu)
        yield {
            "task": task,
            "contestant": "xnor" if threads else name,
            "threads": int(name) if threads else 1,
            "milliseconds": 1e3 * wall,
            "cpu_milliseconds": 1e3 * cpu,
            "gops": 2 * macs / (wall if threads else cpu) / 1e9 if macs else np.nan,
        } | ratios


def _packed_product(a: np.ndarray, weights: Weights, k: int) -> np.ndarray:
    return xnor_gemm(sign_words(a), weights, k)


def _packed_convolution(image: np.ndarray, weights: ConvWeights) -> np.ndarray:
    return conv3x3(sign_words(image), weights)


def _product_of_planes(codes: np.ndarray, bits: int, weights: Weights) -> np.ndarray:
    return plane_gemm(bit_planes(codes, bits), weights)


def products(rounds: int, peer: Peer | None) -> Iterator[dict]:
    """The binary product against float32, bfloat16, int8 and a binary peer."""
    rng = np.random.default_rng(0)
    for m, n, k in SHAPES:
        a = rng.standard_normal((m, k)).astype(np.float32)
        words, weights = sign_words(a), prepare(sign_words(rng.standard_normal((n, k)).astype(np.float32)))
        calls = torch_products(m, n, k) | {
            "onnxruntime float32": onnx_float(m, n, k),
            "onnxruntime int8": onnx_int8(m, n, k),
            "xnor": partial(xnor_gemm, words, weights, k),
            "xnor, with packing": partial(_packed_product, a, weights, k),
        }
        if peer and "product" in peer.questions:
            calls["numkong"] = partial(peer.seconds, "product", m, n, k)
        yield from _rows(f"product {m} {n} {k}", in_turns(calls, rounds), m * n * k)
    m, n, k = SMALL
    calls = {"torch float32": torch_products(m, n, k)["torch float32"], "torch int8": torch_int8(m, n, k)}
    yield from _rows(f"product {m} {n} {k}", in_turns(calls, rounds), m * n * k)


def levels(rounds: int) -> Iterator[dict]:
    """The ladder of the chapter, on the first shape."""
    m, n, k = SHAPES[0]
    rng = np.random.default_rng(0)
    a, w = (rng.integers(0, 2**64, (rows, k // 64), dtype=np.uint64) for rows in (m, n))
    calls = {"torch float32": torch_products(m, n, k)["torch float32"]}
    for name, (count, layout, needs_avx2) in LEVELS.items():
        if not needs_avx2 or "avx2" in isa.available():
            calls[name] = partial(count, a, layout(w))
    yield from _rows("levels", in_turns(calls, rounds), m * n * k)


def convolutions(rounds: int) -> Iterator[dict]:
    """3×3 convolutions of one image, from float32 to int32: signs are packed within the time."""
    rng = np.random.default_rng(0)
    for side, channels in CONVS:
        image = rng.standard_normal((1, side, side, channels)).astype(np.float32)
        kernels = rng.standard_normal((channels, 3, 3, channels)).astype(np.float32)
        weights = prepare_conv(sign_words(kernels), channels)
        last = torch.from_numpy(image).permute(0, 3, 1, 2)  # channels last
        first, kernel = last.contiguous(), torch.from_numpy(kernels).permute(0, 3, 1, 2)
        kernel_first = kernel.contiguous()
        calls: dict[str, Call] = {
            "torch float32, channels last": partial(F.conv2d, last, kernel, padding=1),
            "torch float32": partial(F.conv2d, first, kernel_first, padding=1),
            "xnor, with packing": partial(_packed_convolution, image, weights),
        }
        with torch.inference_mode():
            times = in_turns(calls, 2 * rounds)
        yield from _rows(f"convolution {side} {channels}", times, 9 * side**2 * channels**2)


def vectors(rounds: int, peer: Peer | None = None) -> Iterator[dict]:
    """A matrix times one vector: activations of 4 bits by tables, of 8 bits by bytes, weights of 1 to 8."""
    rng, n = np.random.default_rng(0), VECTOR
    activations, codes = (rng.integers(0, 16, shape).astype(np.uint8) for shape in (n, (n, n)))
    w, x = torch.randn(n, n), torch.randn(n)
    int8 = onnx_int8(1, n, n)
    calls: dict[str, Call] = {"torch float32": lambda: torch.mv(w, x), "onnxruntime int8": int8}
    calls |= {f"onnxruntime {bits} bits": onnx_few_bits(n, n, bits) for bits in (2, 4)}
    for bits in (1, 2, 3, 4):
        weights = prepare_lut(codes >> (4 - bits), bits)
        calls[f"tables {bits} bits"] = partial(lut_gemv, activations, weights)
    signed, wide = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((n, n), n))
    for bits in BITS:
        calls[f"bytes {bits} bits"] = partial(dot_gemv, wide, prepare_dots(signed >> (8 - bits), bits))
    if peer and "vector" in peer.questions:
        calls["ggml ternary"] = partial(peer.seconds, "vector", n)
    yield from _rows("vector", in_turns(calls, 2 * rounds), n * n)


def few_bits(rounds: int) -> Iterator[dict]:
    """Products of a-bit and w-bit integers on the first shape, bit by bit and by tables, from codes to int32."""
    m, n, k = SHAPES[0]
    rng = np.random.default_rng(0)
    a, w = (rng.integers(0, 16, (rows, k)).astype(np.uint8) for rows in (m, n))
    calls = {"torch float32": torch_products(m, n, k)["torch float32"], "onnxruntime int8": onnx_int8(m, n, k)}
    for a_bits, w_bits in ((1, 1), (2, 1), (2, 2), (3, 3), (4, 4)):
        codes, weights = a >> (4 - a_bits), prepare(bit_planes(w >> (4 - w_bits), w_bits))
        calls[f"planes {a_bits}×{w_bits}"] = partial(_product_of_planes, codes, a_bits, weights)
    for bits in (2, 3, 4):
        tables = prepare_lut(w >> (4 - bits), bits)
        calls[f"tables {bits}×{bits}"] = partial(lut_gemm, a >> (4 - bits), tables)
    ternary = (a % 3).astype(np.int8) - 1
    signs = prepare(sign_words(rng.standard_normal((n, k)).astype(np.float32)))
    both = prepare(ternary_planes((w % 3).astype(np.int8) - 1))
    calls["ternary×binary"] = lambda: signs_gemm(ternary_planes(ternary), signs, (1, -1))
    calls["ternary×ternary"] = lambda: plane_gemm(ternary_planes(ternary), both, (1, -1), (1, -1))
    calls["bytes 8×8"] = partial(dot_gemm, a, prepare_dots((w - 8).astype(np.int8)))
    calls["ternary×bytes"] = partial(dot_gemm, a, prepare_dots((w % 3).astype(np.int8) - 1, 2))
    yield from _rows("few bits", in_turns(calls, rounds), m * n * k)


def two_threads(rounds: int) -> Iterator[dict]:
    """The first shape with one and two threads, unless other programs want the second core, too."""
    if os.getloadavg()[0] > BUSY:
        print(f"no times of two threads: the load of the machine is {os.getloadavg()[0]:.1f}")
        return
    m, n, k = SHAPES[0]
    rng = np.random.default_rng(0)
    a, w = (rng.integers(0, 2**64, (rows, k // 64), dtype=np.uint64) for rows in (m, n))
    weights = prepare(w)
    calls = {"1": lambda: xnor_gemm(a, weights, k), "2": lambda: xnor_gemm(a, weights, k, threads=2)}
    yield from _rows("threads", in_turns(calls, 2 * rounds), m * n * k, threads=True)


def packing(rounds: int) -> Iterator[dict]:
    """Signs of 16 MiB of float32 into words."""
    x = np.random.default_rng(0).standard_normal((1024, 4096)).astype(np.float32)
    yield from _rows("packing", in_turns({"signs": lambda: sign_words(x)}, rounds))


# --- The network ------------------------------------------------------------------------------------------------------


def trained_network() -> tuple[nn.Sequential, np.ndarray, torch.Tensor]:
    """The kept BinaryNet, the test images of mnist5k as pixels (1000, 784) uint8, and as it was trained on them."""
    model = load_model(binary_net(TASKS["mnist5k"].network), checkpoint_path("binary-binarynet")).eval()
    assert isinstance(model, nn.Sequential)
    images = prepared("mnist5k").test_images
    return model, ((images + 1) * 127.5).round().to(torch.uint8).flatten(1).numpy(), images


def network(rounds: int) -> Iterator[dict]:
    """1000 images through the BinaryNet, in float32 and on packed bits, and what its parts take."""
    model, pixels, images = trained_network()
    packed = pack_network(model, 1 / 127.5, -1.0)
    for layer in model:
        if isinstance(layer, nn.Linear):
            parametrize.remove_parametrizations(layer, "weight")  # its signs, computed once
    planes, hidden, layers = bit_planes(pixels, 8), packed.hidden(pixels), packed.layers
    first, limits = signs_gemm(planes, layers[0].weights), layers[0].limits
    assert limits is not None  # a hidden layer has them
    float_first = images.flatten(1)
    with torch.inference_mode():
        model_hidden = nn.Sequential(*model)[:4](images)
    calls = {
        "float32": lambda: model(images),
        "packed": lambda: packed(pixels),
        "float32, first layer": lambda: model[1](float_first),
        "packed, planes of pixels": lambda: bit_planes(pixels, 8),
        "packed, first layer": lambda: signs_gemm(planes, layers[0].weights),
        "packed, one hidden layer": lambda: xnor_gemm(hidden[0], layers[1].weights, 128),
        "packed, one threshold": lambda: threshold_words(first, limits),
        "float32, one hidden layer": lambda: model[4](model_hidden),
    }
    with torch.inference_mode():
        times = in_turns(calls, 2 * rounds)
    yield from _rows("network", times)
