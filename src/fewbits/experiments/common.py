"""Small things that every experiment needs."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

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


def measured(claims: Sequence[evidence.Claim], command: str, wall_s: float) -> list[evidence.Claim]:
    """Copies of ``claims`` whose values all come from this run of ``command``.

    Without this, `fewbits.evidence.record` takes a value that is on record already for the older run's.
    """
    here = evidence.provenance(command, wall_s)
    return [
        claim | {"parts": [part | {"origins": [here] * len(part["values"])} for part in claim["parts"]]}
        for claim in claims
    ]


def lead(
    scores: Mapping[tuple[Any, int], tuple[float, dict | None]], ahead: Any, behind: Any, **options: Any
) -> evidence.Part:
    """A part: by how much the setting ``ahead`` scores more than ``behind``, for each run that has both.

    Args:
        scores: of each setting and run, by its number, the score and the origin, as `fewbits.evidence.origins` has it.
            A value has the origin of ``behind``.
        options: of `fewbits.evidence.part`, but for the runs.
    """
    runs = sorted(run for setting, run in scores if setting == ahead and (behind, run) in scores)
    found = [scores[behind, run][1] for run in runs]
    options |= {"origins": found} if any(found) else {}
    values = [round(float(scores[ahead, run][0] - scores[behind, run][0]), 4) for run in runs]
    return evidence.part(values, runs=[int(run) for run in runs], **options)


def run_missing_rows(
    table: str,
    settings: Iterable[Mapping[str, Any]],
    measure: Callable[[dict[str, Any], float | None], Mapping[str, Any] | None],
    command: str,
    minutes: float | None = None,
    device: str | torch.device = "cpu",
) -> bool:
    """Measure every setting that the recorded ``table`` lacks, and record each as soon as it is done.

    So a long experiment may be stopped at any time, and the same command goes on.

    Args:
        settings: the first columns of a row, the same for all; no value may be missing.
        measure: of a setting and the minutes that are left (None: no limit), the other columns of its row, or None if
            the time was over first; then it has kept its own state.
        command, device: as in `fewbits.evidence.stamped`.
        minutes: start nothing new after so long.
    Returns:
        Whether the table has all settings now.
    Raises:
        ValueError: the checkout has changes that are not committed, so that no row can say where it comes from.
    """
    started = time.perf_counter()
    evidence.code_version()
    for setting in map(dict, settings):
        rows = recorded(table, list(setting))
        if (rows[list(setting)] == list(setting.values())).all(axis=1).any():
            continue
        left = None if minutes is None else minutes - (time.perf_counter() - started) / 60
        begun = time.perf_counter()
        found = None if left is not None and left <= 0 else measure(setting, left)
        if found is None:
            print("The minutes are over. The same command goes on.")
            return False
        row = setting | {name: _rounded(value) for name, value in found.items()}
        print(row, flush=True)
        new = evidence.stamped(pd.DataFrame([row]), command, time.perf_counter() - begun, device)
        rows = recorded(table, list(setting))  # another process may have added rows in the meantime
        evidence.write_rows(table, pd.concat([rows, new], ignore_index=True) if len(rows) else new)
    return True


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
