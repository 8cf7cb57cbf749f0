"""The training loop, its checkpoints, and several processes."""

from fewbits.training.checkpoint import load_model, load_state, restore, save_model, save_state
from fewbits.training.loop import accuracy, correct, fit, seed_everything

__all__ = [
    "accuracy",
    "correct",
    "fit",
    "load_model",
    "load_state",
    "restore",
    "save_model",
    "save_state",
    "seed_everything",
]
