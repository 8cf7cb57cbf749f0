"""Fixed point: against fractions, and against NumPy's own 32-bit integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile)
from hypothesis import given
from hypothesis import strategies as st

from fewbits.fpga.fixed_point import Q16_16, QFormat

formats = st.integers(1, 32).flatmap(lambda m: st.builds(QFormat, st.just(m), st.integers(0, 32 - m)))
words = st.one_of(st.integers(-(2**40), 2**40), st.sampled_from([s * 2**31 + d for s in (-1, 1) for d in (-1, 0, 1)]))


def test_q16_16_by_hand():
    assert (Q16_16.low, Q16_16.high, Q16_16.width, str(Q16_16)) == (-(2**31), 2**31 - 1, 32, "Q16.16")
    assert Q16_16.encode(np.array([1.0, -1.0, 0.5, 2.0**-16, 2.0**-17, -(2.0**-17), -1e6, 1e6])).tolist() == [
        65536,
        -65536,
        32768,
        1,
        1,  # a tie goes up
        0,  # also below 0
        -(2**31),
        2**31 - 1,
    ]
    assert Q16_16.decode(np.array([65536, 1])).tolist() == [1.0, 2.0**-16]


@given(formats, st.lists(words, min_size=1))
def test_wrap_saturate_and_count(form, values):
    array = np.array(values, np.int64)
    span = 2**form.width
    assert form.overflows(array).tolist() == [not -span // 2 <= value < span // 2 for value in values]
    assert form.saturate(array).tolist() == [sorted((-span // 2, value, span // 2 - 1))[1] for value in values]
    wrapped = form.wrap(array).tolist()
    assert all(-span // 2 <= value < span // 2 for value in wrapped)
    assert all((value - before) % span == 0 for value, before in zip(wrapped, values, strict=True))
    assert form.fit(array, "wrap").tolist() == wrapped
    assert form.fit(array, "saturate").tolist() == form.saturate(array).tolist()


@given(st.lists(words, min_size=1))
def test_wrapping_is_what_int32_does(values):
    array = np.array(values, np.int64)
    assert Q16_16.wrap(array).tolist() == array.astype(np.int32).tolist()


@given(formats, st.lists(st.floats(-(2.0**31), 2.0**31, exclude_min=True, exclude_max=True), min_size=1))
def test_encode_is_the_nearest_integer_and_a_tie_goes_up(form, values):
    nearest = [math.floor(Fraction(value) * 2**form.fraction_bits + Fraction(1, 2)) for value in values]
    for overflow in ("wrap", "saturate"):
        expected = form.fit(np.array(nearest, np.int64), overflow)
        assert form.encode(np.array(values), overflow).tolist() == expected.tolist()


def test_just_below_a_tie():
    # Adding one half first would round this up.
    assert QFormat(16, 0).encode(np.array([np.nextafter(0.5, 0), 0.5])).tolist() == [0, 1]


@given(formats, st.data())
def test_decode_is_exact_and_encode_undoes_it(form, data):
    values = np.array(data.draw(st.lists(st.integers(form.low, form.high), min_size=1)), np.int64)
    real = form.decode(values)
    assert [Fraction(float(v)) for v in real] == [Fraction(int(v), 2**form.fraction_bits) for v in values]
    assert form.encode(real).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 16), ValueError, "integer_bits must be at least 1"),
        ((16, -1), ValueError, "fraction_bits must be at least 0"),
        ((17, 16), ValueError, "at most 32, got 33"),
        ((16.0, 16), TypeError, "integer_bits must be an int, got float"),
        ((16, True), TypeError, "fraction_bits must be an int, got bool"),
    ],
)
def test_bad_formats(arguments, error, message):
    with pytest.raises(error, match=message):
        QFormat(*arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Q16_16.encode(np.array([np.nan])), ValueError, "real must be finite"),
        (lambda: Q16_16.encode(np.array([np.inf])), ValueError, "real must be finite"),
        (lambda: Q16_16.encode(np.array([2.0**31])), ValueError, "below 2"),
        (lambda: Q16_16.encode(np.array([1])), TypeError, "real must be floating point, got int64"),
        (lambda: Q16_16.wrap(np.array([1.0])), TypeError, "values must be integers, got float64"),
        (lambda: Q16_16.fit(np.array([1]), "clip"), ValueError, "overflow must be 'wrap' or 'saturate', got 'clip'"),
    ],
)
def test_bad_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
