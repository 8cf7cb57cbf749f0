"""3×3 convolution of packed images, stride 1, without writing down its matrix ("im2col").

Pixels lie as words of channels, NHWC, so the three pixels under one row of the kernel are one run of words: a
convolution is three products a pixel, whose inputs start at three addresses.

**The border.** Padding adds 0, which a bit cannot say. Outside pixels are taken as words of zeros, that is -1 in every
channel; what they add is known beforehand for each of the ways in which a kernel can stick out, and taken off again.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fewbits.bitwise import isa, plain, tables, tiles
from fewbits.bitwise.gemm import LAYOUTS
from fewbits.bitwise.plain import popcount
from fewbits.bitwise.simd import store_offsets, wide_vectors
from fewbits.bitwise.simd64 import no_words, put_counts
from fewbits.core.compiled import njit


@dataclass(frozen=True)
class ConvWeights:
    """Packed kernels of O filters, laid out for one path; made once by :func:`prepare_conv`.

    Attributes:
        path: see :mod:`fewbits.bitwise.isa`.
        words: (O, 3, 3, W) uint64.
        panels: their layout for the kernel.
        starts: (4, 4, O) int32, sum before any difference is taken off: index 1 where the first row (column) of the
            kernel is outside, 2 the last, 3 both.
    """

    path: str
    words: np.ndarray
    panels: np.ndarray
    starts: np.ndarray


def prepare_conv(words: np.ndarray, channels: int) -> ConvWeights:
    """Lay out packed kernels.

    Args:
        words: (O, 3, 3, W) uint64: for each filter and place of the kernel, the signs of its channels.
        channels: C, at most 64 W.
    Raises:
        TypeError, ValueError: another dtype or shape, more than 7,232 channels, or channels and words do not fit.
    """
    if words.dtype != np.uint64:
        raise TypeError(f"words must be uint64, got {words.dtype}")
    if words.ndim != 4 or words.shape[1:3] != (3, 3) or 0 in words.shape or words.shape[3] > 113:
        raise ValueError(f"words must be (filters, 3, 3, words), 1 to 113 words, got {words.shape}")
    if words.shape[3] != -(-channels // 64):
        raise ValueError(f"{channels} channels take {-(-channels // 64)} words, got {words.shape[3]}")
    path = isa.best(LAYOUTS)
    rows = words.reshape(len(words), -1)
    layout, _ = LAYOUTS[path]
    ones = np.bitwise_count(words).sum(-1, dtype=np.int32)  # (O, 3, 3): differences that a word of zeros makes
    starts = np.empty((4, 4, len(words)), np.int32)
    for y in range(4):
        for x in range(4):
            inside = np.outer([not y & 1, True, not y & 2], [not x & 1, True, not x & 2])
            # The plain path leaves places outside out; the others meet words of zeros there.
            extra = 0 if path == "plain" else 2 * (ones * ~inside).sum((1, 2))
            starts[y, x] = channels * inside.sum() + extra
    return ConvWeights(path, words, layout(rows), starts)


def conv3x3(images: np.ndarray, weights: ConvWeights, threads: int = 1) -> np.ndarray:
    """Convolve packed images with packed kernels, padding 1: what ``F.conv2d`` gives for tensors of ±1.

    Args:
        images: (B, H, W, words) uint64, signs of the channels of each pixel.
        weights: O filters.
        threads: images are shared out among so many.
    Returns:
        (B, H, W, O) int32.
    Raises:
        TypeError, ValueError: another dtype, an empty image, or another number of words.
    """
    if images.dtype != np.uint64:
        raise TypeError(f"images must be uint64, got {images.dtype}")
    if images.ndim != 4 or 0 in images.shape or images.shape[3] != weights.words.shape[3]:
        raise ValueError(f"images must be (B, H, W, {weights.words.shape[3]}) and not empty, got {images.shape}")
    images = np.ascontiguousarray(images)
    out = np.empty((*images.shape[:3], len(weights.words)), np.int32)

    def work(index: int) -> None:
        if weights.path == "vpopcnt":
            _conv_tiles(out[index], images[index], weights.panels, weights.starts)
        elif weights.path == "avx2":
            _conv_tables(out[index], images[index], weights.panels, weights.starts, tables.TABLES)
        else:
            _conv_plain(out[index], images[index], weights.panels, weights.starts)

    if threads > 1 and len(images) > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(len(images))))
    else:
        for index in range(len(images)):
            work(index)
    return out


@njit(cache=True, inline="always")
def _outside(at, size):
    """1 where the first row or column of the kernel is outside, 2 where the last is, 3 both."""
    return (at == 0) + 2 * (at == size - 1)


@njit(cache=True, nogil=True)
def _conv_tables(out, image, lanes, starts, tables_):
    """One image by tables. A pair of inputs is a pixel and the one half an image below, so that pairs stay together
    wherever the kernel goes; a tile is two such pairs side by side."""
    wide_vectors()
    height, width, words = image.shape
    filters = out.shape[2]
    half, wide = (height + 1) // 2, width + 3  # a column of padding left, two right: for a tile that sticks out
    offsets = np.zeros((half + 2) * wide * words * 16, np.uint16)
    for row in range(half + 2):
        for x in range(width):
            for k in range(words):
                first = image[row - 1, x, k] if 1 <= row <= height else np.uint64(0)
                second = image[row - 1 + half, x, k] if row - 1 + half < height else np.uint64(0)
                store_offsets(offsets, ((row * wide + x + 1) * words + k) * 16, first, second)
    for y in range(height):
        for x in range(width):
            out[y, x] = starts[_outside(y, height), _outside(x, width)]
    flat_lanes, flat_out, sums = lanes.reshape(-1), out.reshape(-1), np.empty(256, np.uint16)
    run = 16 * words  # nibbles of a pixel; those of three pixels are as many whole blocks as a pixel has words
    for panel in range(lanes.shape[0]):
        for y in range(half):
            for x in range(0, width, 2):
                sums[:] = 0
                at = panel * 9 * run * tables.LANES
                for kernel_row in range(3):
                    p = ((y + kernel_row) * wide + x) * run
                    for _ in range(words):
                        tables.count_block(flat_lanes, at, offsets, p, p + run, tables.BLOCK, tables_, sums, 0)
                        at, p = at + tables.BLOCK * tables.LANES, p + tables.BLOCK
                for c in range(4):
                    to_y, to_x = y + half * (c % 2), x + c // 2
                    if to_y < height and to_x < width:
                        place = (to_y * width + to_x) * filters
                        tables.add_counts(flat_out, place, filters, panel, sums, tables.LANES * c, np.int32(-2))


@njit(cache=True, nogil=True)
def _conv_tiles(out, image, panels, starts):
    """One image by tiles of four pixels in a row, which may go on in the next one.

    ``runs`` has for each word of a row, which zeros surround, the prefix form of it and its two neighbours to the
    right. Under a row of the kernel every third of these belongs to a pixel.
    """
    wide_vectors()
    height, width, words = image.shape
    filters, pixels = out.shape[2], height * width
    row_words = (width + 2) * words
    line, runs = np.zeros(row_words + 2, np.uint64), np.zeros((height + 2) * row_words * tiles.GROUP, np.uint64)
    for y in range(height):
        line[words : words + width * words] = image[y].reshape(-1)
        at = (y + 1) * row_words * tiles.GROUP
        for i in range(row_words):
            first, two = line[i], line[i] ^ line[i + 1]
            runs[at], runs[at + 1], runs[at + 2] = first, two, two ^ line[i + 2]
            at += tiles.GROUP
    # Where the runs of a pixel begin, and its sums; the last ones once more, for a tile that goes on beyond the end.
    places, begin = np.empty(pixels + tiles.ROWS, np.int64), np.empty(pixels + tiles.ROWS, np.int64)
    for y in range(height):
        for x in range(width):
            places[y * width + x] = (y * row_words + x * words) * tiles.GROUP
            begin[y * width + x] = (4 * _outside(y, height) + _outside(x, width)) * filters
    places[pixels:], begin[pixels:] = places[pixels - 1], begin[pixels - 1]
    flat_panels, flat_out, flat_starts, scale = panels.reshape(-1), out.reshape(-1), starts.reshape(-1), np.int32(-2)
    step = tiles.GROUP * tiles.GROUP
    for i in range(0, pixels, tiles.ROWS):
        for panel in range(panels.shape[0]):
            start = panel * tiles.LANES
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = no_words()
            for row in range(3):
                down = row * row_words * tiles.GROUP
                p, q, r, s = places[i] + down, places[i + 1] + down, places[i + 2] + down, places[i + 3] + down
                at = 3 * (3 * start + row * tiles.LANES) * words
                a0, a1, b0, b1, c0, c1, d0, d1 = tiles.count_tile(
                    flat_panels, at, runs, p, q, r, s, words, step, 3 * words, a0, a1, b0, b1, c0, c1, d0, d1
                )
            to, most = i * filters + start, filters - start
            put_counts(flat_out, to, most, flat_starts, begin[i] + start, a0, a1, scale)
            if i + 1 < pixels:
                put_counts(flat_out, to + filters, most, flat_starts, begin[i + 1] + start, b0, b1, scale)
            if i + 2 < pixels:
                put_counts(flat_out, to + 2 * filters, most, flat_starts, begin[i + 2] + start, c0, c1, scale)
            if i + 3 < pixels:
                put_counts(flat_out, to + 3 * filters, most, flat_starts, begin[i + 3] + start, d0, d1, scale)


@njit(cache=True, nogil=True)
def _conv_plain(out, image, panels, starts):
    """One image in plain Python; the run of words under a row of the kernel is cut at the border."""
    wide_vectors()
    height, width, words = image.shape
    counts = np.empty(plain.LANES, np.uint64)
    for y in range(height):
        for x in range(width):
            from_x, to_x = max(x - 1, 0), min(x + 2, width)
            for panel in range(panels.shape[0]):
                for j in range(plain.LANES):  # not [:] = 0, see plain.accumulate
                    counts[j] = 0
                for row in range(max(y - 1, 0), min(y + 2, height)):
                    k = (3 * (row - y + 1) + from_x - x + 1) * words
                    for column in range(from_x, to_x):
                        for i in range(words):
                            word = image[row, column, i]
                            for j in range(plain.LANES):
                                counts[j] += popcount(word ^ panels[panel, k, j])
                            k += 1
                start = plain.LANES * panel
                first = starts[_outside(y, height), _outside(x, width)]
                for j in range(min(plain.LANES, out.shape[2] - start)):
                    out[y, x, start + j] = first[start + j] - np.int32(2 * counts[j])
