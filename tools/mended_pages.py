"""Sphinx extension: mends what docutils, myst-nb and pandas write into every page. `make check-web` shows the need."""

import re

from sphinx.application import Sphinx

REPAIRS = {
    # A label takes the place of the visible words for a screen reader, here "Show the solution".
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # A list has items. The role that docutils gives the entries is deprecated, and none of a list item.
    'role="doc-biblioentry"': 'role="listitem"',
    # Every algorithm gets the same id, so that a page with two of them is not valid.
    ' id="proof-content"': "",
    # A style sheet inside a table's frame, and an attribute of HTML 4: neither is valid, and the theme does it all.
    r"<style scoped>.*?</style>": "",
    r'(<th [^>]*)valign="top"': r"\1",
}


def repair(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    for wrong, right in REPAIRS.items():
        context["body"] = re.sub(wrong, right, context.get("body", ""), flags=re.DOTALL)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", repair)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
