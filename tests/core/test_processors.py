"""The number of cores: what Linux allows, and an answer on systems that do not tell."""

import os
import subprocess
import sys

import pytest

from fewbits.core.processors import usable_cores

ONE_CORE = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from fewbits.core.processors import usable_cores
print(usable_cores())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a process to some cores")
def test_on_linux_the_mask_counts():
    run = subprocess.run([sys.executable, "-c", ONE_CORE], capture_output=True, text=True, check=True)
    assert run.stdout == "1\n"


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_elsewhere_all_cores_count(monkeypatch, count, cores):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores() == cores
