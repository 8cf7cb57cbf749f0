"""The built pages as a reader sees them, in a real browser: on a wide window and on a phone, without the internet."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from book_pages import HTML, WIDTHS, broken_links, faults_of, pages, serve
from browsing import build_book


@pytest.fixture(scope="session")
def book() -> Path:
    """Folder of the built pages. `make test` has built them; a bare pytest run builds them once."""
    if not (HTML / "index.html").exists():
        build_book("--all", "-W", "--keep-going")
    return HTML


@pytest.fixture(scope="session")
def address(book: Path) -> Iterator[str]:
    with serve(book) as server:
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("page", pages())
def test_page_shows_without_faults(browser, address, page, device):
    assert faults_of(browser, address, f"{page}.html", WIDTHS[device]) == []


@pytest.mark.parametrize("page", pages()[:2])
def test_page_shows_without_faults_in_the_dark(browser, address, page):
    assert faults_of(browser, address, f"{page}.html", WIDTHS["desktop"], "dark") == []


def test_start_page_leads_into_the_book(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/index.html")
    page.wait_for_url(f"{address}/{pages()[0]}.html")  # fails after 30 seconds
    page.close()


# How the element with the keyboard's focus is marked, with what is drawn in it; "" without an element.
FOCUSED = """() => {
  const focused = document.activeElement;
  if (focused === document.body) return "";
  const marks = (style) => [style.outlineStyle === "none" ? "" : style.outline, style.boxShadow];
  window.look = () => JSON.stringify([focused, ...focused.querySelectorAll("*")].map((each) =>
    [marks(getComputedStyle(each)), marks(getComputedStyle(each, "::before"))]));
  window.marked = window.look();
  return `${focused.localName}.${focused.className}`;
}"""
NOT_MARKED = "() => { document.activeElement.blur(); return window.look() === window.marked; }"


@pytest.mark.parametrize(("page", "colours"), [("book/intro", "light"), ("book/uniform", "dark")])
def test_the_keyboard_reaches_what_can_be_used_and_shows_where_it_is(browser, address, page, colours):
    context = browser.new_context(color_scheme=colours, reduced_motion="reduce")
    sheet = context.new_page()
    sheet.goto(f"{address}/{page}.html")
    sheet.wait_for_function("() => document.querySelector('.fb-widget.fb-on')")
    sheet.evaluate("() => window.MathJax.startup.promise")
    sheet.wait_for_timeout(500)
    stops, unmarked = [], []
    for _ in range(400):
        sheet.keyboard.press("Tab")
        if not (stop := sheet.evaluate(FOCUSED)):
            break
        stops.append(stop)
        if sheet.evaluate(NOT_MARKED):
            unmarked.append(stop)
    context.close()
    assert unmarked == []
    assert not any(stop.startswith("mjx-") for stop in stops)  # letters of formulas, which do nothing
    for kind in ("input.", "select.", "summary.", "a.reference internal image-reference"):
        assert any(stop.startswith(kind) for stop in stops), kind


DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
BAD_PAGES = {
    "image does not show": '<img src="missing.png" alt="a missing picture">',
    "404": '<img src="missing.png" alt="a missing picture">',
    "image without alternative text": f'<img src="{DOT}">',
    "formula is not set": '<span class="math">x^2</span>',
    "raw markup in the text": r"<p>The formula \(x^2\) was never set.</p>",
    "error in formula": "<mjx-merror>Undefined control sequence</mjx-merror>",
    "page is": '<div style="width: 700px">wide</div>',
    "wider than the window": '<main style="overflow-x: hidden"><div style="width: 700px">cut off</div></main>',
    "text of a figure is": f'<a class="image-reference"><img src="{DOT}" alt="a figure" style="width: 358px"></a>',
    "100 pixels of a formula are cut": '<mjx-container display style="display: block; width: 50px; overflow: auto">'
    '<div style="width: 150px">a</div></mjx-container>',
    "loads from elsewhere": '<script src="https://example.org/script.js"></script>',
    "console": "<script>console.error('oh')</script>",
    "script error": "<script>undefinedFunction()</script>",
}


@pytest.mark.parametrize("fault", BAD_PAGES)
def test_faults_are_noticed(browser, tmp_path, fault):
    head = '<!doctype html><title>bad</title><link rel="icon" href="data:,">'
    (tmp_path / "bad.html").write_text(f"{head}<article>{BAD_PAGES[fault]}</article>", "utf-8")
    (tmp_path / "good.html").write_text(f"{head}<article><p>Fine, and <code>\\(code\\)</code>.</p></article>", "utf-8")
    with serve(tmp_path) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        assert any(found.startswith(fault) for found in faults_of(browser, address, "bad.html", WIDTHS["phone"]))
        assert faults_of(browser, address, "good.html", WIDTHS["phone"]) == []
        server.shutdown()


# Bad on a wide window, and good on a phone.
WIDE_PAGES = {
    "scrolls sideways": f'<pre style="overflow-x: auto">{300 * "wide "}</pre>',
    "text is": f"<section><p>{200 * 'word '}</p></section>",
}


@pytest.mark.parametrize("fault", WIDE_PAGES)
def test_faults_of_a_wide_window_are_noticed(browser, tmp_path, fault):
    head = '<!doctype html><title>bad</title><link rel="icon" href="data:,">'
    (tmp_path / "bad.html").write_text(f"{head}<article>{WIDE_PAGES[fault]}</article>", "utf-8")
    with serve(tmp_path) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        found = faults_of(browser, address, "bad.html", WIDTHS["desktop"])
        assert [each[: len(fault)] for each in found] == [fault]
        assert faults_of(browser, address, "bad.html", WIDTHS["phone"]) == []
        server.shutdown()


@pytest.mark.parametrize("page", pages())
def test_internal_links_lead_somewhere(book, page):
    assert broken_links(book / f"{page}.html") == []


def test_broken_links_are_noticed(tmp_path):
    links = ["other.html", "other.html#here", "#top", "https://example.org", "none.html", "other.html#nowhere", "#none"]
    (tmp_path / "other.html").write_text('<p id="here">', "utf-8")
    page = tmp_path / "page.html"
    page.write_text('<p id="top">' + "".join(f'<a href="{link}">link</a>' for link in links), "utf-8")
    assert broken_links(page) == ["none.html", "other.html#nowhere", "#none"]
