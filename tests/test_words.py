"""One vocabulary: words that the table *Words* of CONTRIBUTING.md replaces are not in the prose of book and package."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What is not written, and what is. A pattern is precise enough to have no false alarms: a word with a plain meaning as
# well is only looked for in the company in which it is jargon.
LAYERS = r"(?:layer|convolution|activation|normalization|ReLU|pooling|filter)s?"
WORDS = {
    rf"\bbehind (?:a|an|the|each|every|this|that|its) (?:\w+ )?{LAYERS}\b": "after",
    r"\bthe least (?:of|one|power|integer|number|value|code|exponent|level|magnitude)\b": "smallest, minimum",
    r"\bleast and greatest\b": "minimum and maximum",
    r"\bgreatest\b": "largest, maximum",
    r"\beven grids?\b": "uniform grid",
    r"\bfaint (?:channel|filter|weight)s?\b|\*faint\*": "negligible",
    r"\bcensus(?:es)?\b": "count",
    r"\boutgr(?:ow|ows|ew|own)\b": "become too large for the codebook",
    r"\broofs?\b": "limit",
    r"\btakes? (?:its|their) turns?\b|\bis its turn\b": "in order, alternate",
    r"\bmakes of it \d": "turns it into",
    r"\bis no way to\b|\bhas no way to\b": "cannot",
    r"\bunharmed\b": "unchanged",
    r"\b[Bb]ool is none\b": "bool is not one",
}


def of_markdown(text: str) -> list[tuple[int, str]]:
    """Lines of a page with their numbers: no code, no formulas, no names; of code cells comments and captions."""
    found, fence, head = [], "", False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not fence and (opening := re.match(r"(`{3,})(\{code-cell\}|\{math\}|\{bibliography\}|\w)", bare)):
            fence, head = opening[1], False
        elif fence and bare == fence:
            fence = ""
        elif fence and bare == "---":
            head = not head
        elif not fence or head:
            found.append((number, re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|^\s*name: .*", " ", line)))
        elif comment := re.search(r"(?:^|\s)#\s(.*)", line):
            found.append((number, re.sub(r"`[^`]*`", " ", comment[1])))
    return found


def of_python(text: str) -> list[tuple[int, str]]:
    """Docstrings, comments and the messages of errors, line by line, without names of arguments and of code."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docstring = node.body[0]
            found += list(enumerate(docstring.value.value.splitlines(), docstring.lineno))  # type: ignore[attr-defined]
        if isinstance(node, ast.Raise):
            strings = (
                each for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )
            found += [(each.lineno, each.value) for each in strings]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found += [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    return [(number, re.sub(r"``?[^`]*``?|^\s*\w+: ", " ", line)) for number, line in found]


def faults(name: str, lines: list[tuple[int, str]]) -> list[str]:
    return [
        f"{name}:{number}: {match[0]!r}: write {instead}"
        for number, line in lines
        for pattern, instead in WORDS.items()
        for match in re.finditer(pattern, line)
    ]


def files() -> list[Path]:
    pages = [
        *(ROOT / "book" / "text").glob("*.md"),
        *(ROOT / "book").glob("*.md"),
        *(ROOT / "book" / "reference").glob("*.md"),
    ]
    return [
        ROOT / "README.md",
        *sorted(pages),
        *sorted((ROOT / "src").rglob("*.py")),
        *sorted((ROOT / "tools").glob("*.py")),
    ]


def test_the_book_and_the_package_keep_to_one_vocabulary():
    found = []
    for path in files():
        text = path.read_text("utf-8")
        found += faults(str(path.relative_to(ROOT)), of_markdown(text) if path.suffix == ".md" else of_python(text))
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "The ReLU behind the first layer is gone.",
        "An even grid has the least integer at −8.",
        "* A *faint* channel has a weight that has outgrown the grid.",
        "```{code-cell} ipython3\n---\nmystnb:\n  image:\n    alt: A slanted roof.\n---\ndraw()\n```",
        "```{code-cell} ipython3\nx = 1  # the greatest\n```",
        "```{admonition} Title\nA census of sums.\n```",
    ],
)
def test_a_bad_word_of_a_page_is_noticed(text):
    assert faults("page", of_markdown(text)) != []


@pytest.mark.parametrize(
    "text",
    [
        "At least four. The least squares fit. He fell behind. The authors behind it, the words behind a claim.",
        "`roofs` and $\\text{census}$, [text](census.md)",
        "```{code-cell} ipython3\n---\nmystnb:\n  figure:\n    name: fig-census\n---\nroofs = census\n```",
        "```python\nroofs = 1\n```",
    ],
)
def test_good_words_and_names_of_a_page_pass(text):
    assert faults("page", of_markdown(text)) == []


def test_docstrings_comments_and_messages_are_read_and_names_are_not():
    good = '"""Text.\n\n    census: rows of ``roofs``\n"""\nroofs = "census"\n'
    assert faults("module", of_python(good)) == []
    for bad in (
        '"""A census."""',
        "x = 1  # a roof",
        'raise ValueError("the greatest")',
        'def f():\n    """Roof, roof."""',
    ):
        assert faults("module", of_python(bad)) != []
