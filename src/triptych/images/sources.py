"""Images of folders, arrays and named sets: lists of them before they are decoded, and collections of splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from triptych.images.bad_files import BadImage, shown

SPLITS = ("train", "valid", "test")
WHOLE = "all"
CLASSES_LISTED = 12


class Split(Protocol):
    """Splits, decoded or not."""

    @property
    def digests(self) -> Sequence[str]:
        """SHA-256 of each image's file, or of its array's bytes without the shape."""


SplitType = TypeVar("SplitType", bound=Split, covariant=True)


@dataclass(frozen=True)
class ImageList:
    """Images before decoding, one entry per image in every field.

    Attributes:
        images: paths of files, or an array uint8 (N, height, width) or (N, height, width, 3 or 4).
        labels: class numbers, into the classes of the collection.
        names: of files their paths below the folder that was given, otherwise the array and the row.
        digests: as `Split.digests`; images with equal digests never lie in two splits.
    """

    images: Sequence[Path] | npt.NDArray[np.uint8]
    labels: Sequence[int]
    names: Sequence[str]
    digests: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def place(self, row: int) -> str:
        """Place of an image for messages: the path of a file, otherwise its name."""
        image = self.images[row]
        return shown(image) if isinstance(image, Path) else self.names[row]

    def select(self, rows: Sequence[int]) -> ImageList:
        """Only these rows, in their order."""
        images = self.images
        return ImageList(
            images[np.asarray(rows, np.int64)] if isinstance(images, np.ndarray) else [images[i] for i in rows],
            [self.labels[i] for i in rows],
            [self.names[i] for i in rows],
            [self.digests[i] for i in rows],
        )


@dataclass(frozen=True)
class Collection(Generic[SplitType]):
    """Images by split, and where they came from.

    Attributes:
        splits: some of `train`, `valid` and `test`; or `all` of what has no splits yet.
        classes: names, in the order of the class numbers.
        fingerprints: per file, folder or set: path, size and SHA-256.
        warnings: complete sentences for the user.
        available: number of images of each split that a limit of the recipe took a part of.
        bad: files that were skipped since they cannot be read.
    """

    splits: Mapping[str, SplitType]
    classes: tuple[str, ...]
    fingerprints: Sequence[Mapping[str, Any]]
    warnings: Sequence[str] = ()
    available: Mapping[str, int] = field(default_factory=dict)
    bad: Sequence[BadImage] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of images in each split."""
        return {split: len(images.digests) for split, images in self.splits.items()}

    @property
    def content(self) -> str:
        """Description of the classes: their number, and their names up to a dozen."""
        names = f": {', '.join(self.classes)}" if len(self.classes) <= CLASSES_LISTED else ""
        return f"images of {len(self.classes)} classes{names}"

    def keys(self, split: str) -> Sequence[str]:
        """A text that identifies each image of a split; empty where the split does not exist."""
        return self.splits[split].digests if split in self.splits else ()
