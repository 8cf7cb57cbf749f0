"""The lines that README shows do what it says, word for word and in a fresh interpreter."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"

# A network that README knows nothing of: one ReLU called twice, an addition, a function.
BEFORE = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.relu, self.last = nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Linear(8 * 36, 10)

    def forward(self, x):
        x = self.relu(self.first(x))
        out = self.norm(self.second(x))
        out += x
        return self.last(torch.flatten(self.relu(out), 1))

torch.manual_seed(0)
model, images = Residual().eval(), torch.rand(64, 1, 6, 6)
"""

AFTER = """
print(type(small).__name__, sum(isinstance(part, UniformQuantizer) for part in small.children()))
with torch.no_grad():
    print(bool(torch.isfinite(small(images)).all()))
"""


def lines() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if "fewbits.quantize(" in block]
    return found


def test_readme_shows_the_way_in_with_five_lines():
    assert len([line for line in lines().splitlines() if line.strip()]) == 5
    assert all(name in lines() for name in ("fewbits.quantize(", "fewbits.size_report(", "fewbits.save("))


def test_the_lines_of_readme_run_in_a_fresh_interpreter(tmp_path):
    command = [sys.executable, "-W", "error", "-c", BEFORE + lines() + AFTER]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, report, total, quantized, finite = done.stdout.splitlines()
    assert "float32 takes" in report
    (file,) = tmp_path.iterdir()
    reported = int(re.fullmatch(r"as a file: ([\d,]+) bytes", total)[1].replace(",", ""))
    assert 0.9 * reported < file.stat().st_size <= reported  # which is without Huffman's code
    assert quantized == "GraphModule 2"  # both calls of the one ReLU
    assert finite == "True"


def test_readme_is_searched_for_lines_and_not_for_words():
    assert "subprocess" not in lines()
    assert lines().startswith("import fewbits\n")
