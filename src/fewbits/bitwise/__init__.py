"""Kernels on packed bits for CPUs: XNOR, bit planes, ternary planes and look-up tables, in Python compiled by Numba.

=============  ======================================================================================
``isa``        which instructions may be used
``simd``       a value type of 32 bytes
``simd64``     value types of 64 bytes
``pack``       numbers to 64-bit words
``levels``     the binary matrix product, from the naive loop upwards
``plain``      its best form in plain Python, for any processor
``tables``     its best form with AVX2: look-up tables in registers
``tiles``      its best form with AVX-512 VPOPCNTDQ: sums that stay in registers
``gemm``       products of binary, a-bit and ternary matrices, on the path that ``isa`` chooses
``conv``       3×3 convolutions on packed pixels
``lut``        products of w-bit weights and few-bit activations by tables of partial sums
``dots``       products of 8-bit activations and weights of 8, 4 or 2 bits, with VNNI or without
``network``    a BinaryNet on packed bits
=============  ======================================================================================

Everything counts: the kernels return int32 and equal integer arithmetic exactly.
"""
