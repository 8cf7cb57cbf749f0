"""The browser that all tests of a process share: a process can have only one."""

from collections.abc import Iterator

import pytest
from browsing import launched
from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        with launched() as browser:
            yield browser
    except FileNotFoundError as error:
        pytest.skip(str(error))
