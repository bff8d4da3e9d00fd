"""One HTTP download into a file, resumed where an earlier one was cut off.

What has arrived stays in `<file>.part`. The next attempt asks for the rest with `Range`, and with `If-Range` where the
server named the version it sent (kept in `<file>.part.version`), so that two versions are never mixed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests

_BLOCK_BYTES = 2**16


class TransferError(Exception):
    """An answer that does not hold what it promised."""


@dataclass(frozen=True)
class Transfer:
    """How to download.

    Attributes:
        timeout_s: longest wait for a connection and for each next part of an answer, in seconds.
        progress: called with the bytes here so far and the total or None.
    """

    timeout_s: float
    progress: Callable[[int, int | None], None] | None = None

    def __call__(self, url: str, destination: Path, *, part: Path) -> None:
        """Download a file whole, or raise and leave what arrived in `part`.

        Two processes must not write to one part: the one that finds it locked downloads into `destination` directly.

        Raises:
            requests.RequestException: no connection, an error status, a timeout, a body cut short.
            TransferError: an answer that contradicts itself or the request.
        """
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as stream:
            if _lock(stream, part):
                version = _Version(part)
                self._download(url, stream, version)
                part.replace(destination)
                version.forget()
                return
        destination.unlink(missing_ok=True)
        with destination.open("xb") as stream:
            self._download(url, stream, None)

    def _download(self, url: str, stream: BinaryIO, version: _Version | None) -> None:
        """Fill a stream, going on after what it holds where the version of that is known."""
        start = stream.seek(0, os.SEEK_END)
        headers = {"Accept-Encoding": "identity"}
        resume = headers | {"Range": f"bytes={start}-", "If-Range": version.tag if version else ""}
        resumes = start > 0 and version is not None and version.tag != ""
        response = requests.get(url, headers=resume if resumes else headers, stream=True, timeout=self.timeout_s)
        if response.status_code == 416:
            response.close()
            response = requests.get(url, headers=headers, stream=True, timeout=self.timeout_s)
        with response:
            response.raise_for_status()
            start = self._begin(response, stream, start)
            if version and start == 0:
                version.write(response)
            self._copy(response, stream, start)
        stream.flush()

    def _begin(self, response: requests.Response, stream: BinaryIO, start: int) -> int:
        """Where the answer's first byte belongs; what does not belong before it is dropped."""
        if response.status_code == 206:
            place = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if place is None or int(place[1]) != start:
                found = response.headers.get("Content-Range", "missing")
                raise TransferError(f"Content-Range is {found}; expected it to begin at byte {start}")
        else:
            start = 0
        stream.truncate(start)
        stream.seek(start)
        return start

    def _copy(self, response: requests.Response, stream: BinaryIO, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        done = start
        for block in response.iter_content(_BLOCK_BYTES):
            stream.write(block)
            done += len(block)
            if self.progress:
                self.progress(done, total)
        if total is not None and done != total:
            raise TransferError(f"the file has {done} bytes; the server announced {total}")


class _Version:
    """The name a server gave to the version it sent: a strong ETag, or else the date of the last change."""

    def __init__(self, part: Path) -> None:
        self._path = part.with_name(f"{part.name}.version")
        self.tag = self._path.read_text(encoding="latin-1").strip() if self._path.is_file() else ""

    def write(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        if not tag or tag.startswith("W/"):
            tag = response.headers.get("Last-Modified", "")
        self._path.write_text(tag + "\n", encoding="latin-1")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _lock(stream: BinaryIO, part: Path) -> bool:
    """Lock a file for as long as it is open; False where another holds it, has just finished it, or without flock."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return part.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        return False
