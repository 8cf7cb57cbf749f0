"""What a processor can do at most: instruction mixes that touch no memory, and reading memory."""

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from fewbits.bitwise import isa, tables
from fewbits.bitwise.simd import bytes32, high_nibbles, load, lookup, store_bytes, wide_vectors, zero
from fewbits.bitwise.simd64 import (
    add_counts,
    add_fours,
    carry_of_three,
    load_ints,
    load_words,
    no_ints,
    no_words,
    ones,
    store_ints,
)
from fewbits.core.compiled import njit
from fewbits.experiments.bitwise.turns import in_turns

_STEPS = 20_000


@intrinsic
def _fma(typing_context, a, b, c):
    """``a * b + c`` of eight float32 numbers held in 32 bytes."""

    def generate(context, builder, sig, args):
        floats = ir.VectorType(ir.FloatType(), 8)
        kind = ir.FunctionType(floats, [floats] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v8f32")
        product = builder.call(function, [builder.bitcast(x, floats) for x in args])
        return builder.bitcast(product, ir.VectorType(ir.IntType(8), 32))

    return bytes32(bytes32, bytes32, bytes32), generate


@njit
def _float_mix(data, steps):
    """Ten independent chains of multiply-adds."""
    x, y = load(data, 0), load(data, 32)
    a, b, c, d, e = load(data, 64), load(data, 96), load(data, 128), load(data, 160), load(data, 192)
    f, g, h, i, j = load(data, 224), load(data, 256), load(data, 288), load(data, 320), load(data, 352)
    for _ in range(steps):
        a, b, c, d, e = _fma(a, x, y), _fma(b, x, y), _fma(c, x, y), _fma(d, x, y), _fma(e, x, y)
        f, g, h, i, j = _fma(f, x, y), _fma(g, x, y), _fma(h, x, y), _fma(i, x, y), _fma(j, x, y)
    store_bytes(data, 0, a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j)


@njit
def _table_mix(data, steps):
    """The instructions of :func:`fewbits.bitwise.tables.count_block`, with tables and indices in registers.

    Tables are changed by what was counted before, so that the compiler cannot move a look-up out of the loop.
    """
    i0, i1, i2, t0, t1 = load(data, 0), load(data, 32), load(data, 64), load(data, 96), load(data, 128)
    a0, a1, a2, a3, b0, b1, b2, b3 = zero(), zero(), zero(), zero(), zero(), zero(), zero(), zero()
    for _ in range(steps):
        s = lookup(a1, i0) + lookup(b2, i1) + lookup(t0, i2)
        t = lookup(a2, i1) + lookup(b3, i2) + lookup(t1, i0)
        u = lookup(a3, i2) + lookup(b0, i0) + lookup(t0, i1)
        v = lookup(a0, i0) + lookup(b1, i2) + lookup(t1, i1)
        a0, b0 = a0 + s, b0 + high_nibbles(s)
        a1, b1 = a1 + t, b1 + high_nibbles(t)
        a2, b2 = a2 + u, b2 + high_nibbles(u)
        a3, b3 = a3 + v, b3 + high_nibbles(v)
    store_bytes(data, 0, a0 ^ a1 ^ a2 ^ a3 ^ b0 ^ b1 ^ b2 ^ b3)


@njit
def _tile_mix(words, out, steps):
    """The instructions of :func:`fewbits.bitwise.tiles.count_three`, four times, with all words in registers.

    The inputs' word changes in every step, so that the compiler cannot move a count out of the loop.
    """
    wide_vectors()
    u0, v0, w0 = load_words(words, 0), load_words(words, 8), load_words(words, 16)
    u1, v1, w1 = load_words(words, 24), load_words(words, 32), load_words(words, 40)
    u2, v2, w2 = load_words(words, 48), load_words(words, 56), load_words(words, 64)
    u3, v3, w3 = load_words(words, 72), load_words(words, 80), load_words(words, 88)
    x = change = load_words(words, 96)
    a = b = c = d = e = f = g = h = no_words()
    for _ in range(steps):
        x += change
        two, three = x ^ v0, x ^ w0
        a, b = a + ones(three), b + ones(carry_of_three(x ^ u0, two, three))
        two, three = x ^ v1, x ^ w1
        c, d = c + ones(three), d + ones(carry_of_three(x ^ u1, two, three))
        two, three = x ^ v2, x ^ w2
        e, f = e + ones(three), f + ones(carry_of_three(x ^ u2, two, three))
        two, three = x ^ v3, x ^ w3
        g, h = g + ones(three), h + ones(carry_of_three(x ^ u3, two, three))
    add_counts(out, 0, 16, a ^ b ^ c ^ d, e ^ f ^ g ^ h, np.int32(1))


@njit
def _byte_mix(data, steps):
    """Sixteen chains of products of bytes, four to a number of 32 bits."""
    wide_vectors()
    x, y = load_ints(data, 0), load_ints(data, 64)
    a = b = c = d = e = f = g = h = i = j = k = m = n = o = p = q = no_ints()
    for _ in range(steps):
        a, b, c, d = add_fours(a, x, y), add_fours(b, x, y), add_fours(c, x, y), add_fours(d, x, y)
        e, f, g, h = add_fours(e, x, y), add_fours(f, x, y), add_fours(g, x, y), add_fours(h, x, y)
        i, j, k, m = add_fours(i, y, x), add_fours(j, y, x), add_fours(k, y, x), add_fours(m, y, x)
        n, o, p, q = add_fours(n, y, x), add_fours(o, y, x), add_fours(p, y, x), add_fours(q, y, x)
    store_ints(data, 0, a ^ b ^ c ^ d ^ e ^ f ^ g ^ h)
    store_ints(data, 64, i ^ j ^ k ^ m ^ n ^ o ^ p ^ q)


@njit
def _block_again(lanes, offsets, sums, repeats):
    """The kernel itself, always on the same inputs and weights: all its loads meet the first-level cache."""
    for _ in range(repeats):
        tables.count_block(lanes, 0, offsets, 0, tables.BLOCK, tables.BLOCK, tables.TABLES, sums, 0)


@njit
def _read(words):
    total = np.uint64(0)
    for i in range(len(words)):
        total ^= words[i]
    return total


def roofs() -> dict[str, float]:
    """Measured limits of one core with AVX2 or more: products in GOP/s, "memory" in GB/s.

    "float32" (of 32 bytes), "paired tables", "prefix tile" (where there is VPOPCNTDQ) and "bytes" (VNNI) are
    instructions without memory; "paired tables, cache" is the kernel in the first-level cache.
    """
    rng = np.random.default_rng(0)
    data = rng.integers(0, 16, 384).astype(np.uint8)
    lanes = rng.integers(0, 16, tables.BLOCK * tables.LANES).astype(np.uint8)
    offsets = (16 * rng.integers(0, 256, 2 * tables.BLOCK)).astype(np.uint16)
    sums = np.zeros(256, np.uint16)
    words = np.ones(2**23, np.uint64)  # 64 MiB: more than the caches hold
    calls = {
        "float32": lambda: _float_mix(data.copy(), _STEPS),
        "paired tables": lambda: _table_mix(data.copy(), _STEPS),
        "paired tables, cache": lambda: _block_again(lanes, offsets, sums, 1000),
        "memory": lambda: _read(words),
    }
    present = isa.available()
    if "vpopcnt" in present:
        few = rng.integers(0, 2**64, 104, dtype=np.uint64)
        calls["prefix tile"] = lambda: _tile_mix(few, np.zeros(16, np.int32), _STEPS)
    if "vnni" in present:
        calls["bytes"] = lambda: _byte_mix(data.copy(), _STEPS)
    seconds = {name: min(times.cpu) for name, times in in_turns(calls, rounds=8).items()}
    work = {"float32": 10 * 8 * 2 * _STEPS, "paired tables": 4 * 2 * 768 * _STEPS, "memory": words.nbytes}
    work["paired tables, cache"] = 2 * 4 * 4 * tables.BLOCK * tables.LANES * 1000  # 4 inputs, 4 bits a look-up
    work |= {"prefix tile": 4 * 2 * 3 * 512 * _STEPS, "bytes": 16 * 2 * 64 * _STEPS}
    return {name: work[name] / seconds[name] / 1e9 for name in calls}
