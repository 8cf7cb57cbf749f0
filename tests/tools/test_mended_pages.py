"""The repairs of the built pages (tools/mended_pages.py)."""

import pytest
from bs4 import BeautifulSoup
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
