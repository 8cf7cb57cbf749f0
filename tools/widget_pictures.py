"""The static pictures of the interactive figures: what print, JupyterLab and browsers without JavaScript show.

    python tools/widget_pictures.py [few-bits | explorer | inq-stepper | adder | bit-mixer ...]

Each widget is opened in a browser, brought into a telling state with the keyboard, and photographed.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "tools")]
from browsing import launched  # noqa: E402
from lighter_figures import lighten  # noqa: E402

STATIC = ROOT / "book" / "_static"
WIDTH, SCALE = 700, 1.5


def demo_page(name: str, theme: str = "light") -> str:
    """A page with one widget and nothing else, as Sphinx writes its figure; it loads everything from ``STATIC``."""
    picture = (STATIC / "widgets" / f"{name}.png").as_uri()
    return f"""<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="{(STATIC / "custom.css").as_uri()}">
<script defer src="{(STATIC / "widgets" / "loader.js").as_uri()}"></script>
<style>body {{ margin: 0; font-family: "DejaVu Sans", sans-serif; }} figure {{ margin: 0; }}</style></head>
<body><article><figure class="fb-widget fb-{name}" id="figure"><img src="{picture}" alt="picture">
<figcaption>A caption.</figcaption></figure></article></body></html>"""


def _explorer(page: Page) -> None:
    page.get_by_role("combobox", name="beside it").select_option("inq")


def _inq_stepper(page: Page) -> None:
    for _ in range(3):
        page.get_by_role("button", name="Next step").press("Enter")


def _adder(page: Page) -> None:
    page.get_by_role("button", name="Add to the sum").press("Enter")


def _accelerator(page: Page) -> None:
    page.get_by_role("combobox", name="shift-adders").press("End")


def _bit_mixer(page: Page) -> None:
    page.get_by_role("button", name="4 bits for half the MACs").press("Enter")


def _folding(page: Page) -> None:
    page.get_by_role("slider", name="γ/σ of channel 3, times").press("ArrowRight")


def _seeds(page: Page) -> None:
    page.get_by_role("slider", name="seeds").press("End")


PREPARE: dict[str, Callable[[Page], None]] = {
    "few-bits": lambda page: None,  # as it opens
    "explorer": _explorer,
    "inq-stepper": _inq_stepper,
    "adder": _adder,
    "bit-mixer": _bit_mixer,
    "accelerator": _accelerator,
    "folding": _folding,
    "seeds": _seeds,
    "map": lambda page: None,  # as it opens
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE, reduced_motion="reduce"
        )
        for name in sys.argv[1:] or PREPARE:
            place = Path(folder) / f"{name}.html"
            place.write_text(demo_page(name), "utf-8")
            page.goto(place.as_uri())
            page.wait_for_selector(".fb-on .fb-live")
            PREPARE[name](page)
            page.evaluate("document.activeElement.blur()")
            path = STATIC / "widgets" / f"{name}.png"
            page.locator(".fb-live").screenshot(path=path)
            lighten(path)
            print(path)


if __name__ == "__main__":
    main()
