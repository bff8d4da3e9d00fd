"""Reading each image file once: its digest and its pixels come from the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from triptych.config import ImageForm
from triptych.images.bad_files import BadImageError
from triptych.images.digests import KnownDigests, State, settled_state
from triptych.images.reading import Pixels, decode_or_reason, in_order, read_content


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
