"""Sphinx extension: the page *Equations*, made from the docstrings and comments of ``src/fewbits`` at each build.

A docstring names where its formula comes from in one line, entries separated by semicolons::

    Source: jacob2018 Eq. 7; wu2020 Sec. 3.1 (symmetric weights); own (rounding); book eq-integer-linear

``jacob2018`` is a key of ``book/references.bib``, ``own`` stands for what no paper has, ``book`` for the label of an
equation of a chapter. A comment ``# jacob2018 Eq. 7`` stands at the line that computes the equation.

The extension fills in ``book/equations.md``, writes one page of highlighted source for each module that it names, and
puts a link at the end of each chapter with equations.
"""

import ast
import html
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docutils import nodes  # type: ignore[import-untyped]  # it has no stubs
from pybtex.database import BibliographyData, parse_file
from sphinx.application import Sphinx
from sphinxcontrib.bibtex.nodes import bibliography as bibliography_node

from fewbits.evidence.citations import paper_name

FAMILIES = {
    *("uniform", "binary", "ternary", "low_bitwidth", "learned_step", "logarithmic", "inq", "mobileone"),
    *("mixed_precision", "vector", "bn_folding", "compensation", "integer", "fpga"),
}
# Equations that no function of the package computes, and why.
WITHOUT_FUNCTION = {
    "eq-bn-equivariance": "A property of the network; the chapter checks it on a pair of layers.",
    "eq-gates-cost": "A count of gates, fitted by hand; the chapter compares it with the synthesis.",
    "eq-log-noise": "An expected error, computed in the chapter.",
    "eq-lsq-ratio": "esser2020 Eq. 4: a ratio that the chapter measures during training.",
    "eq-map-cost": "A definition, computed in the chapter.",
}
PAGE = "book/equations"
KINDS = ("Eq.", "Alg.", "Sec.", "Table", "Fig.")
ENTRY = re.compile(
    r"(?P<key>[a-z]+\d{4}[a-z]*|own|book)"
    r"(?: (?P<place>(?:Eq\.|Alg\.|Sec\.|Table|Fig\.) [A-Z]?\.?\d*(?:\.\d+)*[a-z]?|eq-[a-z0-9-]+))?"
    r"(?: \((?P<words>.+)\))?"
)
OLD_STYLE = re.compile(r"[A-Z]\w+ et al\.,? \(?\d{4}|\b[a-z]+20\d\d[a-z]*(?:,| \() ?(?:Eq|Sec|Alg|Tab|Fig)")


@dataclass(frozen=True)
class Citation:
    """One entry of a source line: ``key`` is a key of the bibliography, "own" or "book"."""

    key: str
    place: str = ""
    words: str = ""

    def __str__(self) -> str:
        return f"{self.key} {self.place}".strip()


@dataclass(frozen=True)
class Function:
    """A public function, class or method, and what its docstring says of its source."""

    path: Path
    module: str
    name: str
    first: int
    last: int
    summary: str
    citations: tuple[Citation, ...]

    @property
    def home(self) -> str:
        """Folder of the package, or its module: ``uniform``, ``ternary``."""
        return self.module.split(".")[1]

    @property
    def short(self) -> str:
        return f"{self.module.removeprefix('fewbits.')}.{self.name}"


# --- Reading ----------------------------------------------------------------------------------------------------------


def citations(docstring: str, where: str) -> tuple[Citation, ...]:
    """Entries of the line ``Source: …`` of a docstring (it may go on, indented, in the lines below); none without one.

    Raises:
        ValueError: an entry has another form, or there are two such lines.
    """
    lines = re.findall(r"^Source: *(.*(?:\n +.*)*)", docstring, re.MULTILINE)
    if len(lines) > 1:
        raise ValueError(f"{where}: {len(lines)} lines 'Source:', one is enough")
    found = []
    for entry in " ".join(lines[0].split()).split("; ") if lines else ():
        match = ENTRY.fullmatch(entry)
        if match is None or (match["key"] == "book") != (match["place"] or "").startswith("eq-"):
            raise ValueError(f"{where}: {entry!r} is not of the form 'key Eq. 1', 'own (words)' or 'book eq-label'")
        found.append(Citation(match["key"], match["place"] or "", match["words"] or ""))
    return tuple(found)


@cache
def functions(root: Path) -> tuple[Function, ...]:
    """All public functions, classes and methods of the package, in the order of modules and lines."""
    found = []

    def visit(body: list[ast.stmt], path: Path, module: str, prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                name = prefix + node.name
                docstring = ast.get_docstring(node) or ""
                named = citations(docstring, f"{module}.{name}")
                summary = " ".join(docstring.split("\n\n")[0].split())
                found.append(Function(path, module, name, node.lineno, node.end_lineno or node.lineno, summary, named))
                if isinstance(node, ast.ClassDef):
                    visit(node.body, path, module, f"{name}.")

    for path in sorted((root / "src" / "fewbits").rglob("*.py")):
        parts = path.relative_to(root / "src").with_suffix("").parts
        visit(ast.parse(path.read_text("utf-8")).body, path, ".".join(parts).removesuffix(".__init__"), "")
    return tuple(found)


@cache
def comments(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and text of each comment of a file. A comment on a line of its own belongs to the next line of code."""
    source = path.read_text("utf-8")
    lines = source.splitlines()
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            while line < len(lines) and lines[line - 1].lstrip().startswith("#"):
                line += 1
            found.append((line, token.string))
    return tuple(found)


def lines_of(function: Function, citation: Citation) -> list[int]:
    """Lines of code whose comment names the citation: those of the function itself, else those of its file."""
    words = re.compile(rf"\b{re.escape(str(citation))}(?!\w|\.\w)")
    found = [line for line, text in comments(function.path) if citation.place and words.search(text)]
    return [line for line in found if function.first <= line <= function.last] or found


def chapter_equations(root: Path) -> dict[str, list[str]]:
    """Labels of the equations of each chapter that has some, in the order of the table of contents."""
    pages = re.findall(r"file: book/(\w+)", (root / "_toc.yml").read_text("utf-8"))
    texts = {page: root / "book" / "text" / f"{page}.md" for page in pages}
    labels = {
        page: re.findall(r"^:label: (eq-[a-z0-9-]+)$", path.read_text("utf-8"), re.MULTILINE)
        for page, path in texts.items()
        if path.exists()
    }
    return {page: found for page, found in labels.items() if found}


def bibliography(root: Path) -> BibliographyData:
    return parse_file(root / "book" / "references.bib")


# --- The guard --------------------------------------------------------------------------------------------------------


def faults(root: Path) -> list[str]:
    """What would leave a formula without its source, or a source without its formula, one sentence each."""
    found = functions(root)
    keys = {*bibliography(root).entries, "own", "book"}
    labels = {label for chapter in chapter_equations(root).values() for label in chapter}
    mapped = {citation.place for function in found for citation in function.citations if citation.key == "book"}
    faults = [*_faults_of_functions(found, keys), *_faults_of_labels(labels, mapped)]
    for path in sorted((root / "src" / "fewbits").rglob("*.py")):
        if path.relative_to(root / "src" / "fewbits").parts[0].removesuffix(".py") in {*FAMILIES, "core"}:
            named = {str(citation) for function in found if function.path == path for citation in function.citations}
            faults += [f"{path.relative_to(root)}:{fault}" for fault in _faults_of_lines(path, named)]
    return faults


def _faults_of_functions(found: tuple[Function, ...], keys: set[str]) -> Iterator[str]:
    for function in found:
        if function.home in FAMILIES and "." not in function.name and not function.citations:
            yield f"{function.short}: its docstring has no line 'Source:'"
        for citation in function.citations:
            if citation.key not in keys:
                yield f"{function.short}: {citation.key} is not in references.bib"
            if citation.place.startswith("Eq.") and not lines_of(function, citation):
                yield f"{function.short}: no comment '# {citation}' at the line that computes it"
            # The line of a chapter's equation may have the paper's words instead.
            if citation.key == "book" and not any(lines_of(function, each) for each in function.citations):
                yield f"{function.short}: no comment '# {citation}', or one of its source, at the line that computes it"


def _faults_of_labels(labels: set[str], mapped: set[str]) -> Iterator[str]:
    excused = {*WITHOUT_FUNCTION}
    yield from (f"{label}: no function names this equation" for label in sorted(labels - mapped - excused))
    yield from (f"{label}: a docstring names it, no chapter has it" for label in sorted(mapped - labels))
    yield from (f"{label}: a function names it, so it is no exception" for label in sorted(mapped & excused))


def _faults_of_lines(path: Path, named: set[str]) -> Iterator[str]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        yield from (f"{number}: write 'key Eq. 1', not {match[0]!r}" for match in OLD_STYLE.finditer(line))
    for number, text in comments(path):
        for equation in re.findall(r"[a-z]+\d{4}[a-z]* Eq\. \w+", text):
            if equation not in named:
                yield f"{number}: {equation!r} is in no docstring of this file"


# --- The page ---------------------------------------------------------------------------------------------------------


def _order(place: str) -> tuple:
    """Equations before algorithms before sections …, and 2 before 10."""
    kind, _, number = place.partition(" ")
    parts = re.findall(r"\d+|[A-Za-z]+", number)
    # Digits are compared as numbers, and letters come after them: 2, 10, A.2.
    in_order = [(part.isalpha(), int(part) if part.isdigit() else 0, part) for part in parts]
    return KINDS.index(kind) if place else -1, in_order


def _plain(text: str) -> str:
    """A docstring's sentence as Markdown for the cell of a table."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\*_<>\[\]$#])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces).replace("|", r"\|")


def address(function: Function, line: int) -> str:
    return f"../_modules/{function.module.replace('.', '/')}.html#line-{line}"


def _link(function: Function) -> str:
    name = re.sub(r"([._])", r"\1<wbr>", html.escape(function.short))  # a long name may be broken on a phone
    return f'<a href="{address(function, function.first)}"><code>{name}</code></a>'


def _line_links(function: Function, citation: Citation) -> str:
    return ", ".join(f'<a href="{address(function, n)}">line {n}</a>' for n in lines_of(function, citation))


def _sources(function: Function) -> str:
    return "; ".join(str(citation) for citation in function.citations if citation.key != "book")


def by_paper(root: Path) -> str:
    """Markdown: for each paper its equations, the functions that compute them, and their lines."""
    entries = bibliography(root).entries
    rows: dict[str, list[tuple[Citation, Function]]] = {}
    for function in functions(root):
        for citation in function.citations:
            if citation.key not in ("own", "book"):
                rows.setdefault(citation.key, []).append((citation, function))
    text = []
    for key in sorted(rows):
        title = re.sub(r"[{}]", "", entries[key].fields["title"])
        text += [
            f"({key})=",
            f"### {paper_name(key)}",
            "",
            f"{{cite:t}}`{key}`: *{title}*",
            "",
            "| Place | Function | Computed at | What |",
        ]
        text.append("|---|---|---|---|")
        for citation, function in sorted(rows[key], key=lambda row: _order(row[0].place)):
            place = (citation.place or "–") + (f" ({_plain(citation.words)})" if citation.words else "")
            cells = [place, _link(function), _line_links(function, citation) or "–", _plain(function.summary)]
            text.append(f"| {' | '.join(cells)} |")
        text.append("")
    return "\n".join(text)


def by_chapter(root: Path) -> str:
    """Markdown: for each chapter its equations, and the functions that compute them."""
    named: dict[str, list[Function]] = {}
    for function in functions(root):
        for citation in function.citations:
            if citation.key == "book":
                named.setdefault(citation.place, []).append(function)
    text = []
    for chapter, labels in chapter_equations(root).items():
        text += [
            f"### {chapter}",
            "",
            f"Chapter {{doc}}`{chapter}`",
            "",
            "| Equation | Function | Source |",
            "|---|---|---|",
        ]
        for label in labels:
            rows = [(_link(function), _sources(function)) for function in named.get(label, ())]
            rows = rows or [("–", _plain(WITHOUT_FUNCTION.get(label, "")))]
            text += [f"| {{eq}}`{label}` `{label}` | {link} | {sources} |" for link, sources in rows]
        text.append("")
    return "\n".join(text)


def own(root: Path) -> str:
    """Markdown: what stands in no paper."""
    rows = [(c, function) for function in functions(root) for c in function.citations if c.key == "own"]
    text = ["| Function | What is our own |", "|---|---|"]
    return "\n".join(text + [f"| {_link(function)} | {_plain(c.words or function.summary)} |" for c, function in rows])


PARTS = {"% by paper": by_paper, "% by chapter": by_chapter, "% own": own}


# --- Sphinx -----------------------------------------------------------------------------------------------------------


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        for place, part in PARTS.items():
            source[0] = source[0].replace(place, part(Path(app.srcdir)))


def link_back(app: Sphinx, doctree: nodes.document) -> None:
    """A chapter with equations ends, before its references, with a link to its part of the page."""
    chapter = app.env.docname.removeprefix("book/")
    if chapter not in chapter_equations(Path(app.srcdir)):
        return
    link = nodes.reference("", "Equations", refuri=f"equations.html#{nodes.make_id(chapter)}", internal=True)
    text = nodes.paragraph(
        "", "", nodes.Text("Which function computes which equation of this chapter: "), link, nodes.Text(".")
    )
    link_at_end(doctree, text)


def link_at_end(doctree: nodes.document, text: nodes.paragraph) -> None:
    """Put a paragraph at the end of a chapter, before its references."""
    for references in doctree.findall(bibliography_node):
        references.parent.insert(references.parent.index(references), text)
        return
    list(doctree.findall(nodes.section))[-1].append(text)


def source_page(app: Sphinx, module: str, path: Path) -> tuple[str, dict, str]:
    """A page with the highlighted source of a module."""
    highlighter = app.builder.highlighter  # type: ignore[attr-defined]  # the event exists in builders of HTML only
    code = highlighter.highlight_block(path.read_text("utf-8"), "python", linespans="line")
    heading = re.sub(r"([._])", r"\1<wbr>", module)  # a long name may be broken on a phone
    context = {"title": module, "body": f"<h1>{heading}</h1>\n{code}", "parents": []}
    return f"_modules/{module.replace('.', '/')}", context, "page.html"


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    """One page of highlighted source for each module that the page *Equations* names."""
    modules = {function.module: function.path for function in functions(Path(app.srcdir)) if function.citations}
    for module, path in modules.items():
        yield source_page(app, module, path)


def setup(app: Sphinx) -> dict:
    app.connect("source-read", fill)
    app.connect("doctree-read", link_back)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
