"""Random words, codes and signs, and the sizes at which the kernels on packed bits are tested."""

import numpy as np
from hypothesis import strategies as st

# Around the sizes of words, tiles, panels and blocks; K up to two blocks of three words and a rest.
ROWS = st.sampled_from([1, 2, 3, 4, 5, 7, 9, 129, 134])
OUTPUTS = st.sampled_from([1, 15, 16, 63, 64, 65, 130])
COUNTS = st.sampled_from([1, 63, 64, 65, 128, 191, 192, 193, 256, 385, 450])
SEEDS = st.integers(0, 10**6)


def random_words(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


def random_codes(seed: int, bits: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(np.uint8)


def random_signs(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), shape)
