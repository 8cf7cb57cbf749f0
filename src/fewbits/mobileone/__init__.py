"""MobileOne: branches in training, one convolution at inference."""

from fewbits.mobileone.constant_channels import fold_constant_channels, seen_ranges
from fewbits.mobileone.moments import CENTER, PAIRS, PLACES, depthwise_moments, patch_moments
from fewbits.mobileone.network import ConvBranches, MobileNetV1, MobileOne, reparameterize
from fewbits.mobileone.normalization import (
    MeanNorm,
    NormalizedLayer,
    fold_mean_norms,
    insert_batch_norms,
    insert_mean_norms,
)
from fewbits.mobileone.scale_alignment import align_scales, rounding_cost, seen_moments

__all__ = [
    "CENTER",
    "PAIRS",
    "PLACES",
    "ConvBranches",
    "MeanNorm",
    "MobileNetV1",
    "MobileOne",
    "NormalizedLayer",
    "align_scales",
    "depthwise_moments",
    "fold_constant_channels",
    "fold_mean_norms",
    "insert_batch_norms",
    "insert_mean_norms",
    "patch_moments",
    "reparameterize",
    "rounding_cost",
    "seen_moments",
    "seen_ranges",
]
