"""Uniform grids: the quantizer, and the rules that choose its range."""

from fewbits.core.quantizer import calibrate
from fewbits.uniform.calibration import entropy_range, max_range, percentile_range
from fewbits.uniform.quantizer import (
    UniformQuantizer,
    affine_parameters,
    integer_linear,
    integer_range,
    quantize_model,
    symmetric_scale,
)

__all__ = [
    "UniformQuantizer",
    "affine_parameters",
    "calibrate",
    "entropy_range",
    "integer_linear",
    "integer_range",
    "max_range",
    "percentile_range",
    "quantize_model",
    "symmetric_scale",
]
