"""Sphinx extension: links that read as part of a sentence, links from claims to papers, columns of numbers, previews.

A reference to a chapter has its short title, that of the table of contents. A paper in a table of claims leads to its
entry in the references, those of its own page where it has them. For the previews that book/_static/previews.js shows,
each page with targets of links leaves a script with their HTML: a page that is opened from disk can load scripts, but
no other pages.
"""

import html
import json
import re
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from docutils import nodes  # type: ignore[import-untyped]  # it has no stubs
from sphinx.application import Sphinx
from sphinx.util import logging

SCRIPTS = "_static/previews"
REFERENCES = "book/references"
# What a link may lead to that fits into a small box: a term with its meaning, an equation, a figure, a paper.
TARGETS = 'dt[id^="term-"], div.math[id], figure[id], div.citation[id]'
WIDEST = 92  # characters of output that a page has room for, between both side bars on a window of 1280 pixels
PAPER = re.compile(r'<cite data-paper="([^"]+)">(.*?)</cite>')

OUTPUT = re.compile(
    r'<div class="output (?=stream|text_plain)([^"]*)">(<div class="highlight"><pre>)(.*?)(</pre>)', re.DOTALL
)

# A table of pandas. Its head is set to the right, and a page cannot know which of its columns are numbers.
FRAME = re.compile(r'<table border="1" class="dataframe">.*?</table>', re.DOTALL)
NUMBER = re.compile(r"[-−+±]?\d[\d,.]*(e[-+]?\d+)? ?[%×]?|[-–]|NaN|")  # or none

logger = logging.getLogger(__name__)


def short_titles(root: Path) -> dict[str, str]:
    """Titles in the table of contents, by the names of their pages."""
    parts = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))["parts"]
    return {page["file"]: page["title"] for part in parts for page in part["chapters"] if "title" in page}


def shorten_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """A link that got the title of a page as its text gets the short one, and shows the long one when pointed at."""
    titles = {app.env.titles[page].astext(): short for page, short in short_titles(Path(app.srcdir)).items()}
    for text in list(doctree.findall(nodes.inline)):
        if "doc" in text["classes"] and isinstance(text.parent, nodes.reference) and text.astext() in titles:
            text.parent["reftitle"] = text.astext()
            short = nodes.inline("", titles[text.astext()], classes=["doc", "chapter-title"])
            text.parent.replace(text, short)


def link_papers(app: Sphinx, pagename: str, body: str) -> str:
    """``<cite data-paper="key">`` of a table of claims, as a link to the paper's entry."""
    entries: dict[str, dict[str, str]] = {}
    for each in app.env.get_domain("cite").citations:  # type: ignore[attr-defined]  # sphinxcontrib-bibtex has it
        entries.setdefault(each.key, {})[each.bibliography_key.docname] = each.citation_id

    def linked(match: re.Match[str]) -> str:
        key, name = match.groups()
        if key not in entries:
            logger.warning("a claim is of the paper %s, which no page cites", key, location=pagename)
            return match[0]
        page = pagename if pagename in entries[key] else REFERENCES
        address = "" if page == pagename else app.builder.get_relative_uri(pagename, page)
        return f'<cite><a class="reference internal" href="{address}#{entries[key][page]}">{name}</a></cite>'

    return PAPER.sub(linked, body)


def mark_sentences(body: str) -> str:
    """Printed output without columns gets the class ``fb-lines``: its lines may be broken where the page is narrow.

    So does output that is too wide for a desktop's page.
    """

    def marked(match: re.Match[str]) -> str:
        kind, before, text, after = match.groups()
        shown = html.unescape(re.sub(r"<[^>]+>", "", text))
        columns = re.search(r"\S {2,}\S", shown) and max(map(len, shown.splitlines())) <= WIDEST
        return f'<div class="output {kind}{"" if columns else " fb-lines"}">{before}{text}{after}'

    return OUTPUT.sub(marked, body)


def align_numbers(body: str) -> str:
    """Columns of numbers of a table get the class ``fb-number``, their heads too."""
    return FRAME.sub(lambda match: _aligned(match[0]), body)


def _aligned(text: str) -> str:
    table = BeautifulSoup(text, "html.parser")
    rows = [row("td") for row in table.select("tbody tr")]
    # Counted from the right: a row may have fewer names on its left, where one name stands for several rows.
    for place in range(1, 1 + min(map(len, rows), default=0)):
        if all(NUMBER.fullmatch(row[-place].text.strip()) for row in rows):
            for cells in (*rows, *(row("th") for row in table.select("thead tr:not(:has([colspan]))"))):
                cells[-place]["class"] = "fb-number"
    return str(table)


def targets(body: str) -> dict[str, str]:
    """HTML of everything on a page that a preview can show, by its id."""
    found = {}
    for target in BeautifulSoup(body, "html.parser").select(TARGETS):
        pieces = [target]
        if target.name == "dt":
            pieces += [piece for piece in target.find_next_siblings() if piece.name == "dd"][:1]
        copies = BeautifulSoup("".join(map(str, pieces)), "html.parser")
        for link in copies.select(".headerlink, .backrefs, .label"):
            link.decompose()
        for element in copies.select("[id]"):
            del element["id"]
        found[str(target["id"])] = str(copies).strip()
    return found


def write_script(folder: Path, pagename: str, found: dict[str, str]) -> None:
    """The script with the previews of a page, for ``folder``, which holds the pages."""
    script = folder / SCRIPTS / f"{pagename}.js"
    script.parent.mkdir(parents=True, exist_ok=True)
    name, text = json.dumps(pagename), json.dumps(found, ensure_ascii=False)
    script.write_text(f"((globalThis.fewbits ??= {{}}).previews ??= {{}})[{name}] = {text};\n", "utf-8")


def finish(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """On the pages of the book; the single page that is printed needs its columns of numbers only."""
    if doctree is None:
        return
    context["body"] = align_numbers(context["body"])
    if app.builder.name != "html":
        return
    context["body"] = mark_sentences(link_papers(app, pagename, context["body"]))
    if found := targets(context["body"]):
        write_script(Path(app.outdir), pagename, found)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-resolved", shorten_links)
    app.connect("html-page-context", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
