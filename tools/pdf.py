"""The whole book as one PDF, printed by a browser from a page that holds all chapters: `make pdf`.

    python tools/pdf.py [--to FILE]

Solutions are printed open, and instead of an interactive figure its picture.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browsing import build_book, launched  # noqa: E402

SINGLE = ROOT / "_build" / "singlehtml"
PATIENCE = 600_000  # milliseconds: the page is long
MARGIN = {"top": "16mm", "bottom": "16mm", "left": "14mm", "right": "14mm"}


def single_page() -> Path:
    """Build all chapters into one page and return it.

    Sphinx writes it into the folder of the first chapter, but with links as seen from the folder above: so it moves.
    """
    build_book("--builder", "singlehtml")
    return Path(shutil.copy(SINGLE / "book" / "intro.html", SINGLE / "book.html"))


def print_page(browser: Browser, page: Path, to: Path) -> None:
    """Print an HTML file as A4, with a table of contents for the reader's side bar."""
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_suffix(".part")
    sheet = browser.new_page()
    sheet.set_default_timeout(PATIENCE)
    sheet.goto(page.as_uri())
    sheet.evaluate("window.MathJax ? MathJax.startup.promise.then(() => null) : null")
    sheet.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    # A picture links to its file, which does not travel with the PDF.
    sheet.evaluate("document.querySelectorAll('a.image-reference').forEach((each) => each.removeAttribute('href'))")
    # At 0.75 the longest lines of code fit.
    sheet.pdf(path=partial, format="A4", scale=0.75, outline=True, tagged=True, print_background=True, margin=MARGIN)
    sheet.close()
    partial.rename(to)


def main() -> None:
    """Build, print, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "_build" / "few-bits.pdf", help="the file to write")
    options = parser.parse_args()
    page = single_page()
    with launched() as browser:
        print_page(browser, page, options.to)
    print(f"The book is printed: {options.to}")


if __name__ == "__main__":
    main()
