"""Data sets and text, and the transformations that every training run uses."""

from fewbits.data.datasets import Dataset, load, normalize, random_crop_flip
from fewbits.data.text import PATH, SHA256, TRAIN_SHARE, CharText, bits_per_character, load_text, windows

__all__ = [
    "PATH",
    "SHA256",
    "TRAIN_SHARE",
    "CharText",
    "Dataset",
    "bits_per_character",
    "load",
    "load_text",
    "normalize",
    "random_crop_flip",
    "windows",
]
