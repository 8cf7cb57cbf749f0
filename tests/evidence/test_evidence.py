"""Claims: shape, verdict, interval, records on disk, provenance, and how they show in the book."""

import copy
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import nbclient
import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fewbits import evidence
from fewbits.evidence import records

RESULTS = Path(__file__).parents[2] / "data" / "results"

# Written from DESIGN.md's example and not from the validator, so that the two check each other.
SCHEMA = {
    "type": "object",
    "required": ["id", "statement", "verdict", "provenance"],
    "additionalProperties": False,
    "anyOf": [{"required": ["ours", "expect"]}, {"required": ["paper", "reason"]}],
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z0-9_]+/[a-z0-9-]+$"},
        "statement": {"type": "string", "minLength": 1},
        "reason": {"type": "string", "minLength": 1},
        "verdict": {"enum": ["reproduced", "trend only", "not reproduced", "cited"]},
        "paper": {
            "type": "object",
            "required": ["key", "where", "value"],
            "properties": {"value": {"type": ["number", "string"]}, "unit": {"type": "string"}},
        },
        "ours": {
            "type": "object",
            "required": ["value", "scale"],
            "properties": {
                "value": {"type": "number"},
                "values": {"type": "array", "minItems": 1, "items": {"type": "number"}},
                "seeds": {"type": "array", "uniqueItems": True, "items": {"type": "integer"}},
                "scale": {"enum": ["notebook", "reduced", "full"]},
            },
        },
        "expect": {"type": "object", "minProperties": 1},
        "provenance": {
            "type": "object",
            "required": ["commit", "command", "date", "device", "torch", "wall_s"],
            "properties": {
                "commit": {"type": "string", "pattern": "^([0-9a-f]{40}(-dirty)?|unknown)$"},
                "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
                "wall_s": {"type": "number", "minimum": 0},
            },
        },
    },
}


def measured(values=(0.8, 0.9, 1.0), scale="full", **expect) -> dict:
    """A claim with one value a seed; ``expect`` is at most 2 unless given."""
    return {
        "id": "demo/drop",
        "statement": "5 bits cost at most 2 points",
        "paper": {"key": "yokota2024", "where": "Table 1", "value": 1.13, "unit": "pt"},
        "ours": {"unit": "pt", "values": list(values), "seeds": list(range(len(values))), "scale": scale},
        "expect": expect or {"max": 2.0},
    }


def cited() -> dict:
    return {
        "id": "demo/imagenet",
        "statement": "AlexNet reaches 50.3 % with <1-bit> weights & 4-bit activations",
        "paper": {"key": "zhou2016", "where": "Table 3", "value": 50.3, "unit": "%"},
        "reason": "ImageNet is not at hand",
    }


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder in place of data/results."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setenv("FEWBITS_RESULTS", str(folder))
    return folder


def record(claims, chapter="demo"):
    return evidence.record(chapter, claims, command="python -m fewbits.experiments demo", wall_s=1.26)


# --- interval ---------------------------------------------------------------------------------------------------------


def test_interval_of_two_runs_is_the_closed_form():
    # With one degree of freedom t is Cauchy, whose 97.5 % quantile is tan(0.475 π); s/√2 is half the distance.
    mean, half = evidence.interval([3.0, 5.0])
    assert mean == 4.0
    assert half == pytest.approx(math.tan(0.475 * math.pi) * 1.0, rel=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8).filter(lambda values: max(values) - min(values) > 1e-3))
def test_interval_equals_scipy(values):
    mean, half = evidence.interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    assert mean - half == pytest.approx(low, rel=1e-9, abs=1e-6)
    assert mean + half == pytest.approx(high, rel=1e-9, abs=1e-6)


def test_interval_of_one_run_is_unknown_and_of_none_refused():
    mean, half = evidence.interval([7])
    assert mean == 7
    assert math.isnan(half)
    with pytest.raises(ValueError, match="values"):
        evidence.interval([])


# --- verdict ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (measured([0.8, 0.9, 1.0]), "reproduced"),
        (measured([0.8, 0.9, 1.0], max=1.1), "trend only"),  # 0.9 ± 0.25: the mean holds, the interval does not
        (measured([0.8, 0.9, 1.0], max=0.85), "not reproduced"),
        (measured([0.8, 0.9, 1.0], min=0.6), "reproduced"),
        (measured([0.8, 0.9, 1.0], min=0.7), "trend only"),
        (measured([0.8, 0.9, 1.0], min=0.95), "not reproduced"),
        (measured([0.8, 0.9, 1.0], min=0.6, max=1.2), "reproduced"),
        (measured([0.8, 0.9, 1.0], min=0.6, max=1.1), "trend only"),
        (measured([1.9]), "trend only"),  # one run has no interval
        (measured([2.0]), "trend only"),
        (measured([2.0, 2.0]), "reproduced"),  # the bound belongs to the range
        (measured([2.1]), "not reproduced"),
        (measured([0.0, 0.0], max=0, scale="full"), "reproduced"),  # no spread at all
        (measured([92.1 - 90.1, 2.0]), "reproduced"),  # 2.0 but for the last bit
        (measured(scale="reduced"), "trend only"),  # full is expected unless said otherwise
        (measured(scale="notebook"), "trend only"),
        (measured(scale="reduced") | {"expect": {"max": 2, "scale": "reduced"}}, "reproduced"),
        (measured(scale="full") | {"expect": {"max": 2, "scale": "notebook"}}, "reproduced"),
        (measured(scale="notebook") | {"expect": {"max": 2, "scale": "reduced"}}, "trend only"),
        (measured([3.0], scale="notebook"), "not reproduced"),
        (cited(), "cited"),
    ],
)
def test_verdict(claim, expected):
    evidence.validate(claim)
    assert evidence.verdict(claim) == expected


def test_verdict_of_a_single_value_without_seeds():
    claim = measured()
    claim["ours"] = {"value": 1.0, "unit": "pt", "scale": "full"}
    evidence.validate(claim)
    assert evidence.verdict(claim) == "reproduced"


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=5),
    st.floats(-10, 10),
    st.floats(0, 10),
    st.floats(0, 10),
)
def test_a_wider_range_never_worsens_the_verdict(values, low, width, more):
    order = ["not reproduced", "trend only", "reproduced"]
    narrow = evidence.verdict(measured(values, min=low, max=low + width))
    wide = evidence.verdict(measured(values, min=low - more, max=low + width + more))
    assert order.index(wide) >= order.index(narrow)


# --- shape ------------------------------------------------------------------------------------------------------------


def set_in(claim: dict, path: str, value) -> dict:
    """A copy of ``claim`` with the field at ``path`` set, or removed where ``value`` is ``...``."""
    claim = copy.deepcopy(claim)
    *parents, field = path.split(".")
    holder = claim
    for parent in parents:
        holder = holder[parent]
    if value is ...:
        del holder[field]
    else:
        holder[field] = value
    return claim


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("statement", ..., "statement is missing"),
        ("statement", "", "statement is empty"),
        ("statement", 3, "statement has the wrong type"),
        ("expct", {"max": 1}, "expct is not a known field"),
        ("expect", ..., "expect is missing"),
        ("expect", {}, "expect needs min, max or both"),
        ("expect", {"scale": "full"}, "expect needs min, max or both"),
        ("expect", {"min": 2, "max": 1}, "expect.min exceeds expect.max"),
        ("expect", {"max": 1, "scale": "huge"}, "expect.scale must be one of"),
        ("expect", {"maximum": 1}, "expect.maximum is not a known field"),
        ("expect", {"max": "2"}, "expect.max has the wrong type"),
        ("expect", {"max": math.inf}, "expect.max is not finite"),
        ("paper.key", ..., "paper.key is missing"),
        ("paper.where", "", "paper.where is empty"),
        ("paper.value", None, "paper.value has the wrong type"),
        ("paper.unit", "%", "ours.unit differs from paper.unit"),
        ("ours", 0.9, "ours has the wrong type"),
        ("ours.scale", ..., "ours.scale is missing"),
        ("ours.scale", "tiny", "ours.scale must be one of"),
        ("ours.value", 1.5, "ours.value disagrees with the mean of ours.values"),
        ("ours.value", True, "ours.value has the wrong type"),
        ("ours.values", [], "ours.values is empty"),
        ("ours.values", [0.8, "0.9", 1.0], "ours.values has the wrong type"),
        ("ours.values", [0.8, math.nan, 1.0], "ours.values is not finite"),
        ("ours.values", ..., "ours.value is missing, and so is ours.values"),
        ("ours.seeds", [0, 1], "ours.seeds must be as many as ours.values"),
        ("ours.seeds", [0, 1, 1], "ours.seeds must differ"),
        ("ours.seeds", [0, 1, 2.0], "ours.seeds must hold integers"),
        ("ours", {"value": 0.9, "unit": "pt", "seeds": [0, 1], "scale": "full"}, "ours.values is missing"),
        ("ours", ..., "reason is missing"),
        ("verdict", "confirmed", "verdict must be one of"),
        ("provenance", {"commit": "unknown"}, "provenance.command is missing"),
    ],
)
def test_a_malformed_claim_is_refused_with_its_id_and_field(path, value, named):
    with pytest.raises(ValueError, match=rf"'demo/drop': {re.escape(named)}"):
        evidence.validate(set_in(measured(), path, value))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("reason", ..., "reason is missing"),
        ("reason", "", "reason is empty"),
        ("paper", ..., "paper is missing"),
        ("expect", {"max": 1}, "expect has nothing to judge"),
    ],
)
def test_a_cited_claim_needs_paper_and_reason(path, value, named):
    with pytest.raises(ValueError, match=rf"'demo/imagenet': {named}"):
        evidence.validate(set_in(cited(), path, value))


@pytest.mark.parametrize("name", [None, 3, "demo", "demo/", "Demo/drop", "demo/a.b", "demo/a:b", "demo/a b", "a/b/c"])
def test_a_bad_id_is_refused(name):
    with pytest.raises(ValueError, match="id must be"):
        evidence.validate(measured() | {"id": name})


@pytest.mark.parametrize("command", ["/usr/bin/python run.py", "python run.py --out=/tmp/x", "~/run.sh", "run '/a b'"])
def test_an_absolute_path_in_the_command_is_refused(command, results):
    with pytest.raises(ValueError, match=r"provenance\.command holds an absolute path"):
        evidence.record("demo", [measured()], command=command, wall_s=1)
    assert list(results.iterdir()) == []


def test_several_seeds_may_share_one_exact_value():
    claim = measured(max=0, scale="notebook")
    claim["ours"] = {"value": 0, "unit": "pt", "seeds": [0, 1, 2], "scale": "notebook"}
    claim["expect"] = {"max": 0, "scale": "notebook"}
    evidence.validate(claim)
    assert evidence.verdict(claim) == "reproduced"


# --- records ----------------------------------------------------------------------------------------------------------


def test_record_then_load_gives_the_claims_with_verdict_and_provenance(results):
    given_claim = measured()
    before = copy.deepcopy(given_claim)
    stored = record([given_claim, cited()])
    assert given_claim == before
    assert evidence.load("demo") == stored
    drop, imagenet = stored
    assert (drop["verdict"], imagenet["verdict"]) == ("reproduced", "cited")
    assert drop["ours"]["value"] == pytest.approx(0.9)
    assert drop["provenance"]["wall_s"] == 1.3
    for claim in stored:
        jsonschema.validate(claim, SCHEMA)
    assert [path.name for path in results.iterdir()] == ["demo.json"]


def test_record_replaces_by_id_and_keeps_the_rest(results):
    record([measured(), cited()])
    first = evidence.load("demo")
    evidence.record("demo", [measured([2.5, 2.6])], command="again", wall_s=0)
    drop, imagenet = evidence.load("demo")
    assert imagenet == first[1]
    assert (drop["verdict"], drop["provenance"]["command"]) == ("not reproduced", "again")


def test_the_file_does_not_depend_on_the_order_of_recording(results):
    record([measured(), cited()])
    forward = (results / "demo.json").read_text()
    (results / "demo.json").unlink()
    record([cited()])
    record([measured()])
    assert (results / "demo.json").read_text() == forward
    assert forward.endswith("]\n")


def test_record_overwrites_a_typed_verdict(results):
    assert record([measured([5.0]) | {"verdict": "reproduced"}])[0]["verdict"] == "not reproduced"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([measured(), measured()], "given twice"),
        ([measured() | {"id": "other/drop"}], "must start with 'demo/'"),
        ([measured() | {"statement": ""}], "statement"),
    ],
)
def test_a_refused_record_writes_nothing(results, claims, message):
    record([cited()])
    before = (results / "demo.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        record(claims)
    assert (results / "demo.json").read_bytes() == before


def test_a_malformed_old_claim_can_be_replaced_but_not_kept(results):
    record([measured(), cited()])
    path = results / "demo.json"
    path.write_text(path.read_text().replace('"expect"', '"expected"'))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'demo/drop': expected is not a known field"):
        record([cited()])
    assert path.read_bytes() == before
    record([measured()])
    assert [claim["verdict"] for claim in evidence.load("demo")] == ["reproduced", "cited"]


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace")])
def test_a_crash_while_writing_leaves_the_old_file(results, monkeypatch, owner, step):
    record([cited()])
    before = (results / "demo.json").read_bytes()

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(owner, step, crash)
    with pytest.raises(OSError, match="disk full"):
        record([measured()])
    assert (results / "demo.json").read_bytes() == before
    assert [path.name for path in results.iterdir()] == ["demo.json"]


def test_load_all_and_missing_files(results, monkeypatch):
    assert evidence.load_all() == []
    record([cited()])
    record([measured() | {"id": "alpha/drop"}], chapter="alpha")
    assert [claim["id"] for claim in evidence.load_all()] == ["alpha/drop", "demo/imagenet"]
    with pytest.raises(FileNotFoundError, match="no claims recorded for chapter 'ternary'"):
        evidence.load("ternary")
    with pytest.raises(ValueError, match="no name of a result"):
        evidence.load("../demo")
    monkeypatch.setenv("FEWBITS_RESULTS", str(results / "nowhere"))
    with pytest.raises(FileNotFoundError, match="FEWBITS_RESULTS"):
        evidence.load_all()


def test_results_dir_is_the_repository_s(monkeypatch):
    monkeypatch.delenv("FEWBITS_RESULTS", raising=False)
    assert evidence.results_dir() == Path(__file__).resolve().parents[2] / "data" / "results"


def test_load_refuses_claims_without_provenance_and_files_of_another_shape(results):
    (results / "demo.json").write_text(json.dumps([cited() | {"verdict": "cited"}]))
    with pytest.raises(ValueError, match="provenance is missing"):
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


# --- provenance -------------------------------------------------------------------------------------------------------


def test_code_version_names_commit_and_uncommitted_changes(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)

    def version():
        evidence.code_version.cache_clear()
        return evidence.code_version()

    monkeypatch.setattr(records, "checkout", lambda: tmp_path)
    # Keeps git from finding a repository above the temporary folder.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    try:
        assert version() == "unknown"
        git("init", "-q")
        (tmp_path / "code.py").write_text("1\n")
        git("add", ".")
        git("commit", "-q", "-m", "first")
        head = git("rev-parse", "HEAD").stdout.strip()
        assert version() == head
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "new.json").write_text("[]\n")
        assert version() == head
        (tmp_path / "code.py").write_text("2\n")
        assert version() == head + "-dirty"
        monkeypatch.setenv("PATH", "")
        assert version() == "unknown"
    finally:
        evidence.code_version.cache_clear()


# --- what is recorded -------------------------------------------------------------------------------------------------


def doctored(path: Path) -> list[str]:
    """Ids of the claims in a file whose stored verdict differs from one computed here, by scipy's interval."""
    wrong = []
    for claim in json.loads(path.read_text(encoding="utf-8")):
        if "ours" not in claim:
            truth = "cited"
        else:
            ours, expect = claim["ours"], claim["expect"]
            values = ours.get("values", [ours["value"]])
            low, high = expect.get("min", -math.inf) - 1e-7, expect.get("max", math.inf) + 1e-7
            mean = sum(values) / len(values)
            one_seed = len(ours.get("values", [])) == 1
            ends = [-math.inf, math.inf] if one_seed else [mean, mean]
            if len(set(values)) > 1:
                ends = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
            sizes = {"notebook": 0, "reduced": 1, "full": 2}
            small = sizes[ours["scale"]] < sizes[expect.get("scale", "full")]
            if not low <= mean <= high:
                truth = "not reproduced"
            else:
                truth = "trend only" if small or ends[0] < low or ends[1] > high else "reproduced"
        if claim["verdict"] != truth:
            wrong.append(claim["id"])
    return wrong


def test_recorded_claims_have_shape_provenance_and_the_verdict_their_numbers_give():
    paths = sorted(RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        assert doctored(path) == [], path.name
        for claim in json.loads(path.read_text(encoding="utf-8")):
            jsonschema.validate(claim, SCHEMA)
            assert claim["id"].startswith(f"{path.stem}/")
            assert all(str(value) for value in claim["provenance"].values()), claim["id"]


def test_a_doctored_verdict_is_found_and_does_not_load(results):
    record([measured([2.5, 2.6]), cited()])
    path = results / "demo.json"
    assert doctored(path) == []
    path.write_text(path.read_text().replace('"not reproduced"', '"reproduced"'))
    assert doctored(path) == ["demo/drop"]
    with pytest.raises(ValueError, match=r"'demo/drop': verdict is 'reproduced', computed 'not reproduced'"):
        evidence.load("demo")


# --- on the page ------------------------------------------------------------------------------------------------------


def test_table_as_html(results):
    record([measured(), cited(), measured([-3.0], min=0) | {"id": "demo/sign"}])
    page = evidence.table("demo")._repr_html_()
    assert page == evidence.table(evidence.load("demo"))._repr_html_()
    soup = BeautifulSoup(page, "html.parser")
    assert [th.text for th in soup.select("thead th")] == ["claim", "paper", "here", "seeds", "scale", "verdict"]
    drop, imagenet, sign = ([td.get_text(" ", strip=True) for td in tr("td")] for tr in soup.select("tbody tr"))
    # t(0.975, 2) · 0.1 / √3 = 4.303 · 0.0577 = 0.248
    assert drop[1:] == ["1.13 pt yokota2024, Table 1", "0.90 ± 0.25 pt", "3", "full", "✓ reproduced"]
    assert imagenet[0] == cited()["statement"]
    assert "&lt;1-bit&gt; weights &amp; 4-bit" in page
    assert imagenet[1:] == ["50.3 % zhou2016, Table 3", "not run: ImageNet is not at hand", "", "", "○ cited"]
    assert sign[2:] == ["−3 pt", "1", "full", "✗ not reproduced"]
    assert [badge["class"][1] for badge in soup.select("span.verdict")] == [
        "verdict-reproduced",
        "verdict-cited",
        "verdict-not-reproduced",
    ]


def test_table_with_ids(results):
    record([measured(), cited()])
    soup = BeautifulSoup(evidence.table("demo", ids=True)._repr_html_(), "html.parser")
    assert [small.text for small in soup.select("td:first-child .claim-id")] == [measured()["id"], cited()["id"]]
    assert "claim-id" not in evidence.table("demo")._repr_html_()


def test_table_as_text(results):
    claim = measured(scale="notebook")
    del claim["paper"]
    record([claim])
    assert repr(evidence.table("demo")).split("\n") == [
        "claim                         paper  here            seeds  scale     verdict",
        "----------------------------  -----  --------------  -----  --------  ------------",
        "5 bits cost at most 2 points  –      0.90 ± 0.25 pt  3      notebook  ≈ trend only",
    ]


def test_a_paper_may_report_in_words(results):
    record([set_in(measured(), "paper", {"key": "li2016", "where": "Sec. 2 & 3", "value": "yes <always>"})])
    page = evidence.table("demo")._repr_html_()
    assert ">yes &lt;always&gt;<br><small>li2016, Sec. 2 &amp; 3</small></td>" in page


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([5095552], "5,095,552"),
        ([218964.0], "218,964"),
        ([63.19], "63.19"),
        ([0.0001234], "0.0001234"),
        ([1e-13], "1e-13"),
        ([0.5, 0.5], "0.5 ± 0"),
        ([60.0, 62.0, 61.0], "61.0 ± 2.5"),
        ([-0.011, -0.012], "−0.0115 ± 0.0064"),
        ([1000.0, 3000.0], "2,000 ± 12,706"),
    ],
)
def test_numbers_keep_the_digits_that_mean_something(values, shown):
    claim = measured(values) | {"verdict": "reproduced"}
    claim["ours"]["unit"] = ""
    assert repr(evidence.table([claim])).split("\n")[2].split("  ")[2].strip() == shown


def test_glued_numbers_reach_the_rendered_prose(results, tmp_path):
    """A notebook that glues, run by a real kernel, rendered by myst-nb with execution off and warnings as errors."""
    record([measured(), cited()])
    book = tmp_path / "book"
    book.mkdir()
    keys = ["drop", "drop.spread", "drop.text", "drop.seeds", "drop.paper", "drop.verdict"]
    keys += ["imagenet.paper", "imagenet.verdict"]
    prose = "# Demo\n\n" + "".join(f"- {{glue:text}}`demo/{key}`\n" for key in keys)
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(prose),
            nbformat.v4.new_code_cell("from fewbits import evidence\nevidence.glue_claims('demo')"),
            nbformat.v4.new_code_cell("evidence.table('demo')"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbclient.NotebookClient(notebook, timeout=120).execute()
    assert set(notebook.cells[2].outputs[0]["data"]) == {"text/html", "text/plain"}
    nbformat.write(notebook, book / "demo.ipynb")
    (book / "index.md").write_text(
        "# Index\n\n- {glue:text}`demo.ipynb::demo/drop.text:s`\n\n```{toctree}\ndemo\n```\n", encoding="utf-8"
    )
    (book / "conf.py").write_text("extensions = ['myst_nb']\nnb_execution_mode = 'off'\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(book), str(tmp_path / "html")]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr

    def listed(page):
        soup = BeautifulSoup((tmp_path / "html" / page).read_text(encoding="utf-8"), "html.parser")
        return [span.text for span in soup.select("span.pasted-text")]

    assert listed("demo.html") == [
        "0.90",
        "0.25",
        "0.90 ± 0.25 pt",
        "3",
        "1.13",
        "reproduced",
        "50.3",
        "cited",
    ]
    assert listed("index.html") == ["0.90 ± 0.25 pt"]
