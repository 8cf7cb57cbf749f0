"""The built pages in a browser: which there are, and what can be wrong with one; for tests and tools."""

import functools
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from browsing import ROOT
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

  // Figures are drawn for 728 pixels, their small type 11.6 pixels high. On a phone it may shrink to 8, and no further.
  for (const figure of article.querySelectorAll("a.image-reference > img")) {
    const type = (11.6 * figure.clientWidth) / 728;
    if (!figure.clientWidth || type >= 8) continue;
    faults.push(`text of a figure is ${type.toFixed(1)} pixels high: ${figure.src}`);
  }

  // A formula is set as small as the page requires (book/_static/formulas.js), and seen as a whole.
  for (const formula of article.querySelectorAll("mjx-container[display]")) {
    const hidden = formula.scrollWidth - formula.clientWidth;
    if (formula.clientWidth && hidden > 1) faults.push(`${hidden} pixels of a formula are cut: ${formula.textContent}`);
  }

  // A desktop has room for every block, and text keeps a measure that can be read.
  // Pages of source code keep their lines of up to 120 characters as they are.
  if (width >= 1200 && !location.pathname.includes("/_modules/")) {
    for (const block of article.querySelectorAll("pre, table, mjx-container[display]")) {
      let frame = block;
      while (frame !== article && !scrolls(frame)) frame = frame.parentElement;
      const hidden = frame.scrollWidth - frame.clientWidth;
      if (frame !== article && frame.clientWidth && hidden > 1) {
        faults.push(`scrolls sideways by ${hidden} pixels: ${name(block)}: ${block.textContent.trim().slice(0, 40)}`);
      }
    }
    const measure = 42 * parseFloat(getComputedStyle(document.documentElement).fontSize);
    for (const text of article.querySelectorAll("section > p")) {
      const wide = text.clientWidth;
      if (wide > measure + 1) faults.push(`text is ${wide} pixels wide: ${text.textContent.slice(0, 40)}`);
    }
  }
  return faults;
}"""


def pages() -> list[str]:
    """Names of all pages that a reader can open, as in ``_toc.yml``; of the pages of source the one of longest name."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = [page for part in toc["parts"] for page in part["chapters"]]
    names = [each["file"] for page in listed for each in (page, *page.get("sections", ()))]
    return [toc["root"], *names, "search", "genindex", "_modules/fewbits/mobileone/constant_channels"]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line of log for each."""

    def log_message(self, *args: object) -> None:
        pass


def serve(folder: Path) -> ThreadingHTTPServer:
    """Serve a folder on a free local port, from a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


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
