"""The reference has every public name once, and the generator writes a small module as it should."""

import importlib
import re
import sys
import textwrap

import pytest
from browsing import build_book
from bs4 import BeautifulSoup
from tool_files import ROOT, tool

sys.path.insert(0, str(ROOT / "tools"))
reference = tool("reference_pages")


def public(page: str) -> list[str]:
    """What Python itself finds: ``__all__``; else the public functions and classes that a module defines."""
    module = importlib.import_module("fewbits" if page == "fewbits" else f"fewbits.{page}")
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = {name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__}
    return [name for name, each in own.items() if not name.startswith("_") and callable(each)]


@pytest.mark.parametrize("page", sorted({*reference.PAGES} - {"bitwise"}))
def test_every_public_name_has_its_entry_once(page):
    entries = re.findall(r"^\.\. py:(?:function|class|data):: (\w+)", reference.page(ROOT, page), re.MULTILINE)
    assert entries
    assert sorted(entries) == sorted(public(page))


def test_the_folder_without_a_list_of_names_has_the_functions_of_its_modules():
    text = reference.page(ROOT, "bitwise")
    assert text.count(".. py:function:: gemm.xnor_gemm(") == 1
    assert ":: gemm._" not in text
    assert ".. py:function:: simd.load(array, index)\n" in text  # what a caller writes


def test_every_page_of_the_folder_is_made():
    stubs = {path.stem: path.read_text("utf-8") for path in (ROOT / reference.FOLDER).glob("*.md")}
    assert stubs.keys() == {*reference.PAGES}
    assert [name for name, text in stubs.items() if reference.PLACE not in text] == []


def test_built_pages_lead_to_the_chapter_and_back():
    html = ROOT / "_build" / "html" / "book"
    if not (html / "reference" / "inq.html").exists():  # `make test` has built it
        build_book("--all", "-W", "--keep-going")

    def links(page: str) -> set[str]:
        article = BeautifulSoup((html / page).read_text("utf-8"), "html.parser").find("article")
        return {link.get("href", "") for link in article.find_all("a")}

    for chapter, page in [("inq", "inq"), ("fpga_gates", "fpga"), ("your_network", "fewbits"), ("bitwise", "bitwise")]:
        assert f"reference/{page}.html" in links(f"{chapter}.html")
        assert f"../{chapter}.html" in links(f"reference/{page}.html")
    assert "../equations.html#zhou2017" in links("reference/inq.html")


# --- A case by hand ---------------------------------------------------------------------------------------------------

PART = '''
    """A part."""

    from torch import nn

    LIMIT = 3  # of the paper


    class Base(nn.Module):
        """Base."""

        def __init__(self, bits: int = 2):
            self.bits = bits


    class Grid(Base):
        """A grid of ``|x|`` with |x| below 1.

        Args:
            bits: at most
                two lines.
        Source: li2016 Eq. 6; own (ours); book eq-half
        """

        @property
        def top(self) -> int:
            """Largest code."""
            return 1

        def forward(self, x):
            return x

        def _inner(self) -> None:
            """Not shown."""


    def half(x: float, *, by: int = 2) -> float:
        """Half of ``x``.

        Returns:
            The half: a float.
        Raises:
            ValueError: ``by`` is 0.
        Source: own
        """
        return x / by
'''
FACE = '''
    """A family."""

    from fewbits.inq.part import LIMIT, Grid
    from fewbits.inq.part import half as halve

    __all__ = ["LIMIT", "Grid", "halve"]
'''
PAGE = r"""
Chapter: {doc}`../inq`

``````{eval-rst}
.. py:currentmodule:: fewbits.inq

A family.

:py:obj:`LIMIT` · :py:obj:`Grid` · :py:obj:`halve`

.. py:data:: LIMIT
   :value: 3

   of the paper

   :Code: `fewbits.inq.part, line 5 <../../_modules/fewbits/inq/part.html#line-5>`__

.. py:class:: Grid(bits: int=2)

   A grid of ``|x|`` with \|x\| below 1.

   :param bits: at most
      two lines.
   :Source: `li2016 Eq. 6 <../equations.html#li2016>`__; own (ours); chapter's equation :eq:`eq-half`
   :Code: `fewbits.inq.part, line 15 <../../_modules/fewbits/inq/part.html#line-15>`__

   .. py:property:: top
      :type: int

      Largest code.

.. py:function:: halve(x: float, *, by: int=2) -> float

   Half of ``x``.

   :returns: The half: a float.
   :raises ValueError: ``by`` is 0.
   :Source: own
   :Code: `fewbits.inq.part, line 36 <../../_modules/fewbits/inq/part.html#line-36>`__
``````
"""


@pytest.fixture
def written(tmp_path):
    """Write a package with the family ``inq`` and return its page."""

    def write(part: str = PART, face: str = FACE) -> str:
        folder = tmp_path / "src" / "fewbits" / "inq"
        folder.mkdir(parents=True)
        for name, text in (("part", part), ("__init__", face)):
            (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip(), "utf-8")
        return reference.page(tmp_path, "inq")

    return write


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_a_small_family_is_written_as_by_hand(written):
    assert lines(written()) == lines(PAGE)


def test_a_public_name_without_docstring_is_refused(written):
    with pytest.raises(ValueError, match=r"fewbits\.inq\.part\.Base: it is public and has no docstring"):
        written(PART.replace('"""Base."""', ""), FACE.replace("Grid", "Base"))


def test_an_argument_without_name_is_refused(written):
    with pytest.raises(ValueError, match=r"part\.Grid: 'at most.*' in Args is not of the form 'name: what it is'"):
        written(PART.replace("bits: at most", "at most"))


def test_a_name_that_is_nowhere_defined_is_refused(written):
    with pytest.raises(ValueError, match=r"fewbits\.inq\.part: Grit is not defined there"):
        written(face=FACE.replace("Grid", "Grit"))
