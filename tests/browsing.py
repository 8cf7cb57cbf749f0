"""The book and a real browser, for tests and tools."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# The sandbox needs a user who is not root; the rest keeps the browser from calling home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launched() -> Iterator[Browser]:
    """The first browser of `BROWSERS` that is installed. A process can have one at a time.

    Raises:
        FileNotFoundError: there is none.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise FileNotFoundError(
            f"no browser installed (looked for {', '.join(BROWSERS)}); see README.md, 'What it needs'"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def build_book(*options: str) -> None:
    """Run the Jupyter Book of this environment on the checkout."""
    program = Path(sys.executable).with_name("jupyter-book")
    subprocess.run([program, "build", str(ROOT), *options, "--quiet"], check=True)
