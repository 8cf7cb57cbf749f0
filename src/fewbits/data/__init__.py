"""Data sets and text, and the transformations that every training run uses."""

from fewbits.data.datasets import Dataset, held_out, load, normalize, random_crop_flip
from fewbits.data.text import PATH, SHA256, TRAIN_SHARE, CharText, bits_per_character, load_text, windows

__all__ = [
    "PATH",
    "SHA256",
    "TRAIN_SHARE",
    "CharText",
    "Dataset",
    "bits_per_character",
    "held_out",
    "load",
    "load_text",
    "normalize",
    "random_crop_flip",
    "windows",
]
