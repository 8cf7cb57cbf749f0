"""Fetch one file into a cache folder: resumable, checked against a pinned checksum."""

from pathlib import Path

from tqdm import tqdm

from fewbits.core.extras import extra

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30


def fetch(url: str, known_hash: str, folder: Path, progress: bool = True) -> Path:
    """Path of ``url``'s file in ``folder``; downloaded if it is not there or does not have the pinned checksum.

    Processes that ask for the same file at once take turns: one downloads it, the others find it there. The bytes
    arrive in ``<name>.part``. An interrupted download leaves that file, and the next call goes on from its
    end; the final name appears only after the checksum has been found right.

    Args:
        url: http(s) address; its last component is the file's name.
        known_hash: ``"md5:…"`` or ``"sha256:…"``.
        folder: created if missing.
        progress: show a bar (bytes).
    Raises:
        ValueError: the complete file does not have ``known_hash`` (it is deleted; the message names it).
        ConnectionError: the server could not be reached, refused, or broke off; the message names the address.
        ImportError: the extra "data" is not installed.
    """
    with extra("data"):
        import pooch
        import requests
        from filelock import FileLock

    name = url.rsplit("/", 1)[-1]
    path = folder / name
    if path.is_file() and pooch.hashes.hash_matches(path, known_hash):
        return path  # without a lock, as the folder may be one that cannot be written
    folder.mkdir(parents=True, exist_ok=True)
    downloader = ResumingDownloader(folder / f"{name}.part", progress)
    try:
        with FileLock(folder / f".{name}.lock"):
            return Path(pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=downloader))
    except requests.RequestException as error:
        raise ConnectionError(
            f"could not download {url} ({error}). Call again to go on from where it stopped, "
            f"or fetch {name} by hand into a folder named by $FEWBITS_DATA."
        ) from error


class ResumingDownloader:
    """A pooch downloader that appends to ``part`` with an HTTP Range request when the file is already begun.

    pooch hands every downloader a fresh temporary name, which it deletes on failure, so there is nothing to resume
    from; ``part`` is the file that survives. It moves to pooch's name only when it is complete, and pooch compares the
    checksum there: a wrong file is deleted, so a bad partial file cannot fail every later attempt.
    """

    def __init__(self, part: Path, progress: bool = True):
        self.part = part
        self.progress = progress

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        import requests

        begun = self.part.stat().st_size if self.part.exists() else 0
        # A compressed transfer would make the byte offsets of Range meaningless.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begun}-"} if begun else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            resumes = response.headers.get("Content-Range", "").startswith(f"bytes {begun}-")
            if begun and response.status_code in (206, 416) and not resumes:
                # Nothing follows our last byte, or the server answers another range: the partial file is useless.
                self.part.unlink()
                return self(url, output_file, _pooch)
            response.raise_for_status()
            if response.status_code != 206:  # the server ignores Range and sends the whole file
                begun = 0
            length = response.headers.get("Content-Length")
            total = begun + int(length) if length else None
            name, hidden = self.part.stem, not self.progress
            bar = tqdm(total=total, initial=begun, unit="B", unit_scale=True, desc=name, disable=hidden)
            with bar, self.part.open("ab" if begun else "wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
        # requests has raised if fewer bytes came than the server promised.
        self.part.replace(output_file)
