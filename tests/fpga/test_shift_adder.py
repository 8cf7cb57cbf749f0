"""The shift-adder: plain loop against fractions and NumPy's int32, fast kernels against the plain loop."""

import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile)
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits.bitwise import isa
from fewbits.core.codes import Codes
from fewbits.fpga.fixed_point import QFormat
from fewbits.fpga.kernels import counted_sums, make_terms, wrapping_sums
from fewbits.fpga.lanes import LANES
from fewbits.fpga.shift_adder import dot, product, shift_of
from fewbits.inq import InqQuantizer

LOW, HIGH = -(2**31), 2**31 - 1
CORNERS = [LOW, LOW + 1, -65536, -255, -129, -128, -127, -3, -2, -1, 0, 1, 2, 3, 127, 128, 255, 65536, HIGH - 1, HIGH]
WRITTEN = [*range(9), *range(17, 25)]  # the 17 fields that INQ writes
words = st.one_of(st.sampled_from(CORNERS), st.integers(LOW, HIGH))


def weight_of(code: int, n1: int) -> Fraction:
    """What a field of 5 bits stands for, by the table in `fewbits.inq`."""
    e = code % 16
    return (-1) ** (code // 16) * Fraction(2) ** (n1 - 7 + e - 1) if e else Fraction(0)


def exact_product(x: int, code: int, n1: int) -> int:
    weight = weight_of(code, n1)
    rounded = math.floor(x * abs(weight))
    return -rounded if weight < 0 else rounded


# --- One product ------------------------------------------------------------------------------------------------------


def test_by_hand():
    # e = 8 is 2^0, e = 7 is 2^-1, and 16 more is the minus.
    assert [product(5, code) for code in (8, 7, 6, 5, 0)] == [5, 2, 1, 0, 0]
    assert [product(5, 16 + code) for code in (8, 7, 6, 5, 0)] == [-5, -2, -1, 0, 0]
    assert [product(-5, code) for code in (8, 7, 6, 5, 0)] == [-5, -3, -2, -1, 0]  # rounds down: -1 stays -1
    assert product(-5, 16 + 7) == 3  # -(-5 >> 1), not 5 >> 1
    assert product(5, 8, n1=2) == 20
    assert product(2**30, 8, n1=1) == LOW  # wraps
    assert product(2**30, 8, n1=1, overflow="saturate") == 2**31
    assert product(LOW, 24) == LOW  # -(-2^31) is itself, modulo 2^32
    assert product(LOW, 24, overflow="saturate") == 2**31  # the 33rd bit


@pytest.mark.parametrize("n1", [-9, -7, 0, 3])
@pytest.mark.parametrize("x", CORNERS)
def test_corners_times_all_codes(x, n1):
    for code in range(32):
        exact = exact_product(x, code, n1)
        assert product(x, code, n1, overflow="saturate") == exact
        assert product(x, code, n1) == (exact + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize("n1", [-20, -1, 0, 4])
def test_fields_mean_what_inq_wrote(n1):
    scale = torch.tensor(2.0 ** (n1 - 7), dtype=torch.float64)
    codes = Codes(torch.tensor(WRITTEN), 5, scale, levels=InqQuantizer(5).levels(), signed=False)
    x = 2**27 * 3  # no bit is dropped
    for code, weight in zip(WRITTEN, codes.decode().tolist(), strict=True):
        assert product(x, code, n1, overflow="saturate") == x * Fraction(weight)


def test_against_int32_of_numpy():
    rng = np.random.default_rng(0)
    x = rng.integers(LOW, HIGH, 100_000, endpoint=True).astype(np.int32)
    codes = rng.choice(WRITTEN, x.size)
    n = (8 - codes % 16).astype(np.int32)
    shifted = np.right_shift(x, n)
    with np.errstate(over="ignore"):
        expected = np.where(codes % 16 == 0, 0, np.where(codes >= 16, -shifted, shifted))
    assert [product(a, c) for a, c in zip(x.tolist(), codes.tolist(), strict=True)] == expected.tolist()


def test_shift_then_negate_is_not_negate_then_shift():
    differing = sum(product(x, 16 + 7) != product(-x, 7) for x in range(-1000, 1001))
    assert differing == 1000  # every odd x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shift_of(32), "code must lie between 0 and 31, got 32"),
        (lambda: shift_of(-1), "code must lie between 0 and 31, got -1"),
        (lambda: product(2**31, 8), "x must fit 32 bits"),
        (lambda: product(8, 8, width=4), "x must fit 4 bits, got 8"),
        (lambda: product(1, 8, overflow="clip"), "overflow must be 'wrap' or 'saturate', got 'clip'"),
        (lambda: dot([1], [8], LOW - 1), "accumulator must fit 32 bits"),
        (lambda: dot([1, 2], [8]), "shorter"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- Dot products -----------------------------------------------------------------------------------------------------


def test_every_product_is_rounded_on_its_own():
    assert dot([1, 1], [7, 7]) == 0  # ½ + ½ would be 1
    assert dot([-1, -1], [7, 7]) == -2


def test_saturation_depends_on_the_order_and_wrapping_does_not():
    up, down = ([HIGH, 1, -1], [8, 8, 8]), ([-1, HIGH, 1], [8, 8, 8])
    assert dot(*up, overflow="saturate") == HIGH - 1
    assert dot(*down, overflow="saturate") == HIGH
    assert dot(*up) == dot(*down) == HIGH
    assert dot([LOW], [24], overflow="saturate") == HIGH
    assert dot([LOW], [24], -1, overflow="saturate") == HIGH  # -1 + 2^31 fits: the term must not be limited before


@given(st.lists(st.tuples(words, st.integers(0, 31)), max_size=12), words, st.integers(-8, 2), st.randoms())
def test_dot_is_the_exact_sum_modulo_two_to_the_32(pairs, start, n1, random):
    exact = start + sum(exact_product(x, code, n1) for x, code in pairs)
    random.shuffle(pairs)
    x, codes = zip(*pairs, strict=True) if pairs else ((), ())
    assert dot(x, codes, start, n1) == (exact + 2**31) % 2**32 - 2**31


@given(st.lists(st.tuples(words, st.integers(0, 31)), max_size=12), words)
def test_saturating_dot_limits_every_sum(pairs, start):
    total = start
    for x, code in pairs:
        total = min(max(total + exact_product(x, code, 0), LOW), HIGH)
    assert dot(*(zip(*pairs, strict=True) if pairs else ((), ())), start, overflow="saturate") == total


# --- Fast kernels -----------------------------------------------------------------------------------------------------


@st.composite
def layers(draw):
    """A layer of fields with the inputs of LANES images, all of one width."""
    width = draw(st.sampled_from([32, 31, 24, 9]))
    outputs, inputs = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = rng.choice(draw(st.sampled_from([WRITTEN, range(32)])), (outputs, inputs)).astype(np.uint8)
    x, bias = (draw_words(rng, width, shape) for shape in ((inputs, LANES), (outputs,)))
    return codes, draw(st.integers(-30, 3)), x, bias, width


def draw_words(rng, width, shape):
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    words = rng.integers(low, high, shape, endpoint=True)
    corners = rng.choice([low, low + 1, -1, 0, 1, high], shape)
    return np.where(rng.random(shape) < 0.3, corners, words).astype(np.int32)


def plain(codes, n1, x, bias, width, overflow):
    return [
        [
            dot(x[:, lane].tolist(), codes[o].tolist(), int(bias[o]), n1, overflow=overflow, width=width)
            for lane in range(LANES)
        ]
        for o in range(len(codes))
    ]


def fast(codes, n1, x, bias, width, relu=False):
    terms = make_terms(codes, np.broadcast_to(np.arange(len(x)), codes.shape), n1)
    zero, out = np.zeros(1, np.int64), np.empty((len(codes), LANES), np.int32)
    wrapping_sums(x, zero, *terms.by_sign(), bias, np.int32(32 - width), relu, out, zero)
    return out.tolist()


def counted(codes, n1, x, bias, width, overflow, relu=False, used=LANES):
    terms = make_terms(codes, np.broadcast_to(np.arange(len(x)), codes.shape), n1)
    zero, out, census = np.zeros(1, np.int64), np.zeros((len(codes), LANES), np.int32), np.zeros(4, np.int64)
    form = QFormat(width, 0)
    limits = np.int64(form.low), np.int64(form.high), overflow == "saturate"
    parts = terms.offset, terms.n, terms.sign, terms.begin
    counted_sums(x, zero, *parts, bias, *limits, relu, out, zero, used, census)
    return out.tolist(), census.tolist()


@given(layers())
def test_fast_kernel_is_the_plain_loop(layer):
    assert fast(*layer) == plain(*layer, "wrap")


COMPILE = """
import numpy as np
from numba import types

from fewbits.fpga.kernels import wrapping_sums

whole, wide = types.Array(types.int32, 2, "C"), types.Array(types.int64, 1, "C")
narrow = types.Array(types.int32, 1, "C")
wrapping_sums.compile((whole, wide, wide, narrow, wide, narrow, types.int32, types.boolean, whole, wide))
print(*wrapping_sums.inspect_asm().values())
"""
OLD = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2"
NEW = f"{OLD},+avx512f,+avx512bw,+avx512dq,+avx512vl"  # LLVM prefers 256 bits on this processor
x86 = pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="compiles for x86-64")


def compiled_for(tmp_path, cpu, features, program):
    settings = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True).stdout


@x86
def test_the_fast_kernel_takes_the_largest_registers(tmp_path):
    new = compiled_for(tmp_path, "icelake-server", NEW, COMPILE)
    old = compiled_for(tmp_path, "haswell", OLD, COMPILE)
    assert "vpsrad" in new
    assert "vpsrad" in old
    assert "%zmm" in new
    assert "%zmm" not in old
    assert "%ymm" in old


EQUAL = """
import numpy as np

from fewbits.fpga.kernels import make_terms, wrapping_sums

rng = np.random.default_rng(0)
x = rng.integers(-(2**31), 2**31, (40, 32)).astype(np.int32)
codes, bias = rng.integers(0, 32, (5, 9)).astype(np.uint8), rng.integers(-99, 99, 5).astype(np.int32)
terms = make_terms(codes, np.broadcast_to(np.arange(9), codes.shape), -1)
base, out = np.array([0, 7, 31]), np.zeros((15, 32), np.int32)
wrapping_sums(x, base, *terms.by_sign(), bias, np.int32(8), True, out, np.array([0, 5, 10]))
print(out.tolist())
"""


@x86
@pytest.mark.skipif("avx2" not in isa.features(), reason="runs code for AVX2")
def test_the_fast_kernel_computes_the_same_with_registers_of_32_bytes(tmp_path):
    here = subprocess.run([sys.executable, "-c", EQUAL], check=True, capture_output=True, text=True).stdout
    assert compiled_for(tmp_path, "haswell", OLD, EQUAL) == here
    assert len(here) > 1000


@given(layers(), st.sampled_from(["wrap", "saturate"]))
def test_counting_kernel_is_the_plain_loop(layer, overflow):
    assert counted(*layer, overflow)[0] == plain(*layer, overflow)


@given(layers(), st.booleans())
def test_relu(layer, saturate):
    overflow = "saturate" if saturate else "wrap"
    expected = np.maximum(plain(*layer, overflow), 0).tolist()
    assert counted(*layer, overflow, relu=True)[0] == expected
    assert saturate or fast(*layer, relu=True) == expected


def test_100_000_dot_products_of_the_fast_kernel():
    rng = np.random.default_rng(1)
    for _ in range(25):
        codes = rng.choice(WRITTEN, (128, 32)).astype(np.uint8)
        x, bias = (draw_words(rng, 32, shape) for shape in ((32, LANES), (128,)))
        n = np.where(codes % 16, 8 - codes % 16, 63)[:, :, None].astype(np.int64)
        terms = (
            np.where(codes[:, :, None] >= 16, -1, 1) * (x.astype(np.int64)[None] >> n) * (codes % 16 > 0)[:, :, None]
        )
        assert fast(codes, 0, x, bias, 32) == (terms.sum(1) + bias[:, None]).astype(np.int32).tolist()


@given(layers(), st.integers(1, LANES))
def test_census_counts_what_happens(layer, used):
    codes, n1, x, bias, width = layer
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    products, partial, final, largest = 0, 0, 0, 0
    for o in range(len(codes)):
        for lane in range(used):
            total, left = int(bias[o]), False
            for value, code in zip(x[:, lane].tolist(), codes[o].tolist(), strict=True):
                if code % 16:
                    term = exact_product(value, code, n1)
                    total += term
                    products += not low <= term <= high
                    left |= not low <= total <= high
                    largest = max(largest, total if total >= 0 else -total - 1)
            partial += left
            final += not low <= total <= high
    out, census = counted(*layer, "wrap", used=used)
    assert census[:3] == [products, partial, final]
    assert census[3].bit_length() == largest.bit_length()
    assert not np.array(out)[:, used:].any()


# --- Planted faults ---------------------------------------------------------------------------------------------------


def rounded_towards_zero(x, codes, start):
    return start + sum(int(x_ * weight_of(c, 0)) for x_, c in zip(x, codes, strict=True))


def negated_first(x, codes, start):
    return start + sum(math.floor(x_ * weight_of(c, 0)) for x_, c in zip(x, codes, strict=True))


def shifted_last(x, codes, start):
    return start + math.floor(sum(x_ * weight_of(c, 0) for x_, c in zip(x, codes, strict=True)))


def logical_shift(x, codes, start):
    return start + sum(
        int(x_ % 2**32 * abs(weight_of(c, 0))) * (-1 if c >= 16 else 1) for x_, c in zip(x, codes, strict=True)
    )


def sign_of_zero_forgotten(x, codes, start):
    return start + sum(x_ if c == 0 else exact_product(x_, c, 0) for x_, c in zip(x, codes, strict=True))


FAULTS = (rounded_towards_zero, negated_first, shifted_last, logical_shift, sign_of_zero_forgotten)


@pytest.mark.parametrize("faulty", FAULTS)
def test_a_damaged_circuit_is_noticed(faulty):
    rng = np.random.default_rng(2)
    x = draw_words(rng, 32, (100, 8)).tolist()
    codes = rng.choice(WRITTEN, (100, 8)).tolist()
    wrapped = [(faulty(a, c, 7) + 2**31) % 2**32 - 2**31 for a, c in zip(x, codes, strict=True)]
    assert wrapped != [dot(a, c, 7) for a, c in zip(x, codes, strict=True)]
