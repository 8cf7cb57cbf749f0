"""Compiled functions work where no cache can be written."""

import numba
import pytest

from fewbits.core.compiled import njit

NUMBAS_OWN = numba.njit


def without_a_cache(*arguments, **options):
    """``numba.njit`` as it behaves where neither the sources nor the home can be written."""
    if options.get("cache"):
        raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
    return NUMBAS_OWN(*arguments, **options)


@pytest.mark.parametrize("decorate", [njit, njit(cache=True), njit(cache=True, nogil=True), njit("i8(i8)", cache=True)])
def test_the_function_computes(decorate):
    assert decorate(lambda x: 2 * x)(21) == 42


def test_without_a_writable_folder_it_is_compiled_in_the_process(monkeypatch):
    monkeypatch.setattr(numba, "njit", without_a_cache)
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(lambda x: x)
    assert njit(cache=True, nogil=True)(lambda x: x + 1)(41) == 42


def test_other_errors_are_not_hidden(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(numba, "njit", broken)
    with pytest.raises(RuntimeError, match="no compiler"):
        njit(cache=True)(lambda x: x)
