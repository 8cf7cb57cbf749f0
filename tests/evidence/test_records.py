"""Claims on disk: words, the provenance of every value, and the commit that set a band."""

import copy
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sample_claims import cited, claim
from scipy import stats

from fewbits import evidence
from fewbits.experiments.__main__ import parsed

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "data" / "results"
WORDS = ["reproduced", "carries over", "undecided", "does not carry over", "not reproduced", "cited"]

# Written from DESIGN.md and not from the validator, so that the two check each other.
NUMBERS = {"type": "array", "items": {"type": "number"}}
SCHEMA = {
    "type": "object",
    "required": ["id", "kind", "statement", "parts", "departs", "word"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z0-9_]+/[a-z0-9-]+$"},
        "kind": {"enum": ["paper", "own"]},
        "statement": {"type": "string", "minLength": 1},
        "reason": {"type": "string", "minLength": 1},
        "independent": {"type": "string", "minLength": 1},
        "headline": {"const": True},
        "word": {"enum": [*WORDS, "holds", "does not hold"]},
        "scale": {"enum": ["notebook", "reduced", "full"]},
        "answers": {"type": "object", "additionalProperties": {"enum": ["yes", "no", "undecided"]}},
        "departs": {"type": "array", "items": {"type": "object", "required": ["what", "could_explain"]}},
        "paper": {
            "type": "object",
            "required": ["key", "where", "value"],
            "properties": {"value": {"type": ["number", "string"]}, "unit": {"type": "string"}},
        },
        "band": {
            "type": "object",
            "required": ["commit", "before_run"],
            "properties": {"commit": {"type": "string", "pattern": "^[0-9a-f]{40}$"}},
        },
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "values", "runs", "origins", "holds"],
                "properties": {"values": NUMBERS, "holds": {"minProperties": 1}, "interval": NUMBERS},
            },
        },
        "provenance": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["commit", "command", "date", "device", "torch", "wall_s"],
                "properties": {
                    "commit": {"type": "string", "pattern": "^([0-9a-f]{40}(-dirty)?|unknown)$"},
                    "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
                    "wall_s": {"type": "number", "minimum": 0},
                },
            },
        },
    },
}


def commands(made: dict) -> list[str]:
    """The command of each value of the first part."""
    return [made["provenance"][origin]["command"] for origin in made["parts"][0]["origins"]]


def test_record_then_load_gives_the_claims_with_word_and_provenance(results, record, code):
    given = claim()
    before = copy.deepcopy(given)
    stored = record([given, cited()])
    assert given == before
    assert evidence.load("demo") == stored
    drop, imagenet = stored
    assert (drop["word"], imagenet["word"]) == ("reproduced", "cited")
    assert drop["answers"] == {"holds": "yes", "agrees": "yes"}
    assert [origin["wall_s"] for origin in drop["provenance"]] == [1.3]
    assert drop["parts"][0]["origins"] == [0, 0, 0]
    assert drop["band"] == {"commit": drop["provenance"][0]["commit"], "before_run": True}
    for made in stored:
        jsonschema.validate(made, SCHEMA)
    assert [path.name for path in results.iterdir()] == ["demo.json"]


def test_a_checkout_with_changes_is_refused(results, record, code):
    record([claim()])
    stored = (results / "demo.json").read_bytes()
    code.change()
    with pytest.raises(ValueError, match="changes that are not committed"):
        record([claim([1.0, 1.1, 1.2])])
    with pytest.raises(ValueError, match="changes that are not committed"):
        evidence.stamped(pd.DataFrame({"accuracy": [1.0]}), "run", 1.0)
    assert (results / "demo.json").read_bytes() == stored
    code.commit()
    record([claim([1.0, 1.1, 1.2])])


def test_a_number_that_did_not_change_keeps_its_run(results, record, code):
    """A command that trained one network used to sign for all claims that it wrote again."""
    first = record([claim([0.8, 0.9])], command="train --seed 0 1")[0]
    code.commit()
    second = record([claim([0.8, 0.9, 1.0])], command="train --seed 2")[0]
    assert commands(second) == ["train --seed 0 1", "train --seed 0 1", "train --seed 2"]
    assert second["provenance"][0] == first["provenance"][0]
    code.commit()
    third = record([claim([0.8, 0.95, 1.0]) | {"statement": "In other words"}], command="train --seed 1")[0]
    assert commands(third) == ["train --seed 0 1", "train --seed 1", "train --seed 2"]


def test_a_value_may_bring_its_own_run(results, record, code):
    rows = evidence.stamped(pd.DataFrame({"accuracy": [0.8, 0.9]}), "long run", 3600.0)
    code.commit()
    rows = pd.concat([rows, pd.DataFrame({"accuracy": [1.0]})])
    evidence.write_rows("demo_runs", rows)
    read = evidence.rows("demo_runs")
    made = claim(read["accuracy"])
    made["parts"][0]["origins"] = evidence.origins(read)
    stored = record([made], command="the claims alone")[0]
    assert commands(stored) == ["long run", "long run", "the claims alone"]
    assert stored["provenance"][0]["wall_s"] == 3600.0
    assert evidence.origins(pd.DataFrame({"accuracy": [1.0]})) == [None]


def test_a_band_is_before_the_run_only_if_the_run_had_it(results, record, code):
    planned = record([claim([])])[0]
    assert (planned["word"], planned["band"]["before_run"]) == ("undecided", True)
    code.commit()
    run = record([claim()])[0]
    assert run["band"] == planned["band"]
    code.commit()
    # The same numbers under another bound, another margin, or another number of the paper: chosen after the runs.
    wider = record([claim(high=3.0)])[0]
    assert not wider["band"]["before_run"]
    assert wider["band"]["commit"] != planned["band"]["commit"]
    assert commands(wider) == commands(run)


def test_a_band_may_have_been_set_in_code_before_the_first_record(results, record, code):
    earlier = code.git("rev-parse", "HEAD")
    code.commit()
    stored = record([claim() | {"band": {"commit": earlier}}])[0]
    assert stored["band"] == {"commit": earlier, "before_run": True}
    assert record([claim()])[0]["band"] == stored["band"]
    later = code.commit()
    assert record([claim() | {"band": {"commit": later}}])[0]["band"] == {"commit": later, "before_run": False}


def test_a_changed_entry_of_the_paper_is_noticed(results, record, code):
    record([claim()])
    code.commit()
    changed = claim()
    changed["paper"]["value"] = changed["parts"][0]["agrees"]["value"] = 1.31
    with pytest.warns(UserWarning, match=r"demo/drop.*1\.13.*1\.31"):
        stored = record([changed])[0]
    assert not stored["band"]["before_run"]


def test_a_failure_that_nothing_explains_needs_a_reason(results, record):
    failed = claim([5.0, 5.1, 5.2])
    with pytest.raises(ValueError, match="'demo/drop': reason is missing"):
        record([failed])
    assert not list(results.iterdir())
    assert record([failed | {"reason": "The scales are too small"}])[0]["word"] == "not reproduced"
    explained = failed | {"departs": [evidence.departure("a smaller network")]}
    assert record([explained])[0]["word"] == "does not carry over"


def test_record_replaces_by_id_and_keeps_the_rest(results, record):
    record([claim(), cited()])
    first = evidence.load("demo")
    record([claim([2.5, 2.6])], command="again")
    drop, imagenet = evidence.load("demo")
    assert imagenet == first[1]
    assert (drop["word"], commands(drop)) == ("undecided", ["again"] * 2)


def test_the_file_does_not_depend_on_the_order_of_recording(results, record):
    record([claim(), cited()])
    forward = (results / "demo.json").read_text()
    (results / "demo.json").unlink()
    record([cited()])
    record([claim()])
    assert (results / "demo.json").read_text() == forward
    assert forward.endswith("]\n")


def test_record_overwrites_a_typed_word(results, record):
    assert record([claim([5.0]) | {"word": "reproduced"}])[0]["word"] == "undecided"


@pytest.mark.parametrize("command", ["/usr/bin/python run.py", "python run.py --out=/tmp/x", "~/run.sh", "run '/a b'"])
def test_an_absolute_path_in_the_command_is_refused(command, results, record):
    with pytest.raises(ValueError, match=r"command holds an absolute path"):
        record([claim()], command=command)
    assert list(results.iterdir()) == []


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([claim(), claim()], "given twice"),
        ([claim() | {"id": "other/drop"}], "must start with 'demo/'"),
        ([claim() | {"statement": ""}], "statement"),
    ],
)
def test_a_refused_record_writes_nothing(results, record, claims, message):
    record([cited()])
    before = (results / "demo.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        record(claims)
    assert (results / "demo.json").read_bytes() == before


def test_a_malformed_old_claim_can_be_replaced_but_not_kept(results, record):
    record([claim(), cited()])
    path = results / "demo.json"
    path.write_text(path.read_text().replace('"independent"', '"dependent"'))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'demo/drop': dependent is not a known field"):
        record([cited()])
    assert path.read_bytes() == before
    record([claim()])
    assert [made["word"] for made in evidence.load("demo")] == ["reproduced", "cited"]


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace")])
def test_a_crash_while_writing_leaves_the_old_file(results, record, monkeypatch, owner, step):
    record([cited()])
    before = (results / "demo.json").read_bytes()

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(owner, step, crash)
    with pytest.raises(OSError, match="disk full"):
        record([claim()])
    assert (results / "demo.json").read_bytes() == before
    assert [path.name for path in results.iterdir()] == ["demo.json"]


def test_load_all_and_missing_files(results, record, monkeypatch):
    assert evidence.load_all() == []
    record([cited()])
    record([claim() | {"id": "alpha/drop"}], chapter="alpha")
    assert [made["id"] for made in evidence.load_all()] == ["alpha/drop", "demo/imagenet"]
    with pytest.raises(FileNotFoundError, match="no claims recorded for chapter 'ternary'"):
        evidence.load("ternary")
    with pytest.raises(ValueError, match="no name of a result"):
        evidence.load("../demo")
    monkeypatch.setenv("FEWBITS_RESULTS", str(results / "nowhere"))
    with pytest.raises(FileNotFoundError, match="FEWBITS_RESULTS"):
        evidence.load_all()


def test_results_dir_is_the_repository_s(monkeypatch):
    monkeypatch.delenv("FEWBITS_RESULTS", raising=False)
    assert evidence.results_dir() == RESULTS


def test_load_refuses_claims_without_provenance_and_files_of_another_shape(results):
    (results / "demo.json").write_text(json.dumps([claim()]))
    with pytest.raises(ValueError, match="'demo/drop': answers is missing"):
        evidence.load("demo")
    (results / "demo.json").write_text(json.dumps([cited()]))
    with pytest.raises(ValueError, match="'demo/imagenet': word is missing"):
        evidence.load("demo")
    (results / "demo.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold a list"):
        evidence.load("demo")


def test_rows_come_back_bit_for_bit(results):
    frame = pd.DataFrame({"method": ["ptq", "qat"], "bits": [2, 4], "accuracy": [0.1 + 0.2, 1 / 3]})
    evidence.write_rows("demo_bits", frame)
    pd.testing.assert_frame_equal(evidence.rows("demo_bits"), frame, check_exact=True)
    assert b"\r" not in (results / "demo_bits.csv").read_bytes()
    with pytest.raises(FileNotFoundError):
        evidence.rows("no_such_table")


def test_code_version_names_commit_and_uncommitted_changes(code, monkeypatch):
    head = code.git("rev-parse", "HEAD")
    assert evidence.code_version() == head
    (code.folder / "data").mkdir()
    (code.folder / "data" / "new.json").write_text("[]\n")
    evidence.code_version.cache_clear()
    assert evidence.code_version() == head
    code.change()
    assert evidence.code_version() == head + "-dirty"
    evidence.code_version.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert evidence.code_version() == "unknown"


# --- what is recorded -------------------------------------------------------------------------------------------------


def word_of(made: dict) -> str:
    """The word of a stored claim, computed here in another way: from scipy's tests and not from intervals."""
    if not made["parts"]:
        return "cited"
    inside, same = [], []
    for part in made["parts"]:
        low, high = part["holds"].get("min", -1e300), part["holds"].get("max", 1e300)
        inside.append(_side(part, low, high))
        if "agrees" in part:
            value, margin = part["agrees"]["value"], part["agrees"]["margin"]
            same.append(_side(part, value - margin, value + margin))
    if made["kind"] == "own":
        return {1: "holds", 0: "undecided", -1: "does not hold"}[min(inside)]
    exact = {part["type"] for part in made["parts"]} == {"identity"}
    full = made["scale"] == "full" or exact
    asked = inside + same if full else inside
    worst = min(asked)
    if worst == -1:
        explained = [item for item in made["departs"] if item["could_explain"]]
        return "does not carry over" if explained else "not reproduced"
    return "undecided" if worst == 0 else "reproduced" if full else "carries over"


def _side(part: dict, low: float, high: float) -> int:
    """1 inside, -1 outside, 0 undecided."""
    values, kind = part["values"], part["type"]
    if not values:  # a band that is on record before its run
        return 0
    eps = 1e-9 * max([1.0, *map(abs, values)])
    if kind in ("identity", "count", "size"):
        return 1 if all(low - eps <= value <= high + eps for value in values) else -1
    if kind in ("mean", "speed"):
        logs = kind == "speed"
        if len(values) < (5 if logs else 2):
            return 0
        x = np.log(values) if logs else np.array(values, float)
        ends = [np.log(max(end, 1e-300)) if logs else end for end in (low - eps, high + eps)]
        if np.ptp(x) == 0:
            return 1 if ends[0] <= x[0] <= ends[1] else -1
        t = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
        return 1 if ends[0] <= t[0] and t[1] <= ends[1] else -1 if t[1] < ends[0] or t[0] > ends[1] else 0
    if kind == "estimate":
        first, last = part["interval"]
    elif kind == "paired images":
        n, b, c = (part["images"][key] for key in ("of", "gained", "lost"))
        p, q = (b + 1) / (n + 2), (c + 1) / (n + 2)
        half = 1.959963984540054 * ((p + q - (p - q) ** 2) / (n + 2)) ** 0.5
        first, last = 100 * (p - q - half), 100 * (p - q + half)
    else:
        ordered, n = sorted(values), len(values)
        kept = [k for k in range(1, n // 2 + 1) if stats.binom.cdf(k - 1, n, 0.5) <= 0.025]
        if not kept:
            return 0
        first, last = ordered[kept[-1] - 1], ordered[n - kept[-1]]
    if low - eps <= first and last <= high + eps:
        return 1
    return -1 if last < low - eps or first > high + eps else 0


def test_recorded_claims_have_shape_provenance_and_the_word_their_numbers_give():
    paths = sorted(RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        for made in json.loads(path.read_text(encoding="utf-8")):
            jsonschema.validate(made, SCHEMA)
            assert made["id"].startswith(f"{path.stem}/")
            assert made["word"] == word_of(made), made["id"]
            assert made["word"] != "not reproduced" or made["reason"], made["id"]


def test_a_doctored_word_is_found_and_does_not_load(results, record):
    record([claim([2.5, 2.6]), cited()])
    path = results / "demo.json"
    path.write_text(path.read_text().replace('"word": "undecided"', '"word": "reproduced"'))
    (drop, _) = json.loads(path.read_text())
    assert word_of(drop) == "undecided"
    with pytest.raises(ValueError, match=r"'demo/drop': word and answers are .*'reproduced'.*computed .*'undecided'"):
        evidence.load("demo")


def test_no_number_is_judged_by_two_bands():
    """36 % and 0.05 bits a character were two bands for one number."""
    seen: dict[tuple, tuple] = {}
    for made in evidence.load_all():
        for part in made["parts"]:
            if part["type"] in ("mean", "median", "estimate") and len(part["values"]) > 1:
                key = (made["id"].split("/")[0], tuple(part["values"]), part.get("unit", ""))
                band = tuple(sorted(part["holds"].items()))
                assert seen.setdefault(key, band) == band, made["id"]


def from_changed_trees(claims) -> list[str]:
    """Claims with a value from a tree with changes, or from an unknown one."""
    of_a_commit = re.compile("[0-9a-f]{40}")
    return [
        made["id"]
        for made in claims
        if not all(of_a_commit.fullmatch(origin["commit"]) for origin in made.get("provenance", ()))
    ]


def test_every_record_comes_from_code_that_is_committed():
    assert from_changed_trees(evidence.load_all()) == []
    bad = [{"id": name, "provenance": [{"commit": "0" * 40 + end}]} for name, end in {"a": "", "b": "-dirty"}.items()]
    assert from_changed_trees([*bad, {"id": "c", "provenance": [{"commit": "unknown"}]}]) == ["b", "c"]


def unknown_commits(commits) -> list[str]:
    """Those of ``commits`` that are not in the history of this checkout."""
    command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor"]
    return [commit for commit in commits if subprocess.run([*command, commit, "HEAD"], capture_output=True).returncode]


@pytest.mark.skipif((ROOT / ".git" / "shallow").exists(), reason="the checkout has no history")
def test_every_commit_that_a_record_names_can_be_checked_out():
    """A rebase after a record leaves it with a commit that nobody has."""
    stored = evidence.load_all()
    commits = {made["band"]["commit"] for made in stored if "band" in made}
    commits |= {origin["commit"] for made in stored for origin in made.get("provenance", ())}
    assert unknown_commits(sorted(commits)) == []
    assert unknown_commits(["0" * 40])


def refusals(commands) -> list[str]:
    """Those of ``commands`` that name no experiment or benchmark of today, or options that it does not have."""
    refused = []
    for command in commands:
        prefix = "python -m fewbits.experiments "
        benchmark = re.fullmatch(r"python (benchmarks/bench_\w+\.py) --record", command)
        if benchmark and "--record" in (ROOT / benchmark[1]).read_text("utf-8"):
            continue
        try:
            assert command.startswith(prefix)
            parsed(shlex.split(command.removeprefix(prefix)))
        except (AssertionError, SystemExit):
            refused.append(command)
    return refused


def test_the_command_of_a_number_runs_today():
    stored = {origin["command"] for made in evidence.load_all() for origin in made.get("provenance", ())}
    assert refusals(sorted(stored)) == []


@pytest.mark.parametrize("options", ["no-such-experiment", "uniform --no-such-option", "uniform --seeds many"])
def test_a_command_that_does_not_run_is_found(options, capsys):
    assert refusals([f"python -m fewbits.experiments {options}"])
    capsys.readouterr()
