"""The shift-adder of :mod:`fewbits.fpga.shift_adder` for 32 images at a time: the same bits, fast.

A *row* is one number of each of LANES images. The numbers of a layer's input lie in an array (rows, LANES), pixel by
pixel and channel by channel; so the input of a weight at an output pixel is the row ``base + offset``, where ``base``
belongs to the pixel and ``offset`` to the weight. Depthwise, pointwise and linear layers differ in their offsets only.
"""

from dataclasses import dataclass

import numpy as np

from fewbits.bitwise.simd import wide_vectors
from fewbits.core.compiled import njit
from fewbits.fpga import lanes
from fewbits.fpga.lanes import LANES
from fewbits.fpga.shift_adder import shift_of


@dataclass(frozen=True)
class Terms:
    """The weights of a layer that are not 0, output by output, in the order of the layer.

    Attributes:
        offset: (T,) int64, the place of each weight's input, in rows.
        n: (T,) int32, places to shift right, 63 at most; negative: left.
        sign: (T,) int32, 1 for a negative weight, else 0.
        begin: (M + 1,) int64, first weight of each output, and T.
    Source: own (layout for the kernels)
    """

    offset: np.ndarray
    n: np.ndarray
    sign: np.ndarray
    begin: np.ndarray

    def by_sign(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What :func:`wrapping_sums` reads: offset, n and begin, the positive weights of each output first.

        A shift to the left by k is written as 2^k weights without a shift, which is the same modulo 2^32. A shift by 31
        leaves the sign bit everywhere, and so does any longer one.
        """
        copies = 1 << np.maximum(-self.n, 0).astype(np.int64)
        output = np.repeat(np.arange(len(self.begin) - 1), np.diff(self.begin))
        group = np.repeat(2 * output + self.sign, copies)
        order = np.argsort(group, kind="stable")
        begin = np.searchsorted(group[order], np.arange(2 * len(self.begin) - 1))
        offset, n = (np.repeat(values, copies)[order] for values in (self.offset, np.clip(self.n, 0, 31)))
        return offset, n, begin


def make_terms(codes: np.ndarray, offset: np.ndarray, n1: int, bits: int = 5) -> Terms:
    """Terms of a layer.

    Args:
        codes: (M, K) fields of INQ.
        offset: (M, K) rows.
        n1, bits: as in :func:`fewbits.fpga.shift_adder.shift_of`.
    Source: own (layout for the kernels)
    """
    fields = [shift_of(code, n1, bits) for code in range(1 << bits)]
    signs, shifts = (np.array([field[part] if field else 0 for field in fields], np.int32) for part in (0, 1))
    zero = np.array([field is None for field in fields])
    kept = ~zero[codes]
    begin = np.concatenate([[0], np.cumsum(kept.sum(1))])
    return Terms(offset[kept].astype(np.int64), np.minimum(shifts, 63)[codes[kept]], signs[codes[kept]], begin)


@njit(nogil=True)
def wrapping_sums(x, base, offset, n, begin, bias, spare, relu, out, place):
    """All outputs of a layer for LANES images, modulo 2^width: about three vector instructions for 8 shift-adds, or 16.

    Args:
        x: (rows, LANES) int32, C order; faster if it begins at a multiple of 64 bytes.
        base: (P,) int64, row of each output pixel in ``x``.
        offset, n, begin: of :meth:`Terms.by_sign`.
        bias: (M,) int32.
        spare: int32, 32 - width: the sums are cut to so many bits fewer.
        relu: bool, negative sums become 0.
        out: (rows, LANES) int32, C order; output o of pixel p goes to row ``place[p] + o``.
        place: (P,) int64.
    Source: yokota2024 Sec. 2.2 (shifts in place of products); own (many images at a time)
    """
    wide_vectors()
    for pixel in range(len(base)):
        first = base[pixel]
        for output in range(len(bias)):
            total = lanes.splat(bias[output])
            # Unsigned: Numba takes a negative index for one from the end, and would ask each time whether it is one.
            for term in range(np.uint64(begin[2 * output]), np.uint64(begin[2 * output + 1])):
                total = lanes.add(total, lanes.shift_right(lanes.load(x, first + offset[term]), n[term]))
            for term in range(np.uint64(begin[2 * output + 1]), np.uint64(begin[2 * output + 2])):
                total = lanes.subtract(total, lanes.shift_right(lanes.load(x, first + offset[term]), n[term]))
            if spare:
                total = lanes.shift_right(lanes.shift_left(total, spare), spare)
            if relu:
                total = lanes.not_negative(total)
            lanes.store(out, place[pixel] + output, total)


@njit(nogil=True)
def counted_sums(x, base, offset, n, sign, begin, bias, low, high, saturate, relu, out, place, used, counts):
    """The same with exact sums in int64, which are then wrapped or, if ``saturate``, limited after every addition.

    Args:
        x, base, bias, relu, out, place: as in :func:`wrapping_sums`.
        offset, n, sign, begin: of :class:`Terms`.
        low, high: int64, the range of the format.
        saturate: bool.
        used: the first so many lanes hold images; the others are neither computed nor counted.
        counts: (4,) int64. Added to: products out of range; sums that went out of range at some addition; sums out of
            range at the end. Raised to: the largest magnitude of a sum at any addition, less 1 if it is negative.
    Source: yokota2024 Sec. 2.2 (shifts in place of products); own (counts of overflows)
    """
    total, term = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    left, largest, products = np.empty(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    for pixel in range(len(base)):
        for output in range(len(bias)):
            total[:] = bias[output]
            left[:] = 0
            for index in range(begin[output], begin[output + 1]):
                row, places, negative = base[pixel] + offset[index], n[index], -sign[index]
                for lane in range(LANES):  # short loops without branches, so that LLVM makes vectors of them
                    value = np.int64(x[row, lane])
                    value = value >> places if places >= 0 else value << -places
                    value = (value ^ negative) - negative
                    products[lane] += (value < low) | (value > high)
                    term[lane] = value
                for lane in range(LANES):
                    value = total[lane] + term[lane]
                    largest[lane] |= value ^ (value >> 63)
                    left[lane] |= (value < low) | (value > high)
                    total[lane] = min(max(value, low), high) if saturate else value
            for lane in range(used):
                value = total[lane]
                counts[1] += left[lane]
                counts[2] += (value < low) | (value > high)
                value = ((value - low) & (high - low)) + low
                out[place[pixel] + output, lane] = max(value, 0) if relu else value
    for lane in range(used):
        counts[0] += products[lane]
        counts[3] |= largest[lane]
