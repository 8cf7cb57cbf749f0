"""Every chapter with an exercise leads to it, and the page *Your turn* leads back."""

import sys

from browsing import build_book
from bs4 import BeautifulSoup
from tool_files import ROOT, tool

from fewbits.exercises import EXERCISES

sys.path.insert(0, str(ROOT / "tools"))
links = tool("your_turn_links")


def test_every_chapter_has_an_exercise():
    assert {*tool("japanese").pages(ROOT)} - {"intro", "glossary"} <= EXERCISES.keys()


def test_every_exercise_has_its_section():
    assert links.sections(ROOT).keys() == EXERCISES.keys()
    text = (ROOT / "book" / "text" / "your_turn.md").read_text("utf-8")
    for chapter in EXERCISES:
        assert (ROOT / "book" / "text" / f"{chapter}.md").exists()
        assert text.count(f'questions("{chapter}")') == 1
        assert text.count(f'\ncheck("{chapter}", ') == 2 + (chapter == "ternary")  # gap, solution, and the example


def test_the_link_of_a_section():
    paragraph = links.link("Bit operations")
    assert paragraph.astext() == "Your turn: a function to complete and three questions."
    assert paragraph.children[1]["refuri"] == "your_turn.html#bit-operations"


def test_built_chapters_lead_to_a_section_that_is_there():
    html = ROOT / "_build" / "html" / "book"
    if not (html / "your_turn.html").exists():  # `make test` has built it
        build_book("--all", "-W", "--keep-going")
    there = BeautifulSoup((html / "your_turn.html").read_text("utf-8"), "html.parser")
    for chapter in EXERCISES:
        page = BeautifulSoup((html / f"{chapter}.html").read_text("utf-8"), "html.parser")
        (target,) = [a["href"] for a in page.select("article a") if a.get("href", "").startswith("your_turn.html#")]
        assert there.find(id=target.partition("#")[2])
