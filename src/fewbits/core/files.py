"""Files that are written whole or not at all, and the checkout that holds the records."""

import os
from pathlib import Path


def checkout() -> Path:
    """Root of the checkout that this package runs from.

    Raises:
        FileNotFoundError: the package was installed from a wheel. Records, trained networks and runs are not in it.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "src" / "fewbits").is_dir() or not (root / "data").is_dir():
        raise FileNotFoundError(
            "the records and trained networks of the book are in its checkout, and this fewbits was installed without "
            "one: clone the repository and install it with 'pip install -e .'"
        )
    return root


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a crash half-way leaves the old file, or none, and never a part.

    The bytes go to a temporary name in the same folder and are flushed to the disk; then the file takes its name.

    Raises:
        OSError: the folder does not exist, or the disk is full; the temporary file is gone and the old one as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
