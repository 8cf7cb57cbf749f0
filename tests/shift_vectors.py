"""Inputs for the tests of the fixed-point circuits, and what the plain loops of ``fewbits.fpga`` make of them."""

import numpy as np

from fewbits.fpga.shift_adder import dot, product

# Values where something happens: the ends of the range, both sides of 0, powers of two, and bits that alternate.
CORNERS = np.array(
    [0, 1, -1, 2, -2, 3, -3, 255, -256, 2**15, -(2**15), 2**16 - 1, 2**30, -(2**30), 2**31 - 1, -(2**31), -(2**31) + 1,
     0x55555555, -0x55555556]
)  # fmt: skip
# n1 of a tensor whose fields an element of 15 exponents takes as they are: e = 15 is 1, and INQ's e = 8 is 2^-7.
N1 = -7


def signed32(values: np.ndarray) -> np.ndarray:
    """The low 32 bits as a signed number, int64."""
    return np.asarray(values).astype(np.int64).astype(np.int32).astype(np.int64)


def sums_of_runs(start: np.ndarray, x: np.ndarray, code: np.ndarray, overflow: str, n1: int = N1) -> np.ndarray:
    """What a PE holds after each pair: a dot product that begins anew where ``start`` is 1. (n,) int64."""
    total, sums = 0, []
    for first, value, field in zip(start.tolist(), x.tolist(), code.tolist(), strict=True):
        total = dot([value], [field], 0 if first else total, n1, overflow=overflow)
        sums.append(total)
    return np.array(sums, np.int64)


def fixed_reference(start: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same with Q16.16 weights: each product rounded down, everything modulo 2^32."""
    total, sums = 0, []
    for first, value, factor in zip(start.tolist(), x.tolist(), weight.tolist(), strict=True):
        total = (0 if first else total) + (value * factor >> 16)
        sums.append(total & 0xFFFFFFFF)
    return signed32(np.array(sums, np.uint64))


def wrapped_dots(x: np.ndarray, codes: np.ndarray, saturate: bool = False) -> np.ndarray:
    """Dot products along the last axis, (n,) int64: modulo 2^32, or exact and then limited once."""
    flat = zip(x.ravel().tolist(), codes.ravel().tolist(), strict=True)
    exact = np.array([product(value, code, N1, overflow="saturate") for value, code in flat], np.int64)
    sums = exact.reshape(x.shape).sum(axis=-1)
    return np.clip(sums, -(2**31), 2**31 - 1) if saturate else signed32(sums)
