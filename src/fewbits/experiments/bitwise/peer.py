"""Peers in their own environment: answers questions, one a line, with seconds of the processor's time.

``product M N K`` is NumKong's Hamming distances, ``vector N`` an N × N matrix of ternary weights times one vector in
ggml's form TQ2_0 (two bits a weight, a scale for each 256; activations become bytes within the time). The first line
that is written says which questions are understood. Run by the experiment ``bitwise`` with the interpreter of an
environment that has ``numkong``, or ``llama-cpp-cffi`` and ``numba``; it imports nothing else.
"""

import ctypes
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WEIGHTS, WEIGHT_BYTES, ACTIVATION_BYTES = 256, 66, 292  # of a block of TQ2_0, and of one of its activations


def product(m: int, n: int, k: int) -> Callable[[], object]:
    """NumKong's Hamming distances of m × n rows of k bits."""
    import numkong

    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (rows, k // 8), dtype=np.uint8) for rows in (m, n))
    packed = numkong.hammings_pack(b, dtype="uint1")
    got = np.asarray(numkong.hammings_packed(a, packed))
    if not np.array_equal(got[:3, :5], np.bitwise_count(a[:3, None] ^ b[:5]).sum(-1)):
        raise ValueError("the peer counts wrong")
    return lambda: numkong.hammings_packed(a, packed)


def vector(n: int) -> Callable[[], object]:
    """An (n, n) ternary matrix times one vector, with the functions that ggml itself calls for each row."""
    from numba import njit

    found = importlib.util.find_spec("llama")  # not imported: its Python part needs more packages
    if found is None or found.submodule_search_locations is None:
        raise ImportError("llama-cpp-cffi is not installed")
    library = ctypes.CDLL(str(next(Path(found.submodule_search_locations[0]).glob("_llama_cpp_cpu.*.so"))))
    library.ggml_cpu_init()
    rng, blocks = np.random.default_rng(0), n // WEIGHTS
    w, x = rng.integers(-1, 2, (n, n)).astype(np.float32), rng.integers(-127, 128, n).astype(np.float32)
    x[::WEIGHTS] = 127  # so that bytes hold the others as they are
    weights, row = np.empty((n, blocks * WEIGHT_BYTES), np.uint8), np.empty(blocks * ACTIVATION_BYTES, np.uint8)
    place, size = ctypes.c_void_p, ctypes.c_int64
    library.quantize_row_tq2_0_ref.argtypes = [place, place, size]
    for floats, packed in zip(w, weights, strict=True):
        library.quantize_row_tq2_0_ref(floats.ctypes.data, packed.ctypes.data, n)
    dot, to_bytes, out = library.ggml_vec_dot_tq2_0_q8_K, library.quantize_row_q8_K, np.empty(n, np.float32)
    dot.argtypes, dot.restype = [ctypes.c_int, place, size, place, size, place, size, ctypes.c_int], None
    to_bytes.argtypes, to_bytes.restype = [place, place, size], None
    stride = weights.shape[1]

    @njit
    def multiply(y, first, activations, floats):
        to_bytes(floats, activations, n)
        for i in range(n):
            dot(n, y + 4 * i, 0, first + stride * i, 0, activations, 0, 1)

    def call() -> None:
        multiply(out.ctypes.data, weights.ctypes.data, row.ctypes.data, x.ctypes.data)

    call()
    if not np.allclose(out, w @ x, rtol=0, atol=0.5):  # integers, up to the rounding of floats
        raise ValueError("the peer multiplies wrong")
    return call


def main() -> None:
    """Answer until the input ends."""
    packages = {"product": ("numkong",), "vector": ("llama", "numba")}
    ready = [name for name, needs in packages.items() if all(map(importlib.util.find_spec, needs))]
    print(*ready, flush=True)
    calls: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        if line not in calls:
            name, *sizes = line.split()
            calls[line] = product(*map(int, sizes)) if name == "product" else vector(int(sizes[0]))
        before = time.process_time()
        calls[line]()
        print(time.process_time() - before, flush=True)


if __name__ == "__main__":
    main()
