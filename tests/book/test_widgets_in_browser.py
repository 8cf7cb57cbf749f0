"""The interactive figures in a real browser: by keyboard, at two widths, in the dark, in print, without JavaScript."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from book_pages import FAULTS, WIDTHS
from bs4 import BeautifulSoup
from tool_files import tool

from fewbits import evidence
from fewbits.uniform import UniformQuantizer

ROOT = Path(__file__).resolve().parents[2]
WIDGETS = ROOT / "book" / "_static" / "widgets"
NAMES = ("few-bits", "explorer", "inq-stepper", "adder", "bit-mixer", "accelerator", "folding", "seeds", "map")

widget_data, widget_pictures = tool("widget_data"), tool("widget_pictures")


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Callable]:
    """opened(name, width) -> (page, errors): a page with one widget, opened from disk; errors grows as they occur."""
    contexts = []

    def open_page(name: str, width: int = WIDTHS["desktop"], text: str | None = None, **options) -> tuple:
        path = tmp_path / f"{name}.html"
        path.write_text(text or widget_pictures.demo_page(name), "utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page, errors = context.new_page(), []
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        return page, errors

    yield open_page
    for context in contexts:
        context.close()


def said(page) -> str:
    """What the outputs of the widget say; the explorer has two."""
    return "\n".join(each.inner_text() for each in page.locator("output.fb-output").all())


# For each widget: what to focus, the keys to press there, and a word that the output must then have, but not before.
KEYS = {
    "few-bits": [
        ("checkbox", "trained with 2 or 1 bits", "Space", "2 bits for each weight, trained with them"),
        ("slider", "bits of each weight", "ArrowRight", "1 bit for each weight, trained with them: 24.6 kB"),
        ("combobox", "digit", "ArrowUp", "takes this 8 for a 8"),
    ],
    "folding": [
        ("slider", "γ/σ of channel 3, times", "ArrowRight", "6 of 16 channels hold nothing but zeros"),
        ("checkbox", "one scale for each channel", "Space", "95.5 % of 1,000 test digits"),
        ("slider", "bits", "ArrowLeft", "3 bits, one scale for each channel. None of 16"),
    ],
    "seeds": [
        ("slider", "seeds", "ArrowRight", "16.8 ± 11.5 points. Asked for at least 0: ● holds"),
        ("button", "Other seeds first", "Enter", "18.1 ± 10.3 points"),
        ("slider", "seeds", "End", "12.2 ± 4.22 points. Asked for at least 0: ● holds"),
        ("slider", "at least", "End", "Asked for at least 15: ? undecided"),
    ],
    "map": [
        ("slider", "points to lose", "ArrowRight", "Cheapest of those that lose at most 1.1 points: exact ternary"),
        (
            "slider",
            "points to lose",
            "Home",
            "Cheapest of those that lose at most 0 points: float (0.00 ± 0.00 points), 1,665",
        ),
        ("combobox", "activations", "End", "lose at most 0 points: none"),
    ],
    "explorer": [
        ("slider", "bits", "ArrowRight", "5 bits"),
        ("combobox", "method", "ArrowDown", "Binary, 1 bit"),
        ("combobox", "beside it", "End", "Logarithmic, 4 bits"),
        ("slider", "bits beside", "ArrowRight", "Logarithmic, 5 bits"),
    ],
    "inq-stepper": [("button", "Next step", "Enter", "partition"), ("slider", "step", "ArrowRight", "freeze")],
    "adder": [
        ("checkbox", "sign bit", "Space", "Weight +1/4"),
        ("button", "Add to the sum", "Enter", "The sum is −1.45"),
        ("radio", "saturates", "Space", "the sum would be −2.9"),
    ],
    "accelerator": [
        ("combobox", "shift-adders", "End", "11,777 cycles"),
        ("slider", "clock in MHz", "ArrowRight", "17,831 images a second"),
    ],
    "bit-mixer": [
        ("slider", "linear", "ArrowLeft", "(98"),
        ("button", "4 bits for half the MACs", "Space", "(80.4 %)"),
        ("slider", "linear", "ArrowLeft", "(estimated from single layers, off by 2.4 points on average of 20 random"),
        ("button", "4 bits for half the weights", "Space", "(measured on 500 test images; in float 60.8 %)"),
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_key_changes_the_output(opened, name):
    page, errors = opened(name)
    page.wait_for_selector("figure.fb-on")
    assert not page.locator("figure > img").is_visible()
    for role, label, key, words in KEYS[name]:
        assert words not in said(page)
        page.get_by_role(role, name=label, exact=True).press(key)
        assert words in said(page)
    assert errors == []


@pytest.mark.parametrize(("device", "theme"), [("desktop", "light"), ("phone", "dark")])
@pytest.mark.parametrize("name", NAMES)
def test_a_widget_fits_its_page(opened, name, device, theme):
    page, errors = opened(name, WIDTHS[device], widget_pictures.demo_page(name, theme))
    page.wait_for_selector("figure.fb-on")
    assert page.evaluate(FAULTS) == []
    assert errors == []


def test_the_sum_overflows(opened):
    page, _ = opened("adder")
    page.get_by_label("activation").fill("30000")
    page.get_by_role("checkbox", name="e, bit of 8").press("Space")
    page.get_by_role("checkbox", name="e, bit of 4").press("Space")
    page.get_by_role("checkbox", name="e, bit of 2").press("Space")
    page.get_by_role("button", name="Add to the sum").press("Enter")
    assert "The sum is −30000." in said(page)
    page.get_by_role("button", name="Add to the sum").press("Enter")
    assert "The sum is 5536. Overflow: −60000 does not fit, so it wraps." in said(page)
    page.get_by_label("activation").fill("")
    assert said(page) == "The activation must be a number."
    assert page.get_by_role("button", name="Add to the sum").is_disabled()


def test_the_first_page_says_what_its_box_and_its_grids_do(opened):
    page, _ = opened("few-bits")
    bits, box = page.get_by_role("slider"), page.get_by_role("checkbox")
    weight = widget_data.first_layer(widget_data.few_bits_network(2)).weight[widget_data.NEURON]
    assert f"here {100 * (weight == 0).double().mean():.1f} % become 0." in said(page)
    bits.press("ArrowRight")
    assert "another grid than at 2 bits" in said(page)
    box.press("Space")
    assert "Each weight" not in said(page)


def test_the_box_of_the_first_page_can_be_ticked_where_there_is_such_a_network_and_says_why_elsewhere(opened):
    page, errors = opened("few-bits", WIDTHS["phone"])
    bits, box, why = page.get_by_role("slider"), page.get_by_role("checkbox"), page.locator(".fb-why")
    assert box.is_enabled()
    assert why.inner_text() == ""
    box.press("Space")
    for reason in (*(f"No network was trained with {n} bits." for n in (3, 4, 8)), "trained with 32 bits."):
        bits.press("ArrowLeft")
        assert box.is_disabled()
        assert why.is_visible()
        assert why.inner_text().endswith(reason)
        assert box.get_attribute("aria-describedby") == why.get_attribute("id")
        assert "trained with them" not in said(page)
    bits.press("End")
    assert box.is_enabled()
    assert box.is_checked()  # as it was left
    assert why.inner_text() == ""
    assert "1 bit for each weight, trained with them" in said(page)
    assert errors == []


def test_the_colours_of_signs_are_those_of_their_names(opened):
    page, _ = opened("few-bits")
    colour = "([selector, of]) => getComputedStyle(document.querySelector(selector))[of]"
    for sign in ("plus", "minus"):
        assert page.evaluate(colour, [f".fb-of-{sign}", "backgroundColor"]) == page.evaluate(
            colour, [f".fb-pixels .fb-{sign}", "fill"]
        )
    assert page.get_by_role("rowheader", name="784 weights of one neuron positive negative").count() == 1


def test_the_eight_weights_give_the_numbers_of_the_chapter(opened):
    page, _ = opened("explorer")
    page.get_by_role("combobox", name="weights").select_option("eight")
    page.get_by_role("slider", name="bits").press("ArrowLeft")
    weight = torch.tensor([0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62], dtype=torch.float64)
    error = (UniformQuantizer(3)(weight) - weight).square().mean().item()
    assert f"Mean squared error {error:.3g}," in said(page)


def test_the_picture_stays_without_javascript_and_in_print(opened):
    page, _ = opened("explorer", java_script_enabled=False)
    assert page.locator("figure > img").is_visible()
    page, _ = opened("explorer")
    page.wait_for_selector("figure.fb-on")
    page.emulate_media(media="print")
    assert page.locator("figure > img").is_visible()
    assert not page.locator(".fb-live").is_visible()


def test_nothing_moves_where_motion_is_reduced(opened):
    page, _ = opened("inq-stepper", reduced_motion="reduce")
    duration = "() => getComputedStyle(document.querySelector('.fb-dot')).transitionDuration"
    page.wait_for_selector(".fb-dot")
    assert page.evaluate(duration) == "0s"
    page, _ = opened("inq-stepper", reduced_motion="no-preference")
    page.wait_for_selector(".fb-dot")
    assert page.evaluate(duration) != "0s"


def test_a_widget_that_fails_leaves_the_picture(opened):
    """Also shows that errors are noticed at all."""
    text = widget_pictures.demo_page("explorer").replace("fb-explorer", "fb-unknown")
    page, errors = opened("explorer", text=text)
    page.wait_for_timeout(300)
    assert page.locator("figure > img").is_visible()
    assert len(errors) == 1
    assert "names no widget" in errors[0]


# --- The filter of the evidence page ---------------------------------------------------------------------------------


def claims_page(details: bool = True) -> str:
    """A page with three claims in a table, as the book shows it."""
    paper = ("li2016", "Table 1", "yes")
    count = evidence.part([3], type="count", low=0, high=3)
    claims = [
        evidence.paper_claim("inq/a", "MobileNet is good", paper, count, scale="full"),
        evidence.cited_claim("inq/b", "MobileOne is better", paper, "not yet"),
        evidence.own_claim("vector/size", "Files are small", count, scale="notebook"),
    ]
    claims = [claim | {"word": evidence.word(claim)} for claim in claims]
    table = evidence.table(claims, details=details)._repr_html_()
    loader = (WIDGETS / "loader.js").as_uri()
    return f'<!doctype html><title>claims</title><article><div>{table}</div></article><script src="{loader}"></script>'


def shown(page) -> list[str]:
    """Ids of the claims that a reader sees."""
    return [row.inner_text() for row in page.locator(".claim-id:visible").all()]


def test_the_filter_knows_every_word_in_the_order_of_the_package():
    _, found = (WIDGETS / "claims_table.js").read_text("utf-8").split("const WORDS = [", 1)
    assert re.findall('"(.+?)"', found.split("];")[0]) == list(evidence.WORDS | evidence.OWN_WORDS)


def test_claims_are_filtered_by_keyboard(opened):
    page, errors = opened("claims", text=claims_page())
    page.wait_for_selector(".fb-filter")
    assert said(page) == "3 of 3 claims are shown."
    assert shown(page) == []  # all are in their folds
    boxes = page.get_by_role("group", name="word").locator("label")
    assert [text.strip() for text in boxes.all_inner_texts()] == ["✓ reproduced (1)", "○ cited (1)", "● holds (1)"]
    chapters = page.get_by_role("combobox", name="chapter").locator("option")
    assert chapters.all_inner_texts() == ["all", "INQ (2)", "Shared weights (1)"]
    page.get_by_role("checkbox", name="✓ reproduced (1)", exact=True).press("Space")
    assert shown(page) == ["inq/b", "vector/size"]
    page.get_by_role("combobox", name="chapter").select_option("inq")
    assert shown(page) == ["inq/b"]
    assert page.locator("details.claims-chapter:visible").count() == 1
    assert said(page) == "1 of 3 claims are shown."
    page.get_by_role("checkbox", name="✓ reproduced (1)", exact=True).press("Space")
    page.get_by_role("searchbox", name="search").fill("GOOD")
    assert shown(page) == ["inq/a"]
    page.get_by_role("searchbox", name="search").fill("")
    page.get_by_role("combobox", name="chapter").select_option("")
    page.get_by_role("combobox", name="kind").select_option("own")
    assert shown(page) == ["vector/size"]
    page.get_by_role("combobox", name="kind").select_option("")
    page.get_by_role("combobox", name="scale").select_option("full")
    assert shown(page) == ["inq/a"]
    page.get_by_role("combobox", name="scale").select_option("")
    assert shown(page) == []
    assert page.locator("details.claims-chapter:visible").count() == 2
    assert errors == []


def test_the_claims_of_a_chapter_have_no_filter(opened):
    page, errors = opened("claims", text=claims_page(details=False))
    page.wait_for_timeout(300)
    assert page.locator(".fb-filter").count() == 0
    assert errors == []


# --- In the book ------------------------------------------------------------------------------------------------------


def widgets_of(text: str) -> list[str]:
    """Names of the widgets in the text of a chapter."""
    return [line.split("fb-")[-1].strip() for line in text.splitlines() if line.startswith(":figclass: fb-widget fb-")]


def test_every_widget_is_in_one_chapter_with_its_picture():
    found = [name for path in (ROOT / "book" / "text").glob("*.md") for name in widgets_of(path.read_text("utf-8"))]
    assert sorted(found) == sorted(NAMES)
    for name in found:
        assert (WIDGETS / f"{name}.png").stat().st_size < 200_000


@pytest.mark.parametrize("path", sorted((ROOT / "book" / "text").glob("*.md")), ids=lambda path: path.stem)
def test_a_widget_of_the_text_is_in_the_built_page(path):
    if not (page := ROOT / "_build" / "html" / "book" / f"{path.stem}.html").exists():
        pytest.skip("the book is not built: make book")
    names, soup = widgets_of(path.read_text("utf-8")), BeautifulSoup(page.read_text("utf-8"), "html.parser")
    figures = [set(figure["class"]) for figure in soup.select("figure.fb-widget")]
    assert len(figures) == len(names)
    assert all(f"fb-{name}" in classes for name, classes in zip(names, figures, strict=True))
    assert not names or soup.select_one('script[src*="widgets/loader.js"]')
