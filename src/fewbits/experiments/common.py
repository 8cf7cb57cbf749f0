"""Small things that every experiment needs."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fewbits import evidence
from fewbits.core.files import checkout


def seeds(count: int) -> range:
    """The seeds of a run: 0, 1, …, ``count - 1``."""
    if count < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {count}")
    return range(count)


def checkpoint_path(name: str) -> Path:
    """Where the small trained network ``name`` is kept: ``data/checkpoints/<name>.safetensors``.

    Such files hold floating point numbers: float networks, and the latent weights of quantized ones, which chapters
    train further or compare. A network that is finished is kept as codes, see :func:`codes_path`.
    """
    return checkout() / "data" / "checkpoints" / f"{name}.safetensors"


def codes_path(name: str) -> Path:
    """Where the codes of a quantized network are kept: ``data/checkpoints/<name>.fewbits``."""
    return checkout() / "data" / "checkpoints" / f"{name}.fewbits"


def run_folder(name: str) -> Path:
    """Where a long run keeps its state, to go on from there: ``data/runs/<name>``, which git ignores."""
    return checkout() / "data" / "runs" / name


def recorded(table: str, columns: Sequence[str]) -> pd.DataFrame:
    """The recorded ``table``, or one with ``columns`` and no rows if there is none yet.

    Raises:
        FileNotFoundError: there is no folder for records.
    """
    evidence.results_dir()
    try:
        return evidence.rows(table)
    except FileNotFoundError:
        return pd.DataFrame(columns=list(columns))


def merge_rows(name: str, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Put ``new`` rows into the recorded table ``name``, in place of those with the same keys; the whole table.

    The table is read here, not earlier: another process may have added rows in the meantime.
    """
    table = recorded(name, [])
    table = pd.concat([table, new]) if len(table) else new
    table = table.drop_duplicates(keys, keep="last").sort_values(keys, ignore_index=True)
    evidence.write_rows(name, table)
    return table
