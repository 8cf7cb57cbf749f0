"""Checks of the built pages that take minutes and npm: `make check-web`.

    python tools/check_web.py [--html FOLDER] [page ...]

Of every page, in light and in dark, on a wide window and on a phone: what tests/book_pages.py calls a fault,
the console among them, and the accessibility rules of axe-core, of which no serious or critical one may be violated.
Further its links inside the book, valid HTML by html-validate, and the weight of everything that it loads.
"""

import argparse
import gzip
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from book_pages import FAULTS, HTML, WIDTHS, broken_links, faults_of, pages, serve  # noqa: E402
from browsing import BROWSERS, launched  # noqa: E402

WEB = ROOT / "web"  # package.json, and what npm installs from it
HTML_VALIDATE = WEB / "node_modules" / ".bin" / "html-validate"
LIMIT = 2_000_000  # bytes of a page with all that it loads
BAD = ("serious", "critical")


class Excuse(NamedTuple):
    """A violation that stays, because it is not written here. It is known by its rule and its place in the page."""

    rule: str
    place: str  # a regular expression, searched in the selector and the element's HTML
    reason: str


EXCUSES = [
    Excuse("label-content-name-mismatch", "search-button-field", "theme: the label leaves out the shortcut"),
    Excuse("element-permitted-content", r" > summary > p\b", "myst-nb: its style sheet needs these paragraphs"),
]

# Runs axe-core on what a reader can see: solutions open, animations at their end. The dark changes nothing but colours.
AXE = """async (dark) => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const animation of document.getAnimations()) animation.cancel();
  const rules = dark ? { runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] } } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...rules });
  return violations.flatMap(({ id, impact, help, nodes }) =>
    nodes.map((node) => ({ rule: id, impact, help, place: node.target.flat().join(" "), html: node.html })));
}"""
SHOWN = "() => document.querySelectorAll('.fb-widget:not(.fb-on)').length === 0"
LOADED = "() => [location.href, ...performance.getEntriesByType('resource').map((each) => each.name)]"


class Check:
    """Collects the faults of pages; knows which excuses were needed."""

    def __init__(self, folder: Path, excuses: list[Excuse]) -> None:
        self.folder, self.excuses = folder, excuses
        self.used: set[Excuse] = set()

    def excused(self, rule: str, place: str) -> bool:
        found = [each for each in self.excuses if each.rule == rule and re.search(each.place, place)]
        self.used.update(found)
        return bool(found)

    def seen(self, page: Page) -> Iterator[str]:
        """Faults of a loaded page in both colours at both widths."""
        page.wait_for_function(SHOWN)
        page.add_script_tag(path=WEB / "node_modules" / "axe-core" / "axe.min.js")
        for colours, width in product(("light", "dark"), WIDTHS.values()):
            where = f"{colours}, {width} px"
            page.emulate_media(color_scheme=colours)
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("(wanted) => document.documentElement.dataset.theme === wanted", arg=colours)
            page.wait_for_timeout(300)  # transitions of colours
            for fault in page.evaluate(FAULTS):
                yield f"{where}: {fault}"
            for found in page.evaluate(AXE, colours == "dark"):
                if found["impact"] in BAD and not self.excused(found["rule"], found["place"] + found["html"]):
                    yield f"{where}: {found['impact']}, {found['rule']}: {found['help']}: {found['place']}"

    def weight(self, page: Page) -> int:
        """Bytes of a loaded page and of all that it has loaded, compressed where that helps, as web servers do it."""
        paths = {unquote(urlsplit(name).path) for name in page.evaluate(LOADED) if name.startswith("http")}
        files = [path for path in (self.folder / name.lstrip("/") for name in paths) if path.is_file()]
        return sum(min(path.stat().st_size, len(gzip.compress(path.read_bytes()))) for path in files)

    def page(self, browser: Browser, address: str, name: str) -> list[str]:
        """All faults of one page but those of its HTML."""

        def more(page: Page) -> list[str]:
            weight = self.weight(page)
            print(f"{name}: {weight / 1e6:.2f} MB", flush=True)
            return [*self.seen(page), *([f"weighs {weight} bytes"] if weight > LIMIT else [])]

        path = f"{name}.html"
        links = [f"broken link: {link}" for link in broken_links(self.folder / path)]
        return [*links, *faults_of(browser, address, path, WIDTHS["desktop"], more=more)]

    def html(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """Name of a page, and what html-validate finds in it."""
        files = [str(self.folder / f"{name}.html") for name in names]
        command = [str(HTML_VALIDATE), "--preset", "standard", "--formatter", "json", *files]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:  # what it writes to a pipe it may cut off
            done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
            output.seek(0)
            text = output.read()
        if not text.startswith("["):
            raise RuntimeError(f"html-validate failed: {done.stderr}{text}")
        for result in json.loads(text):
            name = str(Path(result["filePath"]).relative_to(self.folder).with_suffix(""))
            for message in result["messages"]:
                place = message.get("selector") or ""
                if not self.excused(message["ruleId"], place):
                    yield name, f"HTML, line {message['line']}: {message['ruleId']}: {message['message']}: {place}"

    def all(self, browser: Browser, names: list[str]) -> Iterator[str]:
        """All faults of these pages, one line each, as they are found."""
        with serve(self.folder) as server:
            for name in names:
                for fault in self.page(browser, f"http://127.0.0.1:{server.server_port}", name):
                    yield f"{name}: {fault}"
            server.shutdown()
        yield from (f"{name}: {fault}" for name, fault in self.html(names))


def missing() -> list[str]:
    """What the checks need and this machine lacks."""
    found = [] if any(map(shutil.which, BROWSERS)) else [f"a browser ({', '.join(BROWSERS)})"]
    return found + ([] if HTML_VALIDATE.exists() else [f"html-validate and axe-core: npm ci --prefix {WEB.name}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--html", type=Path, default=HTML, help="folder of the built pages (default: _build/html)")
    parser.add_argument("page", nargs="*", help="e.g. book/uniform; default: all")
    arguments = parser.parse_args()
    if lacking := missing():
        sys.exit(f"check-web needs {' and '.join(lacking)}")
    check = Check(arguments.html.resolve(), EXCUSES)
    faults = []
    with launched() as browser:
        for fault in check.all(browser, arguments.page or pages()):
            print(fault, flush=True)
            faults.append(fault)
    unused = [] if arguments.page else [excuse for excuse in EXCUSES if excuse not in check.used]
    for excuse in unused:
        print(f"no longer needed: {excuse}")
    print(f"{len(faults)} faults")
    return int(bool(faults or unused))


if __name__ == "__main__":
    sys.exit(main())
