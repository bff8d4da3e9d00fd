"""Decoded images, kept on disk so that each is decoded once for a size.

Under `see/` in Triptych's cache folder (TRIPTYCH_CACHE) lie, for each list of images and each form, `<key>.raw`, the
bytes of an array (N, C, height, width), and `<key>.json`, written after it, with its shape and the files that are bad.
The key is a SHA-256 of the images' contents and of all that decides what becomes of them. Where the folder grows beyond
`LIMIT_BYTES`, the entries that were not used for longest are deleted. All of it may be deleted at any time.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from triptych.config import ImageForm
from triptych.data.downloads import cache_directory
from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError
from triptych.files import atomic_write, write_text_atomically
from triptych.images.bad_files import BAD_FILE_ADVICE, BadImage, BadImageError, UnreadableError
from triptych.images.reader import FileReader
from triptych.images.reading import Pixels
from triptych.images.sources import ImageList

FORMAT = 3
LIMIT_BYTES = 16 * 2**30


@dataclass(frozen=True)
class Decoded:
    """The images of a list that could be decoded.

    Attributes:
        pixels: uint8 (N, C, height, width), in memory or mapped from disk.
        images: the part of the list that they are of.
        bad: those that could not be decoded.
        warnings: complete sentences for the user.
    """

    pixels: Pixels
    images: ImageList
    bad: Sequence[BadImage] = ()
    warnings: Sequence[str] = ()

    @classmethod
    def of(cls, images: ImageList, pixels: Pixels, bad: Mapping[int, str], warnings: Sequence[str] = ()) -> Decoded:
        """Those of a list without its bad rows, whose reasons are given."""
        kept = images.select([row for row in range(len(images)) if row not in bad]) if bad else images
        return cls(pixels, kept, [BadImage(images.place(row), reason) for row, reason in bad.items()], warnings)


def decode_images(images: ImageList, reader: FileReader, *, mapped: bool, skip_bad: bool) -> Decoded:
    """Decode images in parallel, or take them from the cache.

    With `mapped`, pixels are mapped from disk instead of held in memory.

    Raises:
        DataError: a file is bad and none is skipped, or all are, or the cache cannot be written and `mapped` needs it.
    """
    form = reader.form
    shape = (form.height, form.width) if form.colour == "grey" else (form.height, form.width, 3)
    if not mapped and isinstance(images.images, np.ndarray) and images.images.shape[1:] == shape:
        pixels = images.images.reshape(len(images), form.height, form.width, -1).transpose(0, 3, 1, 2)
        return Decoded(np.ascontiguousarray(pixels), images)
    entry = _Entry.of(images, form)
    found = entry.read(images, mapped=mapped)
    if found is None:
        found = _decoded(images, reader, entry, mapped=mapped, skip_bad=skip_bad)
    else:
        reader.skip(images.images)
    for bad in found.bad:
        if not skip_bad:
            raise DataError(f"{bad.reason}.", hint=BAD_FILE_ADVICE, path=bad.name)
        if not len(found.images):
            raise DataError(f"all {len(images)} files are bad; this one: {bad.reason}.", path=bad.name)
    return found


def _decoded(images: ImageList, reader: FileReader, entry: _Entry, *, mapped: bool, skip_bad: bool) -> Decoded:
    """Decode into memory and write the cache, or straight into the cache and map it.

    A cache that cannot be written is a warning where it is not needed.
    """
    bad: dict[int, BadImageError] = {}
    warnings = []
    good = _good(images, reader, bad, skip_bad=skip_bad)
    if not mapped:
        pixels = np.empty((len(images), *reader.form.shape), np.uint8)
        for place, image in enumerate(good):
            pixels[place] = image
        pixels = pixels[: len(images) - len(bad)]
    try:
        with atomic_write(entry.data) as temporary, temporary.open("wb") as stream:
            stream.writelines(image.data for image in (good if mapped else pixels))
        if mapped:
            pixels = entry.pixels(len(images) - len(bad), mapped=True)
        if not any(isinstance(error, UnreadableError) for error in bad.values()):  # another time they may be read
            entry.finish(len(images), bad)
    except OSError as error:
        if mapped:
            raise DataError(
                f"the cache cannot be written: {error.strerror or error}. Set TRIPTYCH_CACHE to a folder with room, or "
                "raise data.memory_limit_mb.",
                path=entry.data,
            ) from error
        warnings.append(
            f"{entry.data.parent}: the cache cannot be written ({error.strerror or error}), so images are decoded "
            "again next time. Set TRIPTYCH_CACHE to another folder."
        )
    return Decoded.of(images, pixels, {row: str(error) for row, error in bad.items()}, warnings)


def _good(images: ImageList, reader: FileReader, bad: dict[int, BadImageError], *, skip_bad: bool) -> Iterator[Pixels]:
    """The good images in order, up to the first bad one where none is skipped; notes the rows of the bad ones."""
    for row, result in enumerate(reader.pixels(images.images)):
        if not isinstance(result, BadImageError):
            yield result
            continue
        bad[row] = result
        if not skip_bad:
            raise DataError(f"{result}.", hint=BAD_FILE_ADVICE, path=images.place(row))


@dataclass(frozen=True)
class _Entry:
    """A place in the cache for images of a shape."""

    data: Path
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, images: ImageList, form: ImageForm) -> _Entry:
        shape = list(images.images.shape[1:]) if isinstance(images.images, np.ndarray) else None  # files have their own
        settings = form.model_dump(include=set(ImageForm.model_fields))
        decides = {"format": FORMAT, "pillow": PIL.__version__, "array": shape, **settings}
        key = fingerprint_items([json.dumps(decides, sort_keys=True), *images.digests])
        return cls(cache_directory() / "see" / f"{key}.raw", form.shape)

    @property
    def note(self) -> Path:
        return self.data.with_suffix(".json")

    def read(self, images: ImageList, *, mapped: bool) -> Decoded | None:
        """What the cache holds of a list; None where it is missing or incomplete."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            bad = {int(row): str(reason) for row, reason in note["bad"]}
            good = int(note["good"])
            whole = self.data.stat().st_size == good * math.prod(self.shape) and good + len(bad) == len(images)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not whole:
            return None
        with suppress(OSError):  # a cache that may only be read
            os.utime(self.note)  # used now
        return Decoded.of(images, self.pixels(good, mapped=mapped), bad)

    def pixels(self, good: int, *, mapped: bool) -> Pixels:
        """The good images that the data holds. Shape (good, C, height, width)."""
        shape = (good, *self.shape)
        if not mapped or good == 0:
            return np.fromfile(self.data, np.uint8).reshape(shape)
        # Copy on write: PyTorch takes no arrays that must not be written, and nothing must change the cache.
        return np.memmap(self.data, np.uint8, mode="c", shape=shape)

    def finish(self, count: int, bad: Mapping[int, BadImageError]) -> None:
        """Declare the data of `count` images complete."""
        listed = [[row, str(error)] for row, error in bad.items()]
        write_text_atomically(self.note, json.dumps({"good": count - len(bad), "bad": listed}) + "\n")
        _delete_unused(self.note.parent, keep=self.note)


def _delete_unused(folder: Path, *, keep: Path) -> None:
    """Delete the entries that were not used for longest, until the folder is within the limit."""
    try:
        sizes = {path: path.stat() for path in folder.iterdir() if path.suffix in (".raw", ".json")}
        total = sum(state.st_size for state in sizes.values())
        notes = sorted((path for path in sizes if path.suffix == ".json"), key=lambda path: sizes[path].st_mtime)
        for note in notes:
            if total <= LIMIT_BYTES:
                return
            for path in (note, note.with_suffix(".raw")):
                if path in sizes and note != keep:
                    path.unlink(missing_ok=True)
                    total -= sizes[path].st_size
    except OSError:
        return  # another process deletes too, or the file is in use; the next entry tries again
