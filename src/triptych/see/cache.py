"""Decoded pictures, kept on disk so that each is decoded once for a size.

Under `see/` in Triptych's cache folder (TRIPTYCH_CACHE) lie, for each list of pictures and each form, `<key>.raw`, the
bytes of an array (N, C, height, width), and `<key>.json`, written after it, with its shape and the files that are bad.
The key is a SHA-256 of the pictures' contents and of all that decides what becomes of them. Both may be deleted at any
time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
import torch
from torch import Tensor

from triptych.data.downloads import cache_directory
from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError
from triptych.files import atomic_write, write_text_atomically
from triptych.images.bad_files import BAD_FILE_ADVICE, BadPictureError, UnreadableError
from triptych.images.reading import PictureForm, Pixels, decode_or_reason, in_order
from triptych.images.sources import Part

FORMAT = 2


@dataclass(frozen=True)
class Decoded:
    """The pictures of a part that could be decoded.

    Attributes:
        pixels: uint8 (N, C, height, width), in memory or mapped from disk.
        rows: of the part, one for each picture.
        bad: rows of the part that could not be decoded, and why.
        warnings: complete sentences for the user.
    """

    pixels: Tensor
    rows: Sequence[int]
    bad: Mapping[int, str]
    warnings: Sequence[str] = ()


def decode_part(
    part: Part,
    form: PictureForm,
    *,
    mapped: bool,
    skip_bad_files: bool,
    workers: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Decoded:
    """Decode pictures in parallel, or take them from the cache.

    Args:
        part: the pictures.
        form: what they are brought to.
        mapped: map the pixels from disk instead of holding them in memory.
        skip_bad_files: leave bad files out instead of stopping at the first.
        workers: threads; None is one for each processor.
        advance: called with the number of further pictures done.
    Raises:
        DataError: a file is bad, or all are, or the cache cannot be written and `mapped` needs it.
    """
    if not mapped and isinstance(part.pictures, np.ndarray) and _fits(part.pictures, form):
        pixels = np.ascontiguousarray(
            part.pictures.reshape(len(part), form.height, form.width, -1).transpose(0, 3, 1, 2)
        )
        return Decoded(torch.from_numpy(pixels), range(len(part)), {})
    entry = _Entry.of(part, form)
    found = entry.read(mapped=mapped)
    if found is None:
        decoding = _Decoding(part, form, skip_bad_files, workers, advance or (lambda _: None))
        found = decoding.to_disk(entry) if mapped else decoding.to_memory(entry)
    elif advance:
        advance(len(part))
    if found.bad and not skip_bad_files:
        row, reason = next(iter(found.bad.items()))
        raise DataError(f"{reason}. {BAD_FILE_ADVICE}", path=part.names[row])
    if not found.rows:
        row, reason = next(iter(found.bad.items()))
        raise DataError(f"all {len(part)} files are bad; here, {reason}.", path=part.names[row])
    return found


@dataclass(frozen=True)
class _Entry:
    """A place in the cache for `count` pictures of a shape."""

    data: Path
    note: Path
    count: int
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, part: Part, form: PictureForm) -> _Entry:
        shape = list(part.pictures.shape[1:]) if isinstance(part.pictures, np.ndarray) else None  # files have their own
        decides = {"format": FORMAT, "pillow": PIL.__version__, "array": shape, **asdict(form)}
        key = fingerprint_items([json.dumps(decides, sort_keys=True), *part.digests])
        folder = cache_directory() / "see"
        return cls(folder / f"{key}.raw", folder / f"{key}.json", len(part), form.shape)

    def read(self, *, mapped: bool) -> Decoded | None:
        """What the cache holds; None where that is nothing, or not whole."""
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
        return Decoded(self.pixels(good, mapped=mapped), rows, bad)

    def pixels(self, good: int, *, mapped: bool) -> Tensor:
        """The good pictures that the data holds. Shape (good, C, height, width)."""
        shape = (good, *self.shape)
        if not mapped or good == 0:
            return torch.from_numpy(np.fromfile(self.data, np.uint8).reshape(shape))
        # Copy on write: PyTorch takes no arrays that must not be written, and nothing must change the cache.
        return torch.from_numpy(np.memmap(self.data, np.uint8, mode="c", shape=shape))

    def finish(self, good: int, bad: Mapping[int, str]) -> None:
        """Declare the data complete."""
        write_text_atomically(self.note, json.dumps({"good": good, "bad": list(bad.items())}) + "\n")


@dataclass(frozen=True)
class _Decoding:
    """Decoding a part once."""

    part: Part
    form: PictureForm
    skip_bad_files: bool
    workers: int | None
    advance: Callable[[int], None]

    def to_memory(self, entry: _Entry) -> Decoded:
        """Decode into memory and write the cache; where it cannot be written, that is a warning."""
        pixels = np.empty((len(self.part), *self.form.shape), np.uint8)
        rows: list[int] = []
        bad: dict[int, BadPictureError] = {}
        for picture in self._pictures(rows, bad):
            pixels[len(rows) - 1] = picture
        pixels = pixels[: len(rows)]
        if _passing(bad):
            return Decoded(torch.from_numpy(pixels), rows, _reasons(bad))
        warnings = []
        try:
            with atomic_write(entry.data) as temporary:
                pixels.tofile(temporary)
            entry.finish(len(rows), _reasons(bad))
        except OSError as error:
            warnings.append(
                f"{entry.data.parent}: the cache cannot be written ({error.strerror or error}), so pictures are "
                "decoded again next time. Set TRIPTYCH_CACHE to another folder."
            )
        return Decoded(torch.from_numpy(pixels), rows, _reasons(bad), warnings)

    def to_disk(self, entry: _Entry) -> Decoded:
        """Decode into the cache and map it."""
        rows: list[int] = []
        bad: dict[int, BadPictureError] = {}
        try:
            with atomic_write(entry.data) as temporary, temporary.open("wb") as stream:
                self._write(stream, rows, bad)
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

    def _write(self, stream: BinaryIO, rows: list[int], bad: dict[int, BadPictureError]) -> None:
        for picture in self._pictures(rows, bad):
            stream.write(picture.data)

    def _pictures(self, rows: list[int], bad: dict[int, BadPictureError]) -> Iterator[Pixels]:
        """The good pictures in order; their rows and the bad ones are noted on the way."""

        def attempt(row: int) -> Pixels | BadPictureError:
            return decode_or_reason(self.part.pictures[row], self.form)

        for row, result in enumerate(in_order(attempt, range(len(self.part)), self.workers)):
            if isinstance(result, BadPictureError):
                bad[row] = result
                if not self.skip_bad_files:
                    raise DataError(f"{result}. {BAD_FILE_ADVICE}", path=self.part.names[row])
            else:
                rows.append(row)
                yield result
            self.advance(1)


def _reasons(bad: Mapping[int, BadPictureError]) -> dict[int, str]:
    return {row: str(error) for row, error in bad.items()}


def _passing(bad: Mapping[int, BadPictureError]) -> bool:
    """Whether a file could not be read for now; the cache, which goes by content, must not keep that."""
    return any(isinstance(error, UnreadableError) for error in bad.values())


def _fits(pictures: Pixels, form: PictureForm) -> bool:
    return pictures.shape[1:] == ((form.height, form.width) if form.colour == "grey" else (form.height, form.width, 3))
