"""Patterns and cues from files: `.npy`, `.npz`, CSV, or a folder of images. Nothing pickled is ever loaded.

Rows of more than two dimensions, such as images, become one pattern each, row-major. A `.npz` has the patterns in
`patterns`, `x`, or its only array, and perhaps `labels`, `values` and `ids`. A CSV has one pattern per line, with a
header where its first line is not all numbers; the columns `label` and `id` are what they are called. A folder of
images holds one folder per label, or images only.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.data.files import number_lines, open_binary, open_raw
from triptych.errors import DataError, did_you_mean

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_ARRAYS = ("patterns", "labels", "values", "ids")
_PATTERN_NAMES = ("patterns", "x")


@dataclass(frozen=True)
class ImageSize:
    """To what images of a folder are brought; `channels` is 1 (grey) or 3 (RGB), values are 0 to 1."""

    height: int = 28
    width: int = 28
    channels: int = 1


@dataclass(frozen=True)
class PatternFile:
    """What a file holds.

    Attributes:
        patterns: Shape (N, D), float32.
        labels: one per pattern, where the file has them.
        values: Shape (N, V), float32, where the file has them.
        ids: where the file has them.
    """

    patterns: Tensor
    labels: Sequence[str | None] | None = None
    values: Tensor | None = None
    ids: Sequence[int] | None = None


def read_patterns(path: Path | str, *, image_size: ImageSize | None = None) -> PatternFile:
    """Read patterns; what a file is, its name says.

    Args:
        path: `.npy`, `.npz`, `.csv` (or `.csv.gz`), or a folder of images.
        image_size: for a folder of images.
    Raises:
        DataError: the file is missing, empty, of another kind, or holds what is no number.
    Checked by tests/memory/test_patterns.py.
    """
    path = Path(path)
    if path.is_dir():
        found = _read_images(path, image_size or ImageSize())
    elif path.suffix == ".npy":
        with open_raw(path) as stream:
            found = PatternFile(_rows(_array(stream, path), path, "the array"))
    elif path.suffix == ".npz":
        found = _read_npz(path)
    elif path.name.endswith((".csv", ".csv.gz")):
        found = _read_csv(path)
    else:
        with open_raw(path):  # a missing file is told as missing
            pass
        kind = f"a {path.suffix} file" if path.suffix else "a file without suffix"
        raise DataError(f"is {kind}; expected .npy, .npz, .csv or a folder of images. "
                        "Save the array with numpy.save.", path=path)  # fmt: skip
    if not found.patterns.shape[0]:
        raise DataError("holds 0 patterns; expected at least one.", path=path)
    return found


def _array(stream: Any, path: Path) -> NDArray[Any]:
    try:
        found: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        if "Object arrays" in str(error):
            raise DataError("holds pickled Python objects, which can run code and are never loaded; expected an array "
                            "of numbers. Save it with a numeric dtype.", path=path) from None  # fmt: skip
        raise DataError(f"is no whole .npy array: {error}. Save it again with numpy.save.", path=path) from None
    return found


def _rows(array: NDArray[Any], path: Path, what: str) -> Tensor:
    """An array as float32 rows (N, D), whatever its shape behind the first dimension."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what} has dtype {array.dtype}; expected numbers.", path=path)
    if array.ndim < 2:
        raise DataError(f"{what} has shape {array.shape}; expected (rows, columns), one pattern per row.", path=path)
    flat = array.reshape(array.shape[0], math.prod(array.shape[1:]))
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(flat, dtype=np.float32)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise DataError(
            f"{what} is {flat[row, column]} in row {row}, column {column}; expected finite numbers. Leave the row out.",
            path=path,
        )
    return torch.from_numpy(rows.copy() if rows is array else rows)


def _read_npz(path: Path) -> PatternFile:
    with open_raw(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                names = {name.removesuffix(".npy"): name for name in archive.namelist()}
                key = _pattern_name(list(names), path)
                wanted = {key, *_ARRAYS} & names.keys()
                arrays = {name: _array(io.BytesIO(archive.read(names[name])), path) for name in wanted}
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise DataError(f"is no whole .npz file: {error}. Save it again with numpy.savez.", path=path) from None
    labels, values, ids = (arrays.get(name) for name in _ARRAYS[1:])
    if ids is not None and (ids.ndim != 1 or ids.dtype.kind not in "iu"):
        raise DataError(f"ids has shape {ids.shape} and dtype {ids.dtype}; expected (N,) integers.", path=path)
    if labels is not None and labels.ndim != 1:
        raise DataError(f"labels has shape {labels.shape}; expected (N,).", path=path)
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
    raise DataError(f"has the arrays {', '.join(sorted(names))}; expected one called 'patterns'. "
                    f"{did_you_mean('patterns', names)}", path=path)  # fmt: skip


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
            if len(cells) != len(columns):
                raise DataError(f"has {len(cells)} cells; expected {len(columns)}, as the lines before.",
                                path=path, line=line.number)  # fmt: skip
            rows.append([_number(cell, path, line.number) for name, cell in zip(columns, cells, strict=True)
                         if name not in texts])  # fmt: skip
            for name, cell in zip(columns, cells, strict=True):
                if name in texts:
                    texts[name].append(cell)
    if rows and not rows[0]:
        raise DataError("has no column of numbers; expected at least one besides label and id.", path=path)
    ids = [_integer(cell, path) for cell in texts["id"]]
    return PatternFile(torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1 if rows else 0),
                       labels=texts["label"] or None, ids=ids or None)  # fmt: skip


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
        raise DataError(f"a cell is {cell!r}; expected a number. Name a column of texts 'label'.",
                        path=path, line=line) from None  # fmt: skip
    if not abs(found) <= torch.finfo(torch.float32).max:
        raise DataError(f"a cell is {cell!r}; expected a finite number in the range of float32. Leave the line out.",
                        path=path, line=line)  # fmt: skip
    return found


def _integer(cell: str, path: Path) -> int:
    try:
        return int(cell)
    except ValueError:
        raise DataError(f"an id is {cell!r}; expected an integer >= 0.", path=path) from None


def _read_images(folder: Path, size: ImageSize) -> PatternFile:
    for name, value in vars(size).items():
        if value < 1 or (name == "channels" and value not in (1, 3)):
            raise DataError(
                f"the images' {name} is {value}; expected {'1 or 3' if name == 'channels' else 'at least 1'}."
            )
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"the folder has no images; expected some of {', '.join(IMAGE_SUFFIXES)}.", path=folder)
    labels = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in paths]
    patterns = torch.stack([_image(path, size) for path in paths])
    return PatternFile(patterns, labels=None if all(label is None for label in labels) else labels)


def _image(path: Path, size: ImageSize) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("L" if size.channels == 1 else "RGB").resize((size.width, size.height))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"is no readable image: {error}. Leave it out.", path=path) from None
    return torch.from_numpy(np.asarray(image, dtype=np.float32).reshape(-1) / 255)
