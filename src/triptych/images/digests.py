"""SHA-256 of the files of a folder, remembered so that files that have not changed are not read again.

For each folder a file under `see/` in Triptych's cache folder keeps, by path, the size, inode and times of every file
and its digest. A digest counts as long as all of them are the same. `ctime` is among them, since programs may set
`mtime` back, and no program sets `ctime`. A file that was changed less than `SETTLED_S` before it was read is not
remembered: another change within the same tick of the file system's clock would leave its times as they are.
The cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from triptych.data.downloads import cache_directory
from triptych.files import write_text_atomically

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
        key = os.fsencode(path).decode("utf-8", "backslashreplace")
        known = self.entries.get(key)
        if known is None or known[0] != state_of(path):
            return None
        self._seen[key] = known
        return known[1]

    def remember(self, path: Path, state: State | None, digest: str) -> None:
        """Keep the digest of a file's content that was read after it had a state; see `settled_state`."""
        if state is not None:
            self._seen[os.fsencode(path).decode("utf-8", "backslashreplace")] = (state, digest)

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
