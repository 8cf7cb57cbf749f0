"""Sphinx extension: mends what docutils, myst-nb and pandas write into every page. `make check-web` shows the need."""

import re

from sphinx.application import Sphinx

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


def name_folds(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """What opens the pages below a page in the side bar is an icon; a screen reader gets words."""
    made = context.get("generate_toctree_html")
    if made is None:
        return

    def named(*arguments: object, **options: object) -> str:
        links = str(made(*arguments, **options))
        return re.sub(r">([^<]+)</a><details( open=\"[^\"]*\")?><summary>", _named_fold, links)

    context["generate_toctree_html"] = named


def _named_fold(match: re.Match[str]) -> str:
    return match[0].replace("<summary>", f'<summary aria-label="Pages below {match[1]}">')


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", repair)
    app.connect("html-page-context", name_folds, priority=900)  # after the theme, which defines the function
    return {"parallel_read_safe": True, "parallel_write_safe": True}
