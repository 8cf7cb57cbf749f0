"""The built pages as a reader sees them, in a real browser: on a wide window and on a phone, without the internet."""

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from browsing import ROOT, build_book
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

HTML = ROOT / "_build" / "html"
WIDTHS = {"desktop": 1280, "phone": 390}

# What is wrong with the page, as a list of sentences. Runs in the browser, after MathJax has finished.
FAULTS = r"""() => {
  const faults = [];
  const article = document.querySelector("article") ?? document.body;
  const name = (element) => element.tagName.toLowerCase() + (element.className ? "." + element.className : "");

  for (const image of document.images) {
    if (!image.complete || image.naturalWidth === 0) faults.push(`image does not show: ${image.src}`);
    if (!image.hasAttribute("alt") || (article.contains(image) && !image.alt.trim())) {
      faults.push(`image without alternative text: ${image.src}`);
    }
  }

  for (const math of article.querySelectorAll(".math")) {
    if (!math.querySelector("mjx-container")) faults.push(`formula is not set: ${math.textContent.slice(0, 60)}`);
  }
  for (const error of article.querySelectorAll("mjx-merror")) faults.push(`error in formula: ${error.textContent}`);
  const prose = article.cloneNode(true);
  for (const element of prose.querySelectorAll("pre, code, script, style, mjx-container")) element.remove();
  const raw = prose.textContent.match(/.{0,30}(\\\(|\\\[|\$\$|\{(glue|cite|term|ref|numref|eq|doc)[:}]).{0,30}/);
  if (raw) faults.push(`raw markup in the text: ${raw[0].trim()}`);

  const width = document.documentElement.clientWidth;
  const page = document.documentElement.scrollWidth;
  if (page > width + 1) faults.push(`page is ${page} pixels wide, window ${width}`);
  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const hides = (element) => {
    for (let parent = element; parent !== article && parent; parent = parent.parentElement) {
      if (scrolls(parent) || parent.tagName === "MJX-ASSISTIVE-MML") return false;
    }
    return element.getBoundingClientRect().right > width + 1;
  };
  const wide = [...article.querySelectorAll("*")].filter(hides);
  if (wide.length) faults.push(`wider than the window, and does not scroll: ${name(wide[0])}`);
  return faults;
}"""


def pages() -> list[str]:
    """Names of all pages that a reader can open, as in ``_toc.yml``."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    return [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"]), "search", "genindex"]


@pytest.fixture(scope="session")
def book() -> Path:
    """Folder of the built pages. `make test` has built them; a bare pytest run builds them once."""
    if not (HTML / "index.html").exists():
        build_book("--all", "-W", "--keep-going")
    return HTML


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line of log for each."""

    def log_message(self, *args: object) -> None:
        pass


def serve(folder: Path) -> ThreadingHTTPServer:
    """Serve a folder on a free local port, from a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="session")
def address(book: Path) -> Iterator[str]:
    with serve(book) as server:
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def still_loading(page: Page, pending: set) -> list[str]:
    """Waits for half a second without a request. (Playwright's "networkidle" at times never comes.)"""
    still = 0
    for _ in range(600):
        page.wait_for_timeout(50)
        still = 0 if pending else still + 1
        if still == 10:
            return []
    return [f"still loading: {request.url}" for request in pending]


def faults_of(
    browser: Browser,
    address: str,
    path: str,
    width: int,
    colours: str = "light",
    more: Callable[[Page], list[str]] = lambda page: [],
) -> list[str]:
    """Everything that is wrong with one page at one width; ``more`` finds further faults on the loaded page."""
    faults, pending = [], set()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)
    page = context.new_page()

    def local_only(route):
        if route.request.url.startswith((address, "data:")):
            route.continue_()
        else:
            faults.append(f"loads from elsewhere: {route.request.url}")
            route.abort()

    page.route("**/*", local_only)
    page.on("console", lambda message: message.type == "error" and faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("request", lambda request: pending.add(request))
    page.on("requestfinished", lambda request: pending.discard(request))
    page.on("requestfailed", lambda request: pending.discard(request))
    page.on("response", lambda answer: answer.status >= 400 and faults.append(f"{answer.status}: {answer.url}"))
    page.goto(f"{address}/{path}")
    page.evaluate("() => window.MathJax?.startup?.promise")
    faults += still_loading(page, pending)  # scripts that come late, fonts of formulas
    faults += page.evaluate(FAULTS)
    faults += more(page)
    context.close()
    return faults


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


BAD_PAGES = {
    "image does not show": '<img src="missing.png" alt="a missing picture">',
    "404": '<img src="missing.png" alt="a missing picture">',
    "image without alternative text": '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">',
    "formula is not set": '<span class="math">x^2</span>',
    "raw markup in the text": r"<p>The formula \(x^2\) was never set.</p>",
    "error in formula": "<mjx-merror>Undefined control sequence</mjx-merror>",
    "page is": '<div style="width: 700px">wide</div>',
    "wider than the window": '<main style="overflow-x: hidden"><div style="width: 700px">cut off</div></main>',
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


@functools.cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def broken_links(path: Path) -> list[str]:
    """Local addresses on a page that lead to no file, or to no place in the file."""
    broken = []
    for element in soup(path).find_all(["a", "img", "link", "script", "source"]):
        link = element.get("href") or element.get("src") or ""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or link in ("", "#"):
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and target.suffix == ".html" and not soup(target).find(id=anchor)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", pages())
def test_internal_links_lead_somewhere(book, page):
    assert broken_links(book / f"{page}.html") == []


def test_broken_links_are_noticed(tmp_path):
    links = ["other.html", "other.html#here", "#top", "https://example.org", "none.html", "other.html#nowhere", "#none"]
    (tmp_path / "other.html").write_text('<p id="here">', "utf-8")
    page = tmp_path / "page.html"
    page.write_text('<p id="top">' + "".join(f'<a href="{link}">link</a>' for link in links), "utf-8")
    assert broken_links(page) == ["none.html", "other.html#nowhere", "#none"]
