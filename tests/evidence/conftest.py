"""A folder of results and a clean checkout, so that claims can be recorded in a test."""

import subprocess

import pytest

from fewbits import evidence
from fewbits.evidence import records


class Checkout:
    """A small repository in place of the project's; `commit` adds a commit, `change` leaves a change uncommitted."""

    def __init__(self, folder):
        self.folder = folder
        self.git("init", "-q")
        self.commit()

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        """Change the code, commit, and give the commit."""
        self.change()
        self.git("add", ".")
        self.git("commit", "-q", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def change(self) -> None:
        code = self.folder / "code.py"
        code.write_text((code.read_text() if code.exists() else "") + "1\n")
        evidence.code_version.cache_clear()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A clean checkout."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.setattr(records, "checkout", lambda: folder)
    # Keeps git from finding a repository above the temporary folder.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    yield Checkout(folder)
    evidence.code_version.cache_clear()


@pytest.fixture
def results(tmp_path, monkeypatch, code):
    """An empty results folder in place of data/results, beside a clean checkout."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setenv("FEWBITS_RESULTS", str(folder))
    return folder


@pytest.fixture
def record():
    """Stores claims of the chapter ``demo``."""

    def store(claims, chapter="demo", command="python -m fewbits.experiments demo"):
        return evidence.record(chapter, claims, command=command, wall_s=1.26)

    return store
