"""Mixed precision: learned bits, what they cost, and bits chosen after training."""

from fewbits.core.quantizer import calibrate, constrain
from fewbits.mixed_precision.bit_costs import (
    activation_counts,
    activation_size,
    filter_bits,
    mac_bits,
    over_budget,
    weight_size,
)
from fewbits.mixed_precision.learned_bits import RULES, LearnedBits, clip_grid_gradients, learn_weight_bits
from fewbits.mixed_precision.post_training import DistributionQuantizer, filter_sensitivity, layer_sensitivity
from fewbits.mixed_precision.processor import LayerCycles, Processor, network_cycles

__all__ = [
    "RULES",
    "DistributionQuantizer",
    "LayerCycles",
    "LearnedBits",
    "Processor",
    "activation_counts",
    "activation_size",
    "calibrate",
    "clip_grid_gradients",
    "constrain",
    "filter_bits",
    "filter_sensitivity",
    "layer_sensitivity",
    "learn_weight_bits",
    "mac_bits",
    "network_cycles",
    "over_budget",
    "weight_size",
]
