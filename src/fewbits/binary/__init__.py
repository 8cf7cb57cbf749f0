"""Binary weights and activations: BinaryConnect, BinaryNet, XNOR-Net."""

from fewbits.binary.binary_connect import (
    BinaryConnect,
    SignActivation,
    binary_inner_product,
    clip_latent,
    glorot_coefficient,
    glorot_groups,
    latent_weights,
    probability_of_plus,
    sign_codes,
    start_latent,
)
from fewbits.binary.shift_based import ShiftAdaMax, ShiftBatchNorm, use_shift_batch_norm
from fewbits.binary.xnor import XnorConv2d, XnorLinear, XnorWeights, binarize_inputs, center_latent, input_scale

__all__ = [
    "BinaryConnect",
    "ShiftAdaMax",
    "ShiftBatchNorm",
    "SignActivation",
    "XnorConv2d",
    "XnorLinear",
    "XnorWeights",
    "binarize_inputs",
    "binary_inner_product",
    "center_latent",
    "clip_latent",
    "glorot_coefficient",
    "glorot_groups",
    "input_scale",
    "latent_weights",
    "probability_of_plus",
    "sign_codes",
    "start_latent",
    "use_shift_batch_norm",
]
