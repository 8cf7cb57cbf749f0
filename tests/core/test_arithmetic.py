"""Arithmetic codes: against fractions, a closed form and entropy; what is read is what was written; damaged streams."""

import math
from fractions import Fraction

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile of hypothesis)
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.core import arithmetic, huffman


@st.composite
def messages(draw):
    """An alphabet, and symbols of it; mostly one of them, or all alike."""
    alphabet = draw(st.integers(1, 40))
    favourite = draw(st.integers(0, alphabet - 1))
    often = draw(st.sampled_from([0, 3, 60]))
    symbol = st.sampled_from([*range(alphabet), *[favourite] * often])
    return np.array(draw(st.lists(symbol, max_size=300)), dtype=np.int64), alphabet


def interval(symbols, alphabet):
    """Ends of the interval of a message, exactly, by its definition."""
    low, width = Fraction(0), Fraction(1)
    counts = [Fraction(1, 2)] * alphabet
    for symbol in symbols:
        total = sum(counts)
        low += width * sum(counts[:symbol]) / total
        width *= counts[symbol] / total
        counts[symbol] += 1
    return low, low + width


@settings(max_examples=200)
@given(messages())
def test_what_is_read_is_what_was_written(message):
    symbols, alphabet = message
    stream = arithmetic.encode(symbols, alphabet)
    assert arithmetic.decode(stream, alphabet, len(symbols)).tolist() == symbols.tolist()


@given(messages())
def test_the_stream_points_into_the_interval(message):
    """The number that the bytes are lies in the exact interval, but for the rounding of shares to 48 bits."""
    symbols, alphabet = message
    stream = arithmetic.encode(symbols, alphabet)
    point = Fraction(int.from_bytes(stream, "big"), 256 ** len(stream))
    low, high = interval(symbols.tolist(), alphabet)
    slack = Fraction(len(symbols) + 1, 2**30)
    assert low - slack <= point < high + slack


@given(messages())
def test_length_is_the_closed_form(message):
    symbols, alphabet = message
    low, high = interval(symbols.tolist(), alphabet)
    bits = arithmetic.adaptive_bits(np.bincount(symbols, minlength=alphabet))
    assert bits == pytest.approx(math.log2(1 / (high - low)), abs=1e-6)
    # To whole bytes, and one to point into the interval.
    assert 8 * len(arithmetic.encode(symbols, alphabet)) <= bits + 16


def test_order_does_not_matter_for_the_length():
    rng = np.random.default_rng(0)
    symbols = np.repeat([0, 1, 2], [900, 60, 40])
    sizes = {len(arithmetic.encode(rng.permutation(symbols), 3)) for _ in range(20)}
    assert max(sizes) - min(sizes) <= 1


def test_by_hand():
    # One of two symbols: 1/2. The same again: (1 + 1/2) / (1 + 1) = 3/4. So aa is [0, 3/8), and ab [3/8, 1/2).
    assert interval([0, 0], 2) == (0, Fraction(3, 8))
    assert arithmetic.encode(np.array([0, 0]), 2) == b""  # 0 lies in it
    assert arithmetic.encode(np.array([0, 1]), 2) == bytes([0x60])  # 3/8 = 0x60 / 256
    assert arithmetic.encode(np.array([1]), 2) == bytes([0x80])
    assert arithmetic.adaptive_bits(np.array([1, 1])) == pytest.approx(3.0)
    assert arithmetic.adaptive_bits(np.array([0, 0])) == 0


def test_a_frequent_symbol_takes_less_than_a_bit():
    """The case for it: one symbol has p = 0.95, and no Huffman word is shorter than a bit."""
    rng = np.random.default_rng(1)
    symbols = (rng.random(40_000) < 0.05).astype(np.int64)
    counts = np.bincount(symbols)
    entropy = huffman.entropy(counts) * len(symbols) / 8
    assert len(huffman.encode(symbols, huffman.code_lengths(counts))) == 5_000
    assert entropy < len(arithmetic.encode(symbols, 2)) < entropy + 5


def test_carries_run_through_many_bytes():
    """The last symbol of many keeps the interval at the top end, where the bytes are 255 until a carry comes."""
    symbols = np.array([1] * 5_000 + [0] * 3 + [1] * 200 + [0] * 50)
    found = arithmetic.decode(arithmetic.encode(symbols, 2), 2, len(symbols))
    assert found.tolist() == symbols.tolist()


def test_carry_adds_one_to_the_number():
    out = np.array([7, 255, 255, 9], np.uint8)
    arithmetic._carry(out, 3)
    assert out.tolist() == [8, 0, 0, 9]


def test_long_messages_of_a_large_alphabet():
    symbols = np.random.default_rng(2).integers(0, 256, 20_000)
    stream = arithmetic.encode(symbols, 256)
    assert arithmetic.decode(stream, 256, len(symbols)).tolist() == symbols.tolist()
    assert 20_000 < len(stream) < 20_200


@settings(max_examples=200)
@given(messages(), st.data())
def test_every_message_has_one_stream(message, data):
    """Whatever bytes come in: a ValueError, or symbols whose stream is just these bytes."""
    symbols, alphabet = message
    stream = arithmetic.encode(symbols, alphabet)
    place = data.draw(st.integers(0, len(stream)))
    for damaged in (stream[:place] + data.draw(st.binary(max_size=3)), stream[:place], stream + b"\0"):
        try:
            found = arithmetic.decode(damaged, alphabet, len(symbols))
        except ValueError as error:
            assert "data is not a stream" in str(error)  # noqa: PT017  (a success is also right: another message)
        else:
            assert arithmetic.encode(found, alphabet) == damaged


def test_bytes_too_many_are_refused():
    stream = arithmetic.encode(np.array([0, 1, 1]), 2)
    for more in (b"\0", b"\1"):
        with pytest.raises(ValueError, match="data is not a stream of 3 symbols"):
            arithmetic.decode(stream + bytes(8) + more, 2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: arithmetic.encode(np.array([0, 2]), 2), r"symbols must lie between 0 and 1, got 0 … 2"),
        (lambda: arithmetic.encode(np.array([-1]), 2), "symbols must lie between 0 and 1"),
        (lambda: arithmetic.encode(np.array([0]), 0), "alphabet must lie between 1 and 256, got 0"),
        (lambda: arithmetic.decode(b"", 257, 1), "alphabet must lie between 1 and 256, got 257"),
        (lambda: arithmetic.decode(b"", 2, 1 << 29), "there is room for 0 to"),
        (lambda: arithmetic.decode(b"", 2, -1), "there are -1 symbols"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("symbols", [[0.5, 1.2], [True, False]])
def test_symbols_are_integers(symbols):
    with pytest.raises(TypeError, match="symbols must be integers"):
        arithmetic.encode(np.array(symbols), 2)
