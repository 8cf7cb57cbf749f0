"""Products of binary, a-bit and ternary matrices on packed words, all by counting the bits in which two rows differ.

Of two rows of n signs, d of which differ, the inner product is ``n - 2 d``. Zeros and ones are no worse: with p(x) ones
in x, ``p(a & b) = (p(a) + p(b) - d) / 2``. So one kernel does them all, and what is left is bookkeeping.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fewbits.bitwise import isa, plain, tables, tiles

MOST_WORDS = 1023  # the sums of the tables have 16 bits
# Path -> layout of the weights, and inputs in a tile.
LAYOUTS = {"plain": (plain.panels, 2), "avx2": (tables.panels, 4), "vpopcnt": (tiles.prefix_panels, tiles.ROWS)}


@dataclass(frozen=True)
class Weights:
    """Planes of N rows of packed weights, laid out for one path; made once by :func:`prepare`.

    Attributes:
        path: one of ``LAYOUTS``, see :mod:`fewbits.bitwise.isa`.
        words: (planes, N, W) uint64, the weights as they were.
        panels: their layout for the kernel, one array a plane.
    """

    path: str
    words: np.ndarray
    panels: tuple[np.ndarray, ...]


def prepare(words: np.ndarray) -> Weights:
    """Lay out packed weights for the best path of ``LAYOUTS`` (:func:`fewbits.bitwise.isa.best`).

    Args:
        words: (N, W) or (planes, N, W) uint64, N >= 1.
    Raises:
        TypeError, ValueError: another dtype or shape, or rows of more than 1023 words.
    """
    words = words[None] if words.ndim == 2 else words
    _check_words("words", words)
    path = isa.best(LAYOUTS)
    layout, _ = LAYOUTS[path]
    return Weights(path, words, tuple(layout(plane) for plane in words))


def xnor_gemm(inputs: np.ndarray, weights: Weights, count: int, threads: int = 1) -> np.ndarray:
    """Inner products of rows of signs: ``count - 2 *`` (bits that differ).

    Args:
        inputs: (M, W) uint64, M >= 1, as :func:`fewbits.bitwise.pack.sign_words` packs them.
        weights: one plane of N rows.
        count: signs in a row, at most ``64 * W``; bits beyond are 0 in both operands.
        threads: rows of ``inputs`` are shared out among so many.
    Returns:
        (M, N) int32.
    Raises:
        TypeError, ValueError: dtypes or shapes do not fit, or ``count`` and the words do not.
    Source: courbariaux2016 Sec. 3.2; book eq-bitwise-xnor
    """
    _check_words("inputs", inputs[None], weights)
    if len(weights.panels) != 1:
        raise ValueError(f"weights must have one plane, got {len(weights.panels)}")
    if -(-count // 64) != inputs.shape[1]:
        raise ValueError(f"inputs have {inputs.shape[1]} words a row; count {count} takes {-(-count // 64)}")
    starts = np.full(weights.words.shape[1], count, np.int32)  # courbariaux2016 Sec. 3.2
    return _accumulate(starts, inputs[None], weights, [-2], [1], threads)


def plane_gemm(
    inputs: np.ndarray, weights: Weights, input_scales=None, weight_scales=None, threads: int = 1
) -> np.ndarray:
    """Inner products of integers given by planes of zeros and ones: ``sum over i, j of s_i t_j p(a_i & b_j)``.

    It costs planes of inputs × planes of weights binary products.

    Args:
        inputs: (planes, M, W) uint64, M >= 1.
        weights: planes of N rows.
        input_scales, weight_scales: integers s_i and t_j, one a plane; left out: 1, 2, 4, … of unsigned integers.
            ``(1, -1)`` are those of :func:`fewbits.bitwise.pack.ternary_planes`.
        threads: as in :func:`xnor_gemm`.
    Returns:
        (M, N) int32; sums that leave its range wrap around.
    Raises:
        TypeError, ValueError: dtypes or shapes do not fit.
    Source: zhou2016dorefa Sec. 2.1; own (AND by XOR and counts); book eq-bitwise-and; book eq-bitwise-planes
    """
    _check_words("inputs", inputs, weights)
    s, t = _scales("input_scales", input_scales, inputs), _scales("weight_scales", weight_scales, weights.words)
    of_inputs = s @ np.bitwise_count(inputs).sum(-1, dtype=np.int32)
    of_weights = t @ np.bitwise_count(weights.words).sum(-1, dtype=np.int32)
    out = (t.sum() * of_inputs[:, None] + s.sum() * of_weights).astype(np.int32)  # zhou2016dorefa Sec. 2.1
    out = _accumulate(out, inputs, weights, -s, t, threads)
    out >>= 1
    return out


def signs_gemm(inputs: np.ndarray, weights: Weights, input_scales=None, threads: int = 1) -> np.ndarray:
    """As :func:`plane_gemm`, but weights are one plane of signs: bit 1 is +1, bit 0 is -1.

    ``2 p(a & b) - p(a) = p(b) - d``: the inputs' own ones cancel. (Zeros that fill up a word must be 0 in the inputs.)
    """
    _check_words("inputs", inputs, weights)
    if len(weights.panels) != 1:
        raise ValueError(f"weights must have one plane, got {len(weights.panels)}")
    s = _scales("input_scales", input_scales, inputs)
    ones = np.bitwise_count(weights.words[0]).sum(-1, dtype=np.int32)
    return _accumulate((s.sum() * ones).astype(np.int32), inputs, weights, -s, [1], threads)


def _accumulate(starts: np.ndarray, inputs: np.ndarray, weights: Weights, s, t, threads: int) -> np.ndarray:
    """``starts`` and ``s[i] * t[j] *`` (bits in which plane i of an input and plane j of a weight row differ).

    Args:
        starts: (M, N) int32, which are written over, or (N,) for all inputs.
    """
    planes, rows, width = inputs.shape
    _, size = LAYOUTS[weights.path]
    tiled = weights.path == "vpopcnt"
    words: np.ndarray
    if tiled:
        words = tiles.prefixed(inputs.reshape(planes * rows, width)).reshape(planes, rows, width)
    else:
        words = np.ascontiguousarray(inputs.transpose(1, 0, 2)).reshape(rows * planes, width)
    # Threads write different rows of ``out``, so the planes of a row must stay together: size * planes inputs.
    parts = np.linspace(0, -(-rows // size), max(threads, 1) + 1).astype(int) * (1 if tiled else planes)
    last_tile = -(-(rows if tiled else len(words)) // size)

    # The first plane of the tiles adds to ``starts``, the others to what it has written.
    out = np.empty((rows, len(starts)), np.int32) if starts.ndim == 1 else starts
    if starts.ndim == 1 and not tiled:
        out[:] = starts

    def work(first: int, last: int) -> None:
        last, before = min(last, last_tile), np.atleast_2d(starts)
        for panels, scale in zip(weights.panels, t, strict=True):
            scales = np.asarray(s, np.int32) * np.int32(scale)
            if tiled:
                for plane, of_plane in zip(words, scales, strict=True):
                    tiles.accumulate(out, before, panels, plane, of_plane, first, last, width // tiles.GROUP)
                    before = out
            elif weights.path == "avx2":
                tables.accumulate(out, panels, words, scales, first, last, tables.TABLES)
            else:
                plain.accumulate(out, panels, words, scales, first, last)

    jobs = [(first, last) for first, last in pairwise(parts) if last > first]
    if len(jobs) == 1:
        work(*jobs[0])
    else:
        with ThreadPoolExecutor(len(jobs)) as pool:  # the kernels let go of Python's lock
            list(pool.map(work, *zip(*jobs, strict=True)))
    return out


def _scales(name: str, scales, planes: np.ndarray) -> np.ndarray:
    scales = np.array([1 << i for i in range(len(planes))] if scales is None else scales, np.int32)
    if scales.shape != (len(planes),):
        raise ValueError(f"{name} must have one number for each of {len(planes)} planes, got shape {scales.shape}")
    return scales


def _check_words(name: str, words: np.ndarray, weights: Weights | None = None) -> None:
    if words.dtype != np.uint64:
        raise TypeError(f"{name} must hold uint64 words, got {words.dtype}")
    if words.ndim != 3 or 0 in words.shape:
        raise ValueError(f"{name} must be rows, or planes of rows, of words and not empty, got {words.shape}")
    if words.shape[2] > MOST_WORDS:
        raise ValueError(f"{name} must have at most {MOST_WORDS} words a row, got {words.shape[2]}")
    if weights is not None and words.shape[2] != weights.words.shape[2]:
        raise ValueError(f"{name} have {words.shape[2]} words a row, weights {weights.words.shape[2]}")
