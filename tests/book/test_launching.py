"""What opens the book elsewhere: the launch buttons, and the files from which Binder builds its machine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.errors import ConfigError
from tool_files import ROOT, tool

ADDRESS = "https://github.com/example/few-bits"
colab = tool("colab")


@pytest.fixture
def launch_links(tmp_path, monkeypatch):
    """Builds one notebook with the theme of the book; returns the links of its launch menu by name."""
    monkeypatch.syspath_prepend(ROOT / "tools")

    def build(address: str) -> dict[str, str]:
        monkeypatch.setenv("BOOK_REPOSITORY", address)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page")])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, tmp_path / "index.ipynb")
        settings = {
            "extensions": ["myst_nb", "launch_buttons"],
            "html_theme": "sphinx_book_theme",
            "nb_execution_mode": "off",
        }
        out = tmp_path / "html"
        app = Sphinx(tmp_path, None, out, tmp_path / "doctrees", "html", settings, status=None, freshenv=True)
        app.build()
        page = BeautifulSoup((out / "index.html").read_text("utf-8"), "html.parser")
        menu = page.select(".dropdown-launch-buttons a")
        return {link.get_text(strip=True): link["href"] for link in menu}

    return build


def test_buttons_open_the_notebook_of_the_page(launch_links):
    assert launch_links(ADDRESS) == {
        "Binder": "https://mybinder.org/v2/gh/example/few-bits/main?urlpath=lab/tree/index.ipynb",
        "Colab": "https://colab.research.google.com/github/example/few-bits/blob/colab/index.ipynb",
    }


def test_notebooks_for_colab_install_the_book_first(tmp_path):
    """Without its magic the first cell is Python that finds the records; the rest is the notebook as it was."""
    written = colab.write_all(ADDRESS, tmp_path)
    assert {path.name for path in written} == {path.name for path in (ROOT / "book").glob("*.ipynb")}
    copy, stored = (nbformat.read(folder / "binary.ipynb", 4) for folder in (tmp_path, ROOT / "book"))
    nbformat.validate(copy)
    first, *others = copy.cells
    assert others == stored.cells
    shell = [line for line in first.source.splitlines() if line.startswith(("!", "%"))]
    assert shell[0].endswith(f"git clone --quiet --depth 1 {ADDRESS} few-bits")
    extras, packages = re.search(r"few-bits\[(.*)\]' (.*)", shell[1]).groups()
    assert f"-e .[book,{extras}]" in (ROOT / ".binder" / "requirements.txt").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    book = {re.match(r"[\w-]+", line)[0] for line in project["optional-dependencies"]["book"]}
    assert book - set(packages.split()) == {"jupyter-book", "jupyterlab", "jupytext", "sphinx-proof"}
    path = list(sys.path)
    exec("\n".join(line for line in first.source.splitlines() if line not in shell), {})
    assert sys.path.pop(0) == "few-bits/src"
    assert sys.path == path


def test_the_workflow_puts_them_where_the_buttons_point():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text("utf-8"))
    steps = workflow["jobs"]["colab"]["steps"]
    assert any("tools/colab.py" in step.get("run", "") for step in steps)
    assert any(f"HEAD:{colab.BRANCH}" in step.get("run", "") for step in steps)


def test_there_are_no_buttons_without_an_address(launch_links):
    assert launch_links("") == {}


def test_an_address_that_leads_nowhere_is_named(launch_links):
    with pytest.raises(ConfigError, match=r"BOOK_REPOSITORY must look like .* got 'few-bits'"):
        launch_links("few-bits")


def test_the_book_and_the_workflow_use_the_extension():
    sphinx = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["sphinx"]
    assert "launch_buttons" in sphinx["config"]["extensions"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text("utf-8"))
    assert "BOOK_REPOSITORY" in workflow["jobs"]["test"]["env"]


def test_binder_installs_what_the_book_pins():
    lines = (ROOT / ".binder" / "requirements.txt").read_text("utf-8").splitlines()
    assert "-e .[book,onnx,fpga,data,photographs]" in lines
    (constraints,) = (line.removeprefix("-c ") for line in lines if line.startswith("-c "))
    assert (ROOT / ".binder" / constraints).resolve() == ROOT / "constraints.txt"
    python = (ROOT / ".binder" / "runtime.txt").read_text("utf-8").strip()
    assert python == f"python-{re.search(r'python=([0-9.]+)', (ROOT / 'environment.yml').read_text('utf-8'))[1]}"


def test_binder_s_last_step_works_here():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run([script], check=True, cwd=ROOT, env=os.environ | {"PATH": programs}, timeout=120)
