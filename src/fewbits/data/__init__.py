"""Data sets and text, and the transformations that every training run uses."""

from fewbits.data.datasets import Dataset, held_out, load, normalize, random_crop_flip
from fewbits.data.photographs import (
    Photographs,
    build_photographs,
    centre_crop,
    imagenet_classes,
    load_photographs,
    sample_photographs,
    to_input,
)
from fewbits.data.text import PATH, SHA256, TRAIN_SHARE, CharText, bits_per_character, load_text, windows

__all__ = [
    "PATH",
    "SHA256",
    "TRAIN_SHARE",
    "CharText",
    "Dataset",
    "Photographs",
    "bits_per_character",
    "build_photographs",
    "centre_crop",
    "held_out",
    "imagenet_classes",
    "load",
    "load_photographs",
    "load_text",
    "normalize",
    "random_crop_flip",
    "sample_photographs",
    "to_input",
    "windows",
]
