"""Claims and result tables on disk, with their provenance (see `fewbits.evidence`)."""

import copy
import functools
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import pandas as pd
import torch

from fewbits.core.files import checkout, write_whole
from fewbits.core.processors import usable_cores
from fewbits.evidence.claims import Claim, runs, validate, verdict


def results_dir() -> Path:
    """Folder of recorded results: ``$FEWBITS_RESULTS``, else ``data/results`` of the repository.

    Raises:
        FileNotFoundError: there is no such folder, or no checkout.
    """
    given = os.environ.get("FEWBITS_RESULTS")
    folder = Path(given) if given else checkout() / "data" / "results"
    if not folder.is_dir():
        raise FileNotFoundError(f"no results folder at {folder}: FEWBITS_RESULTS must name a folder of results")
    return folder


def load(chapter: str) -> list[Claim]:
    """Claims of one chapter, in the order of their ids.

    Raises:
        FileNotFoundError: nothing is recorded for this chapter.
        ValueError: a claim is malformed, lacks its provenance, or carries a verdict that its numbers do not support.
    """
    path = _path(chapter, "json")
    if not path.exists():
        raise FileNotFoundError(f"no claims recorded for chapter {chapter!r} ({path.name} is missing)")
    claims = _parse(path)
    _check_list(chapter, claims)
    for claim in claims:
        for field in ("verdict", "provenance"):
            if field not in claim:
                raise ValueError(f"claim {claim['id']!r}: {field} is missing: store claims with evidence.record")
        if claim["verdict"] != verdict(claim):
            raise ValueError(f"claim {claim['id']!r}: verdict is {claim['verdict']!r}, computed {verdict(claim)!r}")
    return claims


def load_all() -> list[Claim]:
    """Claims of every recorded chapter, chapters in alphabetical order. Raises as `load` does."""
    return [claim for path in sorted(results_dir().glob("*.json")) for claim in load(path.stem)]


def record(
    chapter: str, claims: Iterable[Claim], *, command: str, wall_s: float, device: str | torch.device = "cpu"
) -> list[Claim]:
    """Store claims: add provenance and verdicts, and replace those of the same id in ``<chapter>.json``.

    Args:
        chapter: name of the chapter, and the first half of every id.
        claims: without ``verdict`` and ``provenance`` (recomputed where present). ``ours.value`` may be left out where
            ``ours.values`` is given: it becomes their mean. The dictionaries passed in stay as they are.
        command, wall_s, device: see `provenance`.
    Returns:
        All claims of the chapter as stored, sorted by id.
    Raises:
        ValueError: a claim is malformed, its id is given twice or names another chapter. Nothing is written then.
    """
    origin = provenance(command, wall_s, device)
    new = copy.deepcopy(list(claims))
    for claim in new:
        claim["provenance"] = dict(origin)
        claim.pop("verdict", None)
    _check_list(chapter, new)
    # What is replaced need not be valid any more; what stays must be.
    replaced = {claim["id"] for claim in new}
    path = _path(chapter, "json")
    kept = [claim for claim in _parse(path) if claim.get("id") not in replaced] if path.exists() else []
    _check_list(chapter, kept)
    # Sorted by id, so that the file does not depend on which run came first.
    merged = sorted(kept + new, key=lambda claim: claim["id"])
    for claim in merged:
        if "ours" in claim:
            claim["ours"].setdefault("value", fmean(runs(claim["ours"])))
        claim["verdict"] = verdict(claim)
    write_whole(path, (json.dumps(merged, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return merged


def provenance(command: str, wall_s: float, device: str | torch.device = "cpu") -> dict:
    """Where a number comes from: commit, command, UTC date, device, torch version, wall-clock seconds.

    Args:
        command: what to type to get the number again, without absolute paths.
        wall_s: how long it took, in seconds.
        device: the torch device that did the work; stored as the model of the CPU or GPU, with the count of CPU cores.
    """
    device = torch.device(device)
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_model()
    return {
        "commit": code_version(),
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{model}, {usable_cores()} CPU cores",
        "torch": torch.__version__,
        "wall_s": round(wall_s, 1),
    }


@functools.cache
def code_version() -> str:
    """Commit of the checkout, with ``-dirty`` where files other than ``data`` differ from it; else ``unknown``.

    The first answer is kept: call it at the start of a long run, so that a later commit does not take the credit.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout()), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        # Recording writes below data/, which must not make the next record of the same run look dirty.
        return commit + ("-dirty" if git("status", "--porcelain", "--", ".", ":(exclude)data") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_model() -> str:
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        cpuinfo = ""
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def rows(name: str) -> pd.DataFrame:
    """The recorded table ``data/results/<name>.csv``, floats bit for bit as written.

    Raises:
        FileNotFoundError: no such table is recorded.
    """
    return pd.read_csv(_path(name, "csv"))


def write_rows(name: str, frame: pd.DataFrame) -> None:
    """Store ``frame`` (without its index) as ``data/results/<name>.csv``, whole or not at all."""
    write_whole(_path(name, "csv"), frame.to_csv(index=False, lineterminator="\n").encode())


def _path(name: str, suffix: str) -> Path:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"{name!r} is no name of a result: use a-z, 0-9 and '_'")
    return results_dir() / f"{name}.{suffix}"


def _parse(path: Path) -> list[Claim]:
    claims = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise ValueError(f"{path.name} must hold a list of claims")
    return claims


def _check_list(chapter: str, claims: list[Claim]) -> None:
    seen = set()
    for claim in claims:
        validate(claim)
        if claim["id"].split("/")[0] != chapter:
            raise ValueError(f"claim {claim['id']!r}: id must start with '{chapter}/'")
        if claim["id"] in seen:
            raise ValueError(f"claim {claim['id']!r}: id is given twice")
        seen.add(claim["id"])
