"""Reading each image file once: its digest and its pixels come from the same bytes.

For each folder a file under `see/` in Triptych's cache folder keeps, by path, the size, inode and times of every file
and its digest, so that files that have not changed are not read again. A digest counts as long as all of them are the
same. `ctime` is among them, since programs may set `mtime` back, and no program sets `ctime`. A file that was changed
less than `SETTLED_S` before it was read is not remembered: another change within the same tick of the file system's
clock would leave its times as they are. The cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from triptych.config import ImageForm
from triptych.data.downloads import cache_directory
from triptych.files import write_text_atomically
from triptych.images.bad_files import BadImageError, shown
from triptych.images.reading import Pixels, decode_or_reason, in_order, read_content

FORMAT = 1
SETTLED_S = 3.0  # FAT keeps times in steps of 2 s
State = tuple[int, ...]


@dataclass
class KnownDigests:
    """The remembered digests of one folder.

    Attributes:
        file: where they are kept.
        entries: state and digest by path.
    """

    file: Path
    entries: Mapping[str, tuple[State, str]]
    _seen: dict[str, tuple[State, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> KnownDigests:
        """Those that the cache holds of a folder; none where there is nothing, or nothing readable."""
        key = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]
        file = cache_directory() / "see" / f"{key}.digests.json"
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            listed = document["files"] if document["format"] == FORMAT else {}
            entries = {str(path): (tuple(state), str(digest)) for path, (state, digest) in listed.items()}
        except (OSError, ValueError, KeyError, TypeError):
            entries = {}
        return cls(file, entries)

    def find(self, path: Path) -> str | None:
        """The digest of a file that has not changed; None of any other."""
        key = shown(path)
        known = self.entries.get(key)
        if known is None or known[0] != state_of(path):
            return None
        self._seen[key] = known
        return known[1]

    def remember(self, path: Path, state: State | None, digest: str) -> None:
        """Keep the digest of a file's content that was read after it had a state; see `settled_state`."""
        if state is not None:
            self._seen[shown(path)] = (state, digest)

    def save(self) -> None:
        """Write what was found and remembered, where it differs; a cache that cannot be written is not an error."""
        if self._seen == self.entries:
            return
        files = {path: [list(state), digest] for path, (state, digest) in self._seen.items()}
        try:
            write_text_atomically(self.file, json.dumps({"format": FORMAT, "files": files}) + "\n")
        except OSError:
            return


def state_of(path: Path) -> State | None:
    """Size, times, inode and device of a file, links followed; None where it cannot be asked."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def settled_state(path: Path) -> State | None:
    """The state of a file about to be read; None where it changed so recently that its times can hide a change."""
    state = state_of(path)
    if state is None or time.time() - max(state[1], state[2]) / 1e9 < SETTLED_S:
        return None
    return state


class FileReader:
    """Digests of files, and their pixels in one form.

    A file whose digest is remembered from before is not read for it. Any other is read, and with `early` decoded too;
    its pixels wait for `pixels` to ask for them, as far as there is room.

    Args:
        form: the form of the pixels.
        early: decode what is read for its digest: right where all files will be decoded.
        room: bytes of pixels that may wait.
        workers: threads that read and decode; None is one for each processor.
        progress: called with the number of images whose pixels are there, and the number of all, `total`.
    """

    def __init__(
        self,
        form: ImageForm,
        *,
        early: bool = False,
        room: int = 2**31,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.form = form
        self.workers = workers
        self._early = early
        self._room = room
        self._progress = progress
        self._done = self.total = 0
        self._waiting: dict[Path, Pixels | BadImageError] = {}

    def digests(self, paths: Sequence[Path], known: KnownDigests) -> Iterator[str | BadImageError]:
        """SHA-256 of each file, or why it cannot be read."""

        def read(path: Path) -> tuple[State | None, str | BadImageError, Pixels | BadImageError | None]:
            remembered = known.find(path)
            if remembered is not None:
                return None, remembered, None
            state = settled_state(path)
            try:
                content = read_content(path)
            except BadImageError as error:
                return None, error, None
            decode_now = self._early and self._room > 0
            return (
                state,
                hashlib.sha256(content).hexdigest(),
                decode_or_reason(content, self.form) if decode_now else None,
            )

        for path, (state, digest, pixels) in zip(paths, in_order(read, paths, self.workers), strict=True):
            if isinstance(digest, str):
                known.remember(path, state, digest)
            if pixels is not None:
                self._waiting[path] = pixels
                self._room -= 0 if isinstance(pixels, BadImageError) else pixels.nbytes
                self._advance(1)
            yield digest

    def pixels(self, images: Sequence[Path] | npt.NDArray[Any]) -> Iterator[Pixels | BadImageError]:
        """Each image in the form, or why it cannot be used: what waits, the rest decoded in parallel."""

        def read(image: Path | npt.NDArray[Any]) -> tuple[bool, Pixels | BadImageError]:
            waiting = self._waiting.pop(image, None) if isinstance(image, Path) else None
            return (True, waiting) if waiting is not None else (False, decode_or_reason(image, self.form))

        for was_waiting, pixels in in_order(read, images, self.workers):
            if not was_waiting:
                self._advance(1)
            yield pixels

    def skip(self, images: Sequence[Path] | npt.NDArray[Any]) -> None:
        """Count images that need no decoding, since the cache has them."""
        waited = [isinstance(image, Path) and self._waiting.pop(image, None) is not None for image in images]
        self._advance(waited.count(False))

    def _advance(self, further: int) -> None:
        self._done += further
        if self._progress and further:
            self._progress(min(self._done, self.total), self.total)
