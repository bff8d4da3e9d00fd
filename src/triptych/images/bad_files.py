"""Files that cannot be used as pictures: why, by which name they are told, and how they are counted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

BAD_FILE_ADVICE = "Replace or remove the file, or skip bad files with --skip-bad."
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class BadPicture:
    """A file that was left out, by its name as `shown` gives it, and why; as text, one complete sentence."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}."


@dataclass
class Skipped:
    """Files that were left out: their number, and the first ten of them."""

    count: int = 0
    first: list[BadPicture] = field(default_factory=list)

    def add(self, bad: BadPicture) -> None:
        """Note one more."""
        self.count += 1
        if len(self.first) < _MOST_NAMED:
            self.first.append(bad)

    def sentences(self, *, read: int | None = None) -> list[str]:
        """Warnings that count the files and name the first ten, with the reasons.

        Args:
            read: how many pictures were read; None leaves it unsaid.
        """
        if not self.first:
            return []
        others = "" if read is None else f"; pictures read: {read}"
        counted = f"{self.first[0]} Bad files skipped, from this one on: {self.count}{others}."
        return [counted, *map(str, self.first[1:])]


class BadPictureError(Exception):
    """Why a picture cannot be used, without its path."""


class UnreadableError(BadPictureError):
    """The file is not there or cannot be read, whatever its content; another time it may be."""


def shown(path: Path | str) -> str:
    """A path as text that can always be printed and written: bytes that are not UTF-8 become \\x and two digits."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
