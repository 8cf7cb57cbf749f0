"""The two cheaper kinds of floating point: by hand, against exact arithmetic, and as gates."""

from fractions import Fraction

import numpy as np
import pytest
from float_vectors import corners, pairs
from rtl_bench import Job, run

from fewbits.fpga.float_units import fused_dot, truncated_product, truncated_sum
from fewbits.fpga.netlist import Netlist
from fewbits.fpga.synthesis import rtl, synthesize


def bits(*values: float) -> np.ndarray:
    return np.array(values, np.float32).view(np.uint32)


def exact(number: int) -> Fraction:
    """What the bits of a number stand for here: an exponent field of 0 is 0, one of 255 an ordinary number."""
    sign, exponent, fraction = int(number) >> 31, int(number) >> 23 & 255, int(number) & 0x7FFFFF
    return Fraction(0) if exponent == 0 else (-1) ** sign * (2**23 + fraction) * Fraction(2) ** (exponent - 150)


def cut(value: Fraction) -> Fraction:
    """Towards zero to 24 bits; 0 below 2^-126."""
    if abs(value) < Fraction(2) ** -126:
        return Fraction(0)
    place = abs(value).numerator.bit_length() - value.denominator.bit_length() - 24
    if abs(value) / Fraction(2) ** place >= 2**24:
        place += 1
    unit = Fraction(2) ** place
    return (abs(value) // unit) * unit * (1 if value > 0 else -1)


def in_range(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs whose product and sum are far from 2^129."""
    return ((a >> 23 & 255) + (b >> 23 & 255) < 380) & ((a >> 23 & 255) < 254) & ((b >> 23 & 255) < 254)


def small_pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = pairs(count)
    keep = in_range(a, b)
    return a[keep], b[keep]


def many(count: int, terms: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(count, terms) twice: exponents close together and far apart, cancelling sums, zeros."""
    rng = np.random.default_rng(seed)
    spread = rng.integers(0, 60, (count, 1))
    exponents = (100 + rng.integers(0, 1 + spread, (2, count, terms))).astype(np.uint32)
    found = rng.integers(0, 2**32, (2, count, terms), dtype=np.uint32) & np.uint32(0x807FFFFF)
    found |= exponents << np.uint32(23)
    found[:, ::5, ::3] &= np.uint32(0x807FFFFF)  # an exponent field of 0 with a fraction
    x, weights = found
    half = terms // 2
    x[::4, :half], weights[::4, :half] = x[::4, half : 2 * half], weights[::4, half : 2 * half] ^ np.uint32(1 << 31)
    x[:3] = 0
    x[3:20] = rng.choice(corners()[corners() < 0x60000000], (17, terms))
    return x, weights


# --- By hand, and against exact arithmetic ---


def test_by_hand():
    assert truncated_product(bits(1.5), bits(-2.0)) == bits(-3.0)
    assert truncated_sum(bits(1.5), bits(-2.0)) == bits(-0.5)
    assert truncated_sum(bits(1.5), bits(-1.5)) == 0
    assert truncated_product(bits(-1.0), bits(0.0)) == 0  # one zero only, of positive sign
    one_more = np.array([0x3F800001], np.uint32)  # 1 + 2^-23; its square is 1 + 2^-22 + 2^-46
    assert truncated_product(one_more, one_more) == 0x3F800002
    # 1 - 2^-26 is cut off before it is subtracted: it leaves 1, where IEEE rounds to 1 too; 1 - 2^-24 is exact.
    assert truncated_sum(bits(1.0), bits(-(2.0**-26))) == bits(1.0)
    assert truncated_sum(bits(1.0), bits(-(2.0**-24))) == bits(1 - 2.0**-24)
    assert fused_dot(bits(1.5, 2.0)[None], bits(-2.0, 4.0)[None]) == bits(5.0)
    # 2^-30 lies below the 24 places after the point of the product 1.
    assert fused_dot(bits(1.0, 2.0**-30, -1.0)[None], bits(1.0, 1.0, 1.0)[None]) == 0


def test_product_is_the_exact_one_cut_off():
    a, b = (side[::40] for side in small_pairs(40_000))
    found = truncated_product(a, b)
    assert all(exact(p) == cut(exact(x) * exact(y)) for x, y, p in zip(a, b, found, strict=True))


def test_sum_is_within_a_unit_of_the_last_place():
    a, b = (side[::40] for side in small_pairs(40_000))
    for x, y, s in zip(a, b, truncated_sum(a, b), strict=True):
        true = exact(x) + exact(y)
        if abs(true) >= Fraction(2) ** -125:
            assert abs(exact(s) - true) <= Fraction(2) ** -22 * abs(true)
        same_sign = (x >> 31) == (y >> 31)
        if same_sign:
            assert exact(s) == cut(true) or abs(exact(s)) <= abs(true)


def test_fused_sum_is_within_a_unit_of_the_largest_product():
    x, weights = many(500, 9)
    for row, column, s in zip(x, weights, fused_dot(x, weights), strict=True):
        products = [exact(a) * exact(b) for a, b in zip(row, column, strict=True)]
        true, largest = sum(products), max(map(abs, products))
        error = 9 * largest * Fraction(2) ** -24 + abs(true) * Fraction(2) ** -23 + Fraction(2) ** -125
        assert abs(exact(s) - true) <= error


def test_what_does_not_fit_is_refused():
    large = bits(2.0**100)
    with pytest.raises(ValueError, match="2\\^129 or more"):
        truncated_product(large, large)
    with pytest.raises(ValueError, match="2\\^129 or more"):
        fused_dot(large[None], large[None])
    with pytest.raises(ValueError, match="2\\^129 or more"):
        truncated_sum(np.array([0x7FFFFFFF], np.uint32), np.array([0x7FFFFFFF], np.uint32))
    with pytest.raises(ValueError, match="at most 32 numbers"):
        fused_dot(np.zeros((1, 33), np.uint32), np.zeros((1, 33), np.uint32))


# --- As circuits ---


UNITS = {
    "truncating_multiply": ("product", 2, truncated_product),
    "truncating_add": ("sum", 4, truncated_sum),
}


@pytest.mark.parametrize(
    ("top", "parameters"),
    [("truncating_multiply", {}), ("truncating_multiply", {"SOFT": 1}), ("truncating_add", {})],
)
def test_netlist_is_the_function(top, parameters):
    output, latency, reference = UNITS[top]
    a, b = small_pairs(20_000)
    lanes = 4096
    cycles = -(-len(a) // lanes) + latency
    stimulus = {name: np.zeros(cycles * lanes, np.uint64) for name in ("a", "b")}
    stimulus["a"][: len(a)], stimulus["b"][: len(b)] = a, b
    shaped = {name: values.reshape(cycles, lanes) for name, values in stimulus.items()}
    found = Netlist(synthesize(top, parameters)).run(shaped)[output][latency:].ravel()[: len(a)]
    assert (found == reference(a, b)).all()


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_fused_dot_is_the_function(simulator, tmp_path):
    jobs, expected = [], []
    for terms, soft in ((2, 0), (3, 1), (9, 0), (32, 2)):
        x, weights = many(400, terms)
        jobs.append(Job("fused_dot", {"N": terms, "SOFT": soft}, {"x": (32, x), "weights": (32, weights)}, ("sum", 32)))
        expected.append((6 + 2 * (terms - 1).bit_length(), fused_dot(x, weights)))
    for outputs, (latency, sums) in zip(run(simulator, rtl(), jobs, tmp_path), expected, strict=True):
        assert (outputs[latency:] == sums[:-latency]).all()


def test_fused_netlist_is_the_function():
    x, weights = many(2048, 4)
    tail = np.zeros((10, 2048, 4), np.uint64)
    stimulus = {name: np.concatenate([v[None], tail]) for name, v in (("x", x), ("weights", weights))}
    found = Netlist(synthesize("fused_dot", {"N": 4, "SOFT": 1})).run(stimulus)["sum"][10]
    assert (found == fused_dot(x, weights)).all()


BUGS = {
    "no guard": ("truncating_add", "{lesser1, 1'b0} >> distance1", "{lesser1 >> distance1, 1'b0}"),
    "negative zero": ("truncating_multiply", "? 32'd0", "? {sign, 31'd0}"),
    "a fraction after an exponent of 0": ("truncating_add", "(lesser[30:23] == 0)", "(lesser[30:0] == 0)"),
    "no limit to the distance": ("fused_dot", "(away > 31) ? 5'd31 : away[4:0]", "away[4:0]"),
    "exponent of a zero": ("fused_dot", "zero ? 0 : a[30:23]", "a[30:23]"),
    "exponent too late": ("fused_dot", ".CYCLES(4 + LEVELS)", ".CYCLES(5 + LEVELS)"),
    "row at the wrong place": ("significand_multiply", "{eight[2].sum, 16'd0}", "{eight[2].sum, 15'd0}"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug_is_caught(bug, tmp_path):
    name, good, bad = BUGS[bug]
    sources = rtl()
    assert sources[f"{name}.v"].count(good) == 1
    sources[f"{name}.v"] = sources[f"{name}.v"].replace(good, bad)
    top = "fused_dot" if name in ("fused_dot", "significand_multiply") else name
    if top == "fused_dot":
        x, weights = many(300, 4)
        job = Job(top, {"N": 4, "SOFT": 1}, {"x": (32, x), "weights": (32, weights)}, ("sum", 32))
        latency, expected = 10, fused_dot(x, weights)
    else:
        output, latency, reference = UNITS[top]
        a, b = small_pairs(500)
        job = Job(top, {}, {"a": (32, a), "b": (32, b)}, (output, 32))
        expected = reference(a, b)
    (found,) = run("icarus", sources, [job], tmp_path)
    assert (found[latency:] != expected[:-latency]).any()
