"""`make pdf` prints a page: solutions open, formulas set, a table of contents."""

from pathlib import Path

import browsing
import pytest
from tool_files import tool

pdf = tool("pdf")

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title></head>
<body><h1>One</h1><details><summary>Solution</summary><p style="height: 3000px">hidden</p></details></body></html>
"""


def pages_of(file) -> int:
    return file.read_bytes().count(b"/Type /Page\n")


def test_prints_with_solutions_open(browser, tmp_path):
    counts = {}
    for name, text in {"closed": PAGE, "none": PAGE.replace("details", "template")}.items():
        (tmp_path / f"{name}.html").write_text(text, "utf-8")
        pdf.print_page(browser, tmp_path / f"{name}.html", tmp_path / "out" / f"{name}.pdf")
        file = tmp_path / "out" / f"{name}.pdf"
        assert file.read_bytes().startswith(b"%PDF")
        assert b"/Outlines" in file.read_bytes()
        counts[name] = pages_of(file)
    assert counts["none"] == 1
    assert counts["closed"] > 1
    assert not list(tmp_path.glob("out/*.part"))


STYLE = (Path(__file__).resolve().parents[2] / "book" / "_static" / "custom.css").read_text("utf-8")


def printed(browser, file: Path, body: str) -> int:
    """How many pages the browser alone makes of it, with the style of the book."""
    file.write_text(f"<!DOCTYPE html><style>{STYLE}</style><body class='bd-article'>{body}</body>", "utf-8")
    sheet = browser.new_page()
    sheet.goto(file.as_uri())
    sheet.pdf(path=file.with_suffix(".pdf"), format="A4")
    sheet.close()
    return pages_of(file.with_suffix(".pdf"))


def test_a_reader_who_prints_a_page_gets_what_is_folded(browser, tmp_path):
    closed = '<details><summary>Solution</summary><p style="height: 3000px">hidden</p></details>'
    assert printed(browser, tmp_path / "page.html", closed) > 1
    assert printed(browser, tmp_path / "page.html", closed.replace("details", "template")) == 1


def test_a_chapter_begins_on_a_page_of_its_own(browser, tmp_path):
    chapter = '<span id="document-{}"></span><section><h2>A chapter</h2></section>'
    chapters = "".join(map(chapter.format, ("one", "two", "three")))
    assert printed(browser, tmp_path / "page.html", f"<p>Before.</p>{chapters}") == 4


def test_pictures_do_not_lead_to_files_of_this_machine(browser, tmp_path):
    link = '<a class="{}" href="figure.png">a figure</a>'
    for name in ("image-reference", "other"):
        (tmp_path / f"{name}.html").write_text(PAGE.replace("hidden", link.format(name)), "utf-8")
        pdf.print_page(browser, tmp_path / f"{name}.html", tmp_path / f"{name}.pdf")
    assert b"figure.png" in (tmp_path / "other.pdf").read_bytes()  # so a link would be found
    assert b"figure.png" not in (tmp_path / "image-reference.pdf").read_bytes()


def test_without_a_browser(monkeypatch):
    monkeypatch.setattr(browsing, "BROWSERS", ("no-such-browser",))
    with pytest.raises(FileNotFoundError, match="looked for no-such-browser"), browsing.launched():
        pass
