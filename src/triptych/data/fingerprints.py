"""SHA-256 fingerprints of the data that a run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from triptych.data.files import open_raw

_BLOCK_BYTES = 2**20


class FileFingerprint(TypedDict):
    """A file's path as it was given, its size in bytes and its SHA-256 as 64 hexadecimal digits."""

    path: str
    bytes: int
    sha256: str


def fingerprint_file(path: Path | str) -> FileFingerprint:
    """Fingerprint a file as it lies on disk (a .gz file is not unpacked), reading one block at a time.

    Raises:
        DataError: it is missing, a directory, or cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    with open_raw(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return {"path": str(path), "bytes": size, "sha256": digest.hexdigest()}


def fingerprint_items(items: Iterable[bytes | str]) -> str:
    """SHA-256 of a sequence of items, as 64 hexadecimal digits; their order and their boundaries count.

    A text counts as its UTF-8 bytes; each item's length goes before it, so that ("ab", "c") is not ("a", "bc").
    """
    digest = hashlib.sha256()
    for item in items:
        data = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def short_digests(items: Iterable[str]) -> NDArray[np.uint64]:
    """A key per text, in order: the first eight bytes of its SHA-256 as a number.

    Among a million texts two agree by chance once in forty million times.
    """
    found = (hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest()[:8] for item in items)
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)
