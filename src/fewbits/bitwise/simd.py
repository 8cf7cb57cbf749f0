"""A value of 32 bytes for Numba functions: what one AVX2 register holds.

Numba has no type for a vector register, but lets a library add one. Here it is ``<32 x i8>`` of LLVM, with ``+``,
``-``, ``&`` and ``^`` on all bytes at once and a handful of functions. All but :func:`lookup` is portable LLVM code.

Indices are not checked: an index beyond the array reads or writes foreign memory.
"""

import operator
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

_BYTE, _BIT, _WORD = ir.IntType(8), ir.IntType(1), ir.IntType(64)
_VECTOR, _HALF, _SHORTS = ir.VectorType(_BYTE, 32), ir.VectorType(_BYTE, 16), ir.VectorType(ir.IntType(16), 16)
_TWICE = ir.Constant(ir.VectorType(ir.IntType(32), 32), [i % 16 for i in range(32)])


class Vector(types.Type):
    """A type of Numba for a vector of LLVM."""

    def __init__(self, name: str, llvm: ir.VectorType):
        super().__init__(name=name)
        self.llvm = llvm


bytes32 = Vector("bytes32", _VECTOR)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, frontend_type):
        super().__init__(manager, frontend_type, frontend_type.llvm)


def define(function: Callable, instruction: str, kinds: tuple[Vector, ...]) -> None:
    """Give ``function`` of two vectors of one of ``kinds`` the LLVM ``instruction``."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            return signature(args[0], *args) if args in [(kind, kind) for kind in kinds] else None

    for kind in kinds:

        @lower_builtin(function, kind, kind)
        def _lower(context, builder, sig, args):
            return getattr(builder, instruction)(*args)


# Instruction of LLVM -> the operators of Python for it.
OPERATORS = {
    "add": (operator.add, operator.iadd),
    "sub": (operator.sub, operator.isub),
    "and_": (operator.and_, operator.iand),
    "xor": (operator.xor, operator.ixor),
}
for _instruction, _functions in OPERATORS.items():
    for _function in _functions:
        define(_function, _instruction, (bytes32,))


def address(context, builder, array_type, array, index, kind):
    """Pointer to ``array[index]`` of a one-dimensional array, as a pointer to ``kind``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _unaligned(load):
    load.align = 1
    return load


@intrinsic
def wide_vectors(typing_context):
    """Let LLVM use 512-bit vectors in the function that calls this: for most processors that have them it prefers 256.

    The call becomes no instruction and changes no other function. Without 512-bit registers it has no effect.
    """

    def generate(context, builder, sig, args):
        # llvmlite supports only attributes without a value, and its own add() refuses others.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def zero(typing_context):
    """32 zeros."""
    return bytes32(), lambda context, builder, sig, args: ir.Constant(_VECTOR, None)


@intrinsic
def load(typing_context, array, index):
    """The 32 bytes that begin at ``array[index]``."""

    def generate(context, builder, sig, args):
        return _unaligned(builder.load(address(context, builder, sig.args[0], *args, _VECTOR)))

    return bytes32(array, types.intp), generate


@intrinsic
def load_table(typing_context, tables, offsets, index):
    """The 16 bytes that begin at ``tables[offsets[index]]``, twice: a table for :func:`lookup`."""

    def generate(context, builder, sig, args):
        kind = context.get_value_type(sig.args[1].dtype)
        offset = builder.load(address(context, builder, sig.args[1], args[1], args[2], kind))
        at = address(context, builder, sig.args[0], args[0], builder.zext(offset, _WORD), _HALF)
        half = _unaligned(builder.load(at))
        return builder.shuffle_vector(half, half, _TWICE)

    return bytes32(tables, offsets, types.intp), generate


@intrinsic
def load_twice(typing_context, array, index):
    """The 16 bytes that begin at ``array[index]``, twice: a table for :func:`lookup`."""

    def generate(context, builder, sig, args):
        half = _unaligned(builder.load(address(context, builder, sig.args[0], *args, _HALF)))
        return builder.shuffle_vector(half, half, _TWICE)

    return bytes32(array, types.intp), generate


@intrinsic
def lookup(typing_context, table, indices):
    """``table[indices[i]]`` for each of 32 indices below 16, each half in its half of the table: ``vpshufb``."""

    def generate(context, builder, sig, args):
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pshuf.b"), args)

    return bytes32(bytes32, bytes32), generate


@intrinsic
def low_nibbles(typing_context, vector):
    """The lower four bits of each byte."""

    def generate(context, builder, sig, args):
        return builder.and_(args[0], ir.Constant(_VECTOR, [15] * 32))

    return bytes32(bytes32), generate


@intrinsic
def high_nibbles(typing_context, vector):
    """The upper four bits of each byte, as a number below 16."""

    def generate(context, builder, sig, args):
        shifted = builder.lshr(builder.bitcast(args[0], _SHORTS), ir.Constant(_SHORTS, [4] * 16))
        return builder.and_(builder.bitcast(shifted, _VECTOR), ir.Constant(_VECTOR, [15] * 32))

    return bytes32(bytes32), generate


@intrinsic
def times16(typing_context, vector):
    """Each byte times 16, modulo 256."""

    def generate(context, builder, sig, args):
        return builder.shl(args[0], ir.Constant(_VECTOR, [4] * 32))

    return bytes32(bytes32), generate


@intrinsic
def add_bytes(typing_context, sums, index, vector):
    """Add 32 bytes to 32 numbers of 16 bits from ``sums[index]``: the 16 bytes at even places first, then the odd."""

    def generate(context, builder, sig, args):
        shorts = builder.bitcast(args[2], _SHORTS)
        even = builder.and_(shorts, ir.Constant(_SHORTS, [255] * 16))
        odd = builder.lshr(shorts, ir.Constant(_SHORTS, [8] * 16))
        for place, part in ((args[1], even), (builder.add(args[1], args[1].type(16)), odd)):
            at = address(context, builder, sig.args[0], args[0], place, _SHORTS)
            total = builder.add(_unaligned(builder.load(at)), part)
            _unaligned(builder.store(total, at))
        return context.get_dummy_value()

    return types.void(sums, types.intp, bytes32), generate


@intrinsic
def add_scaled(typing_context, out, index, sums, place, scale):
    """``out[index + i] += scale * sums[place + i]`` for 16 numbers of 16 bits, sums of 32 bits."""

    def generate(context, builder, sig, args):
        wide = ir.VectorType(ir.IntType(32), 16)
        counts = _unaligned(builder.load(address(context, builder, sig.args[2], args[2], args[3], _SHORTS)))
        one = builder.insert_element(ir.Constant(wide, ir.Undefined), args[4], ir.Constant(ir.IntType(32), 0))
        scales = builder.shuffle_vector(one, one, ir.Constant(wide, [0] * 16))
        at = address(context, builder, sig.args[0], args[0], args[1], wide)
        product = builder.mul(builder.zext(counts, wide), scales)
        _unaligned(builder.store(builder.add(_unaligned(builder.load(at)), product), at))
        return context.get_dummy_value()

    return types.void(out, types.intp, sums, types.intp, types.int32), generate


@intrinsic
def store_offsets(typing_context, offsets, index, first, second):
    """Store ``16 * (a + 16 * b)`` for the 16 nibbles a of one word and b of another, as numbers of 16 bits."""

    def generate(context, builder, sig, args):
        eight, low = ir.VectorType(_BYTE, 8), ir.Constant(_WORD, 0x0F0F0F0F0F0F0F0F)
        four = ir.Constant(_WORD, 4)
        x, y = args[2], args[3]
        even = builder.or_(builder.and_(x, low), builder.shl(builder.and_(y, low), four))
        high = ir.Constant(_WORD, 0xF0F0F0F0F0F0F0F0)
        odd = builder.or_(builder.and_(builder.lshr(x, four), low), builder.and_(y, high))
        order = ir.Constant(ir.VectorType(ir.IntType(32), 16), [i // 2 + 8 * (i % 2) for i in range(16)])
        both = builder.shuffle_vector(builder.bitcast(even, eight), builder.bitcast(odd, eight), order)
        wide = builder.shl(builder.zext(both, _SHORTS), ir.Constant(_SHORTS, [4] * 16))
        at = address(context, builder, sig.args[0], args[0], args[1], _SHORTS)
        _unaligned(builder.store(wide, at))
        return context.get_dummy_value()

    return types.void(offsets, types.intp, types.uint64, types.uint64), generate


@intrinsic
def store_bytes(typing_context, array, index, vector):
    """Store 32 bytes from ``array[index]`` on."""

    def generate(context, builder, sig, args):
        _unaligned(builder.store(args[2], address(context, builder, sig.args[0], args[0], args[1], _VECTOR)))
        return context.get_dummy_value()

    return types.void(array, types.intp, bytes32), generate


# --- 64 comparisons into one word: portable LLVM code, which becomes vmovmskps or vpmovmskb on x86 --------------------


@intrinsic
def sign_mask(typing_context, array, index):
    """A word whose bit i is 1 where ``array[index + i] >= 0``, for 64 floating point numbers; NaN gives 0."""

    def generate(context, builder, sig, args):
        kind = ir.VectorType(context.get_value_type(sig.args[0].dtype), 64)
        values = _unaligned(builder.load(address(context, builder, sig.args[0], *args, kind)))
        return builder.bitcast(builder.fcmp_ordered(">=", values, ir.Constant(kind, [0.0] * 64)), _WORD)

    return types.uint64(array, types.intp), generate


@intrinsic
def bit_mask(typing_context, array, index, selected):
    """A word whose bit i is 1 where ``array[index + i] & selected`` is not 0, for 64 bytes."""

    def generate(context, builder, sig, args):
        kind = ir.VectorType(_BYTE, 64)
        values = _unaligned(builder.load(address(context, builder, sig.args[0], args[0], args[1], kind)))
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), args[2], ir.Constant(ir.IntType(32), 0))
        same = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64))
        nonzero = builder.icmp_unsigned("!=", builder.and_(values, same), ir.Constant(kind, None))
        return builder.bitcast(nonzero, _WORD)

    return types.uint64(array, types.intp, types.uint8), generate


@intrinsic
def at_least_mask(typing_context, array, index, limits, place):
    """A word whose bit i is 1 where ``array[index + i] >= limits[place + i]``, for 64 integers of 32 bits."""

    def generate(context, builder, sig, args):
        kind = ir.VectorType(ir.IntType(32), 64)
        values = _unaligned(builder.load(address(context, builder, sig.args[0], args[0], args[1], kind)))
        minimum = _unaligned(builder.load(address(context, builder, sig.args[2], args[2], args[3], kind)))
        return builder.bitcast(builder.icmp_signed(">=", values, minimum), _WORD)

    return types.uint64(array, types.intp, limits, types.intp), generate
