"""Claims as tables and as numbers in prose."""

import re
import subprocess
import sys

import nbclient
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from sample_claims import cited, claim

from fewbits import evidence
from fewbits.core.files import checkout
from fewbits.evidence import citations
from fewbits.evidence.citations import names, paper_name
from fewbits.evidence.display import TITLES


def cells(page: str) -> list[list[str]]:
    soup = BeautifulSoup(page, "html.parser")
    return [[td.get_text(" ", strip=True) for td in tr("td")] for tr in soup.select("tbody tr")]


def size_and_error() -> dict:
    """A joint claim of our own, with an asymmetric interval and a count."""
    size = evidence.part(
        [2.0, 2.2, 2.1, 1.9, 2.0], type="speed", name="rate", unit="×", low=1, path="AVX2", processor="X"
    )
    count = evidence.part([3], type="count", name="sums that differ", low=0, high=3)
    return evidence.own_claim("demo/joint", "Both hold", size, count, scale="notebook", independent="rounds")


def test_table_as_html(results, record):
    record([claim(), cited(), claim([-3.0], low=0) | {"id": "demo/sign"}, size_and_error()])
    page = evidence.table("demo")._repr_html_()
    assert page == evidence.table(evidence.by_weight(evidence.load("demo")))._repr_html_()
    soup = BeautifulSoup(page, "html.parser")
    headings = ["word", "claim", "paper", "here, 95 %"]
    assert [th.text for th in soup.select("thead th")] == headings
    assert all([td["data-label"] for td in row("td")] == headings for row in soup.select("tbody tr"))
    drop, sign, imagenet, joint = cells(page)
    # t(0.975, 2) · 0.1 / √3 = 4.303 · 0.0577 = 0.248
    statement = claim()["statement"]
    assert drop == [
        "✓ reproduced",
        statement,
        "1.13 pt Yokota et al. 2024 , Table 1",
        "0.90 ± 0.25 pt 3 runs, full scale",
    ]
    assert imagenet[:2] == ["○ cited", cited()["statement"]]
    assert "&lt;1-bit&gt; weights &amp; 4-bit" in page
    assert imagenet[2:] == ["50.3 % Zhou et al. 2016 , Table 3", "not run: ImageNet is not at hand"]
    assert (sign[0], sign[3]) == ("? undecided", "−3 pt 1 run, full scale")
    assert joint[0] == "● holds"
    assert joint[3] == "rate: 2.04 (1.90 to 2.18) × sums that differ: 3 5 runs, notebook scale"
    badges = [badge["class"][1] for badge in soup.select("span.verdict")]
    assert badges == ["verdict-reproduced", "verdict-undecided", "verdict-cited", "verdict-holds"]
    assert [cite["data-paper"] for cite in soup("cite")] == ["yokota2024", "yokota2024", "zhou2016dorefa"]
    assert [(tr["data-kind"], tr["data-scale"]) for tr in soup.select("tbody tr")] == [
        ("paper", "full"),
        ("paper", "full"),
        ("paper", ""),
        ("own", "notebook"),
    ]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.4012, 1.4025, 1.4031, 1.4018, 1.4039], "1.40 (1.40 to 1.40) ×"),
        ([48.91, 49.02, 49.1, 48.95, 49.13], "49.0 (48.9 to 49.1) ×"),
        ([6.1684], "6.17 ×"),
        ([5953.5, 6305.4, 6066.4, 6368.2, 6037.7], "6,144 (5,925 to 6,371) ×"),
    ],
)
def test_a_speed_has_three_digits(results, record, values, shown):
    speed = evidence.part(values, type="speed", unit="×", low=1, path="AVX2", processor="X")
    record([evidence.own_claim("demo/rate", "It is fast.", speed, scale="notebook", independent="processes")])
    (row,) = cells(evidence.table("demo")._repr_html_())
    assert row[3].startswith(shown)


@pytest.mark.parametrize(("count", "before", "after"), [(10, 10, 0), (12, 12, 0), (13, 10, 3)])
def test_ten_claims_are_shown_and_the_others_folded(count, before, after):
    claims = [claim() | {"id": f"demo/{i}", "statement": f"Claim {i}.", "word": "reproduced"} for i in range(count)]
    claims[-1]["word"] = "undecided"
    soup = BeautifulSoup(evidence.table(claims)._repr_html_(), "html.parser")
    fold = soup.details
    assert [row[1] for row in cells(str(soup))] == [each["statement"] for each in claims]
    assert (len(soup.select("tbody tr")) - after, len(fold.select("tbody tr")) if fold else 0) == (before, after)
    assert not fold or fold.summary.text == "3 more claims: reproduced 2, undecided 1"


def test_with_details_each_chapter_has_a_fold_in_the_order_of_the_book():
    ids = ["other/a", "inq/a", "uniform/a", "inq/b"]
    claims = [claim() | {"id": each, "word": "reproduced"} for each in ids]
    soup = BeautifulSoup(evidence.table(claims, details=True)._repr_html_(), "html.parser")
    folds = soup.find_all("details", class_="claims-chapter")
    assert [fold.summary.text for fold in folds] == [
        "Uniform grids 1 claim: reproduced 1",
        "INQ 2 claims: reproduced 2",
        "other 1 claim: reproduced 1",
    ]
    assert [[each.text for each in fold.select(".claim-id")] for fold in folds] == [
        ["uniform/a"],
        ["inq/a", "inq/b"],
        ["other/a"],
    ]


def test_chapters_have_the_titles_of_the_table_of_contents():
    parts = yaml.safe_load((checkout() / "_toc.yml").read_text("utf-8"))["parts"]
    titles = {page["file"].removeprefix("book/"): page.get("title") for part in parts for page in part["chapters"]}
    recorded = [path.stem for path in (checkout() / "data" / "results").glob("*.json")]
    assert [(name, titles[name]) for name in titles if name in recorded] == list(TITLES.items())


def test_papers_have_names_of_their_own():
    assert paper_name("jacob2018") == "Jacob et al. 2018"
    assert paper_name("ioffe2015") == "Ioffe and Szegedy 2015"
    assert paper_name("krizhevsky2009") == "Krizhevsky 2009"
    assert paper_name("nowhere2020") == "nowhere2020"
    assert len(names()) == len(set(names().values())) > 40


def test_a_wheel_has_no_bibliography_and_shows_keys(monkeypatch):
    def nowhere():
        raise FileNotFoundError

    monkeypatch.setattr(citations, "checkout", nowhere)
    assert citations.names.__wrapped__() == {}


def test_table_with_details(results, record):
    departs = [evidence.departure("INQ of the folded network"), evidence.departure("another seed", could_explain=False)]
    record([claim([1.7, 1.8, 1.9]) | {"departs": departs}, cited(), size_and_error()])
    made = cells(evidence.table("demo", details=True)._repr_html_())
    drop, imagenet, joint = ([row[1]] for row in made)
    answered = "holds if ≤ 2: undecided +0.67 pt from the paper's 1.13; within 1: yes"
    assert f"demo/drop {answered} runs and departures independent: float networks band set before the runs" in drop[0]
    assert drop[0].endswith("departs: INQ of the folded network departs: another seed (harmless)")
    assert "rate: holds if ≥ 1: yes sums that differ: holds if 0 to 3: yes" in joint[0]
    assert "rate: AVX2, X" in joint[0]
    assert imagenet[0].endswith("demo/imagenet")
    assert "claim-id" not in evidence.table("demo")._repr_html_()


def test_table_as_text(results, record):
    made = claim(scale="notebook")
    made["paper"] = {"key": "li2016", "where": "Sec. 2", "value": "small"}
    record([made])
    assert repr(evidence.table("demo")).split("\n") == [
        "word            claim                         paper                           here, 95 %      runs  scale",
        "--------------  ----------------------------  ------------------------------  --------------  ----  --------",
        "≈ carries over  5 bits cost at most 2 points  small · Li et al. 2016, Sec. 2  0.90 ± 0.25 pt  3     notebook",
    ]


def test_a_claim_that_has_not_been_run_yet_says_so(results, record):
    record([claim([])])
    word, _, _, here = cells(evidence.table("demo")._repr_html_())[0]
    assert (word, here) == ("? undecided", "not run yet full scale")


def test_parts_that_have_not_been_run_share_a_line(results, record):
    made = size_and_error()
    record([made | {"parts": [made["parts"][0], made["parts"][1] | {"values": [], "runs": []}]}])
    (here,) = (row[3] for row in cells(evidence.table("demo")._repr_html_()))
    assert here.startswith("rate: ")
    assert here.endswith("1 of 2 parts not run yet 5 runs, notebook scale")
    record([made | {"parts": [part | {"values": [], "runs": []} for part in made["parts"]]}])
    assert cells(evidence.table("demo")._repr_html_())[0][3] == "not run yet notebook scale"


def test_headlines_come_first_then_papers_then_our_own():
    def made(name: str, values, kind="paper", scale="full", headline=False) -> dict:
        base = claim(values, scale=scale) | {"id": f"demo/{name}", "kind": kind, "word": ""}
        base |= {"headline": True} if headline else {}
        return base | {"word": evidence.word(base)}

    claims = [
        made("own", [0.8, 0.9], kind="own"),
        made("small", [0.8, 0.9], scale="notebook"),
        made("unsure", [1.0]),
        made("firm", [0.85, 0.9]),
        made("known", [0.85, 0.9], headline=True),
    ]
    assert [item["id"][5:] for item in evidence.by_weight(claims)] == ["known", "firm", "unsure", "small", "own"]
    assert {key: [item["id"] for item in found] for key, found in evidence.overview(claims).papers.items()} == {
        "yokota2024": ["demo/known"]
    }


def test_the_overview_has_one_row_a_paper():
    known = [
        claim() | {"headline": True},
        cited() | {"headline": True},
        claim([1.0]) | {"id": "demo/other", "headline": True},
    ]
    known = [item | {"word": evidence.word(item)} for item in known]
    shown = evidence.overview([*known, size_and_error()])
    rows = BeautifulSoup(shown._repr_html_(), "html.parser").select("tbody tr")
    assert [row.th.text for row in rows] == ["Yokota et al. 2024", "Zhou et al. 2016"]
    first, second = (div.get_text(" ", strip=True) for div in rows[0].select("div"))
    assert first == "✓ reproduced 5 bits cost at most 2 points (paper 1.13 pt, here 0.90 ± 0.25 pt)"
    assert second == "? undecided 5 bits cost at most 2 points (paper 1.13 pt, here 1 pt)"
    assert rows[1].div.get_text(" ", strip=True).startswith("○ cited AlexNet")
    assert repr(shown).split("\n")[:2] == ["Yokota et al. 2024", "  ✓ reproduced: 5 bits cost at most 2 points"]


def test_the_overview_says_why_a_claim_may_fail_here():
    departs = [
        {"what": "other seeds", "could_explain": False},
        {"what": "<1 epoch.", "could_explain": True},
        {"what": "another network", "could_explain": True},
    ]

    def why(values, departs) -> list[str]:
        made = claim(values, "notebook") | {"headline": True, "departs": departs}
        html = evidence.overview([made | {"word": evidence.word(made)}])._repr_html_()
        return [each.text for each in BeautifulSoup(html, "html.parser").select(".claim-why")]

    assert why([5.0, 5.1, 5.2], departs) == ["departs: <1 epoch (and 1 more)"]
    assert why([5.0, 5.1, 5.2], departs[:2]) == ["departs: <1 epoch"]
    assert why([0.8, 0.9, 1.0], departs) == []  # it carries over


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
    made = claim(values) | {"word": "reproduced"}
    made["parts"][0]["unit"] = ""
    assert re.split(" {2,}", repr(evidence.table([made])).split("\n")[2])[3] == shown


def test_glued_numbers_reach_the_rendered_prose(results, record, tmp_path):
    """A notebook that glues, run by a real kernel, rendered by myst-nb with execution off and warnings as errors."""
    record([claim(), cited(), size_and_error()])
    book = tmp_path / "book"
    book.mkdir()
    keys = ["drop", "drop.spread", "drop.text", "drop.runs", "drop.paper", "drop.word"]
    keys += ["imagenet.paper", "imagenet.word", "joint", "joint.rate.text", "joint.sums-that-differ"]
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

    numbers = ["0.90", "0.25", "0.90 ± 0.25 pt", "3", "1.13", "reproduced", "50.3", "cited"]
    assert listed("demo.html") == [*numbers, "2.04", "2.04 (1.90 to 2.18) ×", "3"]
    assert listed("index.html") == ["0.90 ± 0.25 pt"]
