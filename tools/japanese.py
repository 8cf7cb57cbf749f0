"""The Japanese edition: passages of ``book/ja`` keep in step with the English pages that they translate.

Three of the sources of this book are Japanese. So its front page, its glossary, and what each chapter teaches and sums
up are there in Japanese, too. In ``book/ja/<page>.md`` a comment before each passage names the English one and the
digest that it had when it was translated::

    % passage: Summary | 1f2e3d4c5b6a

``python tools/japanese.py`` lists what no longer agrees. After a passage has been translated again,
``python tools/japanese.py accept uniform`` writes the digests of that page anew. As a Sphinx extension the file tells
browsers and screen readers which pages are in Japanese. A page may translate any section of a chapter, so that whole
chapters can follow.
"""

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
LEARN, OPENING, SUMMARY = "What you will learn", "Opening", "Summary"
MARKER = re.compile(r"^% passage: (.+) \| ([0-9a-f]{12}|new)$", re.MULTILINE)
FENCE = re.compile(r"^(`{3,}|:{3,})\{(code-cell|bibliography)\}.*?^\1$\n?", re.MULTILINE | re.DOTALL)
ADMONITION = re.compile(r"^```\{admonition\} " + LEARN + r"\n(?::[^\n]*\n)*(.*?)^```$", re.MULTILINE | re.DOTALL)
GLUED = re.compile(r"\{glue:text\}`(?:[\w./]+::)?([^`:]+)(?::s)?`")


def pages(root: Path = ROOT) -> list[str]:
    """Names of the pages with a Japanese side: the front page, all chapters, the glossary."""
    contents = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    numbered = [part for part in contents["parts"] if part.get("numbered")]
    chapters = [Path(chapter["file"]).name for part in numbered for chapter in part["chapters"]]
    return ["intro", *chapters, "glossary"]


def required(page: str, english: dict[str, str]) -> list[str]:
    """Titles of the passages that the Japanese page must have."""
    if page == "intro":
        return [OPENING]
    return list(english) if page == "glossary" else [LEARN, SUMMARY]


def english_passages(page: str, root: Path = ROOT) -> dict[str, str]:
    """Passages of an English page by their titles: the opening, what you will learn, and all sections; without code.

    Raises:
        FileNotFoundError: there is no such page.
    """
    path = root / "book" / "text" / f"{page}.md"
    text = (path if path.exists() else root / "book" / f"{page}.md").read_text("utf-8")
    text = FENCE.sub("", re.sub(r"\A---\n.*?^---\n", "", text, flags=re.MULTILINE | re.DOTALL))
    found = {LEARN: match[1]} if (match := ADMONITION.search(text)) else {}
    opening, *sections = re.split(r"^## ", ADMONITION.sub("", text).lstrip(), flags=re.MULTILINE)
    if page != "glossary":
        found[OPENING] = opening.partition("\n")[2] if opening.startswith("# ") else opening
    for section in sections:
        title, _, body = section.partition("\n")
        found[title.strip()] = body
    return found


def japanese_passages(page: str, root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """Passages of a Japanese page by the titles of the English ones: digest, text.

    Raises:
        FileNotFoundError: there is no such page.
    """
    text = (root / "book" / "ja" / f"{page}.md").read_text("utf-8")
    _, *parts = MARKER.split(text)
    titles, digests, bodies = parts[::3], parts[1::3], parts[2::3]
    return {title: (digest, body) for title, digest, body in zip(titles, digests, bodies, strict=True)}


def digest(passage: str) -> str:
    """12 hexadecimal digits that change with every change of the words, but not with line breaks."""
    return hashlib.sha256(" ".join(passage.split()).encode()).hexdigest()[:12]


def items(passage: str) -> int:
    """How many points of a list, or terms with a definition, a passage has."""
    terms = r"^(?![ \n`:%(#*]).+\n(?=  \S)" if "{glossary}" in passage else r"^: "
    return sum(len(re.findall(pattern, passage, re.MULTILINE)) for pattern in (r"^\* ", terms))


def faults(root: Path = ROOT) -> list[str]:
    """What is missing in the Japanese edition or no longer agrees with the English pages; a line for each."""
    found = []
    for page in pages(root):
        english = english_passages(page, root)
        if not (root / "book" / "ja" / f"{page}.md").exists():
            found.append(f"{page}: no Japanese page")
            continue
        japanese = japanese_passages(page, root)
        found += [f"{page}: {title}: not translated" for title in required(page, english) if title not in japanese]
        for title, (stored, body) in japanese.items():
            if title not in english:
                found.append(f"{page}: {title}: the English page has no such passage")
                continue
            if stored != digest(english[title]):
                found.append(f"{page}: {title}: the English text has changed")
            if items(body) != items(english[title]):
                found.append(f"{page}: {title}: {items(body)} points, {items(english[title])} in English")
            if set(GLUED.findall(body)) != set(GLUED.findall(english[title])):
                found.append(f"{page}: {title}: other numbers are pasted than in English")
    return found


def accept(page: str, root: Path = ROOT) -> None:
    """Write the digests of today's English passages into a Japanese page.

    Raises:
        FileNotFoundError: there is no such page.
        ValueError: it translates a passage that the English page does not have.
    """
    english, path = english_passages(page, root), root / "book" / "ja" / f"{page}.md"
    if unknown := sorted(set(japanese_passages(page, root)) - set(english)):
        raise ValueError(f"{page}: no such passages in English: {', '.join(unknown)}")
    text = MARKER.sub(lambda match: f"% passage: {match[1]} | {digest(english[match[1]])}", path.read_text("utf-8"))
    path.write_text(text, "utf-8", newline="\n")


def _language(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if pagename.startswith("book/ja/"):
        context["language"] = "ja"


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", _language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    if sys.argv[1:2] == ["accept"]:
        for name in sys.argv[2:] or pages():
            accept(name)
    lines = faults()
    print("\n".join(lines))
    sys.exit(bool(lines))
