"""The paths of instructions, for the tests of all kernels."""

import pytest

from fewbits.bitwise import isa


@pytest.fixture(params=("plain", "avx2", "vpopcnt"))
def path(request, monkeypatch):
    """Each path in turn, forced by the environment."""
    if request.param not in isa.available():
        pytest.skip(f"this processor has no {request.param}: {', '.join(sorted(isa._NEEDED[request.param]))}")
    monkeypatch.setenv("FEWBITS_ISA", request.param)
    return request.param
