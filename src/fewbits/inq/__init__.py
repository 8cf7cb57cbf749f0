"""Incremental Network Quantization: weights become powers of two, a part at a time."""

from fewbits.inq.codebook import (
    MAX_BITS,
    InqQuantizer,
    encode_frozen,
    exponent_of,
    largest_exponent,
    least_error_exponent,
    lowest_exponent,
)
from fewbits.inq.schedule import ALEXNET, GOOGLENET, RESNET18, Inq, PartlyFrozen, halving

__all__ = [
    "ALEXNET",
    "GOOGLENET",
    "MAX_BITS",
    "RESNET18",
    "Inq",
    "InqQuantizer",
    "PartlyFrozen",
    "encode_frozen",
    "exponent_of",
    "halving",
    "largest_exponent",
    "least_error_exponent",
    "lowest_exponent",
]
