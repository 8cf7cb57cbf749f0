"""Figures on a page: their size, their colours in the dark, and how they are enlarged, in a real browser."""

import io
from pathlib import Path

import pytest
from book_pages import FAULTS, WIDTHS, serve
from PIL import Image

from fewbits.plots import theme

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
FIGURE = (
    '<a class="reference internal image-reference" href="{0}.png">'
    '<img class="{0}" alt="A figure." src="{0}.png" style="width: 728px; height: 300px"></a>'
)
PAGE = f"""<!DOCTYPE html>
<html lang="en" data-theme="{{theme}}"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<link rel="stylesheet" href="figures.css"><style>html {{{{ --pst-color-background: {{ground}}; }}}}
body {{{{ background: {{ground}}; margin: 0 1rem; }}}} figure {{{{ margin: 1rem 0; }}}}</style></head>
<body><div class="bd-content"><article class="bd-article"><figure>{FIGURE.format("plot")}</figure>
<figure>{FIGURE.format("photograph")}</figure></article></div>{{script}}</body></html>
"""
SCRIPT = '<script src="figures.js" defer></script>'
BLUE, GROUND = (0, 114, 178), (18, 18, 18)  # the colour of uniform grids; the theme's dark page


@pytest.fixture
def open_page(browser, tmp_path):
    for name in ("figures.css", "figures.js"):
        (tmp_path / name).write_bytes((STATIC / name).read_bytes())
    picture = Image.new("RGB", (1456, 600), "white")
    picture.paste(BLUE, (0, 0, 1456, 300))
    for name in ("plot", "photograph"):
        picture.save(tmp_path / f"{name}.png")
    server = serve(tmp_path)
    opened = []

    def open_it(width: int, theme: str = "light", script: str = SCRIPT):
        text = PAGE.format(theme=theme, script=script, ground="rgb(18 18 18)" if theme == "dark" else "white")
        (tmp_path / "page.html").write_text(text, "utf-8")
        context = browser.new_context(viewport={"width": width, "height": 800})
        opened.append(context)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        return page

    yield open_it
    for context in opened:
        context.close()
    server.shutdown()


def colours(page, name: str) -> list[tuple[int, ...]]:
    """What is seen at the upper and at the lower quarter of a figure."""
    box = page.locator(f"img.{name}").bounding_box()
    seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return [seen.getpixel((int(box["x"] + 40), int(box["y"] + part * box["height"]))) for part in (0.25, 0.75)]


@pytest.mark.parametrize(("width", "shown"), [(1280, 728), (640, 608), (592, 560), (390, 560)])
def test_a_figure_fits_the_page_or_stays_readable_and_keeps_its_shape(open_page, width, shown):
    page = open_page(width)
    box = page.locator("img.plot").bounding_box()
    assert (box["width"], box["height"]) == (shown, pytest.approx(shown * 600 / 1456, abs=1))
    small = theme.SMALL / 72 * theme.PIXELS * shown / (theme.WIDTH * theme.PIXELS)  # height of the smallest text
    assert small > 8
    assert page.evaluate(FAULTS) == []  # among them: the page as a whole does not scroll sideways


@pytest.mark.parametrize("key", ["ArrowRight", None])
def test_on_a_phone_a_figure_scrolls_in_its_frame_by_key_and_by_swipe(open_page, key):
    page = open_page(WIDTHS["phone"])
    frame = page.locator("a.image-reference").first
    box = frame.bounding_box()
    assert (box["x"], box["width"]) == (0, WIDTHS["phone"])
    if key:
        frame.focus()
        for _ in range(3):
            page.keyboard.press(key)
    else:
        page.mouse.move(200, box["y"] + 50)
        page.mouse.wheel(100, 0)
    page.wait_for_function("document.querySelector('a.image-reference').scrollLeft >= 100")
    assert page.locator("dialog").count() == 0
    assert page.evaluate("scrollX") == 0
    assert page.locator("img.photograph").bounding_box()["x"] == 16  # the other figure has not moved


@pytest.mark.parametrize("theme_name", ["light", "dark"])
def test_on_a_phone_a_shadow_lies_where_the_figure_goes_on(open_page, theme_name):
    page = open_page(WIDTHS["phone"], theme_name)
    frame = page.locator("a.image-reference").first

    def shaded() -> list[bool]:
        """Whether the ground of the figure is not that of the page, at the left and at the right edge of the screen."""
        box = frame.bounding_box()
        seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        y = int(box["y"] + 0.4 * box["width"])
        ground = seen.getpixel((WIDTHS["phone"] // 2, y))
        return [
            max(abs(a - b) for a, b in zip(seen.getpixel((x, y)), ground, strict=True)) > 20
            for x in (1, WIDTHS["phone"] - 2)
        ]

    frame.scroll_into_view_if_needed()
    assert shaded() == [False, True]
    frame.evaluate("frame => { frame.scrollLeft = 90; }")
    assert shaded() == [True, True]
    frame.evaluate("frame => { frame.scrollLeft = 1000; }")
    assert shaded() == [True, False]


def test_on_paper_nothing_scrolls(open_page):
    page = open_page(WIDTHS["phone"])
    page.emulate_media(media="print")
    assert page.locator("img.plot").bounding_box()["width"] == 358


@pytest.mark.parametrize("width", WIDTHS.values())
def test_colours_stay_in_the_light(open_page, width):
    page = open_page(width)
    assert colours(page, "plot") == colours(page, "photograph") == [BLUE, (255, 255, 255)]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_in_the_dark_the_ground_is_the_page_and_photographs_stay(open_page, width):
    page = open_page(width, "dark")
    ink, ground = colours(page, "plot")
    assert ground == GROUND
    red, green, blue = ink
    assert blue > green > red  # still blue
    assert green > BLUE[1] + 40  # and lighter
    assert colours(page, "photograph") == [BLUE, (255, 255, 255)]


@pytest.mark.parametrize(("width", "large"), [(1280, 1240), (390, 728)])
@pytest.mark.parametrize("close", ["Escape", "Enter", "click"])
def test_a_figure_is_enlarged_and_closed_by_key_and_by_tap(open_page, width, large, close):
    page = open_page(width)
    link = page.locator("a.image-reference").first
    link.focus()
    page.keyboard.press("Enter")
    picture = page.locator("dialog img")
    assert picture.bounding_box()["width"] == large
    assert picture.get_attribute("alt") == "A figure."
    assert page.evaluate("document.activeElement.textContent") == "Close"
    if close == "click":
        picture.click(position={"x": 50, "y": 50})
    else:
        page.keyboard.press(close)
    page.locator("dialog").wait_for(state="detached", timeout=5000)  # the browser closes it when it comes to it
    assert page.evaluate("document.activeElement.className") == link.get_attribute("class")
    assert page.url.endswith("page.html")


def test_a_phone_scrolls_through_the_enlarged_figure(open_page):
    page = open_page(390)
    page.locator("a.image-reference").first.click()
    scrolled = page.evaluate(
        "() => { const d = document.querySelector('dialog'); d.scrollLeft = 1e4; return d.scrollLeft; }"
    )
    assert scrolled > 300
    assert page.get_by_role("button", name="Close").bounding_box()["x"] >= 0  # still on the screen


def test_without_the_script_the_link_opens_the_file(open_page):
    page = open_page(390, script="")
    page.locator("a.image-reference").first.click()
    page.wait_for_url("**/plot.png")
