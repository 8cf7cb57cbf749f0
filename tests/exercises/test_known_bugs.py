"""Each known bug is noticed by the test that the book names, and only while its switch is on."""

import importlib.util
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fewbits.exercises import BUGS, inject

ROOT = Path(__file__).resolve().parent.parent.parent

# Arguments of the tests that have parameters.
CASES = {
    "padding": {"count": 65},
    "logarithm": {"dtype": torch.float32, "exponent": 30},
    "frozen-weights-move": {"name": "SGD"},
    "code-0": {"n1": 0},
}


@cache
def module(path: str) -> ModuleType:
    """A file of tests, imported under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"named_by_bugs_{Path(path).stem}", ROOT / path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("name", BUGS)
def test_the_named_test_notices_the_bug(name):
    path, _, function = BUGS[name].test.partition("::")
    test = getattr(module(path), function)
    test(**CASES.get(name, {}))
    with inject(name) as bug, pytest.raises((AssertionError, pytest.fail.Exception)):
        test(**CASES.get(name, {}))
    assert bug is BUGS[name]
    test(**CASES.get(name, {}))  # the switch is off again


@pytest.mark.parametrize("name", BUGS)
def test_the_switch_is_off_after_an_error(name):
    code = BUGS[name].right.__code__
    with suppress(KeyError), inject(name):
        assert BUGS[name].right.__code__ is BUGS[name].wrong.__code__
        raise KeyError
    assert BUGS[name].right.__code__ is code


def test_an_unknown_bug_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of ties, .*, got 'heisenbug'"), inject("heisenbug"):
        pass
