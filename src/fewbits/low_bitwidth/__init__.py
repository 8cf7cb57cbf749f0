"""Low bit widths for weights, activations and gradients: DoReFa-Net and QNN."""

from fewbits.core.gradients import QuantizeGradient
from fewbits.low_bitwidth.dorefa import (
    DoReFaActivation,
    DoReFaWeights,
    gradient_codes,
    odd_levels,
    quantize_gradient,
    quantize_gradients,
)
from fewbits.low_bitwidth.qnn import MAX_AP2_BITS, AP2Quantizer, LinearQuantizer

__all__ = [
    "MAX_AP2_BITS",
    "AP2Quantizer",
    "DoReFaActivation",
    "DoReFaWeights",
    "LinearQuantizer",
    "QuantizeGradient",
    "gradient_codes",
    "odd_levels",
    "quantize_gradient",
    "quantize_gradients",
]
