"""Links, boxes that show where they lead, output that may be broken: in a real browser, on pages opened from disk."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from book_pages import HTML
from bs4 import BeautifulSoup
from tool_files import tool

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
TERM = '<dl><dt id="term-codes">codes<a class="headerlink" href="#term-codes">#</a></dt><dd>Integers.</dd></dl>'
PAGE = """<!doctype html><html lang="en"><title>page</title><article>
<p><a class="reference internal" id="one" href="#fig-one" title="Long.">Fig. 1</a>
<a class="reference internal" id="two" href="glossary.html#term-codes">codes</a>
<a class="reference internal" id="three" href="#section">section</a>
<a class="reference internal" id="four" href="missing.html#term-none">none</a>
<a class="reference internal" id="five" href="missing.html#section">elsewhere</a></p>
<section id="section"><figure id="fig-one">
<p>The caption. <a href="https://example.org">A link</a></p></figure></section>
</article><script src="../_static/previews.js"></script></html>"""

reading_aids = tool("reading_aids")


@pytest.fixture
def page(browser, tmp_path):
    for folder in ("book", "_static/previews/book"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(STATIC / "previews.js", tmp_path / "_static")
    reading_aids.write_script(tmp_path, "book/glossary", reading_aids.targets(TERM))
    (tmp_path / "book" / "page.html").write_text(PAGE, "utf-8")
    context = browser.new_context()
    opened = context.new_page()
    opened.goto((tmp_path / "book" / "page.html").as_uri())
    yield opened
    context.close()


def box(page):
    return page.get_by_role("tooltip")


def test_a_pointer_that_rests_opens_a_box_and_escape_closes_it(page):
    page.locator("#one").hover()
    box(page).wait_for()
    assert box(page).inner_text() == "The caption. A link"
    assert box(page).locator("a, [id]").count() == 0  # nothing in it takes the focus, and no id is there twice
    assert page.locator("#one").get_attribute("aria-describedby") == "fb-preview"
    assert page.locator("#one").get_attribute("title") is None  # else the browser shows a second box
    page.keyboard.press("Escape")
    assert box(page).count() == 0
    assert page.locator("#one").get_attribute("title") == "Long."


def test_the_keyboard_opens_what_is_on_another_page(page):
    page.locator("#one").focus()
    page.keyboard.press("Tab")
    box(page).wait_for()
    assert box(page).inner_text().split() == ["codes", "Integers."]
    assert page.locator("#two").get_attribute("aria-describedby") == "fb-preview"
    page.keyboard.press("Tab")
    assert box(page).count() == 0


@pytest.mark.parametrize(("link", "asked"), [("#three", 0), ("#four", 1), ("#five", 0)])
def test_other_links_and_missing_pages_open_nothing(page, link, asked):
    loads = []
    page.on("request", lambda request: loads.append(request.url))
    page.locator(link).hover()
    page.wait_for_timeout(600)
    assert box(page).count() == 0
    assert len(loads) == asked


def test_a_box_stays_while_the_pointer_is_in_it(page):
    page.locator("#one").hover()
    box(page).hover()
    page.wait_for_timeout(600)
    assert box(page).count() == 1
    page.mouse.move(0, 500)
    page.wait_for_timeout(600)
    assert box(page).count() == 0


def test_targets_are_terms_equations_figures_and_papers_without_their_links():
    body = f"""{TERM}<h2 id="title">Title</h2><div class="math" id="equation-a">\\(x\\)</div>
    <figure id="fig-a"><img id="inner" src="a.png"></figure>
    <div class="citation" id="id3"><span class="label">[A]</span><p>Authors.</p></div>"""
    found = reading_aids.targets(body)
    assert list(found) == ["term-codes", "equation-a", "fig-a", "id3"]
    assert found["term-codes"] == "<dt>codes</dt><dd>Integers.</dd>"
    assert found["fig-a"] == '<figure><img src="a.png"/></figure>'
    assert found["id3"] == '<div class="citation"><p>Authors.</p></div>'


@pytest.mark.parametrize(
    ("text", "broken"), [("one sentence", True), ("a  b", False), ("tensor([[1],\n        [2]])", True)]
)
def test_output_in_sentences_may_be_broken_and_columns_not(text, broken):
    body = f'<div class="output stream highlight"><div class="highlight"><pre><span></span>{text}\n</pre></div></div>'
    assert ("fb-lines" in reading_aids.mark_sentences(body)) == broken


FRAME = pd.DataFrame(
    {"name": ["one", "2 bits"], "count": ["1,000", "–"], "share": ["4.5 %", "-0.3"], "version": ["2.13.0+cpu", ""]},
    index=pd.MultiIndex.from_tuples([("net", "a"), ("net", "b")], names=["network", None]),
)


def test_heads_of_columns_stand_where_their_numbers_stand(browser):
    """Numbers to the right, words to the left; also where one name stands for two rows."""
    made = reading_aids.align_numbers(f"<p>before</p>{FRAME.to_html()}<p>after</p>")
    assert (made[:13], made[-12:]) == ("<p>before</p>", "<p>after</p>")
    page = browser.new_page()
    page.set_content(f'<div class="bd-article">{made}</div>')
    page.add_style_tag(path=STATIC / "custom.css")
    sides = "(cells) => cells.map((cell) => getComputedStyle(cell).textAlign)"
    expected = ["left", "left", "left", "right", "right", "left"]
    rows = page.locator("tr").all()
    assert [row.locator("th, td").evaluate_all(sides) for row in rows] == [*3 * [expected], expected[1:]]
    page.close()


def test_tables_without_numbers_and_those_of_claims_stay():
    for table in (FRAME[["name"]].to_html(), FRAME[:0].to_html(), '<table class="dataframe claims"><td>1</td></table>'):
        assert "fb-number" not in reading_aids.align_numbers(table)
    groups = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    made = BeautifulSoup(reading_aids.align_numbers(groups.to_html()), "html.parser")
    assert [cell.text for cell in made.select(".fb-number")] == ["b", "c", "1", "2"]


# --- In the built book ------------------------------------------------------------------------------------------------


def built(name: str) -> BeautifulSoup:
    if not (path := HTML / "book" / f"{name}.html").exists():
        pytest.skip("the book is not built: make book")
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def test_links_to_chapters_have_short_titles():
    links = built("fpga").select("article a > .chapter-title")
    assert links
    assert {link.text for link in links} <= set(reading_aids.short_titles(HTML.parents[1]).values())
    assert all(len(link.parent["title"]) >= len(link.text) for link in links)


def test_papers_of_claims_lead_to_the_references():
    page = built("evidence")
    cites = page.select("table.claims cite")
    assert len(cites) > 100
    assert all(cite.a["href"].startswith("references.html#id") for cite in cites)
