"""Values of 64 bytes for Numba functions: what one AVX-512 register holds.

Two types: ``words8`` are eight words of 64 bits, ``ints16`` sixteen int32 numbers. Nearly all is portable LLVM code,
and what is not has a portable form beside it; where registers are shorter, LLVM makes two or four instructions of one.

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

from fewbits.bitwise import isa

_INT, _WORD = ir.IntType(32), ir.IntType(64)
_WORDS, _INTS = ir.VectorType(_WORD, 8), ir.VectorType(_INT, 16)
_SHORTS = ir.VectorType(ir.IntType(16), 32)


class _Vector(types.Type):
    def __init__(self, name: str, llvm: ir.VectorType):
        super().__init__(name=name)
        self.llvm = llvm


words8, ints16 = _Vector("words8", _WORDS), _Vector("ints16", _INTS)


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, frontend_type):
        super().__init__(manager, frontend_type, frontend_type.llvm)


def _define(function: Callable, instruction: str) -> None:
    """Give ``function`` of two vectors of a type the LLVM ``instruction``."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            return signature(args[0], *args) if args in ((words8,) * 2, (ints16,) * 2) else None

    for kind in (words8, ints16):

        @lower_builtin(function, kind, kind)
        def _lower(context, builder, sig, args):
            return getattr(builder, instruction)(*args)


for _functions, _instruction in (
    ((operator.add, operator.iadd), "add"),
    ((operator.and_, operator.iand), "and_"),
    ((operator.xor, operator.ixor), "xor"),
):
    for _function in _functions:
        _define(_function, _instruction)


def _address(context, builder, array_type, array, index, kind):
    """Pointer to ``array[index]`` of a one-dimensional array, as a pointer to ``kind``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _load(context, builder, array_type, array, index, kind):
    loaded = builder.load(_address(context, builder, array_type, array, index, kind))
    loaded.align = 1
    return loaded


def _store(context, builder, array_type, array, index, value) -> None:
    builder.store(value, _address(context, builder, array_type, array, index, value.type)).align = 1


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
        at = _address(context, builder, sig.args[0], *args, element)
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
        counts = builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(_INT, 16), list(range(16))))
        product = builder.mul(builder.trunc(counts, _INTS), _same(builder, scale, _INTS))
        _add_first(context, builder, sig.args[0], out, index, most, product)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, words8, words8, types.int32), generate


def _add_first(context, builder, array_type, array, index, most, values) -> None:
    """Add the first ``most`` of 16 int32 numbers to an array; what lies beyond is neither read nor written."""
    with builder.if_else(builder.icmp_signed(">=", most, ir.Constant(_WORD, 16))) as (all_of_them, some):
        with all_of_them:
            before = _load(context, builder, array_type, array, index, _INTS)
            _store(context, builder, array_type, array, index, builder.add(before, values))
        with some:  # masked stores are slow
            at = _address(context, builder, array_type, array, index, _INTS)
            places = ir.Constant(ir.VectorType(_WORD, 16), list(range(16)))
            mask = builder.icmp_signed("<", places, _same(builder, most, places.type))
            load = ir.FunctionType(_INTS, [at.type, _INT, mask.type, _INTS])
            store = ir.FunctionType(ir.VoidType(), [_INTS, at.type, _INT, mask.type])
            get = cgutils.get_or_insert_function(builder.module, load, "llvm.masked.load.v16i32.p0")
            put = cgutils.get_or_insert_function(builder.module, store, "llvm.masked.store.v16i32.p0")
            aligned = ir.Constant(_INT, 4)
            before = builder.call(get, [at, aligned, mask, ir.Constant(_INTS, None)])
            builder.call(put, [builder.add(before, values), at, aligned, mask])
