"""Rounding after 2021: GPTQ and AdaRound on any grid, and the block formats FP8, MX and NVFP4."""

from fewbits.compensation.adaround import adaround
from fewbits.compensation.block_formats import FP8Quantizer, MXQuantizer, NVFP4Quantizer
from fewbits.compensation.gptq import gptq, inverse_factor
from fewbits.compensation.grids import Grid, grid_of
from fewbits.compensation.moments import output_error, second_moments, windows
from fewbits.compensation.network import compensate
from fewbits.core.float_codes import FloatCodes

__all__ = [
    "FP8Quantizer",
    "FloatCodes",
    "Grid",
    "MXQuantizer",
    "NVFP4Quantizer",
    "adaround",
    "compensate",
    "gptq",
    "grid_of",
    "inverse_factor",
    "output_error",
    "second_moments",
    "windows",
]
