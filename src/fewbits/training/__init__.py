"""The training loop and what its runs share, their checkpoints, and several processes."""

from fewbits.training.checkpoint import load_model, load_state, restore, save_model, save_state
from fewbits.training.loop import accuracy, correct, fit, seed_everything
from fewbits.training.recipes import (
    adam,
    centred,
    clip_gradients,
    cosine,
    exponential,
    half_size,
    one_cycle,
    percent,
    sgd,
    squared_hinge,
    step_count,
    train,
)

__all__ = [
    "accuracy",
    "adam",
    "centred",
    "clip_gradients",
    "correct",
    "cosine",
    "exponential",
    "fit",
    "half_size",
    "load_model",
    "load_state",
    "one_cycle",
    "percent",
    "restore",
    "save_model",
    "save_state",
    "seed_everything",
    "sgd",
    "squared_hinge",
    "step_count",
    "train",
]
