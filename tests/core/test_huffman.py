"""Huffman codes: against all binary trees, entropy, the prefix property, and damaged streams."""

import itertools
from functools import cache

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile of hypothesis)
from hypothesis import given
from hypothesis import strategies as st

from fewbits.core import huffman

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=40).map(np.array)
SYMBOLS = st.lists(st.integers(0, 20), min_size=1, max_size=200).map(np.array)


@cache
def tree_depths(leaves: int) -> frozenset[tuple[int, ...]]:
    """Depths of the leaves of every full binary tree, sorted."""
    if leaves == 1:
        return frozenset([(0,)])
    found = set()
    for left in range(1, leaves // 2 + 1):
        for first, second in itertools.product(tree_depths(left), tree_depths(leaves - left)):
            found.add(tuple(sorted(depth + 1 for depth in first + second)))
    return frozenset(found)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8))
def test_no_tree_is_shorter(counts):
    total = int((np.array(counts) * huffman.code_lengths(np.array(counts))).sum())
    # In a given tree the largest counts belong to the shortest words.
    large_first = sorted(counts, reverse=True)
    assert total == min(sum(c * d for c, d in zip(large_first, t, strict=True)) for t in tree_depths(len(counts)))


@given(COUNTS)
def test_mean_length_is_within_one_bit_of_the_entropy(counts):
    if not counts.sum():
        return
    mean = (counts * huffman.code_lengths(counts)).sum() / counts.sum()
    assert huffman.entropy(counts) - 1e-9 <= mean < huffman.entropy(counts) + 1


def test_by_hand():
    counts = np.array([5, 0, 1, 1, 2])
    lengths = huffman.code_lengths(counts)
    assert lengths.tolist() == [1, 0, 3, 3, 2]
    assert [f"{w:0{n}b}" for w, n in zip(huffman.canonical_words(lengths), lengths, strict=True) if n] == [
        "0",
        "110",
        "111",
        "10",
    ]
    # a e c: 0 10 110, and two zeros to fill the byte
    assert huffman.encode(np.array([0, 4, 2]), lengths) == bytes([0b01011000])
    assert huffman.entropy(np.array([1, 1, 2])) == 1.5
    assert huffman.entropy(np.array([0, 0])) == 0


@given(COUNTS)
def test_no_word_begins_another_and_shorter_words_come_first(counts):
    lengths = huffman.code_lengths(counts)
    used = np.flatnonzero(lengths)
    words = [f"{w:0{n}b}" for w, n in zip(huffman.canonical_words(lengths)[used], lengths[used], strict=True)]
    assert not any(a != b and b.startswith(a) for a in words for b in words)
    assert sorted(words) == [words[i] for i in np.argsort(lengths[used], kind="stable")]


@given(SYMBOLS)
def test_what_is_read_is_what_was_written(symbols):
    symbols = symbols - symbols.min()
    counts = np.bincount(symbols)
    lengths = huffman.code_lengths(counts)
    stream = huffman.encode(symbols, lengths)
    assert len(stream) == -(-int((counts * lengths).sum()) // 8)
    if lengths.any():
        assert huffman.decode(stream, lengths, len(symbols)).tolist() == symbols.tolist()


@given(SYMBOLS, st.data())
def test_a_cut_stream_or_one_with_more_is_refused(symbols, data):
    lengths = huffman.code_lengths(np.bincount(symbols))
    stream = huffman.encode(symbols, lengths)
    if not stream:
        return
    end = data.draw(st.integers(0, len(stream) - 1))
    for damaged in (stream[:end], stream + b"\0"):
        with pytest.raises(ValueError, match="data is not a stream"):
            huffman.decode(damaged, lengths, len(symbols))


def test_a_lone_symbol_takes_nothing():
    lengths = huffman.code_lengths(np.array([7]))
    assert lengths.tolist() == [0]
    assert huffman.encode(np.zeros(7, int), lengths) == b""
    assert huffman.decode(b"", lengths, 7).tolist() == [0] * 7
    with pytest.raises(ValueError, match="a lone symbol takes none"):
        huffman.decode(b"\0", lengths, 7)


def test_long_words():
    counts = np.array([1, 1, *(2**i for i in range(1, 40))])
    lengths = huffman.code_lengths(counts)
    assert lengths.max() == 40
    symbols = np.arange(len(counts))
    assert huffman.decode(huffman.encode(symbols, lengths), lengths, len(symbols)).tolist() == symbols.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: huffman.code_lengths(np.array([1, -1])), "counts must not be negative"),
        (lambda: huffman.canonical_words(np.array([1, 2])), "complete prefix code"),
        (lambda: huffman.canonical_words(np.array([1, 1, 1])), "complete prefix code"),
        (lambda: huffman.canonical_words(np.array([64, 64])), "complete prefix code"),
        (lambda: huffman.encode(np.array([0, 2]), np.array([1, 1, 0])), "symbols holds one without a word"),
        (lambda: huffman.encode(np.array([-1]), np.array([1, 1])), "symbols holds one without a word"),
        (lambda: huffman.encode(np.array([3]), np.array([1, 1])), "symbols holds one without a word"),
        (lambda: huffman.encode(np.array([0, 1]), np.array([0, 0])), "symbols differ"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
