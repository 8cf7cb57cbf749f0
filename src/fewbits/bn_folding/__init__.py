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
from fewbits.bn_folding.statistics import correct_statistics, other_axes, output_statistics

__all__ = [
    "BATCH_NORMS",
    "FoldedLayer",
    "bn_scale_shift",
    "channel_ranges",
    "correct_statistics",
    "equalizable_pairs",
    "equalize",
    "fold_batch_norm",
    "fold_in_training",
    "fold_model",
    "input_ranges",
    "is_depthwise",
    "merge_folded",
    "other_axes",
    "output_statistics",
    "parameters_after_folding",
]
