"""32 numbers of 32 bits side by side, as a type of Numba: what a CPU's vector unit does with one instruction or a few.

Numba turns sums of int32 into int64, and its vectorizer keeps sums in memory. Here a `Lanes` value stays in registers:
two vectors of 16 numbers, which AVX-512 holds in two registers, AVX2 in four, NEON in eight. All arithmetic wraps,
modulo 2^32. The functions can be called inside ``numba.njit`` only. A row of an array is LANES numbers.
"""

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

LANES = 32
_INT = ir.IntType(32)
_PART = ir.VectorType(_INT, 16)
_VALUE = ir.LiteralStructType([_PART] * (LANES // 16))


class _LanesType(types.Type):
    def __init__(self):
        super().__init__("Lanes")


_LANES = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _VALUE)


def _each(builder, make: Callable) -> ir.Value:
    """A Lanes value of the parts ``make(0)``, ``make(1)``, …"""
    value = ir.Constant(_VALUE, ir.Undefined)
    for index in range(len(_VALUE.elements)):
        value = builder.insert_value(value, make(index), index)
    return value


def _all_lanes(builder, number: ir.Value) -> ir.Value:
    """One part with ``number`` in all its lanes."""
    empty = ir.Constant(_PART, ir.Undefined)
    first = builder.insert_element(empty, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_PART, [0] * _PART.count))


def _pointers(context, builder, signature, args) -> Callable:
    """Index of a part -> its address in row ``args[1]`` of the array ``args[0]``."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    start = builder.gep(array.data, [builder.mul(args[1], ir.Constant(args[1].type, LANES))])
    parts = builder.bitcast(start, _PART.as_pointer())
    return lambda index: builder.gep(parts, [ir.Constant(_INT, index)])


@intrinsic
def load(typing, array, row):
    """Row ``row`` of an int32 array (rows, LANES) in C order. The row is not checked.

    Source: own (vector type)
    """

    def generate(context, builder, signature, args):
        pointer = _pointers(context, builder, signature, args)
        return _each(builder, lambda index: builder.load(pointer(index), align=4))

    return _LANES(array, types.intp), generate


@intrinsic
def store(typing, array, row, value):
    """Write ``value`` to row ``row`` of an int32 array (rows, LANES) in C order. The row is not checked.

    Source: own (vector type)
    """

    def generate(context, builder, signature, args):
        pointer = _pointers(context, builder, signature, args)
        for index in range(len(_VALUE.elements)):
            builder.store(builder.extract_value(args[2], index), pointer(index), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _LANES), generate


@intrinsic
def splat(typing, number):
    """The same number in all lanes.

    Source: own (vector type)
    """

    def generate(context, builder, signature, args):
        part = _all_lanes(builder, args[0])
        return _each(builder, lambda index: part)

    return _LANES(types.int32), generate


def _with_number(operation: str):
    @intrinsic
    def apply(typing, value, n):
        def generate(context, builder, signature, args):
            count = _all_lanes(builder, args[1])
            compute = getattr(builder, operation)
            return _each(builder, lambda index: compute(builder.extract_value(args[0], index), count))

        return _LANES(_LANES, types.int32), generate

    return apply


def _with_lanes(operation: str):
    @intrinsic
    def apply(typing, a, b):
        def generate(context, builder, signature, args):
            def part(index):
                return getattr(builder, operation)(*(builder.extract_value(each, index) for each in args))

            return _each(builder, part)

        return _LANES(_LANES, _LANES), generate

    return apply


shift_right = _with_number("ashr")  # copies the sign bit; 0 to 31 places
shift_left = _with_number("shl")
add = _with_lanes("add")
subtract = _with_lanes("sub")


@intrinsic
def not_negative(typing, value):
    """``max(value, 0)``: a circuit's ReLU, the inverted sign bit AND every other bit.

    Source: own (vector type)
    """

    def generate(context, builder, signature, args):
        zero = ir.Constant(_PART, [0] * _PART.count)

        def positive(index):
            part = builder.extract_value(args[0], index)
            return builder.select(builder.icmp_signed(">", part, zero), part, zero)

        return _each(builder, positive)

    return _LANES(_LANES), generate
