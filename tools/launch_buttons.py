"""Sphinx extension: buttons that open a page's notebook on Binder and on Colab, once the book has a public repository.

On Colab that is the notebook of the branch ``colab``, whose first cell installs the book (tools/colab.py).

The address comes from the environment variable BOOK_REPOSITORY, such as https://github.com/OWNER/few-bits. The workflow
that publishes the book sets it; without it there are no buttons.
"""

import os
import re
from pathlib import Path

from colab import BRANCH
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError


def add_buttons(app: Sphinx, config: Config) -> None:
    address = os.environ.get("BOOK_REPOSITORY", "")
    if not address:
        return
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise ConfigError(f"BOOK_REPOSITORY must look like https://github.com/OWNER/NAME, got {address!r}")
    config.html_theme_options |= {
        "repository_url": address,
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


def install_on_colab(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Point the button for Colab at the notebook that installs the book."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                button["url"] = button["url"].replace(
                    f"/blob/main/{pagename}.", f"/blob/{BRANCH}/{Path(pagename).name}."
                )


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", add_buttons)
    app.connect("html-page-context", install_on_colab, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
