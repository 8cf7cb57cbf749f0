"""Values of 64 bytes for Numba functions: what one AVX-512 register holds.

Four types: ``words8`` are eight words of 64 bits, ``ints16`` sixteen numbers of 32 bits, ``shorts32`` thirty-two of 16
and ``bytes64`` sixty-four of eight. Nearly all is portable LLVM code, and what is not has a portable form beside it,
but for :func:`lookup64`, :func:`pairs_of_codes` and :func:`add_shorts`; where registers are shorter, LLVM makes two or
four instructions of one.

Indices are not checked: an index beyond the array reads or writes foreign memory.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fewbits.bitwise import isa
from fewbits.bitwise.simd import OPERATORS, Vector, address, define

_BIT, _BYTE, _INT, _WORD = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
_WORDS, _INTS = ir.VectorType(_WORD, 8), ir.VectorType(_INT, 16)
_SHORTS, _BYTES = ir.VectorType(ir.IntType(16), 32), ir.VectorType(_BYTE, 64)


Place = tuple[Any, Any, Any]  # type of an array, the array, index
words8, ints16 = Vector("words8", _WORDS), Vector("ints16", _INTS)
shorts32, bytes64 = Vector("shorts32", _SHORTS), Vector("bytes64", _BYTES)

for _instruction, _functions in (OPERATORS | {"mul": (operator.mul, operator.imul)}).items():
    for _function in _functions:
        define(_function, _instruction, (words8, ints16, shorts32, bytes64))


def _load(context, builder, array_type, array, index, kind):
    loaded = builder.load(address(context, builder, array_type, array, index, kind))
    loaded.align = 1
    return loaded


def _store(context, builder, array_type, array, index, value) -> None:
    builder.store(value, address(context, builder, array_type, array, index, value.type)).align = 1


def _same(builder, value, kind: ir.VectorType):
    """``value`` in all places of a vector."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, kind.count), [0] * kind.count))


def _call(builder, name: str, arguments):
    kind = ir.FunctionType(arguments[0].type, [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def prefetch(typing_context, array, index):
    """Say that 64 bytes from ``array[index]`` on will be written soon: a hint, which may go beyond the array."""

    def generate(context, builder, sig, args):
        element = context.get_value_type(sig.args[0].dtype)
        at = address(context, builder, sig.args[0], *args, element)
        kind = ir.FunctionType(ir.VoidType(), [at.type, _INT, _INT, _INT])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for start in (at, builder.gep(at, [ir.Constant(_INT, 15)])):  # most rows begin within a line of the cache
            builder.call(hint, [start, *(ir.Constant(_INT, setting) for setting in (1, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


# --- Eight words ------------------------------------------------------------------------------------------------------


@intrinsic
def no_words(typing_context):
    """Eight words of 0."""
    return words8(), lambda context, builder, sig, args: ir.Constant(_WORDS, None)


@intrinsic
def load_words(typing_context, array, index):
    """The eight words that begin at ``array[index]``."""
    return words8(array, types.intp), lambda context, builder, sig, args: _load(
        context, builder, sig.args[0], *args, _WORDS
    )


@intrinsic
def same_word(typing_context, array, index):
    """``array[index]``, eight times."""

    def generate(context, builder, sig, args):
        return _same(builder, _load(context, builder, sig.args[0], *args, _WORD), _WORDS)

    return words8(array, types.intp), generate


@intrinsic
def ones(typing_context, words):
    """The number of ones in each word: ``vpopcntq`` where the processor has it."""
    return words8(words8), lambda context, builder, sig, args: _call(builder, "llvm.ctpop.v8i64", args)


@intrinsic
def carry_of_three(typing_context, first, two, three):
    """The carry of three bits, from the first one and the sums modulo 2 of two and of three: one ``vpternlogq``.

    With bits a, b, c it is 1 where two or three of them are 1. Where a and b differ (two = 1), it is c, which is not
    three; where they are equal, it is a.
    """

    def generate(context, builder, sig, args):
        a, two, three = args
        if "avx512f" in isa.features():  # LLVM would take two instructions
            kind = ir.FunctionType(_WORDS, [_WORDS] * 3 + [_INT])
            name = "llvm.x86.avx512.pternlog.q.512"
            # Bit i of the constant is the result for i = 4 a + 2 two + three.
            return builder.call(
                cgutils.get_or_insert_function(builder.module, kind, name), [*args, ir.Constant(_INT, 0b01110100)]
            )
        differ, equal = builder.and_(two, builder.not_(three)), builder.and_(builder.not_(two), a)
        return builder.or_(differ, equal)

    return words8(words8, words8, words8), generate


@intrinsic
def add_counts(typing_context, out, index, most, low, high, scale):
    """``out[index + i] += scale * counts[i]`` for 16 counts of two vectors and i < most, sums of 32 bits."""

    def generate(context, builder, sig, args):
        out, index, most, low, high, scale = args
        place = sig.args[0], out, index
        _store_sums(context, builder, place, place, most, _scaled(builder, low, high, scale))
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, words8, words8, types.int32), generate


@intrinsic
def put_counts(typing_context, out, index, most, starts, start, low, high, scale):
    """``out[index + i] = starts[start + i] + scale * counts[i]`` for 16 counts of two vectors and i < most."""

    def generate(context, builder, sig, args):
        out, index, most, starts, start, low, high, scale = args
        to, source = (sig.args[0], out, index), (sig.args[3], starts, start)
        _store_sums(context, builder, to, source, most, _scaled(builder, low, high, scale))
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, starts, types.intp, words8, words8, types.int32), generate


def _scaled(builder, low, high, scale):
    """``scale`` times 16 counts of two vectors, as 32-bit numbers."""
    counts = builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(_INT, 16), list(range(16))))
    return builder.mul(builder.trunc(counts, _INTS), _same(builder, scale, _INTS))


def _store_sums(context, builder, to: Place, source: Place, most, values) -> None:
    """Write the first ``most`` of 16 numbers of ``source``, each increased by its one of ``values``, to ``to``.

    What lies beyond is not changed.
    """
    with builder.if_else(builder.icmp_signed(">=", most, ir.Constant(_WORD, 16))) as (all_of_them, some):
        with all_of_them:
            before = _load(context, builder, *source, _INTS)
            _store(context, builder, *to, builder.add(before, values))
        with some:  # masked stores are slow
            to_, from_ = (address(context, builder, *place, _INTS) for place in (to, source))
            places = ir.Constant(ir.VectorType(_WORD, 16), list(range(16)))
            mask = builder.icmp_signed("<", places, _same(builder, most, places.type))
            load = ir.FunctionType(_INTS, [from_.type, _INT, mask.type, _INTS])
            store = ir.FunctionType(ir.VoidType(), [_INTS, to_.type, _INT, mask.type])
            get = cgutils.get_or_insert_function(builder.module, load, "llvm.masked.load.v16i32.p0")
            put = cgutils.get_or_insert_function(builder.module, store, "llvm.masked.store.v16i32.p0")
            aligned = ir.Constant(_INT, 4)
            before = builder.call(get, [from_, aligned, mask, ir.Constant(_INTS, None)])
            builder.call(put, [builder.add(before, values), to_, aligned, mask])


# --- Sixteen numbers of 32 bits ---------------------------------------------------------------------------------------


@intrinsic
def no_ints(typing_context):
    """Sixteen times 0."""
    return ints16(), lambda context, builder, sig, args: ir.Constant(_INTS, None)


@intrinsic
def load_ints(typing_context, array, index):
    """The 64 bytes that begin at ``array[index]``."""
    return ints16(array, types.intp), lambda context, builder, sig, args: _load(
        context, builder, sig.args[0], *args, _INTS
    )


@intrinsic
def same_int(typing_context, array, index):
    """The four bytes that begin at ``array[index]``, sixteen times."""

    def generate(context, builder, sig, args):
        return _same(builder, _load(context, builder, sig.args[0], *args, _INT), _INTS)

    return ints16(array, types.intp), generate


@intrinsic
def store_ints(typing_context, array, index, values):
    """Store sixteen numbers from ``array[index]`` on."""

    def generate(context, builder, sig, args):
        _store(context, builder, sig.args[0], *args)
        return context.get_dummy_value()

    return types.void(array, types.intp, ints16), generate


@intrinsic
def add_ints(typing_context, out, index, most, values):
    """``out[index + i] += values[i]`` for i < 16 and i < most, sums of 32 bits."""

    def generate(context, builder, sig, args):
        out, index, most, values = args
        place = sig.args[0], out, index
        _store_sums(context, builder, place, place, most, values)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, ints16), generate


@intrinsic
def add_fours(typing_context, sums, unsigned, signed):
    """Add to each of 16 sums four products of an unsigned byte and a signed one: ``vpdpbusd`` of VNNI."""

    def generate(context, builder, sig, args):
        sums, unsigned, signed = args
        if "avx512vnni" in isa.features():
            return _call(builder, "llvm.x86.avx512.vpdpbusd.512", args)
        wide = ir.VectorType(_INT, 64)
        first = builder.zext(builder.bitcast(unsigned, _BYTES), wide)
        product = builder.mul(first, builder.sext(builder.bitcast(signed, _BYTES), wide))
        for part in range(4):
            places = ir.Constant(ir.VectorType(_INT, 16), list(range(part, 64, 4)))
            sums = builder.add(sums, builder.shuffle_vector(product, product, places))
        return sums

    return ints16(ints16, ints16, ints16), generate


@intrinsic
def add_twos(typing_context, sums, first, second):
    """Add to each of 16 sums two products of signed numbers of 16 bits: ``vpmaddwd``, which LLVM finds by itself."""

    def generate(context, builder, sig, args):
        wide = ir.VectorType(_INT, 32)
        one, other = (builder.sext(builder.bitcast(each, _SHORTS), wide) for each in args[1:])
        product = builder.mul(one, other)
        even, odd = (
            builder.shuffle_vector(product, product, ir.Constant(_INTS, list(range(start, 32, 2)))) for start in (0, 1)
        )
        return builder.add(args[0], builder.add(even, odd))

    return ints16(ints16, ints16, ints16), generate


@intrinsic
def pairs_of_codes(typing_context, codes, signed):
    """Sums of two products of an unsigned byte, below 128, and a signed one, in 16 bits: ``vpmaddubsw`` of AVX2."""

    def generate(context, builder, sig, args):
        kind = ir.VectorType(_BYTE, 32)
        return _in_halves(builder, "llvm.x86.avx2.pmadd.ub.sw", kind, [builder.bitcast(each, _BYTES) for each in args])

    return shorts32(ints16, ints16), generate


@intrinsic
def add_shorts(typing_context, sums, shorts):
    """Add to each of 16 sums two signed numbers of 16 bits: ``vpmaddwd`` of AVX2, with ones."""

    def generate(context, builder, sig, args):
        both = [args[1], ir.Constant(_SHORTS, [1] * 32)]
        pairs = _in_halves(builder, "llvm.x86.avx2.pmadd.wd", ir.VectorType(ir.IntType(16), 16), both)
        return builder.add(args[0], pairs)

    return ints16(ints16, shorts32), generate


def _in_halves(builder, name: str, kind: ir.VectorType, arguments):
    """An instruction on registers of 32 bytes, which makes half as many numbers of twice the bits, on 64 bytes."""
    number = ir.VectorType(ir.IntType(2 * kind.element.width), kind.count // 2)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(number, [kind, kind]), name)
    halves = []
    for start in (0, kind.count):
        places = ir.Constant(ir.VectorType(_INT, kind.count), list(range(start, start + kind.count)))
        parts = [builder.shuffle_vector(each, each, places) for each in arguments]
        halves.append(builder.call(function, parts))
    return builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_INT, kind.count), list(range(kind.count))))


@intrinsic
def bit_field(typing_context, values, shift, mask):
    """``values >> shift & mask`` of each of 64 bytes, where the mask has at most 8 - shift bits."""

    def generate(context, builder, sig, args):
        shifted = builder.lshr(args[0], _same(builder, args[1], _INTS))
        mask = builder.mul(args[2], ir.Constant(_INT, 0x01010101))
        return builder.and_(shifted, _same(builder, mask, _INTS))

    return ints16(ints16, types.int32, types.int32), generate


@intrinsic
def widen_codes(typing_context, array, index):
    """Sixteen unsigned bytes from ``array[index]`` on, as numbers of 32 bits."""

    def generate(context, builder, sig, args):
        loaded = _load(context, builder, sig.args[0], *args, ir.VectorType(_BYTE, 16))
        return builder.zext(loaded, _INTS)

    return ints16(array, types.intp), generate


@intrinsic
def same_number(typing_context, number):
    """A number of 32 bits, sixteen times."""
    return ints16(types.int32), lambda context, builder, sig, args: _same(builder, args[0], _INTS)


@intrinsic
def times_power(typing_context, values, power):
    """Each number times ``2**power``, modulo 2**32."""
    return ints16(ints16, types.int32), lambda context, builder, sig, args: builder.shl(
        args[0], _same(builder, args[1], _INTS)
    )


@intrinsic
def larger(typing_context, first, second):
    """The larger of each two numbers."""

    def generate(context, builder, sig, args):
        return builder.select(builder.icmp_signed(">", *args), *args)

    return ints16(ints16, ints16), generate


@intrinsic
def store_low_bytes(typing_context, array, index, values):
    """Store the lowest byte of each of sixteen numbers from ``array[index]`` on."""

    def generate(context, builder, sig, args):
        array, index, values = args
        _store(context, builder, sig.args[0], array, index, builder.trunc(values, ir.VectorType(_BYTE, 16)))
        return context.get_dummy_value()

    return types.void(array, types.intp, ints16), generate


@intrinsic
def scaled(typing_context, values, multipliers, halves, shifts, index):
    """``values[i] * multipliers[index + i] + halves[index + i] >> shifts[index + i]``, in 64 bits, then cut to 32.

    Args:
        multipliers: int32. halves, shifts: int64.
    """

    def generate(context, builder, sig, args):
        values, multipliers, halves, shifts, index = args
        longs = ir.VectorType(_WORD, 16)
        factor = builder.sext(_load(context, builder, sig.args[1], multipliers, index, _INTS), longs)
        product = builder.mul(builder.sext(values, longs), factor)
        rounded = builder.add(product, _load(context, builder, sig.args[2], halves, index, longs))
        shift = _load(context, builder, sig.args[3], shifts, index, longs)
        return builder.trunc(builder.ashr(rounded, shift), _INTS)

    return ints16(ints16, multipliers, halves, shifts, types.intp), generate


@intrinsic
def clipped(typing_context, values, low, high):
    """Each number, but at least ``low`` and at most ``high``."""

    def generate(context, builder, sig, args):
        values, low, high = args[0], _same(builder, args[1], _INTS), _same(builder, args[2], _INTS)
        values = builder.select(builder.icmp_signed("<", values, low), low, values)
        return builder.select(builder.icmp_signed(">", values, high), high, values)

    return ints16(ints16, types.int32, types.int32), generate


@intrinsic
def copy_bytes(typing_context, target, to, source, at, count):
    """``target[to:to + count] = source[at:at + count]`` of two arrays of bytes that do not overlap."""

    def generate(context, builder, sig, args):
        target, to, source, at, count = args
        goal = address(context, builder, sig.args[0], target, to, _BYTE)
        begin = address(context, builder, sig.args[2], source, at, _BYTE)
        kind = ir.FunctionType(ir.VoidType(), [goal.type, begin.type, _WORD, _BIT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.memcpy.p0.p0.i64")
        builder.call(function, [goal, begin, count, ir.Constant(_BIT, 0)])
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp), generate


@intrinsic
def fill_bytes(typing_context, target, to, value, count):
    """``target[to:to + count] = value`` of an array of bytes."""

    def generate(context, builder, sig, args):
        target, to, value, count = args
        goal = address(context, builder, sig.args[0], target, to, _BYTE)
        kind = ir.FunctionType(ir.VoidType(), [goal.type, _BYTE, _WORD, _BIT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.memset.p0.i64")
        builder.call(function, [goal, value, count, ir.Constant(_BIT, 0)])
        return context.get_dummy_value()

    return types.void(target, types.intp, types.uint8, types.intp), generate


# --- Sixty-four bytes -------------------------------------------------------------------------------------------------


@intrinsic
def no_bytes(typing_context):
    """64 bytes of 0."""
    return bytes64(), lambda context, builder, sig, args: ir.Constant(_BYTES, None)


@intrinsic
def load_bytes(typing_context, array, index):
    """The 64 bytes that begin at ``array[index]``."""
    return bytes64(array, types.intp), lambda context, builder, sig, args: _load(
        context, builder, sig.args[0], *args, _BYTES
    )


@intrinsic
def load_four_times(typing_context, array, index):
    """The 16 bytes that begin at ``array[index]``, four times: a table for :func:`lookup64`."""

    def generate(context, builder, sig, args):
        quarter = _load(context, builder, sig.args[0], *args, ir.VectorType(_BYTE, 16))
        places = ir.Constant(ir.VectorType(_INT, 64), [i % 16 for i in range(64)])
        return builder.shuffle_vector(quarter, quarter, places)

    return bytes64(array, types.intp), generate


@intrinsic
def lookup64(typing_context, table, indices):
    """``table[indices[i]]`` for each of 64 indices below 16, each quarter in its own: ``vpshufb`` of AVX-512."""
    return bytes64(bytes64, bytes64), lambda context, builder, sig, args: _call(
        builder, "llvm.x86.avx512.pshuf.b.512", args
    )


@intrinsic
def low_halves(typing_context, values):
    """The lower four bits of each byte."""
    return bytes64(bytes64), lambda context, builder, sig, args: builder.and_(args[0], ir.Constant(_BYTES, [15] * 64))


@intrinsic
def high_halves(typing_context, values):
    """The upper four bits of each byte, as a number below 16."""

    def generate(context, builder, sig, args):
        shifted = builder.lshr(builder.bitcast(args[0], _SHORTS), ir.Constant(_SHORTS, [4] * 32))
        return builder.and_(builder.bitcast(shifted, _BYTES), ir.Constant(_BYTES, [15] * 64))

    return bytes64(bytes64), generate


@intrinsic
def as_shorts(typing_context, values):
    """Pairs of bytes as numbers of 16 bits, the second byte times 256."""
    return shorts32(bytes64), lambda context, builder, sig, args: builder.bitcast(args[0], _SHORTS)


@intrinsic
def no_shorts(typing_context):
    """32 times 0."""
    return shorts32(), lambda context, builder, sig, args: ir.Constant(_SHORTS, None)


@intrinsic
def over_256(typing_context, values):
    """Each number of 16 bits divided by 256, rounded down."""
    return shorts32(shorts32), lambda context, builder, sig, args: builder.lshr(args[0], ir.Constant(_SHORTS, [8] * 32))


@intrinsic
def add_64_counts(typing_context, out, index, most, total, second, scale):
    """``out[index + i] += scale * c[i]`` for i < most, where 64 counts c come from sums of :func:`as_shorts`.

    Args:
        total: those sums, modulo 2**16. second: sums of their second bytes. The panels' order is that of
            :func:`fewbits.bitwise.tables.lane_panels`.
    """

    def generate(context, builder, sig, args):
        out, index, most, total, second, scale = args
        first = builder.sub(total, builder.shl(second, ir.Constant(_SHORTS, [8] * 32)))
        scales = _same(builder, scale, _INTS)
        for part in range(4):  # 32 rows from the lower half of both, then 32 from the upper
            source, start = (first, second)[part % 2], 16 * (part // 2)
            places = ir.Constant(_INTS, list(range(start, start + 16)))
            counts = builder.zext(builder.shuffle_vector(source, source, places), _INTS)
            moved = ir.Constant(_WORD, 16 * part)
            place, left = builder.add(index, moved), builder.sub(most, moved)
            to = sig.args[0], out, place
            _store_sums(context, builder, to, to, left, builder.mul(counts, scales))
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, shorts32, shorts32, types.int32), generate
