"""What another person needs to check the book: codecheck.yml, the metadata of an archive, addresses of papers."""

import importlib
import json
import math
import re
from argparse import ArgumentParser

import pytest
import yaml
from pybtex.database import parse_file
from tool_files import ROOT, tool

from fewbits import evidence

codecheck = tool("codecheck")
CONTENT = yaml.safe_load((ROOT / "codecheck.yml").read_text("utf-8"))


def parse(command: str) -> None:
    """Let the experiment's own parser read the command that is in the file.

    Raises:
        SystemExit: it does not know an option, or a value.
    """
    python, flag, package, name, *options = command.split()
    assert (python, flag, package) == ("python", "-m", "fewbits.experiments")
    parser = ArgumentParser()
    importlib.import_module(f"fewbits.experiments.{name}.run").add_arguments(parser)
    parser.parse_args(options)


def test_the_file_is_what_the_records_say():
    assert (ROOT / "codecheck.yml").read_text("utf-8") == codecheck.check_file(), "run `python tools/codecheck.py`"


def test_the_file_has_what_the_specification_asks_of_an_author():
    """CODECHECK configuration file 1.0: an explicit document, a manifest of relative paths, title and authors."""
    assert "\n---\n" in (ROOT / "codecheck.yml").read_text("utf-8")
    assert CONTENT["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    assert all(set(item) == {"file", "comment"} for item in CONTENT["manifest"])
    assert CONTENT["paper"]["title"]
    assert all(author["name"] for author in CONTENT["paper"]["authors"])


def faults(files: list[str]) -> list[str]:
    """Files of a manifest that are missing, not relative, or named twice."""
    return [file for file in files if file.startswith("/") or not (ROOT / file).is_file() or files.count(file) > 1]


def test_every_file_of_the_manifest_exists_once():
    assert faults([item["file"] for item in CONTENT["manifest"]]) == []


def test_a_manifest_with_faults_is_noticed():
    wrong = [str(ROOT / "README.md"), "data/results/nowhere.csv", "LICENSE", "LICENSE"]
    assert faults([*wrong, "README.md"]) == wrong


def test_every_command_is_one_that_the_experiment_takes_today():
    for run in CONTENT["fewbits_runs"]:
        parse(run["command"])


@pytest.mark.parametrize("command", ["vector --data imagenet", "vector --runs 3", "mixed_precision --seeds many"])
def test_a_command_of_yesterday_is_noticed(command, capsys):
    with pytest.raises(SystemExit):
        parse(f"python -m fewbits.experiments {command}")
    assert "usage" in capsys.readouterr().err


def test_every_headline_claim_that_was_measured_has_its_runs():
    listed = {claim for run in CONTENT["fewbits_runs"] for claim in run["claims"]}
    assert listed == {claim["id"] for claim in evidence.load_all() if claim.get("headline") and claim["parts"]}
    for run in CONTENT["fewbits_runs"]:
        assert run["minutes"] >= 1
        assert run["machine"]


def test_runs_by_hand():
    origin = {"device": "a machine", "wall_s": 61.0}
    claims = [
        {"id": "mobileone/a", "provenance": [origin | {"command": "one"}, origin | {"command": "two --data mnist"}]},
        {"id": "vector/b", "provenance": [origin | {"command": "one", "wall_s": 150.0}, origin | {"command": "three"}]},
        {"id": "logarithmic/c", "provenance": [origin | {"command": "four --part vgg"}]},
    ]
    one, two, three, four = codecheck.runs(claims)
    assert one["claims"] == ["mobileone/a", "vector/b"]
    assert (one["minutes"], two["minutes"]) == (3, math.ceil(61 / 60))
    assert (one["data"], two["data"], three["data"]) == ("cifar100", "mnist", codecheck.BUILT_IN)
    assert four["data"] == "cifar10"


def test_minutes_are_those_of_all_rows(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "results"
    folder.mkdir(parents=True)
    head = "seed,accuracy,commit,command,date,wall_s\n"
    rows = [
        "0,90,a,one,monday,100",
        "1,91,a,one,monday,200.5",
        "1,92,a,one,monday,200.5",
        "2,93,,,,",
        "1,97,c,one,tuesday,200.5",
        "0,94,b,two,monday,7",
    ]
    (folder / "first.csv").write_text(head + "\n".join(rows))
    (folder / "second.csv").write_text(head + "0,95,a,one,monday,100")
    (folder / "third.csv").write_text("seed,accuracy\n0,96\n")
    monkeypatch.setattr(codecheck, "ROOT", tmp_path)
    assert codecheck.seconds_of_rows() == {"one": 300.5, "two": 7.0}  # the second table repeats a run of the first
    claims = [{"id": "vector/a", "provenance": [{"device": "a machine", "wall_s": 200.5, "command": "one"}]}]
    assert codecheck.runs(claims)[0]["minutes"] == 6


def test_a_table_belongs_to_one_chapter():
    files = [item["file"] for item in codecheck.manifest("fpga")]
    assert "data/results/fpga_layers.csv" in files
    assert not [file for file in files if "fpga_gates" in file]


# --- An archive with a DOI --------------------------------------------------------------------------------------------


def test_the_archives_metadata_agree_with_the_citation():
    """Zenodo reads `.zenodo.json` in place of CITATION.cff, so that both must say the same."""
    archive = json.loads((ROOT / ".zenodo.json").read_text("utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert archive["title"] == citation["title"]
    assert archive["version"] == str(citation["version"])
    assert [creator["name"] for creator in archive["creators"]] == [author["name"] for author in citation["authors"]]
    assert archive["keywords"] == citation["keywords"]
    assert archive["license"] in citation["license"]
    assert (archive["upload_type"], archive["access_right"]) == ("software", "open")
    assert re.fullmatch("[a-z]{3}", archive["language"])


def sections(changelog: str) -> dict[str, str]:
    """The text below each heading of the second level, by heading."""
    _, *rest = re.split(r"^## (.+)\n", changelog, flags=re.MULTILINE)
    return dict(zip(rest[::2], map(str.strip, rest[1::2]), strict=True))


def not_taggable(changelog: str, version: str) -> list[str]:
    """What keeps a changelog from giving the notes of the release of ``version``."""
    found = sections(changelog)
    if not found.get(version, "").startswith("- "):
        return [f"no section {version} with a list"]
    above = list(found)[: list(found).index(version)]
    return [f"{name} stands above {version}" for name in above if name != "Unreleased"]


def test_the_changelog_can_be_tagged():
    """The version of the package has a section with something in it, and only what is not released stands above."""
    version = str(yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"])
    assert not_taggable((ROOT / "CHANGELOG.md").read_text("utf-8"), version) == []


@pytest.mark.parametrize(
    ("changelog", "fault"),
    [
        ("# Changes\n\n## Unreleased\n\n- New.\n", "no section 1.0 with a list"),
        ("# Changes\n\n## 1.0\n", "no section 1.0 with a list"),
        ("# Changes\n\n## 1.1\n\n- New.\n\n## 1.0\n\n- Old.\n", "1.1 stands above 1.0"),
    ],
)
def test_a_changelog_that_cannot_be_tagged_is_noticed(changelog, fault):
    assert not_taggable(changelog, "1.0") == [fault]


# --- Papers -----------------------------------------------------------------------------------------------------------

# Their DOIs could not be looked up when this was written, and there is no open copy.
NO_ADDRESS = {"maki2018", "sasaki2019"}


def without_address(path) -> set[str]:
    """Keys of articles and contributions to conferences that have neither a DOI nor an address."""
    entries = parse_file(path).entries.items()
    published = {key: entry.fields for key, entry in entries if entry.type in ("article", "inproceedings")}
    return {key for key, fields in published.items() if not {"doi", "eprint", "url"} & set(fields)}


def test_every_publication_has_a_doi_or_an_address():
    assert without_address(ROOT / "book" / "references.bib") == NO_ADDRESS


def test_a_publication_without_an_address_is_noticed(tmp_path):
    bib = tmp_path / "references.bib"
    bib.write_text("@article{a, title = {T}}\n@misc{b, title = {T}}\n@inproceedings{c, title = {T}, doi = {10.1/2}}\n")
    assert without_address(bib) == {"a"}


def test_dois_are_bare():
    """A DOI is 10.…/…: the address is made from it."""
    entries = parse_file(ROOT / "book" / "references.bib").entries.values()
    dois = [entry.fields["doi"] for entry in entries if "doi" in entry.fields]
    assert len(dois) == len(set(dois)) >= 5
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", doi) for doi in dois)
