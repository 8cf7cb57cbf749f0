"""The paths of instructions, for the tests of all kernels."""

import pytest

from fewbits.bitwise import isa
from fewbits.bitwise.gemm import LAYOUTS


@pytest.fixture(params=LAYOUTS)
def path(request, monkeypatch):
    """Each path of the kernels that count bits in turn, forced by the environment."""
    if request.param not in isa.available():
        pytest.skip(f"this processor has no {request.param}: {', '.join(sorted(isa.NEEDED[request.param]))}")
    monkeypatch.setenv("FEWBITS_ISA", request.param)
    return request.param
