"""Predictions for image files, folders and lists of files, one line of output for each image, in bounded memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from triptych.config import SeeDecoding
from triptych.errors import DataError
from triptych.images.bad_files import Skipped
from triptych.images.walking import Remarks, image_files
from triptych.see.adapter import Model

STANDARD_INPUT = "-"


def predicted(
    classifier: Model,
    places: Sequence[str],
    *,
    decoding: SeeDecoding,
    skip_bad: bool,
    line_buffered: bool,
    warn: Callable[[Sequence[str]], None],
) -> Iterator[list[str]]:
    """Cells of a line of output for each image: path, class, probability, then further classes alike.

    Args:
        classifier, decoding: the model, and how classes are read off it.
        places: image files, folders, or `-` for standard input, which lists paths.
        skip_bad: skip files that cannot be read, and warn of them at the end.
        line_buffered: predict each image before reading the next.
        warn: called with sentences.
    Raises:
        DataError: there is no such file, or it cannot be read; the images before it are predicted first.
    """
    if line_buffered:
        decoding = decoding.model_copy(update={"batch_size": 1})
    skipped = Skipped()
    remarks = Remarks(skip_bad=skip_bad)
    for classified in classifier.stream(
        (path for place in places for path in _paths(place, remarks)),
        decoding=decoding,
        on_bad=skipped.add if skip_bad else None,
        workers=1 if line_buffered else None,
    ):
        cells = [classified.name]
        for name, probability in zip(classified.classes, classified.probabilities, strict=True):
            cells += [name, f"{probability:.4f}"]
        yield cells
    for folder in remarks.bad:
        skipped.add(folder)
    warn([*skipped.sentences(), *remarks.sentences()])


def _paths(place: str, remarks: Remarks) -> Iterator[Path]:
    """The file itself, the images below a folder, or the paths that standard input lists, one per line."""
    if place == STANDARD_INPUT:
        for line in sys.stdin.buffer:
            path = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            if path:
                yield Path(path)
        return
    path = Path(place)
    if not path.exists():
        raise DataError("no such file or folder; expected an image, a folder of images, or - for a list.", path=path)
    if not path.is_dir():
        yield path
        return
    found = False
    for image in image_files(path, remarks):
        found = True
        yield image
    if not found:
        hint = " ".join(remarks.sentences())
        raise DataError("the folder has no image; expected at least one.", hint=hint, path=path)
