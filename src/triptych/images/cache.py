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
from triptych.images.bad_files import BAD_FILE_ADVICE, BadImageError, UnreadableError
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
        rows: of the list, one for each image.
        bad: rows of the list that could not be decoded, and why.
        warnings: complete sentences for the user.
    """

    pixels: Pixels
    rows: Sequence[int]
    bad: Mapping[int, str]
    warnings: Sequence[str] = ()


def decode_images(images: ImageList, reader: FileReader, *, mapped: bool, skip_bad: bool) -> Decoded:
    """Decode images in parallel, or take them from the cache.

    Args:
        images: which.
        reader: decodes them, and knows the form.
        mapped: map the pixels from disk instead of holding them in memory.
        skip_bad: skip bad files instead of stopping at the first.
    Raises:
        DataError: a file is bad, or all are, or the cache cannot be written and `mapped` needs it.
    """
    form = reader.form
    shape = (form.height, form.width) if form.colour == "grey" else (form.height, form.width, 3)
    if not mapped and isinstance(images.images, np.ndarray) and images.images.shape[1:] == shape:
        pixels = images.images.reshape(len(images), form.height, form.width, -1).transpose(0, 3, 1, 2)
        return Decoded(np.ascontiguousarray(pixels), range(len(images)), {})
    entry = _Entry.of(images, form)
    found = entry.read(mapped=mapped)
    if found is None:
        decoding = _Decoding(images, reader, skip_bad)
        found = decoding.to_disk(entry) if mapped else decoding.to_memory(entry)
    else:
        reader.skip(images.images)
    if found.bad and not skip_bad:
        row, reason = next(iter(found.bad.items()))
        raise DataError(f"{reason}.", hint=BAD_FILE_ADVICE, path=images.place(row))
    if not found.rows:
        row, reason = next(iter(found.bad.items()))
        raise DataError(f"all {len(images)} files are bad; this one: {reason}.", path=images.place(row))
    return found


@dataclass(frozen=True)
class _Entry:
    """A place in the cache for `count` images of a shape."""

    data: Path
    note: Path
    count: int
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, images: ImageList, form: ImageForm) -> _Entry:
        shape = list(images.images.shape[1:]) if isinstance(images.images, np.ndarray) else None  # files have their own
        settings = form.model_dump(include=set(ImageForm.model_fields))
        decides = {"format": FORMAT, "pillow": PIL.__version__, "array": shape, **settings}
        key = fingerprint_items([json.dumps(decides, sort_keys=True), *images.digests])
        folder = cache_directory() / "see"
        return cls(folder / f"{key}.raw", folder / f"{key}.json", len(images), form.shape)

    def read(self, *, mapped: bool) -> Decoded | None:
        """Content of the cache; None where it is missing or incomplete."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            bad = {int(row): str(reason) for row, reason in note["bad"]}
            good = int(note["good"])
            whole = self.data.stat().st_size == good * math.prod(self.shape) and good + len(bad) == self.count
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not whole:
            return None
        rows = [row for row in range(self.count) if row not in bad]
        with suppress(OSError):  # a cache that may only be read
            os.utime(self.note)  # used now
        return Decoded(self.pixels(good, mapped=mapped), rows, bad)

    def pixels(self, good: int, *, mapped: bool) -> Pixels:
        """The good images that the data holds. Shape (good, C, height, width)."""
        shape = (good, *self.shape)
        if not mapped or good == 0:
            return np.fromfile(self.data, np.uint8).reshape(shape)
        # Copy on write: PyTorch takes no arrays that must not be written, and nothing must change the cache.
        return np.memmap(self.data, np.uint8, mode="c", shape=shape)

    def finish(self, good: int, bad: Mapping[int, str]) -> None:
        """Declare the data complete."""
        write_text_atomically(self.note, json.dumps({"good": good, "bad": list(bad.items())}) + "\n")
        _delete_unused(self.note.parent, keep=self.note)


@dataclass(frozen=True)
class _Decoding:
    """Decoding a list once."""

    images: ImageList
    reader: FileReader
    skip_bad: bool

    def to_memory(self, entry: _Entry) -> Decoded:
        """Decode into memory and write the cache; where it cannot be written, that is a warning."""
        pixels = np.empty((len(self.images), *self.reader.form.shape), np.uint8)
        rows: list[int] = []
        bad: dict[int, BadImageError] = {}
        for image in self._good(rows, bad):
            pixels[len(rows) - 1] = image
        pixels = pixels[: len(rows)]
        if _passing(bad):
            return Decoded(pixels, rows, _reasons(bad))
        warnings = []
        try:
            with atomic_write(entry.data) as temporary:
                pixels.tofile(temporary)
            entry.finish(len(rows), _reasons(bad))
        except OSError as error:
            warnings.append(
                f"{entry.data.parent}: the cache cannot be written ({error.strerror or error}), so images are "
                "decoded again next time. Set TRIPTYCH_CACHE to another folder."
            )
        return Decoded(pixels, rows, _reasons(bad), warnings)

    def to_disk(self, entry: _Entry) -> Decoded:
        """Decode into the cache and map it."""
        rows: list[int] = []
        bad: dict[int, BadImageError] = {}
        try:
            with atomic_write(entry.data) as temporary, temporary.open("wb") as stream:
                stream.writelines(image.data for image in self._good(rows, bad))
            if _passing(bad):
                return Decoded(entry.pixels(len(rows), mapped=True), rows, _reasons(bad))
            entry.finish(len(rows), _reasons(bad))
            found = entry.read(mapped=True)
        except OSError as error:
            raise DataError(
                f"the cache cannot be written: {error.strerror or error}. Set TRIPTYCH_CACHE to a folder with room, or "
                "raise data.memory_limit_mb.",
                path=entry.data,
            ) from error
        if found is None:
            raise DataError("the cache was changed while it was written. Try again.", path=entry.data)
        return found

    def _good(self, rows: list[int], bad: dict[int, BadImageError]) -> Iterator[Pixels]:
        """The good images in order; their rows and the bad ones are noted on the way."""
        for row, result in enumerate(self.reader.pixels(self.images.images)):
            if isinstance(result, BadImageError):
                bad[row] = result
                if not self.skip_bad:
                    raise DataError(f"{result}.", hint=BAD_FILE_ADVICE, path=self.images.place(row))
            else:
                rows.append(row)
                yield result


def _reasons(bad: Mapping[int, BadImageError]) -> dict[int, str]:
    return {row: str(error) for row, error in bad.items()}


def _passing(bad: Mapping[int, BadImageError]) -> bool:
    """Whether a file could not be read for now; the cache, which goes by content, must not keep that."""
    return any(isinstance(error, UnreadableError) for error in bad.values())


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
