"""Low bit widths for weights, activations and gradients: DoReFa-Net and QNN."""

from fewbits.low_bitwidth.dorefa import (
    DoReFaActivation,
    DoReFaWeights,
    GradientQuantizer,
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
    "GradientQuantizer",
    "LinearQuantizer",
    "gradient_codes",
    "odd_levels",
    "quantize_gradient",
    "quantize_gradients",
]
