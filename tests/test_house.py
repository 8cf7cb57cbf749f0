"""The house is in order: pins agree, modules keep to their floors, pages and notebooks belong together."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fewbits"

# A folder imports from its own floor and from those below, never from above. A new folder needs a place here.
FLOORS = (
    "core",
    "data training nets bitwise",
    "uniform binary ternary low_bitwidth learned_step logarithmic inq mobileone mixed_precision vector bn_folding "
    "compensation",
    "integer fpga",
    "plots evidence exercises",
    "experiments",
)
FLOOR_OF = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders.split()}
MOST_NAMES = 25  # what a newcomer meets side by side


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirements() -> list[Requirement]:
    """What the package and its extras ask for."""
    lists = [project()["dependencies"], *project()["optional-dependencies"].values()]
    return [Requirement(text) for texts in lists for text in texts]


def pins() -> dict[str, str]:
    """Version of each package in constraints.txt, which pins exactly."""
    pinned = [line.partition("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()]
    return {canonicalize_name(name): version for name, _, version in pinned}


def pins_out_of_range(requirements: list[Requirement], pins: dict[str, str]) -> list[str]:
    """Requirements that have no pin, or one outside their range."""
    return [
        f"{requirement}: {version}"
        for requirement in requirements
        if not (version := pins.get(canonicalize_name(requirement.name))) or version not in requirement.specifier
    ]


def toc_pages() -> set[str]:
    """All pages of the book, without suffix, relative to the root."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = [page for part in toc["parts"] for page in part["chapters"]]
    return {toc["root"], *(each["file"] for page in listed for each in (page, *page.get("sections", ())))}


def test_each_requirement_is_a_range_that_holds_its_pin():
    assert [str(requirement) for requirement in requirements() if "==" in str(requirement.specifier)] == []
    assert pins_out_of_range(requirements(), pins()) == []


def test_a_pin_outside_its_range_and_a_missing_one_are_noticed():
    asked = [Requirement("Torch>=2.6,<3"), Requirement("numpy>=2.1"), Requirement("scikit_learn>=1.6")]
    found = pins_out_of_range(asked, {"torch": "3.0.1", "scikit-learn": "1.9.1"})
    assert found == ["Torch<3,>=2.6: 3.0.1", "numpy>=2.1: None"]


def test_conda_and_make_install_every_extra_with_the_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (by_conda,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    extras = ",".join(project()["optional-dependencies"])
    assert by_conda == ["-c constraints.txt", f"-e .[{extras}]"]
    assert f"-c constraints.txt -e '.[{extras}]'" in (ROOT / "Makefile").read_text("utf-8")


def test_the_front_pages_name_every_extra_and_every_chapter():
    readme = (ROOT / "README.md").read_text("utf-8")
    extras = re.findall(r"^\| `(\w+)` \| ", readme, re.MULTILINE)
    assert sorted(extras) == sorted(project()["optional-dependencies"])
    intro = (ROOT / "book" / "text" / "intro.md").read_text("utf-8")
    linked = set(re.findall(r"\{doc\}`(?:[^`]*<)?(\w+)>?`", intro))
    chapters = {Path(page).name for page in toc_pages() if (ROOT / "book" / "text" / f"{Path(page).name}.md").exists()}
    assert chapters - linked == {"intro"}


def test_the_workflow_runs_on_every_python_that_the_package_names_and_every_week():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text("utf-8"))
    jobs = workflow["jobs"]
    runs = jobs["test"]["strategy"]["matrix"]["python"] + [
        step["with"]["python-version"] for step in jobs["macos"]["steps"] if "with" in step
    ]
    assert sorted(runs) == [
        text.split(" :: ")[-1] for text in project()["classifiers"] if re.search(r":: 3\.\d+$", text)
    ]
    assert workflow[True]["schedule"]  # YAML reads the key `on` as a truth value


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == project()["version"]


# --- Floors -----------------------------------------------------------------------------------------------------------


def imported_modules(source: str) -> Iterator[str]:
    """Modules of fewbits that a source file imports, anywhere in it: ``nets`` for ``from fewbits.nets import MLP``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write fewbits.…, so that floors can be read"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("fewbits."))


def imports_from_above(folder: str, source: str) -> list[str]:
    """Imports of a file in ``folder`` that lie on a floor above it, or on none."""
    above = {name for name in imported_modules(source) if FLOOR_OF.get(name, 99) > FLOOR_OF[folder]}
    return [
        f"{folder} (floor {FLOOR_OF[folder]}) imports {name} (floor {FLOOR_OF.get(name)})" for name in sorted(above)
    ]


def folders() -> set[str]:
    """What lies side by side in the package: folders, and families of one file."""
    return {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def test_every_folder_has_a_floor():
    assert folders() - {"__init__"} == FLOOR_OF.keys()
    assert len(FLOOR_OF) <= MOST_NAMES


def test_folders_import_from_below():
    files = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]
    folder_of = {path: path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in files}
    assert [text for path in files for text in imports_from_above(folder_of[path], path.read_text("utf-8"))] == []


IMPORT_BY_FLOORS = """
import importlib, pkgutil, sys
import fewbits
for floor, folders in enumerate({floors!r}):
    for folder in folders.split():
        package = importlib.import_module(f"fewbits.{{folder}}")
        for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"fewbits.{{folder}}."):
            if module.name not in {scripts!r}:
                importlib.import_module(module.name)
    allowed = {{name for names in {floors!r}[: floor + 1] for name in names.split()}}
    loaded = {{name.split(".")[1] for name in sys.modules if name.startswith("fewbits.")}}
    assert loaded <= allowed, f"floor {{floor}} brings in {{sorted(loaded - allowed)}}"
"""
SCRIPTS = {"fewbits.experiments.__main__", "fewbits.experiments.bitwise.peer"}  # run by themselves, not imported


def imported_by_floors(floors: tuple[str, ...]) -> subprocess.CompletedProcess:
    """Import every module of the package, floor by floor, in a fresh interpreter."""
    program = IMPORT_BY_FLOORS.format(floors=floors, scripts=SCRIPTS)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_every_module_can_be_imported_and_brings_in_nothing_from_above():
    done = imported_by_floors(FLOORS)
    assert done.returncode == 0, done.stderr


def test_a_module_on_too_low_a_floor_is_noticed():
    done = imported_by_floors(("core bitwise", "low_bitwidth", "binary"))
    assert "AssertionError: floor 1 brings in ['binary']" in done.stderr


# What a program may have set for itself. Libraries are imported first: what they set is their affair.
GLOBAL_STATE = """
import importlib, os, pkgutil, random, sys
import matplotlib.pyplot, numba, numpy, pandas, scipy.stats, seaborn, sklearn, torch
def state():
    found = {f"matplotlib.{name}": str(value) for name, value in matplotlib.rcParams.items()}
    found |= {f"numba.{name}": repr(getattr(numba.config, name)) for name in dir(numba.config)}
    found |= {f"environment.{name}": value for name, value in os.environ.items()}
    found |= {f"numpy.{name}": value for name, value in (numpy.geterr() | numpy.get_printoptions()).items()}
    for name in ("axes_style", "plotting_context", "color_palette"):
        found[f"seaborn.{name}"] = str(getattr(seaborn, name)())
    for name in (
        "get_num_threads", "get_num_interop_threads", "get_default_dtype", "get_float32_matmul_precision",
        "is_grad_enabled", "are_deterministic_algorithms_enabled", "is_deterministic_algorithms_warn_only_enabled",
        "is_autocast_enabled", "get_rng_state",
    ):
        found[f"torch.{name}"] = str(getattr(torch, name)())
    found["torch.benchmark"] = torch.backends.cudnn.benchmark
    return found | {"random": random.getstate(), "numpy random": str(numpy.random.get_state())}
before = state()
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if module.name not in {scripts!r}:
            importlib.import_module(module.name)
after = state()
print(*sorted(name for name in before | after if before.get(name) != after.get(name)), sep="\\n")
"""


def changed_by_importing(*packages: str) -> list[str]:
    """Which settings of the process a fresh interpreter finds changed after it imported all modules of the packages."""
    command = [sys.executable, "-c", GLOBAL_STATE.replace("{scripts!r}", repr(SCRIPTS)), *packages]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_importing_changes_no_setting_of_the_process():
    assert changed_by_importing("fewbits") == []


def test_a_changed_setting_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "meddler").mkdir()
    (tmp_path / "meddler" / "__init__.py").write_text(
        "import os, numba, seaborn, torch\n"
        "seaborn.set_theme(rc={'figure.dpi': 144})\n"
        "numba.config.CPU_FEATURES = '-prefer-256-bit'\n"
        "torch.set_default_dtype(torch.float64)\n"
        "os.environ['MEDDLED'] = '1'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    changed = changed_by_importing("meddler")
    expected = {"environment.MEDDLED", "matplotlib.figure.dpi", "numba.CPU_FEATURES", "torch.get_default_dtype"}
    assert expected <= set(changed)
    assert any(name.startswith("seaborn.") for name in changed)


@pytest.mark.parametrize(
    "source",
    [
        "from fewbits.uniform import UniformQuantizer",
        "from fewbits import uniform",
        "def f():\n    import fewbits.uniform",
    ],
)
def test_import_from_above_is_noticed(source):
    assert imports_from_above("core", source) == ["core (floor 0) imports uniform (floor 2)"]
    assert imports_from_above("ternary", source) == []
    assert imports_from_above("experiments", source) == []


# --- Pages ------------------------------------------------------------------------------------------------------------


def test_every_page_of_the_contents_exists():
    missing = [page for page in toc_pages() if not any((ROOT / f"{page}{end}").exists() for end in (".md", ".ipynb"))]
    assert missing == []


def test_every_notebook_is_in_the_contents():
    assert {f"book/{path.stem}" for path in (ROOT / "book").glob("*.ipynb")} - toc_pages() == set()


def test_every_notebook_has_its_text_and_every_text_its_notebook():
    texts = {path.stem for path in (ROOT / "book" / "text").glob("*.md")}
    assert texts == {path.stem for path in (ROOT / "book").glob("*.ipynb")}


# What a chapter compares with, and what torch offers under no public name.
TORCH_ONLY = {
    "torch._fake_quantize_learnable_per_tensor_affine",
    "torch.utils._python_dispatch",
    "torch.utils._pytree",
}


def code_cells(text: str) -> Iterator[str]:
    """The Python of each code cell of a chapter, without its metadata and IPython's commands."""
    for cell in re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        cell = re.sub(r"\A---\n.*?^---\n", "", cell, flags=re.MULTILINE | re.DOTALL)
        yield "\n".join(line for line in cell.splitlines() if not line.startswith((":", "%", "!")))


def private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def private_names(text: str) -> list[str]:
    """Names with a leading underscore that the cells of a chapter import, or take from a module or an object."""
    found = set()
    for node in (node for cell in code_cells(text) for node in ast.walk(ast.parse(cell))):
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if private(node.module) else [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and private(node.attr):
            names = [ast.unparse(node)]
        else:
            continue
        found |= {name for name in names if private(name)}
    return sorted(found - TORCH_ONLY)


@pytest.mark.parametrize("path", sorted((ROOT / "book" / "text").glob("*.md")), ids=lambda path: path.stem)
def test_chapters_use_public_names_only(path):
    assert private_names(path.read_text("utf-8")) == []


def test_a_private_name_in_a_chapter_is_noticed():
    text = """
```{code-cell} ipython3
---
tags: [hide-cell]
---
%matplotlib inline
import numpy as np, fewbits._secret
from fewbits.training.loop import _batch, fit
from fewbits._other import name
print(fit.__name__, [_ for _ in ()])
```

In prose `module._name` may be named.

```{code-cell} ipython3
:tags: [nbval-ignore-output]

layer._forward_hooks.clear()
```
"""
    assert private_names(text) == [
        "fewbits._other",
        "fewbits._secret",
        "fewbits.training.loop._batch",
        "layer._forward_hooks",
    ]


# --- Records ----------------------------------------------------------------------------------------------------------


def strangers_among_results(files: set[str], chapters: set[str], experiments: set[str]) -> list[str]:
    """What breaks the rule: chapter = folder of experiments = name of its claims = start of its tables' names."""
    claims = {name.removesuffix(".json") for name in files if name.endswith(".json")}
    found = [f"no experiment records {name}.json" for name in claims - experiments]
    found += [f"the experiment {name} has no {name}.json" for name in experiments - claims]
    found += [f"the experiment {name} has no chapter" for name in experiments - chapters]
    starts = tuple(f"{name}_" for name in experiments)
    found += [
        f"{name} belongs to no chapter" for name in files if name.endswith(".csv") and not name.startswith(starts)
    ]
    return sorted(found)


def test_records_have_the_name_of_their_chapter():
    files = {path.name for path in (ROOT / "data" / "results").iterdir()}
    chapters = {path.stem for path in (ROOT / "book" / "text").glob("*.md")}
    experiments = {path.parent.name for path in (SOURCE / "experiments").glob("*/run.py")}
    assert strangers_among_results(files, chapters, experiments) == []


def test_a_record_of_another_name_is_noticed():
    files = {"inq.json", "inq_small.csv", "latency.json", "latency_layers.csv"}
    assert strangers_among_results(files, {"inq", "noise"}, {"inq", "noise", "extra"}) == [
        "latency_layers.csv belongs to no chapter",
        "no experiment records latency.json",
        "the experiment extra has no chapter",
        "the experiment extra has no extra.json",
        "the experiment noise has no noise.json",
    ]


# --- Files ------------------------------------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work)/\w+")


def test_names_of_test_files_are_unique():
    """pytest takes two files of one name for one module, and runs neither."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_file_names_a_path_of_this_machine():
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    git = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if git.returncode:
        pytest.skip("not a git checkout, so there is no list of files")
    found = []
    for name in filter(None, git.stdout.split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in data and (match := MACHINE_PATH.search(data.decode("utf-8", "replace"))):
            found.append(f"{name}: {match.group()}")
    assert found == []


def test_a_checkout_with_the_line_ends_of_windows_keeps_the_text(tmp_path):
    clone = ["git", "clone", "-q", "--depth", "1", "-c", "core.autocrlf=true", ROOT.as_uri(), str(tmp_path / "copy")]
    if subprocess.run(clone, capture_output=True, check=False).returncode:
        pytest.skip("not a git checkout, so there is nothing to clone")
    assert b"\r\n" not in (tmp_path / "copy" / "README.md").read_bytes()
    text = "src/fewbits/data/alice.txt"
    assert (tmp_path / "copy" / text).read_bytes() == (ROOT / text).read_bytes()


def test_machine_path_is_recognized():
    assert MACHINE_PATH.search("saved in /" + "home/reader/x.json")
    assert not MACHINE_PATH.search("https://example.org/home/reader and src/work/x")
