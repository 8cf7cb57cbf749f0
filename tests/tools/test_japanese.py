import shutil

import pytest
from tool_files import ROOT, tool

japanese = tool("japanese")

TOC = "parts:\n  - caption: Chapters\n    numbered: 1\n    chapters:\n      - file: book/uniform\n"
ENGLISH = """---
kernelspec: {}
---

# Grids

```{admonition} What you will learn
:class: tip
* how to round;
* why.

**You need** Python.
```

Some text.

```{code-cell} ipython3
print("## Summary")
```

## Summary

* One scale loses {glue:text}`uniform/drop` points.

```{bibliography}
:filter: docname in docnames
```
"""
JAPANESE = """# 格子

% passage: What you will learn | new

* 丸め方
* その理由

% passage: Summary | new

* 損失は {glue:text}`uniform.ipynb::uniform/drop` ポイントです。
"""
INTRO = "# Few Bits\n\nA book.\n\n## Start\n\nHere.\n"
GLOSSARY = (
    "# Glossary\n\n## Words\n\n```{glossary}\ngrid\n  Numbers at\n  equal distances.\n\nscale\n  A factor.\n```\n"
)
GLOSSARY_JA = "# 用語集\n\n% passage: Words | new\n\n格子\n: 等間隔の数。\n\nスケール\n: 係数。\n"


@pytest.fixture
def book(tmp_path):
    """A small book with a Japanese side that is in step."""
    files = {
        "_toc.yml": TOC,
        "book/text/uniform.md": ENGLISH,
        "book/text/intro.md": INTRO,
        "book/glossary.md": GLOSSARY,
        "book/ja/uniform.md": JAPANESE,
        "book/ja/intro.md": "# Few Bits\n\n% passage: Opening | new\n\n本です。\n",
        "book/ja/glossary.md": GLOSSARY_JA,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    for page in japanese.pages(tmp_path):
        japanese.accept(page, tmp_path)
    return tmp_path


def change(book, name, old, new):
    path = book / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_what_is_in_step_has_no_fault(book):
    assert japanese.pages(book) == ["intro", "uniform", "glossary"]
    assert japanese.faults(book) == []


def test_passages_have_no_code(book):
    passages = japanese.english_passages("uniform", book)
    assert list(passages) == ["What you will learn", "Opening", "Summary"]
    assert passages["Opening"].split() == ["Some", "text."]
    assert "bibliography" not in passages["Summary"]


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("book/text/uniform.md", "how to round", "how to clip", "uniform: What you will learn: the English text has"),
        ("book/ja/uniform.md", "* その理由\n", "", "uniform: What you will learn: 1 points, 2 in English"),
        ("book/ja/uniform.md", "uniform/drop", "uniform/gain", "uniform: Summary: other numbers are pasted"),
        ("book/ja/uniform.md", "% passage: Summary", "% passages: Summary", "uniform: Summary: not translated"),
        ("book/text/uniform.md", "## Summary\n", "## In short\n", "uniform: Summary: the English page has no such"),
        ("book/ja/glossary.md", "スケール\n: 係数。\n", "", "glossary: Words: 1 points, 2 in English"),
        ("book/text/intro.md", "A book.", "Two books.", "intro: Opening: the English text has changed"),
    ],
)
def test_what_is_out_of_step_is_found(book, name, old, new, fault):
    change(book, name, old, new)
    assert any(line.startswith(fault) for line in japanese.faults(book)), japanese.faults(book)


def test_a_missing_page_is_found(book):
    (book / "book/ja/uniform.md").unlink()
    assert japanese.faults(book) == ["uniform: no Japanese page"]


def test_line_breaks_do_not_count(book):
    change(book, "book/text/intro.md", "A book.", "A\nbook.")
    assert japanese.faults(book) == []


def test_nothing_is_accepted_that_is_not_there(book):
    change(book, "book/text/uniform.md", "## Summary\n", "## In short\n")
    with pytest.raises(ValueError, match="uniform: no such passages in English: Summary"):
        japanese.accept("uniform", book)


def test_the_japanese_edition_is_in_step():
    assert japanese.faults(ROOT) == []


def test_pages_that_are_not_translated_are_noticed_here(tmp_path):
    shutil.copytree(ROOT / "book" / "ja", tmp_path / "book" / "ja")
    shutil.copytree(ROOT / "book" / "text", tmp_path / "book" / "text")
    for name in ("_toc.yml", "book/glossary.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "book/ja/ternary.md").unlink()
    assert japanese.faults(tmp_path) == ["ternary: no Japanese page"]
