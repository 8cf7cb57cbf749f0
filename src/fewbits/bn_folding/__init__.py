"""Batch normalization folded into the layer before it, and what follows from that."""

from fewbits.bn_folding.equalization import equalizable_pairs, equalize, input_ranges, is_depthwise
from fewbits.bn_folding.folded_training import FoldedLayer, fold_in_training, merge_folded
from fewbits.bn_folding.folding import (
    BATCH_NORMS,
    bn_scale_shift,
    channel_ranges,
    fold_batch_norm,
    fold_model,
    parameters_after_folding,
)

__all__ = [
    "BATCH_NORMS",
    "FoldedLayer",
    "bn_scale_shift",
    "channel_ranges",
    "equalizable_pairs",
    "equalize",
    "fold_batch_norm",
    "fold_in_training",
    "fold_model",
    "input_ranges",
    "is_depthwise",
    "merge_folded",
    "parameters_after_folding",
]
