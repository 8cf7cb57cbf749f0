"""Code on a page: whole functions without docstrings, the same output each time."""

import ast
import inspect

import numba
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits.plots import Source, show_source


def plain(x):
    """One line."""
    # This comment explains the sum.
    return x + 1  # this one, too


def long_signature(
    first: int,
    second: str = '"""no docstring"""',
) -> str:
    """A docstring

    of several lines, with a quoted ''' in it.
    """

    def inner(text):
        """Inner."""

        return text * 2

    return second + inner("`") * first


def bare(x):
    return x


def stub():
    """The docstring is all there is."""


@numba.njit
def compiled(x):
    """Compiled by Numba."""
    return 2 * x


class Layer:
    """A class."""

    def method(self, x):
        """A method."""
        return [
            x,
            self,
        ]

    @staticmethod
    @torch.no_grad()
    def static(x):
        r"""A raw docstring \alpha."""
        return x


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (plain, "def plain(x):\n    # This comment explains the sum.\n    return x + 1  # this one, too"),
        (bare, "def bare(x):\n    return x"),
        (stub, 'def stub():\n    """The docstring is all there is."""'),
        (compiled, "@numba.njit\ndef compiled(x):\n    return 2 * x"),
        (Layer.method, "def method(self, x):\n    return [\n        x,\n        self,\n    ]"),
        (Layer().method, "def method(self, x):\n    return [\n        x,\n        self,\n    ]"),
        (Layer.static, "@staticmethod\n@torch.no_grad()\ndef static(x):\n    return x"),
        (Layer.__dict__["static"], "@staticmethod\n@torch.no_grad()\ndef static(x):\n    return x"),
    ],
)
def test_a_function_is_shown_without_its_docstring(function, shown):
    assert repr(show_source(function)) == shown
    assert show_source(function)._repr_markdown_() == f"```python\n{shown}\n```"


def test_inner_docstrings_go_and_strings_stay():
    assert (
        repr(show_source(long_signature))
        == """\
def long_signature(
    first: int,
    second: str = '\"\"\"no docstring\"\"\"',
) -> str:
    def inner(text):
        return text * 2

    return second + inner("`") * first"""
    )


def test_a_class_is_shown_with_its_methods():
    shown = repr(show_source(Layer))
    assert shown.startswith("class Layer:\n    def method(self, x):\n        return [")
    assert '"""' not in shown
    assert "    @staticmethod\n    @torch.no_grad()\n    def static(x):\n        return x" in shown


def test_several_functions_are_two_blank_lines_apart():
    assert repr(show_source(bare, compiled)) == f"{show_source(bare)!r}\n\n\n{show_source(compiled)!r}"


def fenced(x):
    return f"```{x}````"


def test_the_fence_is_longer_than_any_run_of_backticks():
    assert show_source(fenced)._repr_markdown_() == f"`````python\n{show_source(fenced)!r}\n`````"


def test_other_languages_are_named_for_the_highlighter():
    assert Source("wire a;", "verilog")._repr_markdown_() == "```verilog\nwire a;\n```"
    assert repr(Source("wire a;", "verilog")) == "wire a;"


def test_what_has_no_source_is_refused():
    with pytest.raises(ValueError, match="at least one function"):
        show_source()
    with pytest.raises(TypeError):
        show_source(len)


def without_docstring(tree: ast.AST) -> ast.AST:
    """The syntax tree with docstrings removed by another route: from the tree, not from the lines."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None and len(body) > 1:
            del body[0]
    return tree


LIBRARY = [
    function
    for module in (inspect, ast, torch.nn.functional)
    for function in vars(module).values()
    if inspect.isfunction(function) and function.__module__ == module.__name__
]


@given(st.sampled_from(LIBRARY))
def test_what_is_shown_is_the_same_program(function):
    source = inspect.cleandoc("\n" + inspect.getsource(function))
    shown = repr(show_source(function))
    assert ast.dump(ast.parse(shown)) == ast.dump(without_docstring(ast.parse(source)))
    assert set(shown.splitlines()) <= set(source.splitlines())
