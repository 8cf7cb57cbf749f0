"""Sphinx extension: the pages of the *Reference*, made from the docstrings of ``src/fewbits`` at each build.

There is one page for the names of ``fewbits`` and one for each family. ``book/reference/<family>.md`` holds a title and
the place that this extension fills. It reads the sources and imports nothing, so the book is built as fast as before.
A chapter ends with a link to its page, and the page leads back to the chapter.
"""

import ast
import copy
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docutils import nodes  # type: ignore[import-untyped]  # it has no stubs
from equations import FAMILIES, citations, link_at_end, source_page
from equations import functions as functions_with_sources
from sphinx.application import Sphinx

FOLDER = "book/reference"
PLACE = "% names"
FACE = "fewbits"  # the page of the names of the package itself
PAGES = (FACE, *sorted({*FAMILIES, "bitwise"}))
# Chapters with another name than their family.
FAMILY_OF = {"fpga_gates": "fpga", "fpga_network": "fpga", "your_network": FACE}
CHAPTERS_OF = {"fpga": ("fpga", "fpga_gates", "fpga_network"), FACE: ("your_network",)}
SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Source):(?: +(.*))?")
# How a field of a docstring is written in reStructuredText; the name or the error comes in between.
FIELDS = {"Args": "param", "Attributes": "ivar", "Raises": "raises", "Returns": "returns", "Yields": "yields"}
LONGEST_VALUE = 72

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Name:
    """A public name, where it is defined, and under which name there."""

    shown: str
    module: str
    path: Path
    node: Definition

    @property
    def where(self) -> str:
        return f"{self.module}.{_name_of(self.node)}"


# --- Finding ----------------------------------------------------------------------------------------------------------


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _file(root: Path, module: str) -> Path:
    path = root.joinpath("src", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _name_of(node: Definition) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else node
    return target.name if isinstance(target, ast.FunctionDef | ast.ClassDef) else ast.unparse(target).split(":")[0]


@cache
def _imports(path: Path) -> dict[str, tuple[str, str]]:
    """Names that a file imports from the package, anywhere in it, with their module and their name there."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fewbits"
        for alias in node.names
    }


def find(root: Path, module: str, name: str, shown: str = "") -> Name:
    """Where a name of a module is defined: there, or in the module from which it is imported.

    Raises:
        ValueError: the module neither defines nor imports it from the package.
    """
    path = _file(root, module)
    if name in _imports(path):
        there, name_there = _imports(path)[name]
        return find(root, there, name_there, shown or name)
    for node in _parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign) and _name_of(node) == name:
            return Name(shown or name, module, path, node)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return Name(shown or name, module, path, node)
    raise ValueError(f"{module}: {name} is not defined there, nor imported from the package")


def _listed(tree: ast.Module) -> list[str]:
    """Names of ``__all__``, or the public functions and classes of a module without it."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and _name_of(node) == "__all__":
            return list(ast.literal_eval(node.value))
    defined = (node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return [name for name in defined if not name.startswith("_")]


@cache
def names(root: Path, page: str) -> tuple[Name, ...]:
    """What a page lists: the names of ``__all__`` in their order; of a folder without it the names of its modules."""
    module = FACE if page == FACE else f"fewbits.{page}"
    path = _file(root, module)
    if listed := _listed(_parsed(path)):
        return tuple(find(root, module, name) for name in listed)
    found: list[Name] = []
    for part in sorted(path.parent.glob("[a-z]*.py")):
        within = f"{module}.{part.stem}"
        found += [find(root, within, name, f"{part.stem}.{name}") for name in _listed(_parsed(part))]
    return tuple(found)


# --- Writing ----------------------------------------------------------------------------------------------------------


def fields(docstring: str, where: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Text of a docstring and its sections as (section, name, text); the name is empty where the section has none.

    Raises:
        ValueError: an entry of a section has no name.
    """
    text: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    for line in docstring.splitlines():
        if match := SECTION.fullmatch(line):
            sections.append((match[1], [f"    {match[2]}"] if match[2] else []))
        elif sections and (not line or line.startswith(" ")):
            sections[-1][1].append(line)
        elif sections:  # a paragraph after the sections
            text += ["", line]
        else:
            text.append(line)
    found = []
    for section, lines in sections:
        body = textwrap.dedent("\n".join(lines)).strip("\n")
        if section in ("Source", "Returns", "Yields"):
            found.append((section, "", body))
            continue
        for entry in re.split(r"\n(?=\S)", body):
            match = re.match(r"(?P<name>[^\s:][^:]*):(?= |\n|$)", entry)
            if match is None:
                raise ValueError(f"{where}: {entry!r} in {section} is not of the form 'name: what it is'")
            found.append((section, match["name"], entry[match.end() :].strip()))
    return "\n".join(text).strip(), found


def _source(docstring: str, where: str) -> str:
    """The line ``Source:`` with links: to the paper's part of the page *Equations*, or to the equation of a chapter."""
    parts = []
    for citation in citations(docstring, where):
        if citation.key == "book":
            part = f"chapter's equation :eq:`{citation.place}`"
        elif citation.key == "own":
            part = "own"
        else:
            part = f"`{citation} <../equations.html#{citation.key}>`__"
        parts.append(part + (f" ({citation.words})" if citation.words else ""))
    return "; ".join(parts)


def _plain(text: str) -> str:
    """Text in which a bar is a bar: between two of them reStructuredText looks for a substitution."""
    pieces = text.split("``")
    pieces[::2] = [piece.replace("|", r"\|") for piece in pieces[::2]]
    return "``".join(pieces)


def _indented(text: str, by: int = 3) -> str:
    return textwrap.indent(text, " " * by)


def _field(name: str, text: str) -> str:
    first, _, rest = text.partition("\n")
    return f":{name}: {first}\n{_indented(textwrap.dedent(rest))}".rstrip()


def _documentation(name: Name, node: ast.FunctionDef | ast.ClassDef) -> str:
    """Body of a directive: the text, the fields, the source, and a link to the code.

    Raises:
        ValueError: there is no docstring.
    """
    docstring = ast.get_docstring(node)
    if not docstring:
        raise ValueError(f"{name.module}.{node.name}: it is public and has no docstring")
    text, sections = fields(_plain(docstring), name.where)
    rows = []
    for section, argument, body in sections:
        if section == "Source":
            rows.append(_field("Source", _source(docstring, name.where)))
        else:
            label = f"{FIELDS[section]} {argument}".strip().replace("*", r"\*")
            rows.append(_field(label, body))
    return f"{text}\n\n" + "\n".join(rows)


def _code(name: Name, line: int) -> str:
    return f":Code: `{name.module}, line {line} <../../_modules/{name.module.replace('.', '/')}.html#line-{line}>`__"


def _decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    return {ast.unparse(each).split("(")[0].split(".")[-1] for each in node.decorator_list}


def _arguments(node: ast.FunctionDef, method: bool) -> str:
    arguments = copy.deepcopy(node.args)
    # The first argument of a method is the object; that of one of Numba's intrinsics is filled by Numba.
    if (method and "staticmethod" not in _decorators(node)) or "intrinsic" in _decorators(node):
        (arguments.posonlyargs or arguments.args).pop(0)
    return ast.unparse(arguments)


def signature(root: Path, module: str, node: ast.FunctionDef | ast.ClassDef, method: bool = False) -> str:
    """Arguments of a function or of the constructor of a class; empty where the package does not define one."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"({_arguments(node, method)}){returns}"
    bases = [ast.unparse(base) for base in node.bases]
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return f"({_arguments(part, True)})"
    if "dataclass" in _decorators(node) or "NamedTuple" in bases:
        rows = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        return f"({', '.join(ast.unparse(row) for row in rows)})"
    for base in bases:
        try:
            found = find(root, module, base)
        except ValueError:  # a class of torch or of Python
            continue
        if isinstance(found.node, ast.ClassDef) and (text := signature(root, found.module, found.node)):
            return text
    return ""


def _methods(root: Path, name: Name, node: ast.ClassDef) -> Iterator[str]:
    """Public methods that have a docstring; the others do what their class in torch says."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_") and ast.get_docstring(part):
            decorators = _decorators(part)
            if decorators & {"property", "cached_property"}:
                lines = [f".. py:property:: {part.name}"]
                lines += [f"   :type: {ast.unparse(part.returns)}"] if part.returns else []
            else:
                lines = [f".. py:method:: {part.name}{signature(root, name.module, part, method=True)}"]
                lines += [f"   :{kind}:" for kind in ("staticmethod", "classmethod") if kind in decorators]
            yield "\n".join([*lines, "", _indented(_documentation(name, part))])


def _comment(path: Path, node: Definition) -> str:
    """The comment at the end of the line of a constant, or the lines of comment above it."""
    lines = path.read_text("utf-8").splitlines()
    text = lines[(node.end_lineno or node.lineno) - 1]
    if match := re.search(r"  # (.*)", text):
        return match[1]
    first = node.lineno - 1
    while first and lines[first - 1].startswith("# "):
        first -= 1
    return " ".join(line[2:] for line in lines[first : node.lineno - 1])


def entry(root: Path, name: Name) -> str:
    """One name in reStructuredText: signature, text, arguments, results, errors, source, code, and methods."""
    node, code = name.node, _code(name, name.node.lineno)
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        kind = "function" if isinstance(node, ast.FunctionDef) else "class"
        lines = [f".. py:{kind}:: {name.shown}{signature(root, name.module, node)}", ""]
        documentation = _documentation(name, node)
        lines.append(_indented(documentation + ("" if documentation.endswith("\n\n") else "\n") + code))
        if isinstance(node, ast.ClassDef):
            lines += ["\n" + _indented(method) for method in _methods(root, name, node)]
        return "\n".join(lines)
    lines = [f".. py:data:: {name.shown}"]
    if node.value is not None and len(value := ast.unparse(node.value)) <= LONGEST_VALUE:
        lines.append(f"   :value: {value}")
    return "\n".join([*lines, "", _indented(f"{_comment(name.path, node)}\n\n{code}".lstrip())])


def page(root: Path, home: str) -> str:
    """Markdown of a page: the way to the chapter, what the module says of itself, and its names."""
    module = FACE if home == FACE else f"fewbits.{home}"
    links = " and ".join(f"{{doc}}`../{chapter}`" for chapter in CHAPTERS_OF.get(home, (home,)))
    docstring = ast.get_docstring(_parsed(_file(root, module))) or ""
    found = names(root, home)
    contents = " · ".join(f":py:obj:`{name.shown}`" for name in found)
    body = [f".. py:currentmodule:: {module}", docstring, contents, *(entry(root, name) for name in found)]
    return f"Chapter: {links}\n\n``````{{eval-rst}}\n" + "\n\n".join(body) + "\n``````\n"


# --- Sphinx -----------------------------------------------------------------------------------------------------------


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    home = docname.removeprefix(f"{FOLDER}/")
    if home != docname:
        source[0] = source[0].replace(PLACE, page(Path(app.srcdir), home))


def link_back(app: Sphinx, doctree: nodes.document) -> None:
    """A chapter ends, before its references, with a link to the page of its family."""
    chapter = app.env.docname.removeprefix("book/")
    home = FAMILY_OF.get(chapter, chapter)
    if home in PAGES:
        label = FACE if home == FACE else f"fewbits.{home}"
        link = nodes.reference("", "", nodes.literal("", label), refuri=f"reference/{home}.html", internal=True)
        link_at_end(doctree, nodes.paragraph("", "", nodes.Text("Reference: "), link, nodes.Text(".")))


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    """The pages of source that the reference leads to, and the page *Equations* does not."""
    root = Path(app.srcdir)
    made = {function.module for function in functions_with_sources(root) if function.citations}
    listed = {name.module: name.path for home in PAGES for name in names(root, home)}
    for module, path in listed.items():
        if module not in made:
            yield source_page(app, module, path)


def setup(app: Sphinx) -> dict:
    app.connect("source-read", fill)
    app.connect("doctree-read", link_back)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
