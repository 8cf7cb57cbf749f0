"""Claims and result tables on disk, with their provenance (see `fewbits.evidence`)."""

import copy
import functools
import json
import os
import platform
import re
import subprocess
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from fewbits.core.files import checkout, write_whole
from fewbits.core.processors import usable_cores
from fewbits.evidence.claims import Claim, validate
from fewbits.evidence.verdicts import answers, word


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
        ValueError: a claim is malformed, lacks its provenance, or carries a word that its numbers do not give.
    """
    path = _path(chapter, "json")
    if not path.exists():
        raise FileNotFoundError(f"no claims recorded for chapter {chapter!r} ({path.name} is missing)")
    claims = _parse(path)
    _check_list(chapter, claims)
    for claim in claims:
        measured = {"word", "answers", "provenance", "band"} if claim["parts"] else {"word"}
        for field in sorted(measured - set(claim)):
            raise ValueError(f"claim {claim['id']!r}: {field} is missing: store claims with evidence.record")
        if "before_run" not in claim.get("band", {"before_run": True}):
            raise ValueError(f"claim {claim['id']!r}: band.before_run is missing: store claims with evidence.record")
        if any("origins" not in part for part in claim["parts"]):
            raise ValueError(f"claim {claim['id']!r}: parts lack origins: store claims with evidence.record")
        computed = word(claim), answers(claim)
        if (claim["word"], claim.get("answers", {})) != computed:
            stored = claim["word"], claim.get("answers")
            raise ValueError(f"claim {claim['id']!r}: word and answers are {stored!r}, computed {computed!r}")
    return claims


def load_all() -> list[Claim]:
    """Claims of every recorded chapter, chapters in alphabetical order. Raises as `load` does."""
    return [claim for path in sorted(results_dir().glob("*.json")) for claim in load(path.stem)]


def record(
    chapter: str, claims: Iterable[Claim], *, command: str, wall_s: float, device: str | torch.device = "cpu"
) -> list[Claim]:
    """Store claims: add words and provenance, and replace those of the same id in ``<chapter>.json``.

    Every value keeps the provenance of the run that it comes from. A part may give it (``origins``, a dictionary a
    value, see `origins`); a value that the stored claim has already, under the same name of a run, keeps the stored
    one; any other value comes from this ``command``.

    The commit that set band, margin and the paper's entry is kept as long as they stay the same. If they change, it is
    the ``band_commit`` of the claim or this commit, and the record says whether the band was there before the runs; a
    changed paper entry is warned of.

    Args:
        chapter: name of the chapter, and the first half of every id.
        claims: from `paper_claim`, `own_claim` and `cited_claim`. The dictionaries passed in stay as they are.
        command, wall_s, device: see `provenance`.
    Returns:
        All claims of the chapter as stored, sorted by id.
    Raises:
        ValueError: the checkout has changes that are not committed, a claim is malformed, or its id is given twice or
            names another chapter. Nothing is written then.
    """
    here = provenance(command, wall_s, device)
    if here["commit"].endswith("-dirty"):
        raise ValueError(
            "the checkout has changes that are not committed, so that nobody could repeat this: commit first"
        )
    path = _path(chapter, "json")
    stored = _parse(path) if path.exists() else []
    old = {claim.get("id"): claim for claim in stored}
    new = [_with_origins(claim, old.get(claim.get("id"), {}), here) for claim in claims]
    _check_list(chapter, new)
    # What is replaced need not be valid any more; what stays must be.
    replaced = {claim["id"] for claim in new}
    kept = [claim for claim in stored if claim.get("id") not in replaced]
    _check_list(chapter, kept)
    # Sorted by id, so that the file does not depend on which run came first.
    merged = sorted(kept + new, key=lambda claim: claim["id"])
    for claim in merged:
        claim["word"] = word(claim)
        if claim["word"] == "not reproduced" and "reason" not in claim:
            missing = "reason is missing: nothing that departs could explain the failure, so say what does"
            raise ValueError(f"claim {claim['id']!r}: {missing}")
        if claim["parts"]:
            claim["answers"] = answers(claim)
    write_whole(path, (json.dumps(merged, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return merged


def _with_origins(claim: Claim, old: Claim, here: dict) -> Claim:
    """A copy of ``claim`` with the provenance of each of its values and with the commit that set its band."""
    set_earlier = claim.get("band", {}).get("commit") if "before_run" not in claim.get("band", {}) else None
    claim = {field: value for field, value in copy.deepcopy(claim).items() if field not in _COMPUTED}
    validate({**claim, "parts": [{k: v for k, v in part.items() if k != "origins"} for part in claim.get("parts", [])]})
    if old.get("paper", claim.get("paper")) != claim.get("paper"):
        changed = f"claim {claim['id']!r}: the paper's entry was {old.get('paper')} and is {claim.get('paper')}"
        warnings.warn(changed, stacklevel=3)
    known = {
        (part.get("name"), run, value): old["provenance"][origin]
        for part in old.get("parts", [])
        for run, value, origin in zip(part["runs"], part["values"], part.get("origins", []), strict=True)
    }
    listed: list[dict] = []
    for part in claim["parts"]:
        given = part.pop("origins", [None] * len(part["values"]))
        keys = [(part.get("name"), run, value) for run, value in zip(part["runs"], part["values"], strict=True)]
        found = [origin or known.get(key, here) for key, origin in zip(keys, given, strict=True)]
        listed += [origin for index, origin in enumerate(found) if origin not in listed and origin not in found[:index]]
        part["origins"] = [listed.index(origin) for origin in found]
    if claim["parts"]:
        claim["provenance"] = listed
        unchanged = _bands(old) == _bands(claim) and "band" in old
        set_by = set_earlier or (old["band"]["commit"] if unchanged else here["commit"])
        before = all(_is_ancestor(set_by, origin["commit"]) for origin in listed)
        claim["band"] = {"commit": set_by, "before_run": before}
    return claim


_COMPUTED = ("word", "answers", "provenance", "band")


def _bands(claim: Claim) -> tuple:
    parts = [(part.get("name"), part["type"], part["holds"], part.get("agrees")) for part in claim.get("parts", [])]
    return parts, claim.get("paper")


def origins(rows: pd.DataFrame) -> list[dict | None]:
    """The provenance of each row of a table whose rows were `stamped`, for a part's ``origins``; else None."""
    if not set(_STAMP) <= set(rows.columns):
        return [None] * len(rows)
    filled = rows[list(_STAMP)].to_dict("records")
    return [None if pd.isna(row["commit"]) else row for row in filled]


def stamped(rows: pd.DataFrame, command: str, wall_s: float, device: str | torch.device = "cpu") -> pd.DataFrame:
    """``rows`` with the columns of their provenance, so that a claim can say of each value which run it comes from.

    Args:
        rows: new rows of a table of results, without those columns.
        command, wall_s, device: see `provenance`.
    Raises:
        ValueError: the checkout has changes that are not committed.
    """
    here = provenance(command, wall_s, device)
    if here["commit"].endswith("-dirty"):
        raise ValueError(
            "the checkout has changes that are not committed, so that nobody could repeat this: commit first"
        )
    return rows.assign(**here)


_STAMP = ("commit", "command", "date", "device", "torch", "wall_s")


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


def _is_ancestor(earlier: str, later: str) -> bool:
    """Whether the code of ``later`` contains the commit ``earlier``; no if either is unknown here or had changes."""
    if earlier == later and not later.endswith("-dirty"):
        return later != "unknown"
    command = ["git", "-C", str(checkout()), "merge-base", "--is-ancestor", earlier, later]
    return subprocess.run(command, capture_output=True).returncode == 0


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
