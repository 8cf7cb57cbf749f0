"""Products of bytes against integer arithmetic, on each path, and its steps without the instruction."""

import os
import subprocess
import sys

import numpy as np
import pytest
from bitwise_inputs import SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.bitwise import dots, isa
from fewbits.bitwise.dots import dot_gemm, dot_gemv, prepare_dots

SIZES = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 64, 65])
LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64, 100, 129])
KINDS = st.sampled_from([np.uint8, np.int8])


@pytest.fixture(params=dots.KERNELS)
def path(request, monkeypatch):
    if request.param not in isa.available():
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setenv("FEWBITS_ISA", request.param)
    return request.param


def operands(seed: int, rows: int, outputs: int, length: int, bits: int, kind: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    half = 1 << (bits - 1)
    weights = rng.integers(-half, half, (outputs, length)).astype(np.int8)
    return rng.integers(0, 256, (rows, length)).astype(np.uint8).view(kind), weights


def product(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return activations.astype(np.int64) @ weights.T.astype(np.int64)


@settings(deadline=None)  # a new path compiles
@given(SIZES, SIZES, LENGTHS, st.sampled_from(dots.BITS), KINDS, SEEDS)
def test_products_of_bytes_are_those_of_integers(rows, outputs, length, bits, kind, seed):
    activations, weights = operands(seed, rows, outputs, length, bits, kind)
    for path in [name for name in dots.KERNELS if name in isa.available()]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FEWBITS_ISA", path)
            prepared = prepare_dots(weights, bits)
        assert prepared.path == ("plain" if (path, bits) == ("avx2", 8) else path)
        assert np.array_equal(dot_gemm(activations, prepared), product(activations, weights))
        assert np.array_equal(dot_gemv(activations[0], prepared), product(activations, weights)[0])


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize(("kind", "value"), [(np.uint8, 255), (np.uint8, 0), (np.int8, -128), (np.int8, 127)])
def test_the_largest_products_do_not_overflow(path, rows, kind, value):
    activations = np.full((rows, dots.MOST_LENGTH), value, kind)
    for bits in dots.BITS:
        for weight in (-(1 << bits - 1), (1 << bits - 1) - 1):
            weights = np.full((2, dots.MOST_LENGTH), weight, np.int8)
            assert (dot_gemm(activations, prepare_dots(weights, bits)) == value * weight * dots.MOST_LENGTH).all()


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("bits", dots.BITS)
def test_the_function_of_the_path_runs_and_no_other(path, rows, bits, monkeypatch):
    calls: list[str] = []

    def listed(function, kind):
        return lambda *arguments: calls.append(function.__name__) or function(*arguments), kind

    for table in (dots.KERNELS, dots.ONE_VECTOR):
        for key, (function, kind) in table.items():
            monkeypatch.setitem(table, key, listed(function, kind))
    activations, weights = operands(0, rows, 3, 20, bits, np.uint8)
    dot_gemm(activations, prepare_dots(weights, bits))
    expected = {"plain": "_products_of_shorts", "avx2": "_vectors_of_codes", "vnni": "_products_of_bytes"}[path]
    if path == "avx2" and bits == 8:
        expected = "_products_of_shorts"
    if path == "vnni" and rows == 1:
        expected = "_one_vector_of_bytes" if bits == 8 else "_one_vector_of_codes"
    assert calls == [expected]


def test_packed_weights_take_their_bits(path):
    weights = np.ones((64, 4096), np.int8)
    sizes = [prepare_dots(weights, bits).panels.nbytes / weights.size for bits in dots.BITS]
    assert sizes == {"plain": [2, 2, 2], "avx2": [0.25, 0.5, 2], "vnni": [0.25, 0.5, 1]}[path]


@pytest.mark.parametrize(
    ("weights", "bits", "error", "message"),
    [
        (np.ones((2, 3), np.int8), 3, ValueError, "bits must be one of"),
        (np.ones((2, 3), np.uint8), 8, TypeError, "weights must be int8"),
        (np.ones(3, np.int8), 8, ValueError, "weights must be"),
        (np.ones((2, 0), np.int8), 8, ValueError, "weights must be"),
        (np.ones((1, dots.MOST_LENGTH + 1), np.int8), 8, ValueError, "K at most"),
        (np.full((2, 3), 2, np.int8), 2, ValueError, r"-2 … 1"),
        (np.full((2, 3), -9, np.int8), 4, ValueError, r"-8 … 7"),
    ],
)
def test_bad_weights_are_refused(weights, bits, error, message):
    with pytest.raises(error, match=message):
        prepare_dots(weights, bits)


@pytest.mark.parametrize(
    ("activations", "error"),
    [
        (np.ones((1, 3), np.int32), TypeError),
        (np.ones((1, 4), np.uint8), ValueError),
        (np.ones((0, 3), np.int8), ValueError),
    ],
)
def test_bad_activations_are_refused(activations, error):
    with pytest.raises(error, match="activations must be"):
        dot_gemm(activations, prepare_dots(np.ones((2, 3), np.int8)))


EMULATED = """
import numpy as np
from fewbits.bitwise import dots, isa
assert "vnni" not in isa.available()
rng = np.random.default_rng(0)
isa.best = lambda kernels: "vnni"
for bits in dots.BITS:
    for rows in (1, 9):
        half = 1 << (bits - 1)
        weights = rng.integers(-half, half, (33, 70)).astype(np.int8)
        activations = rng.integers(0, 256, (rows, 70)).astype(np.uint8)
        prepared = dots.prepare_dots(weights, bits)
        assert prepared.path == "vnni"
        assert np.array_equal(dots.dot_gemm(activations, prepared), activations.astype(int) @ weights.T.astype(int))
assembly = " ".join(dots._products_of_bytes.inspect_asm().values())
assert "vpdpbusd" not in assembly and "%zmm" not in assembly
dots.tile_of_shorts(np.zeros(64, np.uint8), 0, np.zeros(16, np.uint8), 0, 4, 1, np.zeros(64, np.int32))
assert "vpmaddwd" in " ".join(dots.tile_of_shorts.inspect_asm().values())
print("emulated")
"""


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="compiles for x86-64 with AVX2")
@pytest.mark.skipif("avx2" not in isa.features(), reason="runs code for AVX2")
def test_the_steps_of_vnni_are_right_where_a_processor_lacks_it(tmp_path):
    features = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2"
    settings = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment = {key: value for key, value in os.environ.items() if key != "FEWBITS_ISA"} | settings
    command = [sys.executable, "-c", EMULATED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "emulated\n", done.stderr
