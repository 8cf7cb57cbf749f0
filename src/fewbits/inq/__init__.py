"""Incremental Network Quantization: weights become powers of two, a part at a time."""

from fewbits.inq.schedule import (
    ALEXNET,
    GOOGLENET,
    MAX_BITS,
    Inq,
    InqQuantizer,
    PartlyFrozen,
    halving,
    largest_exponent,
    least_error_exponent,
    lowest_exponent,
)

__all__ = [
    "ALEXNET",
    "GOOGLENET",
    "MAX_BITS",
    "Inq",
    "InqQuantizer",
    "PartlyFrozen",
    "halving",
    "largest_exponent",
    "least_error_exponent",
    "lowest_exponent",
]
