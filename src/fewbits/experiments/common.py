"""Small things that every experiment needs."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fewbits import evidence

ROOT = Path(__file__).resolve().parents[3]


def seeds(count: int) -> range:
    """The seeds of a run: 0, 1, …, ``count - 1``."""
    if count < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {count}")
    return range(count)


def checkpoint_path(name: str) -> Path:
    """Where the small trained network ``name`` is kept: ``data/checkpoints/<name>.safetensors``."""
    return ROOT / "data" / "checkpoints" / f"{name}.safetensors"


def recorded(table: str, columns: Sequence[str]) -> pd.DataFrame:
    """The recorded ``table``, or one with ``columns`` and no rows if there is none yet."""
    try:
        return evidence.rows(table)
    except FileNotFoundError:
        return pd.DataFrame(columns=list(columns))
