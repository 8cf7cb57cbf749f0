"""``import fewbits`` offers a curated list of names, and is quick."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fewbits

ROOT = Path(__file__).resolve().parent.parent


def test_every_offered_name_is_there():
    assert set(fewbits.__all__) == set(fewbits._PLACES)
    for name in fewbits.__all__:
        assert getattr(fewbits, name) is not None
    assert set(fewbits.__all__) <= set(dir(fewbits))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="'fewbits' has no attribute 'quantise'"):
        fewbits.quantise  # noqa: B018


def test_the_import_alone_loads_neither_torch_nor_a_family():
    code = "import sys, fewbits; print({'torch', 'numba', 'fewbits.uniform'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert fewbits.__version__ in (project["version"], "0+unknown")
