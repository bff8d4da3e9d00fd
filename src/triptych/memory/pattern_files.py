"""Patterns and cues from files: `.npy`, `.npz`, CSV, an image, or a folder of images. Nothing pickled is ever loaded.

Rows of more than two dimensions, such as images, become one pattern each, row-major. A `.npz` has the patterns in
`patterns`, `x`, or its only array, and perhaps `labels`, `values` and `ids`. A CSV has one pattern per line, with a
header where its first line is not all numbers; the columns `label` and `id` are what their names say. A folder of
images holds one folder per label, or images only; images are read as classifiers read them: with their orientation,
16-bit values scaled, transparent ones over white, hidden files passed over.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.config.see import ImageForm
from triptych.data.arrays import read_npy, read_npz
from triptych.data.files import number_lines, open_binary, open_raw
from triptych.errors import DataError, did_you_mean
from triptych.images.bad_files import BadImage
from triptych.images.reading import iterate_images
from triptych.images.walking import SUFFIXES, image_files
from triptych.memory.manifest import ImageSize

OnBad = Callable[[BadImage], None]
_ARRAYS = ("patterns", "labels", "values", "ids")
_PATTERN_NAMES = ("patterns", "x")


@dataclass(frozen=True)
class PatternFile:
    """What a file holds.

    Attributes:
        patterns: Shape (N, D), float32.
        labels: one per pattern, where the file has them.
        values: Shape (N, V), float32, where the file has them.
        ids: where the file has them.
        image_size: of the images that the patterns were made from.
        path: of the file.
    """

    patterns: Tensor
    labels: Sequence[str | None] | None = None
    values: Tensor | None = None
    ids: Sequence[int] | None = None
    image_size: ImageSize | None = None
    path: Path | None = None


def read_patterns(path: Path | str, *, image_size: ImageSize | None = None, on_bad: OnBad | None = None) -> PatternFile:
    """Read patterns or cues; the kind of a file follows from its name.

    Args:
        path: `.npy`, `.npz`, `.csv` (or `.csv.gz`), an image, or a folder of images.
        image_size: for images; 28 x 28 grey pixels when None.
        on_bad: called with each image that cannot be read, which is then skipped; None raises its error.
    Raises:
        DataError: the file is missing, empty, of another kind, or has values that are not finite numbers.
    Checked by tests/memory/test_pattern_files.py.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        size = image_size or ImageSize()
        found = replace(_read_images(path, size, on_bad), image_size=size)
    elif path.suffix == ".npy":
        found = PatternFile(_rows(read_npy(path), path, "the array"))
    elif path.suffix == ".npz":
        found = _read_npz(path)
    elif path.name.endswith((".csv", ".csv.gz")):
        found = _read_csv(path)
    else:
        with open_raw(path):  # so that a missing file is reported as missing
            pass
        expected, hint = ".npy, .npz, .csv, an image or a folder of images", "Save the array with numpy.save."
        raise DataError(field="suffix", value=path.suffix, expected=expected, hint=hint, path=path)
    if not found.patterns.shape[0]:
        raise DataError("The file has no patterns.", path=path)
    return replace(found, path=path)


def _rows(array: NDArray[Any], path: Path, what: str) -> Tensor:
    """An array as float32 rows (N, D), whatever its shape behind the first dimension."""
    if array.dtype.kind not in "fiub":
        message = f"{what} has dtype {array.dtype}"
        raise DataError(message, field=what, value=array.dtype, expected="numbers", path=path)
    if array.ndim < 2:
        message, expected = f"{what} has shape {array.shape}", "(rows, columns), one pattern per row"
        raise DataError(message, field=what, value=array.shape, expected=expected, path=path)
    flat = array.reshape(array.shape[0], math.prod(array.shape[1:]))
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(flat, dtype=np.float32)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        value, expected, hint = flat[row, column], "finite numbers", "Remove the row."
        message = f"{what} is {value} in row {row}, column {column}"
        raise DataError(message, field=what, value=value, expected=expected, hint=hint, path=path)
    return torch.from_numpy(rows.copy() if rows is array else rows)


def _read_npz(path: Path) -> PatternFile:
    key = ""

    def choose(names: list[str]) -> list[str]:
        nonlocal key
        key = _pattern_name(names, path)
        return [name for name in names if name in {key, *_ARRAYS}]

    arrays = read_npz(path, choose)
    labels, values, ids = (arrays.get(name) for name in _ARRAYS[1:])
    if ids is not None and (ids.ndim != 1 or ids.dtype.kind not in "iu"):
        message = f"ids has shape {ids.shape} and dtype {ids.dtype}"
        raise DataError(message, field="ids", value=ids.shape, expected="(N,) integers", path=path)
    if labels is not None and labels.ndim != 1:
        message = f"labels has shape {labels.shape}"
        raise DataError(message, field="labels", value=labels.shape, expected="(N,)", path=path)
    return PatternFile(
        _rows(arrays[key], path, key),
        labels=None if labels is None else [str(label) for label in labels.tolist()],
        values=None if values is None else _rows(values, path, "values"),
        ids=None if ids is None else ids.tolist(),
    )


def _pattern_name(names: list[str], path: Path) -> str:
    for name in _PATTERN_NAMES:
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    message = f"The file has the arrays {', '.join(sorted(names))}; expected one called 'patterns'."
    raise DataError(message, field="patterns", hint=did_you_mean("patterns", names), path=path)


def _read_csv(path: Path) -> PatternFile:
    rows: list[list[float]] = []
    texts: dict[str, list[str]] = {"label": [], "id": []}
    columns: list[str] | None = None
    with open_binary(path) as stream:
        for line in number_lines(stream, path=path):
            if line.problem is not None:
                raise DataError(f"{line.problem}.", path=path, line=line.number)
            if not line.text.strip():
                continue
            cells = next(csv.reader([line.text]))
            if columns is None:
                columns = _header(cells)
                if any(columns):
                    continue
            found, expected = len(cells), f"{len(columns)}, as the lines before"
            if found != len(columns):
                message = f"The line has {found} cells"
                raise DataError(message, field="cells", value=found, expected=expected, path=path, line=line.number)
            rows.append([])
            for name, cell in zip(columns, cells, strict=True):
                if name in texts:
                    texts[name].append(cell)
                else:
                    rows[-1].append(_number(cell, path, line.number))
    if rows and not rows[0]:
        raise DataError("The file has no column of numbers besides label and id.", path=path)
    ids = [_integer(cell, path) for cell in texts["id"]]
    patterns = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1 if rows else 0)
    return PatternFile(patterns, labels=texts["label"] or None, ids=ids or None)


def _header(cells: list[str]) -> list[str]:
    """The columns' names, or empty ones where the first line is numbers already."""
    try:
        for cell in cells:
            float(cell)
    except ValueError:
        return [cell.strip() or " " for cell in cells]
    return [""] * len(cells)


def _number(cell: str, path: Path, line: int) -> float:
    try:
        found = float(cell)
    except ValueError:
        hint = "Name a column of texts 'label'."
        raise DataError(field="cell", value=cell, expected="a number", hint=hint, path=path, line=line) from None
    if not abs(found) <= torch.finfo(torch.float32).max:
        expected, hint = "a finite number in the range of float32", "Remove the line."
        raise DataError(field="cell", value=cell, expected=expected, hint=hint, path=path, line=line)
    return found


def _integer(cell: str, path: Path) -> int:
    try:
        return int(cell)
    except ValueError:
        raise DataError(field="id", value=cell, expected="an integer >= 0", path=path) from None


def _read_images(location: Path, size: ImageSize, on_bad: OnBad | None) -> PatternFile:
    """Images of a folder, or one image, as the image classifiers read them: rows of (height, width, channels)."""
    paths = [location] if location.is_file() else list(image_files(location))
    if not paths:
        hint = "Supported are JPEG, PNG, GIF, WebP, BMP, TIFF and others that Pillow reads by itself."
        raise DataError("The folder has no images.", hint=hint, path=location)
    form = ImageForm(height=size.height, width=size.width, colour="grey" if size.channels == 1 else "rgb")
    patterns, labels = [], []
    for path, pixels in iterate_images(paths, form, on_bad=on_bad):
        patterns.append(torch.from_numpy(pixels).permute(1, 2, 0).reshape(-1).float() / 255)
        above = path.relative_to(location).parts[:-1] if path != location else ()
        labels.append(above[0] if above else None)
    if not patterns:
        raise DataError("None of the images could be read.", path=location)
    return PatternFile(torch.stack(patterns), labels=None if all(label is None for label in labels) else labels)
