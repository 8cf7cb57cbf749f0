"""The repairs of the built pages (tools/mended_pages.py)."""

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.core import publish_doctree
from tool_files import tool

mended_pages = tool("mended_pages")
FORMULA = r'<span class="math notranslate nohighlight">\(a\)</span>'


def repaired(body: str) -> str:
    context = {"body": body}
    mended_pages.repair(None, "page", "page.html", context, None)
    return context["body"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [("{}.", "{}."), ("({})", "({})"), ("({} in", "({}"), ("for {}, b", "{},"), ("{} and", ""), ("a (b) {}", "")],
)
def test_a_formula_stays_on_the_line_of_its_punctuation(written, kept):
    body = repaired(f"<p>{written.format(FORMULA)}</p>")
    found = [str(span) for span in BeautifulSoup(body, "html.parser").select(".math-kept")]
    assert found == ([f'<span class="math-kept">{kept.format(FORMULA)}</span>'] if kept else [])
    assert BeautifulSoup(body, "html.parser").get_text() == written.format(r"\(a\)")


def test_a_box_of_the_class_dropdown_becomes_a_fold():
    box = ".. admonition:: {}\n   :class: {}\n\n   Four.\n\n   * not five\n"
    doctree = publish_doctree(f"{box.format('What is 2 + 2?', 'dropdown')}\n{box.format('Open', 'tip')}")
    mended_pages.close_boxes(None, doctree, "page")
    (fold,) = doctree.findall(mended_pages.Fold)
    title, answer, items = fold.children
    assert isinstance(title, mended_pages.FoldTitle)
    assert [title.astext(), answer.astext(), items.astext()] == ["What is 2 + 2?", "Four.", "not five"]
    (kept,) = doctree.findall(nodes.admonition)
    assert kept["classes"] == ["tip"]
