"""Files that cannot be used as images: why, how their paths are shown, and how they are counted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

BAD_FILE_ADVICE = "Replace or remove the file, or skip bad files with --skip-bad."
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class BadImage:
    """A file that was skipped, by its name as `shown` gives it, and the reason; as text, one complete sentence."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}."


@dataclass
class Skipped:
    """Files that were skipped: their number, and the first ten of them."""

    count: int = 0
    first: list[BadImage] = field(default_factory=list)

    def add(self, bad: BadImage) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _MOST_NAMED:
            self.first.append(bad)

    def sentences(self, *, read: int | None = None) -> list[str]:
        """Warnings that count the files, and those that were `read`, and name the first ten with the reasons."""
        if not self.first:
            return []
        others = "" if read is None else f" and read {counted(read, 'image')}"
        skipped = f"Skipped {counted(self.count, 'unreadable file')}{others}; the first: {self.first[0]}"
        return [skipped, *map(str, self.first[1:])]


class BadImageError(Exception):
    """Why an image cannot be used, without its path."""


class UnreadableError(BadImageError):
    """The file is missing or cannot be read, whatever its content; another time it may be."""


def shown(path: Path | str) -> str:
    """A path as text that can always be printed and written: bytes that are not UTF-8 become \\x and two digits."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 image`, `2 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
