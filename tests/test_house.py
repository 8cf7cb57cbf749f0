"""The house is in order: pins agree, modules keep to their floors, pages and notebooks belong together."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fewbits"

# A module imports from its own floor and from those below, never from above. A new module needs a line here.
FLOORS = {
    0: "_archives _download channels checkpoint checks codes data distributed evidence files packing plots powers ste"
    " text container filter_codes huffman kmeans macs modes requantization",
    1: "_resume bitwise calibration nets quantizer training",
    2: "binary bn_folding inq log_arithmetic logarithmic low_bitwidth mixed_precision qnn shift_based ternary uniform"
    " bit_costs constant_channels deep_compression equalization folded_training learned_step post_training"
    " scale_alignment soft_sharing vector xnor",
    3: "fpga integer",
    4: "experiments",
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins() -> set[str]:
    """All pinned requirements of pyproject.toml, of the book and of its tests."""
    return {*project()["dependencies"], *project()["optional-dependencies"]["dev"]}


def toc_pages() -> set[str]:
    """All pages of the book, without suffix, relative to the root."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    return {toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])}


def test_conda_environment_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (from_pip,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    assert {line for line in from_pip if not line.startswith("-")} == pins()


def test_constraints_have_the_same_pins():
    def normal(pin: str) -> str:
        name, _, version = pin.partition("==")
        return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"

    constraints = {normal(line) for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    assert {normal(pin) for pin in pins()} - constraints == set()


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


def imports_from_above(module: str, source: str) -> list[str]:
    """Imports of a module that lie on a floor above its own, or on none."""
    above = {name for name in imported_modules(source) if FLOOR_OF.get(name, 99) > FLOOR_OF[module]}
    return [
        f"{module} (floor {FLOOR_OF[module]}) imports {name} (floor {FLOOR_OF.get(name)})" for name in sorted(above)
    ]


def test_every_module_has_a_floor():
    modules = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules - {"__init__"} - FLOOR_OF.keys() == set()


def test_modules_import_from_below():
    files = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]
    module_of = {path: path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in files}
    assert [text for path in files for text in imports_from_above(module_of[path], path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    [
        "from fewbits.uniform import UniformQuantizer",
        "from fewbits import uniform",
        "def f():\n    import fewbits.uniform",
    ],
)
def test_import_from_above_is_noticed(source):
    assert imports_from_above("codes", source) == ["codes (floor 0) imports uniform (floor 2)"]
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


# --- Files ------------------------------------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work)/\w+")


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


def test_machine_path_is_recognized():
    assert MACHINE_PATH.search("saved in /" + "home/reader/x.json")
    assert not MACHINE_PATH.search("https://example.org/home/reader and src/work/x")
