"""Sphinx extension: a chapter ends with a link to its exercise on the page *Your turn*, which leads back to it."""

import re
from functools import cache
from pathlib import Path

from docutils import nodes  # type: ignore[import-untyped]  # it has no stubs
from equations import link_at_end
from sphinx.application import Sphinx

PAGE = "your_turn"
SECTION = re.compile(r"^## (.+)\n\n\*Chapter:\* \{doc\}`(\w+)`\n", re.MULTILINE)


@cache
def sections(root: Path) -> dict[str, str]:
    """The sections of the page by the chapter that each names first: titles."""
    text = (root / "book" / "text" / f"{PAGE}.md").read_text("utf-8")
    return {chapter: title for title, chapter in SECTION.findall(text)}


def link(title: str) -> nodes.paragraph:
    """The paragraph that leads from a chapter to the section with its exercise."""
    address = f"{PAGE}.html#{nodes.make_id(title)}"
    there = nodes.reference(
        "", "", nodes.Text("a function to complete and three questions"), refuri=address, internal=True
    )
    return nodes.paragraph("", "", nodes.Text("Your turn: "), there, nodes.Text("."))


def add_link(app: Sphinx, doctree: nodes.document) -> None:
    chapter = app.env.docname.removeprefix("book/")
    if title := sections(Path(app.srcdir)).get(chapter):
        link_at_end(doctree, link(title))


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", add_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
