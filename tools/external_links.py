"""Links that lead out of the book: the list `web/external_links.txt`, and whether they still lead somewhere.

    python tools/external_links.py --write    # after `make book`, when a page links to something new
    python tools/external_links.py            # ask every address (needs the internet): `make check-links`

A test compares the list with the pages. Asking is left to people: a stranger's server must not fail a build.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import requests
from bs4 import BeautifulSoup

from fewbits.core.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
HTML, LIST = ROOT / "_build" / "html", ROOT / "web" / "external_links.txt"
TEXTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE-text", "CITATION.cff")
TIMEOUT = 30  # seconds
AGENT = {"User-Agent": "Mozilla/5.0 (link check of the book Few Bits)"}


def external_links(html: Path = HTML) -> list[str]:
    """Sorted addresses in the articles of the built pages and in the texts beside them."""
    links = set()
    for page in html.rglob("*.html"):
        for link in BeautifulSoup(page.read_text("utf-8"), "html.parser").select("article a[href^=http]"):
            links.add(link["href"])
    for name in TEXTS:
        links.update(re.findall(r"https?://[^\s`<>()\"]+", (ROOT / name).read_text("utf-8")))
    return sorted(links)


def broken(links: Iterable[str]) -> dict[str, str]:
    """What is wrong with each address that does not answer with a page."""
    faults = {}
    for link in links:
        try:
            # Some servers refuse HEAD; of a page that comes by GET only the first line is read.
            answer = requests.head(link, timeout=TIMEOUT, allow_redirects=True, headers=AGENT)
            if not answer.ok:
                answer = requests.get(link, timeout=TIMEOUT, stream=True, headers=AGENT)
            if not answer.ok:
                faults[link] = f"{answer.status_code} {answer.reason}"
        except requests.RequestException as error:
            faults[link] = type(error).__name__
    return faults


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the list from the built pages; ask nobody")
    if parser.parse_args(arguments).write:
        write_whole(LIST, "".join(f"{link}\n" for link in external_links()).encode())
        return 0
    links = LIST.read_text("utf-8").split()
    faults = broken(links)
    for link, fault in faults.items():
        print(f"{fault}: {link}")
    print(f"{len(links)} links, {len(faults)} broken")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
