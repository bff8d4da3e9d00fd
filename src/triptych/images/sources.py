"""Pictures before they are decoded: what folders, arrays and named sets have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.images.bad_files import BadPicture

SPLITS = ("train", "valid", "test")
WHOLE = "all"


@dataclass(frozen=True)
class Part:
    """Pictures that belong together, one entry per picture in every field.

    Attributes:
        pictures: paths of files, or an array uint8 (N, height, width) or (N, height, width, 3).
        labels: class numbers, into the classes of the source.
        names: what users know the picture by.
        digests: SHA-256 of the file, or of the array's bytes without its shape; pictures with equal digests never lie
            in two splits.
    """

    pictures: Sequence[Path] | npt.NDArray[np.uint8]
    labels: Sequence[int]
    names: Sequence[str]
    digests: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: Sequence[int]) -> Part:
        """Only these rows, in their order."""
        pictures = self.pictures
        return Part(
            pictures[np.asarray(rows, np.int64)] if isinstance(pictures, np.ndarray) else [pictures[i] for i in rows],
            [self.labels[i] for i in rows],
            [self.names[i] for i in rows],
            [self.digests[i] for i in rows],
        )


@dataclass(frozen=True)
class Source:
    """Pictures as they were found.

    Attributes:
        parts: some of `train`, `valid` and `test`, or `all` of what has no splits.
        classes: names, in the order of the class numbers.
        fingerprints: per file, folder or set: path, size and SHA-256.
        warnings: complete sentences for the user.
        bad: files that were left out since they cannot be read.
    """

    parts: Mapping[str, Part]
    classes: tuple[str, ...]
    fingerprints: Sequence[Mapping[str, Any]]
    warnings: Sequence[str] = ()
    bad: Sequence[BadPicture] = ()
