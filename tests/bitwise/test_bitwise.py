"""Kernels on packed bits against integer arithmetic of NumPy, on every path that this processor has."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import strategies  # noqa: F401 (loads the profile)
import torch
from bitwise_inputs import COUNTS, OUTPUTS, ROWS, SEEDS, random_codes, random_signs, random_words
from hypothesis import given
from hypothesis import strategies as st

from fewbits.bitwise import conv, isa, lut, plain, tables, tiles
from fewbits.bitwise.conv import conv3x3, prepare_conv
from fewbits.bitwise.dots import prepare_dots
from fewbits.bitwise.gemm import plane_gemm, prepare, signs_gemm, xnor_gemm
from fewbits.bitwise.levels import LEVELS
from fewbits.bitwise.lut import lut_gemv, prepare_lut
from fewbits.bitwise.pack import bit_planes, sign_words, ternary_planes, threshold_words
from fewbits.core.packing import pack_signs

# --- Packing ----------------------------------------------------------------------------------------------------------


@given(ROWS, COUNTS, SEEDS, st.sampled_from([np.float32, np.float64]))
def test_signs_are_packed_as_the_reference_does(rows, count, seed, dtype):
    x = np.random.default_rng(seed).standard_normal((rows, count)).astype(dtype)
    x[0, 0] = [0.0, -0.0, np.nan, np.inf, -np.inf][seed % 5]
    for form in (x, np.asfortranarray(x), x[::-1, ::-1]):
        words = sign_words(form)
        assert words.dtype == np.uint64
        assert np.array_equal(words, pack_signs(torch.from_numpy(form.copy())))


@given(ROWS, COUNTS, SEEDS, st.integers(1, 8))
def test_planes_are_those_of_packbits(rows, count, seed, bits):
    codes = random_codes(seed, bits, rows, count)
    planes = bit_planes(codes, bits)
    for bit in range(bits):
        filled = np.pad(codes >> bit & 1, ((0, 0), (0, -count % 64)))
        assert np.array_equal(planes[bit], np.packbits(filled, axis=1, bitorder="little").view("<u8"))
    ternary = np.random.default_rng(seed).integers(-1, 2, (rows, count)).astype(np.int8)
    plus, minus = ternary_planes(ternary)
    assert np.array_equal(plus, bit_planes((ternary == 1).astype(np.uint8), 1)[0])
    assert np.array_equal(minus, bit_planes((ternary == -1).astype(np.uint8), 1)[0])


@given(ROWS, COUNTS, SEEDS)
def test_thresholds(rows, count, seed):
    rng = np.random.default_rng(seed)
    values, limits = rng.integers(-3, 4, (rows, count)).astype(np.int32), rng.integers(-3, 4, count).astype(np.int32)
    limits[0] = [-(2**31), 2**31 - 1][seed % 2]
    assert np.array_equal(threshold_words(values, limits), sign_words(np.where(values >= limits, 1.0, -1.0)))


def test_leading_axes_are_kept():
    x = random_signs(0, 2, 3, 4, 70)
    assert np.array_equal(sign_words(x), pack_signs(torch.from_numpy(x)))
    assert sign_words(x[0, 0, 0]).shape == (2,)
    assert bit_planes(random_codes(0, 2, 2, 3, 70), 2).shape == (2, 2, 3, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sign_words(np.ones((2, 3), np.int32)), TypeError, "x must be float32"),
        (lambda: sign_words(np.ones((2, 0), np.float32)), ValueError, "last axis"),
        (lambda: sign_words(np.float32(1).reshape(())), ValueError, "last axis"),
        (lambda: bit_planes(np.ones(3, np.int8), 1), TypeError, "codes must be uint8"),
        (lambda: bit_planes(np.full(3, 4, np.uint8), 2), ValueError, "codes must be below 4"),
        (lambda: bit_planes(np.ones(3, np.uint8), 9), ValueError, "bits must be 1 to 8"),
        (lambda: ternary_planes(np.full(3, 2, np.int8)), ValueError, "codes must be -1, 0 or 1"),
        (lambda: ternary_planes(np.ones(3, np.uint8)), TypeError, "codes must be int8"),
        (lambda: threshold_words(np.ones((2, 3), np.int64), np.ones(3, np.int32)), TypeError, "int32"),
        (lambda: threshold_words(np.ones((2, 3), np.int32), np.ones(2, np.int32)), ValueError, "limits"),
    ],
)
def test_bad_input_to_packing(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- Products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_binary_product_equals_integers(path, threads):
    @given(ROWS, OUTPUTS, COUNTS, SEEDS)
    def check(rows, outputs, count, seed):
        a, w = random_signs(seed, rows, count), random_signs(seed + 1, outputs, count)
        weights = prepare(sign_words(w))
        assert weights.path == path
        product = xnor_gemm(sign_words(a), weights, count, threads)
        assert product.dtype == np.int32
        assert np.array_equal(product, a.astype(int) @ w.astype(int).T)

    check()


def test_extreme_counts_do_not_overflow(path):
    """All bits differ, at the greatest length: the case that a sum of 8 or 16 bits would lose."""
    count = 64 * 1023
    a, w = np.zeros((5, 1023), np.uint64), np.full((70, 1023), 2**64 - 1, np.uint64)
    assert (xnor_gemm(a, prepare(w), count) == -count).all()
    assert (xnor_gemm(~a, prepare(w), count) == count).all()


@pytest.mark.parametrize(("a_bits", "w_bits"), [(1, 1), (1, 2), (2, 2), (3, 3), (4, 4), (8, 1), (4, 1)])
def test_planes_equal_integers(path, a_bits, w_bits):
    @given(ROWS, OUTPUTS, COUNTS, SEEDS, st.sampled_from([1, 3]))
    def check(rows, outputs, count, seed, threads):
        a, w = random_codes(seed, a_bits, rows, count), random_codes(seed + 1, w_bits, outputs, count)
        weights = prepare(bit_planes(w, w_bits))
        product = plane_gemm(bit_planes(a, a_bits), weights, threads=threads)
        assert np.array_equal(product, a.astype(int) @ w.astype(int).T)

    check()


def test_signed_planes(path):
    """The highest plane of two's complement counts negative."""
    rng = np.random.default_rng(0)
    a, w = rng.integers(-4, 4, (6, 200)), rng.integers(-8, 8, (70, 200))
    planes = bit_planes((a & 7).astype(np.uint8), 3), bit_planes((w & 15).astype(np.uint8), 4)
    product = plane_gemm(planes[0], prepare(planes[1]), (1, 2, -4), (1, 2, 4, -8))
    assert np.array_equal(product, a @ w.T)


def test_ternary_and_binary_weights(path):
    @given(ROWS, OUTPUTS, COUNTS, SEEDS, st.sampled_from([1, 2]))
    def check(rows, outputs, count, seed, threads):
        rng = np.random.default_rng(seed)
        a = rng.integers(-1, 2, (rows, count)).astype(np.int8)
        w = rng.integers(-1, 2, (outputs, count)).astype(np.int8)
        both = plane_gemm(ternary_planes(a), prepare(ternary_planes(w)), (1, -1), (1, -1), threads)
        assert np.array_equal(both, a.astype(int) @ w.astype(int).T)
        signs = random_signs(seed, outputs, count)
        mixed = signs_gemm(ternary_planes(a), prepare(sign_words(signs)), (1, -1), threads)
        assert np.array_equal(mixed, a.astype(int) @ signs.astype(int).T)
        pixels = random_codes(seed, 8, rows, count)
        images = signs_gemm(bit_planes(pixels, 8), prepare(sign_words(signs)), threads=threads)
        assert np.array_equal(images, pixels.astype(int) @ signs.astype(int).T)

    check()


def test_any_memory_layout(path):
    """Rows may lie apart, in any order and at any address."""
    words = random_words(0, 20, 14)
    a, w = words[::2, 1:12:2], words[1::2, 12:1:-2]
    want = 6 * 64 - 2 * np.bitwise_count(a[:, None] ^ w).sum(-1).astype(int)
    assert np.array_equal(xnor_gemm(a, prepare(w), 6 * 64), want)
    raw = np.zeros(8 * 61 + 1, np.uint8)
    raw[1:] = random_words(1, 61).view(np.uint8)
    odd = raw[1:].view(np.uint64)[:60].reshape(10, 6)  # not at a multiple of 8
    want = 6 * 64 - 2 * np.bitwise_count(odd[:, None] ^ w).sum(-1).astype(int)
    assert np.array_equal(xnor_gemm(odd, prepare(w), 6 * 64), want)


@given(ROWS, OUTPUTS, st.sampled_from([1, 2, 3, 7, 8, 9, 17]), SEEDS)
def test_levels_count_the_same(rows, outputs, width, seed):
    a, w = random_words(seed, rows, width), random_words(seed + 1, outputs, width)
    want = np.bitwise_count(a[:, None] ^ w).sum(-1)
    for name, (count, layout, needs_avx2) in LEVELS.items():
        if not needs_avx2 or "avx2" in isa.available():
            assert np.array_equal(count(a, layout(w))[:, :outputs], want), name


def test_a_damaged_table_is_noticed(monkeypatch):
    if "avx2" not in isa.available():
        pytest.skip("this processor has no avx2")
    monkeypatch.setenv("FEWBITS_ISA", "avx2")
    a, weights = np.full((4, 3), 0x3333333333333333, np.uint64), prepare(random_words(1, 64, 3))
    good = xnor_gemm(a, weights, 192)
    damaged = tables.TABLES.copy()
    damaged[16 * 0x33 + 7] += 1
    monkeypatch.setattr(tables, "TABLES", damaged)
    assert not np.array_equal(xnor_gemm(a, weights, 192), good)


def test_tables_hold_both_counts():
    for second, first, weight in ((0, 0, 0), (15, 0, 15), (5, 10, 3), (9, 6, 12)):
        entry = int(tables.TABLES[16 * (16 * second + first) + weight])
        assert entry & 15 == (first ^ weight).bit_count()
        assert entry >> 4 == (second ^ weight).bit_count()


@given(st.integers(0, 2**64 - 1))
def test_popcount(word):
    assert plain.popcount(np.uint64(word)) == word.bit_count()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prepare(np.ones((2, 2), np.int64)), TypeError, "words must hold uint64"),
        (lambda: prepare(np.ones((0, 2), np.uint64)), ValueError, "not empty"),
        (lambda: prepare(np.ones((2, 1024), np.uint64)), ValueError, "at most 1023 words"),
        (lambda: xnor_gemm(random_words(0, 2, 3), prepare(random_words(0, 2, 2)), 128), ValueError, "3 words a row"),
        (lambda: xnor_gemm(random_words(0, 2, 2), prepare(random_words(0, 2, 2)), 129), ValueError, "count 129"),
        (lambda: xnor_gemm(random_words(0, 2, 2), prepare(random_words(0, 3, 2, 2)), 128), ValueError, "one plane"),
        (lambda: signs_gemm(random_words(0, 2, 2, 2), prepare(random_words(0, 3, 2, 2))), ValueError, "one plane"),
        (
            lambda: plane_gemm(random_words(0, 2, 2, 2), prepare(random_words(0, 2, 2)), (1, 2, 4)),
            ValueError,
            "input_scales",
        ),
    ],
)
def test_bad_input_to_products(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- Paths ------------------------------------------------------------------------------------------------------------


def test_the_environment_is_checked(monkeypatch):
    monkeypatch.setenv("FEWBITS_ISA", "neon")
    with pytest.raises(ValueError, match="FEWBITS_ISA must be one of"):
        isa.chosen()
    monkeypatch.setenv("FEWBITS_ISA", "vpopcnt")
    monkeypatch.setattr(isa, "features", lambda: {"avx2"})
    assert isa.available() == ["plain", "avx2"]
    with pytest.raises(ValueError, match="avx512vpopcntdq"):
        isa.chosen()
    monkeypatch.delenv("FEWBITS_ISA")
    assert isa.chosen() == "avx2"


WIDE = {"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
# Features of processors, by a name of their kind -> the paths of products of bits, of tables of sums and of bytes.
PROCESSORS = {
    "ARM": (set(), "plain", "plain", "plain"),
    "Haswell": ({"avx2"}, "avx2", "avx2", "plain"),
    "Alder Lake": ({"avx2", "avxvnni"}, "avx2", "avx2", "plain"),
    "Skylake-X": (WIDE, "avx2", "avx512", "plain"),
    "Cascade Lake": (WIDE | {"avx512vnni"}, "avx2", "avx512", "vnni"),
    "Ice Lake": (WIDE | {"avx512vnni", "avx512vpopcntdq", "avx512vbmi"}, "vpopcnt", "avx512", "vnni"),
}


@pytest.mark.parametrize("processor", PROCESSORS)
def test_each_kind_of_processor_takes_its_best_kernels(processor, monkeypatch):
    present, of_bits, of_tables, of_bytes = PROCESSORS[processor]
    monkeypatch.delenv("FEWBITS_ISA", raising=False)
    monkeypatch.setattr(isa, "features", lambda: present)
    assert prepare(random_words(0, 2, 3)).path == of_bits
    assert prepare_conv(random_words(0, 2, 3, 3, 1), 64).path == of_bits
    assert prepare_lut(random_codes(0, 2, 3, 8), 2).path == of_tables
    assert prepare_dots(np.ones((3, 8), np.int8)).path == of_bytes


KERNELS = {"plain": (plain, "accumulate"), "avx2": (tables, "accumulate"), "vpopcnt": (tiles, "accumulate")}
CONVOLUTIONS = {"plain": "_conv_plain", "avx2": "_conv_tables", "vpopcnt": "_conv_tiles"}


def watched(monkeypatch, module, name: str, calls: list[str]) -> None:
    """Let calls of a function be listed, and answered as before."""
    function = getattr(module, name)

    def listed(*arguments):
        calls.append(f"{module.__name__.split('.')[-1]}.{name}")
        return function(*arguments)

    monkeypatch.setattr(module, name, listed)


def test_the_function_of_the_path_runs_and_no_other(path, monkeypatch):
    calls: list[str] = []
    for module, name in KERNELS.values():
        watched(monkeypatch, module, name, calls)
    for name in CONVOLUTIONS.values():
        watched(monkeypatch, conv, name, calls)
    xnor_gemm(random_words(0, 3, 2), prepare(random_words(1, 5, 2)), 128)
    conv3x3(random_words(0, 1, 3, 3, 1), prepare_conv(random_words(1, 2, 3, 3, 1), 64))
    module, name = KERNELS[path]
    assert calls == [f"{module.__name__.split('.')[-1]}.{name}", f"conv.{CONVOLUTIONS[path]}"]


@pytest.mark.parametrize("forced", ["plain", "avx2", "avx512", ""])
def test_tables_of_sums_use_the_widest_vectors_that_are_there(forced, monkeypatch):
    """On a processor with AVX-512 they once fell back to look-ups one by one."""
    if forced and forced not in isa.available():
        pytest.skip(f"this processor has no {forced}")
    monkeypatch.setenv("FEWBITS_ISA", forced)
    calls: list[str] = []
    for path in lut.PRODUCTS:
        function = lut.PRODUCTS[path]
        monkeypatch.setitem(lut.PRODUCTS, path, lambda *a, path=path, f=function: calls.append(path) or f(*a))
    lut_gemv(random_codes(0, 4, 64), prepare_lut(random_codes(1, 4, 64, 64), 4))
    assert calls == [forced or [name for name in lut.PRODUCTS if name in isa.available()][-1]]


@given(ROWS, OUTPUTS, st.sampled_from([1, 2, 3, 4, 5, 6, 9, 22]), SEEDS)
def test_tiles_count_the_same_on_any_processor(rows, outputs, width, seed):
    """The tile is portable code, so its steps are tested where the processor has no VPOPCNTDQ, too."""
    a, w = random_words(seed, rows, width), random_words(seed + 1, outputs, width)
    want = 3 * np.bitwise_count(a[:, None] ^ w).sum(-1).astype(np.int32) + 7
    for layout, words, groups in ((tiles.panels, a, 0), (tiles.prefix_panels, tiles.prefixed(a), width // 3)):
        inside = np.full((rows + 2, outputs), 7, np.int32)  # rows that nobody may touch above and below
        part, last = inside[1:-1], -(-rows // tiles.ROWS)
        tiles.accumulate(part, part, layout(w), words, np.int32(3), 0, last, groups)
        assert np.array_equal(part, want)
        assert (inside[[0, -1]] == 7).all()
        part[:] = -1
        tiles.accumulate(part, np.full((1, outputs), 7, np.int32), layout(w), words, np.int32(3), 0, last, groups)
        assert np.array_equal(part, want)
        assert (inside[[0, -1]] == 7).all()


def test_prefixes_by_hand():
    words = np.array([[1, 2, 4, 8, 16, 32, 64, 128]], np.uint64)
    assert tiles.prefixed(words).tolist() == [[1, 3, 7, 8, 24, 56, 64, 128]]
    assert words[0, 1] == 2  # a copy


COMPILE = """
import sys
from numba import types
from fewbits.bitwise import plain, tiles
matrix = lambda kind, axes: types.Array(kind, axes, "C")
sums = matrix(types.int32, 2)
common = (matrix(types.uint64, 3), matrix(types.uint64, 2))
if sys.argv[1] == "plain":
    function, outs, rest = plain.accumulate, (sums,), (matrix(types.int32, 1), types.int64, types.int64)
else:
    function, outs, rest = tiles.accumulate, (sums, sums), (types.int32, types.int64, types.int64, types.int64)
function.compile((*outs, *common, *rest))
print(*function.inspect_asm().values())
"""
OLD = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2"
NEW = f"{OLD},+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512vpopcntdq"  # LLVM prefers 256 bits on this processor
compiles_for_x86 = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="compiles for x86-64"
)


def assembly(tmp_path, cpu: str, features: str, kernel: str) -> str:
    """What a kernel becomes for another processor; it is compiled, not run."""
    settings = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", COMPILE, kernel]
    return subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True).stdout


@compiles_for_x86
def test_plain_source_becomes_vpopcntq_where_the_processor_has_it(tmp_path):
    wide = re.compile(r"vpopcntq\s+.*%zmm")
    assert len(wide.findall(assembly(tmp_path, "icelake-server", NEW, "plain"))) >= 8
    without = assembly(tmp_path, "haswell", OLD, "plain")
    assert not wide.search(without)
    assert "vpshufb" in without  # LLVM's own way to count bits with AVX2


@compiles_for_x86
def test_the_inner_loop_of_the_tile_keeps_its_sums_in_registers(tmp_path):
    text = assembly(tmp_path, "icelake-server", NEW, "tiles")
    loops = [body for body in re.split(r"^\.LBB\S+:$", text, flags=re.M) if body.count("vpternlogq") >= 8]
    assert len(loops) == 1
    (body,) = loops
    end = body.index("\tj")  # the jump back: what follows is no part of the loop
    assert body[:end].count("vpopcntq") == 16  # two counts for three words, four inputs and two registers of rows
    assert body[:end].count("vpternlogq") == 8
    assert "rsp" not in body[:end]  # nothing is spilled
    without = assembly(tmp_path, "haswell", OLD, "tiles")
    assert "%zmm" not in without
    assert "vpshufb" in without
