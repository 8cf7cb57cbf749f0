"""The interactive figures compute what `fewbits` computes: their scripts run in node on vectors made here."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tool_files import tool
from widget_vectors import all_vectors

ROOT = Path(__file__).resolve().parents[2]
WIDGETS = ROOT / "book" / "_static" / "widgets"

widget_data = tool("widget_data")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> Path:
    """The file with everything that Python has computed."""
    path = tmp_path_factory.mktemp("widgets") / "vectors.json"
    path.write_text(json.dumps(all_vectors()), "utf-8")
    return path


def failures(vectors: Path, tests: Path = ROOT / "tests" / "widgets") -> list[str]:
    """Run node's tests, return what the failed ones print."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("node is not installed; see README.md, 'What it needs'")
    files = sorted(map(str, tests.glob("*.test.mjs")))
    environment = os.environ | {"FEWBITS_VECTORS": str(vectors)}
    done = subprocess.run([node, "--test", *files], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    return re.findall(r"^not ok.*?^  \.\.\.$", done.stdout, re.DOTALL | re.MULTILINE) or [done.stdout + done.stderr]


def test_the_browser_computes_what_fewbits_computes(vectors):
    assert failures(vectors) == []


# For each test of node one expected number, and where it stands among the vectors.
EXPECTED = {
    "the first page": ("few_bits", -1, "weights", 0),
    "accuracy of given bits": ("mixer", 0, "share"),
    "folded channels": ("folding", 0, "weights", 0, 0),
    "intervals of seeds": ("seeds", 0, "half"),
    "the map of methods": ("map", 0, "rows", 0, "price"),
    "uniform": ("quantizers", "uniform", 0, "values", 0),
    "binary": ("quantizers", "binary", 0, "values", 0),
    "ternary": ("quantizers", "ternary", 0, "values", 0),
    "inq": ("quantizers", "inq", 0, "values", 0),
    "logarithmic": ("quantizers", "logarithmic", 0, "values", 0),
    "codes of INQ and its largest exponent": ("inq_codes", -1, "codes", 0),
    "full scale range": ("full_scales", 0, "fsr"),
    "partition": ("partitions", 0, "chosen", 0),
    "the recorded run": ("run", "weights", -1, 0),
    "shift-adder": ("shift_adder", -1, "sum"),
    "fixed point": ("fixed_point", -1, "decoded"),
    "prices of random bits": ("latency", -1, "cycles", 0),
    "the network of the book": ("network", "cycles"),
    "the accelerator": ("accelerator", 0, "cycles"),
}


def damaged(number: str | int | float) -> str | int | float:
    if isinstance(number, str):
        return str(int(number) + 1)
    return number + (1 if isinstance(number, int) else 1e-9)


def test_every_test_of_node_notices_a_damaged_vector(vectors, tmp_path):
    values = json.loads(vectors.read_text("utf-8"))
    for *path, last in EXPECTED.values():
        holder = values
        for key in path:
            holder = holder[key]
        holder[last] = damaged(holder[last])
    (tmp_path / "vectors.json").write_text(json.dumps(values), "utf-8")
    names = [text.splitlines()[0].partition(" - ")[2] for text in failures(tmp_path / "vectors.json")]
    assert len(names) == len(EXPECTED)
    assert all(any(name.startswith(test) for name in names) for test in EXPECTED)
    source = (ROOT / "tests" / "widgets" / "vectors.test.mjs").read_text("utf-8")
    assert len(names) == len(re.findall(r"^test\(", source, re.MULTILINE)) + len(values["quantizers"])


# A bug in the arithmetic, and the test that must notice it.
BUGS = {
    "few_bits.js": [
        ("state.bits === 1 ? binary(weights) :", "", "the first page"),
        ("Math.exp(logit - most)", "2 ** (logit - most)", "the first page"),
    ],
    "folding.js": [
        ("2 ** power", "2 ** (power + 1)", "folded channels"),
        ("perChannel ? largest(weights) : widest", "widest", "folded channels"),
    ],
    "mixer_accuracy.js": [
        ("all * each, data.float", "all * each, data.images", "accuracy of given bits"),
        ("measured !== undefined", "measured === 0", "accuracy of given bits"),
    ],
    "seeds.js": [
        ("(values.length - 1)", "values.length", "intervals of seeds"),
        ("mean + half < border - slack", "mean < border - slack", "intervals of seeds"),
    ],
    "map.js": [
        ("-found.mean", "found.mean", "the map of methods"),
        ("a.price - b.price", "b.price - a.price", "the map of methods"),
        ("=> !own", "=> own", "the map of methods"),
    ],
    "few_bits_data.js": [('"bits":2,', '"bits":3,', "the first page")],
    "quantizers.js": [
        ("below % 2 === 0 ? below : below + 1;", "below + 1;", "uniform"),
        ("factor * mean(", "1.000001 * factor * mean(", "binary"),
        ("Math.abs(x) > threshold ?", "Math.abs(x) >= threshold ?", "ternary"),
        (">= (magnitudes[k] + power) / 2", "> (magnitudes[k] + power) / 2", "inq"),
        ("mantissa >= Math.SQRT1_2", "mantissa >= 0.75", "logarithmic"),
        ("mantissa < 0.75 ? 1 : 0", "mantissa <= 0.75 ? 1 : 0", "codes of INQ and its largest exponent"),
    ],
    "inq_schedule.js": [
        ("Math.abs(weights[j]) - Math.abs(weights[i]) ||", "weights[j] - weights[i] ||", "partition"),
        ("now.has(i) ? apply(w) : w", "w", "the recorded run"),
    ],
    "shift_adder.js": [
        ("x >> BigInt(field.shift)", "x / 2n ** BigInt(field.shift)", "shift-adder"),
        ("value > half - 1n", "value > half", "shift-adder"),
        (">= 0.5 ? 1 : 0", "> 0.5 ? 1 : 0", "fixed point"),
    ],
    "latency.js": [
        ("(tiles - 2) * step", "(tiles - 1) * step", "prices of random bits"),
        ("setup: 256", "setup: 255", "the network of the book"),
    ],
    "array.js": [
        ("megahertz * 1e6) / cycles", "megahertz * 1e6) / (cycles + 1)", "the accelerator"),
        ("100 * counts", "101 * counts", "the accelerator"),
    ],
    "network_159k.js": [('"filters":32', '"filters":33', "the network of the book")],
}


@pytest.mark.parametrize(
    ("file", "right", "wrong", "noticed"), [(file, *bug) for file, bugs in BUGS.items() for bug in bugs]
)
def test_a_bug_in_the_arithmetic_is_noticed(vectors, tmp_path, file, right, wrong, noticed):
    shutil.copytree(WIDGETS, tmp_path / "book" / "_static" / "widgets")
    shutil.copytree(ROOT / "tests" / "widgets", tmp_path / "tests" / "widgets")
    damaged = tmp_path / "book" / "_static" / "widgets" / file
    text = damaged.read_text("utf-8")
    assert right in text
    damaged.write_text(text.replace(right, wrong, 1), "utf-8")
    found = failures(vectors, tmp_path / "tests" / "widgets")
    assert [text for text in found if noticed in text.splitlines()[0]]


# --- Data -------------------------------------------------------------------------------------------------------------


DATA = (
    "few_bits_data",
    "folding_data",
    "seeds_data",
    "map_data",
    "mixer_data",
    "explorer_data",
    "network_159k",
    "accelerator_data",
)


@pytest.mark.parametrize("name", DATA)
def test_data_are_up_to_date(name):
    assert (WIDGETS / f"{name}.js").read_text("utf-8") == widget_data.script(name, widget_data.DATA[name]())


def test_the_recorded_run_is_a_whole_run():
    run = widget_data.recorded("inq_run")
    assert [stage["fraction"] for stage in run["stages"]] == list(widget_data.FRACTIONS)
    assert (WIDGETS / "inq_run.js").read_text("utf-8") == widget_data.script("inq_run", run)
