"""An import that fails names the extra that brings the package."""

import pytest

from fewbits.core.extras import extra


def test_a_missing_package_names_its_extra():
    with (
        pytest.raises(
            ImportError, match=r'nowhere is not installed; it comes with: pip install "fewbits\[fpga\]"$'
        ) as caught,
        extra("fpga"),
    ):
        import nowhere  # noqa: F401
    assert caught.value.name == "nowhere"


def test_what_is_there_is_imported_and_other_errors_pass():
    with extra("book"):
        import json
    assert json.dumps(1) == "1"
    with pytest.raises(KeyError), extra("book"):
        raise KeyError


def test_a_missing_module_of_ours_is_not_blamed_on_an_extra():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'fewbits\.nowhere'"), extra("book"):
        import fewbits.nowhere  # noqa: F401
