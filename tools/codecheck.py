"""For a second pair of eyes: `codecheck.yml`, from the records of the claims that the papers are known for.

    python tools/codecheck.py    # after an experiment has written new records

The file follows https://codecheck.org.uk/spec/config/1.0/: a manifest of the files that a check makes again, and the
book. Its list `fewbits_runs` is ours: for each command the claims that it settles, the data that it needs, and the
minutes that all of it took on the machine that is named. Who checks adds `codechecker`, `report` and `certificate`.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml

from fewbits import evidence
from fewbits.core.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "codecheck.yml"
HEAD = """\
# Written by `python tools/codecheck.py` from the records; a test compares the two. The records that are kept here stop
# an experiment from doing its work again: to check one, point FEWBITS_RESULTS to an empty folder and run its command.
# MNIST and CIFAR are read from the folder FEWBITS_DATA, or downloaded. Some experiments write data/checkpoints anew.
---
"""
# Chapters, and parts of them, whose commands do not name the data set.
DATA = {"mobileone": "cifar100", "integer": "cifar100"}
PARTS = {"post-training": "cifar100", "vgg": "cifar10", "cifar": "cifar100"}
BUILT_IN = "none to fetch"  # digits, mnist5k and the texts come inside the dependencies


def check_file() -> str:
    """The text of `codecheck.yml`."""
    claims = [claim for claim in evidence.load_all() if claim.get("headline") and claim["parts"]]
    chapters = sorted({chapter_of(claim) for claim in claims})
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    content = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "manifest": [entry for chapter in chapters for entry in manifest(chapter)],
        "paper": {"title": citation["title"], "authors": citation["authors"]},
        "fewbits_runs": runs(claims),
    }
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def chapter_of(claim: dict) -> str:
    """The first half of the claim's id."""
    return claim["id"].split("/")[0]


def manifest(chapter: str) -> list[dict[str, str]]:
    """The files of one chapter: its claims, then the tables that they are made from."""
    folder = ROOT / "data" / "results"
    chapters = {path.stem for path in folder.glob("*.json")}
    # A table belongs to the longest name of a chapter that it begins with: fpga_gates_resources is not of fpga.
    tables = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(folder.glob(f"{chapter}_*.csv"))
        if max((name for name in chapters if path.stem.startswith(f"{name}_")), key=len) == chapter
    ]
    claims = f"data/results/{chapter}.json"
    return [
        {"file": claims, "comment": f"Claims of the chapter {chapter}, each number with its run"},
        *({"file": table, "comment": f"Table of the chapter {chapter}"} for table in tables),
    ]


def runs(claims: Iterable[dict]) -> list[dict]:
    """One entry a command, in the order of the chapters.

    Its minutes, rounded up, are the sum over the rows that say how long they took; where none do, those of its longest
    run.
    """
    found: dict[str, dict] = {}
    of_rows = seconds_of_rows()
    for claim in claims:
        for origin in claim["provenance"]:
            command = origin["command"]
            named = re.search(r"--data (\S+)", command)
            part = re.search(r"--part (\S+)", command)
            otherwise = DATA.get(chapter_of(claim), BUILT_IN)
            entry = found.setdefault(
                command,
                {
                    "command": command,
                    "claims": [],
                    "data": named[1] if named else PARTS.get(part[1], otherwise) if part else otherwise,
                    "minutes": 0,
                    "machine": origin["device"],
                },
            )
            if claim["id"] not in entry["claims"]:
                entry["claims"].append(claim["id"])
            spent = max(origin["wall_s"], of_rows.get(command, 0.0))
            entry["minutes"] = max(entry["minutes"], math.ceil(spent / 60))
    return list(found.values())


def seconds_of_rows() -> dict[str, float]:
    """For each command, the seconds of all rows that it wrote.

    Rows with equal seconds are one run, in all tables; it may have gone on at another commit, on another day.
    """
    stamp = ["command", "wall_s"]
    tables = map(pd.read_csv, sorted((ROOT / "data" / "results").glob("*.csv")))
    rows = [table[stamp].dropna() for table in tables if set(stamp) <= set(table.columns)]
    return pd.concat(rows).drop_duplicates().groupby("command").wall_s.sum().to_dict()


if __name__ == "__main__":
    write_whole(FILE, check_file().encode())
