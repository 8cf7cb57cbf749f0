"""Logarithmic grids, and arithmetic on their codes."""

from fewbits.core.gradients import QuantizeGradient
from fewbits.core.quantizer import calibrate
from fewbits.logarithmic.arithmetic import join_sqrt2, log_accumulate, shift_linear, shift_linear_sqrt2
from fewbits.logarithmic.quantizer import (
    STEPS,
    LogCodes,
    LogQuantizer,
    full_scale_of_least_error,
    full_scale_of_max,
    log_round,
    powers_of,
)

__all__ = [
    "STEPS",
    "LogCodes",
    "LogQuantizer",
    "QuantizeGradient",
    "calibrate",
    "full_scale_of_least_error",
    "full_scale_of_max",
    "join_sqrt2",
    "log_accumulate",
    "log_round",
    "powers_of",
    "shift_linear",
    "shift_linear_sqrt2",
]
