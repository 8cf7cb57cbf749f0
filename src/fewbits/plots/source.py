"""Code of the package on a page: functions as they stand in the source, without their docstrings."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable


def show_source(*functions: Callable) -> "Source":
    """Show functions whole, as the package runs them. Their docstrings are left out; comments and decorators stay.

    Args:
        functions: functions, methods, functions compiled by Numba, or classes.
    Raises:
        ValueError: there is no function to show.
        TypeError, OSError: as :func:`inspect.getsource`, for what has no Python source.
    """
    if not functions:
        raise ValueError("functions must name at least one function to show")
    return Source("\n\n\n".join(_without_docstrings(function) for function in functions))


class Source:
    """Code that displays itself, highlighted where it can be; the same code always gives the same output.

    Args:
        code: as it is shown.
        language: that it is highlighted as, by a name that Jupyter and Pygments know ("python", "verilog").
    """

    def __init__(self, code: str, language: str = "python"):
        self.code = code
        self.language = language

    def __repr__(self) -> str:
        return self.code

    def _repr_markdown_(self) -> str:
        # A fence longer than any run of backticks in the code. Jupyter and the book highlight what it holds.
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", self.code))])
        return f"{fence}{self.language}\n{self.code}\n{fence}"


def _without_docstrings(function: Callable) -> str:
    """The dedented source of ``function``. A docstring that is the whole body stays: nothing else would be left."""
    code = textwrap.dedent(inspect.getsource(function))
    lines = code.splitlines()
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        docstring = node.body[0]
        if ast.get_docstring(node, clean=False) is None or len(node.body) == 1:
            continue
        end = docstring.end_lineno or docstring.lineno
        while not lines[end].strip():  # blank lines between the docstring and what follows, which is a comment or code
            end += 1
        dropped.update(range(docstring.lineno - 1, end))
    return "\n".join(line for number, line in enumerate(lines) if number not in dropped)
