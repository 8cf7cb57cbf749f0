"""Sphinx extension: mends what docutils, myst-nb and pandas write into every page. `make check-web` shows the need."""

import re
from collections.abc import Callable

from docutils import nodes  # type: ignore[import-untyped]  # it has no stubs
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

FORMULA = r'(<span class="math notranslate nohighlight">[^<]*</span>)'

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
    # MathJax makes a box of a formula, and a line may end between it and the comma after it or the bracket before it.
    rf"(\(?){FORMULA}([.,;:?!)]+)": r'<span class="math-kept">\1\2\3</span>',
    rf"\({FORMULA}(?![.,;:?!)])": r'<span class="math-kept">(\1</span>',
}


# A long signature: its parameters are a list of definitions without terms.
PARAMETERS = re.compile(r"<dl>\s*((?:<dd>(?:(?!</?d[ltd]\b).)*</dd>\s*)+)</dl>", re.DOTALL)


def _lines(match: re.Match[str]) -> str:
    return match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def repair(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    for wrong, right in REPAIRS.items():
        context["body"] = re.sub(wrong, right, context.get("body", ""), flags=re.DOTALL)
    context["body"] = PARAMETERS.sub(_lines, context["body"])


class Fold(nodes.General, nodes.Element):
    """A box that can be closed, as HTML has it: printed open, read by its title, and closed without a script."""


class FoldTitle(nodes.Part, nodes.TextElement):
    """The words that are seen of a closed box."""


def close_boxes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """An admonition of the class "dropdown" becomes a fold. The theme makes one of a box that it shows, by a script."""
    for box in list(doctree.findall(nodes.admonition)):
        if "dropdown" in box["classes"]:
            title, *content = box.children
            box.replace_self(Fold("", FoldTitle("", "", *title.children), *content, classes=["fold"]))


def name_folds(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """What opens the pages below a page in the side bar is an icon; a screen reader gets words."""
    made = context.get("generate_toctree_html")
    if made is None:
        return

    def named(*arguments: object, **options: object) -> str:
        links = str(made(*arguments, **options))
        return re.sub(r">([^<]+)</a><details( open=\"[^\"]*\")?><summary>", _named_fold, links)

    context["generate_toctree_html"] = named


def _element(tag: str) -> tuple[Callable, Callable]:
    """What writes the beginning and the end of such an element."""

    def begin(writer: HTML5Translator, node: nodes.Element) -> None:
        writer.body.append(writer.starttag(node, tag, ""))

    def end(writer: HTML5Translator, node: nodes.Element) -> None:
        writer.body.append(f"</{tag}>\n")

    return begin, end


def _named_fold(match: re.Match[str]) -> str:
    return match[0].replace("<summary>", f'<summary aria-label="Pages below {match[1]}">')


def setup(app: Sphinx) -> dict:
    for node, tag in ((Fold, "details"), (FoldTitle, "summary")):
        app.add_node(node, html=_element(tag))
    app.connect("doctree-resolved", close_boxes)
    app.connect("html-page-context", repair)
    app.connect("html-page-context", name_folds, priority=900)  # after the theme, which defines the function
    return {"parallel_read_safe": True, "parallel_write_safe": True}
