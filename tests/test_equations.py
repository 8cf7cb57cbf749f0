"""Public functions name their sources, the page leads to every equation, and each refusal works on a bad case."""

import re
import textwrap
from pathlib import Path

import pytest
from browsing import build_book
from bs4 import BeautifulSoup
from tool_files import ROOT, tool

from fewbits.evidence.citations import paper_name

equations = tool("equations")


def test_every_formula_has_its_source_and_every_source_its_formula():
    assert equations.faults(ROOT) == []


# --- Ten equations that a reader looks for --------------------------------------------------------------------------

LOOKED_FOR = [
    ("courbariaux2015", "Eq. 3", "binary.binary_connect.probability_of_plus", "((x + 1) / 2).clamp(0, 1)"),
    ("rastegari2016", "Eq. 11", "binary.xnor.XnorConv2d", "y * _scale("),
    ("li2016", "Eq. 6", "ternary.TWN", "self.ratio * mean_magnitude("),
    ("zhu2016", "Eq. 7", "ternary.TTQ", "-(grad * negative).sum()"),
    ("esser2020", "Eq. 3", "learned_step.LSQ", "round_ste((x / step).clamp("),
    ("zhou2016dorefa", "Sec. 2.5", "low_bitwidth.dorefa.gradient_codes", "torch.round(n * (unit / 2 + 0.5)"),
    ("zhou2017", "Eq. 4", "inq.codebook.InqQuantizer", "torch.bucketize("),
    ("uhlich2020", "Eq. 3c", "mixed_precision.learned_bits.LearnedBits", "(code - x / step)"),
    ("nagel2019", "Sec. 4.1", "bn_folding.equalization.equalize", "(r1 / r2).sqrt()"),
    ("ullrich2017", "Eq. 7", "vector.soft_sharing.SoftSharing.loss", "self.tau / self.samples * log_prior"),
    ("hubara2016qnn", "Sec. 3", "low_bitwidth.qnn.LinearQuantizer", "torch.round(x / scale).clamp_("),
    ("jacob2018", "Eq. 7", "uniform.quantizer.integer_linear", "x.zero_point.long() * q_w.sum(dim=1)"),
    ("jacob2018", "Eq. 4", "integer.steps.Layer", "x.to(torch.int32) - self.zero_point"),
]


@pytest.fixture(scope="module")
def page() -> str:
    return equations.by_paper(ROOT)


@pytest.mark.parametrize(("key", "place", "function", "code"), LOOKED_FOR)
def test_the_page_leads_from_the_paper_to_the_line(page, key, place, function, code):
    (chapter,) = re.findall(rf"^### {paper_name(key)}\n(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL)
    rows = [row for row in chapter.splitlines() if re.match(rf"\| {re.escape(place)} ?[|(]", row)]
    (row,) = (row for row in rows if f"<code>{function}</code>" in row.replace("<wbr>", ""))
    targets = re.findall(r'href="\.\./_modules/([^"#]+)\.html#line-(\d+)"', row)
    lines = [(ROOT / "src" / f"{module}.py").read_text("utf-8").splitlines()[int(n) - 1] for module, n in targets]
    assert re.search(rf"(def|class) {function.split('.')[-1]}\b", lines[0])
    assert any(code in line for line in lines[1:]), lines


def test_the_page_leads_from_the_chapter_to_the_function():
    text = equations.by_chapter(ROOT)
    (row,) = (row for row in text.splitlines() if "`eq-integer-linear`" in row)
    assert "uniform.quantizer.integer_linear" in row.replace("<wbr>", "")
    assert "jacob2018 Eq. 7" in row
    assert all(reason in text.replace("\\", "") for reason in equations.WITHOUT_FUNCTION.values())


def test_built_pages_have_every_line_that_is_linked_to():
    html = ROOT / "_build" / "html" / "book" / "equations.html"
    if not html.exists():  # `make test` has built it
        build_book("--all", "-W", "--keep-going")
    links = {a["href"] for a in BeautifulSoup(html.read_text("utf-8"), "html.parser").select('a[href*="_modules"]')}
    assert len(links) > 250
    pages: dict[Path, set[str]] = {}
    for link in links:
        name, anchor = link.split("#")
        path = (html.parent / name).resolve()
        if path not in pages:
            pages[path] = set(re.findall(r'<span id="(line-\d+)"', path.read_text("utf-8")))
        assert anchor in pages[path], link


# --- Each refusal ---------------------------------------------------------------------------------------------------

GOOD = '''
    """A family."""


    def half(x: float) -> float:
        """Half of ``x``.

        Source: jacob2018 Eq. 1; own (no rounding); book eq-half
        """
        return x / 2  # jacob2018 Eq. 1


    def _helper(x: float) -> float:
        return x
'''


@pytest.fixture
def book(tmp_path):
    """Make a small book with one chapter, one family and the given source; returns its faults."""

    def faults(source: str = GOOD, text: str = "```{math}\n:label: eq-half\nx / 2\n```\n") -> list[str]:
        equations.functions.cache_clear()
        equations.comments.cache_clear()
        files = {
            "_toc.yml": "chapters:\n- file: book/uniform\n",
            "book/text/uniform.md": text,
            "book/references.bib": "@misc{jacob2018, title = {T}}\n",
            "src/fewbits/uniform/half.py": textwrap.dedent(source).lstrip(),
        }
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, "utf-8")
        return equations.faults(tmp_path)

    return faults


def test_a_book_in_order_has_no_faults(book):
    assert book() == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("Source: ", "See ", "uniform.half.half: its docstring has no line 'Source:'"),
        ("jacob2018 Eq. 1;", "jacob2019 Eq. 1;", "uniform.half.half: jacob2019 is not in references.bib"),
        ("  # jacob2018 Eq. 1", "", "uniform.half.half: no comment '# jacob2018 Eq. 1' at the line that computes it"),
        ("# jacob2018 Eq. 1", "# jacob2018 Eq. 12", "uniform.half.half: no comment '# jacob2018 Eq. 1' at the line"),
        ("jacob2018 Eq. 1;", "jacob2018;", "uniform.half.half: no comment '# book eq-half', or one of its source"),
        ("jacob2018 Eq. 1;", "jacob2018 Eq. 2;", "half.py:9: 'jacob2018 Eq. 1' is in no docstring of this file"),
        ("book eq-half", "book eq-third", "eq-half: no function names this equation"),
        ("book eq-half", "book eq-third", "eq-third: a docstring names it, no chapter has it"),
        ("A family.", "A family (Jacob et al. 2018).", "half.py:1: write 'key Eq. 1', not 'Jacob et al. 2018'"),
        ("A family.", "A family (jacob2018, Eq. 1).", "half.py:1: write 'key Eq. 1', not 'jacob2018, Eq'"),
    ],
)
def test_what_is_out_of_order_is_named(book, right, wrong, fault):
    assert right in GOOD
    assert any(fault in found for found in book(GOOD.replace(right, wrong)))


def test_a_chapter_equation_without_function_is_named(book):
    label = next(iter(equations.WITHOUT_FUNCTION))
    text = ":label: eq-half\n:label: eq-new\n"
    assert book(text=text) == ["eq-new: no function names this equation"]
    assert book(text=f":label: eq-half\n:label: {label}\n") == []
    excused = GOOD.replace("book eq-half", f"book eq-half; book {label}")
    assert f"{label}: a function names it, so it is no exception" in book(
        excused, f":label: eq-half\n:label: {label}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "Source: Jacob et al. 2018",
        "Source: jacob2018, Eq. 1",
        "Source: jacob2018 Equation 1",
        "Source: own; eq-half",
        "Source: own eq-half",
        "Source: book jacob2018",
        "Source: own\nSource: own",
    ],
)
def test_a_source_line_of_another_form_is_refused(line):
    with pytest.raises(ValueError, match=r"m\.f: "):
        equations.citations(f"Text.\n\n{line}", "m.f")


def test_a_source_line_may_go_on():
    docstring = "Text.\n\nSource: jacob2018 Eq. 3c (a (b)); jacob2018 Fig. C.8;\n    own; book eq-a-1\nArgs:\n    x: y"
    found = equations.citations(docstring, "m.f")
    assert [str(each) for each in found] == ["jacob2018 Eq. 3c", "jacob2018 Fig. C.8", "own", "book eq-a-1"]
    assert found[0].words == "a (b)"


def test_places_are_in_the_order_of_the_paper():
    places = [
        "Eq. 1",
        "Eq. 3a",
        "Eq. 3c",
        "Eq. 12",
        "Alg. 1",
        "Sec. 2.2",
        "Sec. 2.10",
        "Sec. 3",
        "Sec. B",
        "Fig. 2",
        "Fig. C.8",
    ]
    assert sorted(reversed(places), key=equations._order) == places
