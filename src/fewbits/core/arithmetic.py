"""Arithmetic coding: a frequent symbol may take less than a bit.

A Huffman word has at least one bit, however certain its symbol is. An arithmetic coder has no words. The message is a
number in [0, 1): each symbol cuts the interval that is left to its own share, and what is written is the shortest
number of bytes that points into the last interval. A symbol of probability p costs ``-log2 p`` bits.

The shares are *learned on the way*, by writer and reader alike: a symbol that came c times among n has the probability
``(c + 1/2) / (n + k/2)``, where k symbols exist (Krichevsky and Trofimov, 1981). So a file stores no table at all.

The interval is kept as two integers: its lower end, ``low``, and its ``width``. Bytes of ``low`` that no later symbol
can change, but for a carry, leave at the top, and the rest moves up to take their place.
"""

import math

import numpy as np

from fewbits.core.compiled import njit

MAX_SYMBOLS = 256  # of an alphabet: the time for a symbol grows with it
MAX_COUNT = 1 << 28  # symbols of a message: their counts stay small beside the width
_TOP, _BOTTOM = 1 << 56, 1 << 48  # low lies below the first, the width at or above the second
_SHIFT, _REST = 48, (1 << 48) - 1


def adaptive_bits(counts: np.ndarray) -> float:
    """Length of the code of a message with these ``counts``, in bits, before it is filled up to whole bytes.

    The order of the symbols does not matter: the product of their probabilities holds only factorials (of halves).

    Args:
        counts: (k,) integers >= 0, one a symbol of the alphabet, those that do not occur included.
    Source: own (the estimator of Krichevsky and Trofimov, 1981); book eq-vector-adaptive
    """
    values = np.asarray(counts, dtype=np.float64).tolist()
    n, k = sum(values), len(values)
    if not n:
        return 0.0
    # book eq-vector-adaptive: the product of (c + 1/2) / (n + k/2), symbol after symbol
    together = math.lgamma(n + k / 2) - math.lgamma(k / 2)
    own = sum(math.lgamma(c + 0.5) - math.lgamma(0.5) for c in values if c)
    return (together - own) / math.log(2)


def encode(symbols: np.ndarray, alphabet: int) -> bytes:
    """``symbols`` as one stream of bytes; a lone symbol may take none.

    Args:
        symbols: (n,) integers from 0 to ``alphabet - 1``, at most 2^28.
        alphabet: k, from 1 to `MAX_SYMBOLS`.
    Raises:
        TypeError: ``symbols`` are not integers.
        ValueError: ``alphabet`` or a symbol is out of range, or there are too many.
    Source: witten1987 Sec. 2; own (whole bytes and a carry)
    """
    symbols = np.asarray(symbols).reshape(-1)
    _check(alphabet, len(symbols))
    if symbols.size and symbols.dtype.kind not in "iu":
        raise TypeError(f"symbols must be integers, got {symbols.dtype}")
    if symbols.size and not 0 <= symbols.min() <= symbols.max() < alphabet:
        raise ValueError(f"symbols must lie between 0 and {alphabet - 1}, got {symbols.min()} … {symbols.max()}")
    symbols = symbols.astype(np.int64, copy=False)
    room = adaptive_bits(np.bincount(symbols, minlength=alphabet)) / 8
    out = np.zeros(int(room) + len(symbols) // 1024 + 16, np.uint8)  # some for the rounding of shares to integers
    size = _encode(symbols, np.ones(alphabet, np.int64), out)
    # The reader takes what is missing for zeros.
    return out[:size].tobytes().rstrip(b"\0")


def decode(data: bytes, alphabet: int, count: int) -> np.ndarray:
    """Read ``count`` symbols back from :func:`encode`.

    Returns:
        (count,) int64.
    Raises:
        ValueError: ``alphabet`` or ``count`` is out of range, or :func:`encode` would not have written ``data``.
    Source: witten1987 Sec. 2; own (whole bytes and a carry)
    """
    _check(alphabet, count)
    symbols = _decode(np.frombuffer(data, np.uint8), np.ones(alphabet, np.int64), count)
    # There is one stream for each message: so bytes too many, too few or altered without sense are found.
    if encode(symbols, alphabet) != data:
        raise ValueError(f"data is not a stream of {count} symbols")
    return symbols


def _check(alphabet: int, count: int) -> None:
    if not 1 <= alphabet <= MAX_SYMBOLS:
        raise ValueError(f"alphabet must lie between 1 and {MAX_SYMBOLS}, got {alphabet}")
    if not 0 <= count <= MAX_COUNT:
        raise ValueError(f"there are {count} symbols; there is room for 0 to {MAX_COUNT}")


@njit(cache=True)
def _encode(symbols, counts, out):
    """Write to ``out``; returns the bytes written. ``counts`` are twice the occurrences, and 1 (the half)."""
    low, width, size, total = 0, _TOP, 0, len(counts)
    for symbol in symbols:
        unit = width // total
        low += unit * counts[:symbol].sum()  # witten1987 Sec. 2
        width = unit * counts[symbol]  # witten1987 Sec. 2
        counts[symbol] += 2
        total += 2
        if low >= _TOP:
            low -= _TOP
            _carry(out, size)
        while width < _BOTTOM:
            out[size] = low >> _SHIFT
            size += 1
            low, width = (low & _REST) << 8, width << 8
    # One more byte points into the interval, as that is at least so wide.
    last = (low + _REST) >> _SHIFT
    if last > 255:
        last = 0
        _carry(out, size)
    out[size] = last
    return size + 1


@njit(cache=True)
def _carry(out, size):
    """Add 1 to the number that the first ``size`` bytes of ``out`` are."""
    place = size - 1
    while out[place] == 255:
        out[place] = 0
        place -= 1
    out[place] += 1


@njit(cache=True)
def _decode(data, counts, count):
    """The other way round: ``offset`` is what the message points at, seen from ``low``."""
    symbols = np.empty(count, np.int64)
    offset, width, total = 0, _TOP, len(counts)
    for place in range(7):
        offset = offset << 8 | (np.int64(data[place]) if place < len(data) else 0)
    place = 7
    for index in range(count):
        unit = width // total
        target = min(offset // unit, total - 1)  # beyond the last only where the stream is damaged
        symbol = 0
        below = 0
        while below + counts[symbol] <= target:
            below += counts[symbol]
            symbol += 1
        offset -= unit * below
        width = unit * counts[symbol]
        counts[symbol] += 2
        total += 2
        while width < _BOTTOM:
            offset = offset << 8 | (np.int64(data[place]) if place < len(data) else 0)
            place += 1
            width <<= 8
        symbols[index] = symbol
    return symbols
