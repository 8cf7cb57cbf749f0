"""Canonical Huffman codes: frequent symbols get short code words, and a table of lengths is all that a reader needs.

The code of least mean length for given counts is Huffman's (1952). Its mean length L lies between the entropy H of the
counts and H + 1, in bits per symbol. *Canonical* means that the words are dealt out in a fixed order, by length and
then by symbol, so that a file stores one small number per symbol and no tree.

A lone symbol needs no bits at all: its word is empty, and the reader, who knows how many symbols there are, repeats it.

The first bit of a word is the highest bit of a byte that is still free. This is the one bit stream of the book that
:mod:`fewbits.core.packing` does not make, because its fields differ in width.
"""

import heapq

import numpy as np

from fewbits.core.compiled import njit

MAX_LENGTH = 63  # of a word, in bits; to exceed it, counts would have to add up to more than 10^12


def entropy(counts: np.ndarray) -> float:
    """Shannon's entropy of a symbol that occurs with these ``counts``, in bits; 0 if there are none.

    Args:
        counts: (k,) integers >= 0.
    Source: own (textbook); book eq-vector-entropy
    """
    counts = np.asarray(counts, dtype=np.float64)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log2(share)).sum()) + 0.0  # book eq-vector-entropy


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Length of each symbol's word in a code of least total length ``sum(counts * lengths)``.

    Args:
        counts: (k,) integers >= 0; a symbol that does not occur gets no word.
    Returns:
        (k,) uint8, bits; 0 for symbols that do not occur, and for one that is alone.
    Raises:
        ValueError: a count is negative.
    Source: han2015 Sec. 4 (its use)
    """
    counts = np.asarray(counts)
    if counts.size and counts.min() < 0:
        raise ValueError(f"counts must not be negative, got {counts.min()}")
    # A heap entry is (count, tie, symbols below it). The tie makes the result the same everywhere.
    heap = [(int(count), symbol, [symbol]) for symbol, count in enumerate(counts.tolist()) if count]
    heapq.heapify(heap)
    lengths = np.zeros(len(counts), np.uint8)
    tie = len(counts)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        merged = first[2] + second[2]
        lengths[merged] += 1
        heapq.heappush(heap, (first[0] + second[0], tie, merged))
        tie += 1
    return lengths


def canonical_words(lengths: np.ndarray) -> np.ndarray:
    """The code words that belong to ``lengths``, as numbers: shortest first, equal lengths in the order of the symbols.

    Args:
        lengths: (k,) uint8, as :func:`code_lengths` gives them.
    Returns:
        (k,) uint64; the lowest ``lengths[i]`` bits of entry i are its word.
    Raises:
        ValueError: these are not the lengths of a complete prefix code (Kraft's sum is not 1), or one exceeds 63.
    """
    lengths = np.asarray(lengths, np.uint8)
    words = np.zeros(len(lengths), np.uint64)
    used = np.flatnonzero(lengths)
    if not used.size:
        return words
    # Kraft's sum of 2^-length, as integers: only then does every bit sequence decode to something.
    longest = int(lengths.max())
    if longest > MAX_LENGTH or sum(1 << (longest - int(n)) for n in lengths[used]) != 1 << longest:
        raise ValueError("lengths do not belong to a complete prefix code")
    word, before = 0, 0
    for symbol in used[np.argsort(lengths[used], kind="stable")]:
        word <<= int(lengths[symbol]) - before
        words[symbol] = word
        word, before = word + 1, int(lengths[symbol])
    return words


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """``symbols`` as one stream of code words, filled up with zeros to whole bytes.

    Args:
        symbols: (n,) integers that index ``lengths``.
        lengths: (k,) uint8. If all are 0, there must be only one symbol, and the stream is empty.
    Raises:
        ValueError: a symbol has no word.
    """
    symbols = np.asarray(symbols).reshape(-1)
    lengths = np.asarray(lengths, np.uint8)
    if not symbols.size or not lengths.any():
        if symbols.size and symbols.min() != symbols.max():
            raise ValueError("symbols differ, but lengths has no words for them")
        return b""
    if symbols.min() < 0 or symbols.max() >= len(lengths) or not lengths[symbols].all():
        raise ValueError("symbols holds one without a word in lengths")
    words, each = canonical_words(lengths)[symbols], lengths[symbols].astype(np.int64)
    starts = np.cumsum(each) - each
    bits = np.zeros(int(each.sum()), np.uint8)
    for place in range(int(lengths.max())):  # bit number `place` of all words that are so long
        longer = each > place
        shift = (each[longer] - 1 - place).astype(np.uint64)
        bits[starts[longer] + place] = words[longer] >> shift & np.uint64(1)
    return np.packbits(bits).tobytes()


def decode(data: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Read ``count`` symbols back from :func:`encode`.

    Returns:
        (count,) int64. If no symbol has a word, they are all 0: the lone symbol must then be symbol 0.
    Raises:
        ValueError: ``lengths`` are no complete code, or ``data`` is not exactly a stream of ``count`` words.
    """
    lengths = np.asarray(lengths, np.uint8)
    canonical_words(lengths)  # refuses a broken table
    if not lengths.any():
        if data:
            raise ValueError(f"data has {len(data)} bytes, a lone symbol takes none")
        return np.zeros(count, np.int64)
    used = np.flatnonzero(lengths)
    in_order = used[np.argsort(lengths[used], kind="stable")]
    per_length = np.bincount(lengths[used], minlength=MAX_LENGTH + 1)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    symbols, end = _decode(bits, per_length, in_order, count)
    if end < 0 or -(-end // 8) != len(data) or bits[end:].any():
        raise ValueError(f"data is not a stream of {count} words")
    return symbols


@njit(cache=True)
def _decode(bits, per_length, in_order, count):
    """Bit by bit: among the words of each length, the canonical ones are consecutive numbers from ``first``.

    Returns the symbols and the bits read, -1 if the stream ended too early.
    """
    symbols = np.empty(count, np.int64)
    position = 0
    for index in range(count):
        word, first, before, length = 0, 0, 0, 0
        while True:
            if position >= len(bits):
                return symbols, -1
            word = 2 * word + bits[position]
            first *= 2
            position += 1
            length += 1
            if word - first < per_length[length]:
                symbols[index] = in_order[before + word - first]
                break
            before += per_length[length]
            first += per_length[length]
    return symbols, position
