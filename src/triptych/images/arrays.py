"""Images kept as arrays: `.npz` files, and the IDX files of the MNIST family."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.data import arrays
from triptych.data.files import open_binary
from triptych.data.fingerprints import fingerprint_file
from triptych.errors import DataError
from triptych.images.bad_files import shown
from triptych.images.sources import SPLITS, WHOLE, Collection, ImageList

Array = npt.NDArray[Any]
_NPZ_NAMES = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "valid": (
        ("val_images", "val_labels"), ("valid_images", "valid_labels"), ("x_val", "y_val"), ("x_valid", "y_valid"),
    ),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
    WHOLE: (("x", "y"), ("images", "labels")),
}  # fmt: skip
_IDX_IMAGES = re.compile(r"(?P<set>.+?)-images([-.]idx3)?(-ubyte)?(\.gz)?")
_IDX_SPLITS = {"train": "train", "t10k": "test", "test": "test", "valid": "valid", "val": "valid"}
_IDX_BYTES = 0x08
_DARK = 1 / 4


@dataclass(frozen=True)
class Labelled:
    """Images, labels and the name of the array or file that users know them by."""

    images: Array
    labels: Array
    name: str


def read_npz(path: Path) -> Collection[ImageList]:
    """The images of an `.npz`: train_images and train_labels, val_..., test_..., or x and y; `classes` may name them.

    Images are (N, height, width), or have 1, 3 or 4 channels last or first; they are bytes, 16-bit integers, truth
    values, whole numbers 0 and 1, or floating-point numbers that go from 0 to 1 or are whole and go to 255. The scale
    is that of all arrays of such a type together, so that splits are read alike; a warning reports values that stay
    far below it. Labels are (N,) or (N, 1): whole numbers or text.

    Raises:
        DataError: an array is missing, has another shape, type or length, or the file is damaged.
    """
    known = {name for pairs in _NPZ_NAMES.values() for pair in pairs for name in pair} | {"classes"}
    there: list[str] = []

    def choose(names: list[str]) -> list[str]:
        there.extend(names)
        return [name for name in names if name in known]

    found = arrays.read_npz(path, choose)
    names = found.pop("classes", None)
    parts: dict[str, Labelled] = {}
    for split, pairs in _NPZ_NAMES.items():
        for images, labels in pairs:
            if images in found and labels in found:
                parts[split] = Labelled(found[images], found[labels], images)
                break
    if "train" not in parts and WHOLE not in parts and "test" not in parts:
        raise DataError(
            f"the arrays are {', '.join(sorted(there)) or 'none'}; expected train_images and train_labels, or x and y. "
            "Rename them.",
            path=shown(path),
        )
    if len(parts) > 1:
        parts.pop(WHOLE, None)
    return labelled_source(parts, place=shown(path), names=names, fingerprints=[fingerprint_file(path)])


def read_idx(location: Path) -> Collection[ImageList]:
    """The images of a folder with IDX files such as train-images-idx3-ubyte.gz, or of one such file.

    Each needs the file of its labels beside it, named with `labels` and `idx1`; .gz or not. Of several files, the last
    word before `images` says the split: train, t10k or test, valid or val.

    Raises:
        DataError: a file is missing, damaged, or not of that format.
    """
    files = [location] if location.is_file() else idx_files(location)
    if not files:
        raise DataError(
            "there is no IDX file of images; expected one such as train-images-idx3-ubyte.gz.", path=location
        )
    parts: dict[str, Labelled] = {}
    fingerprints: list[Mapping[str, Any]] = []
    for images in files:
        labels = _labels_beside(images)
        split = _idx_split(images) if len(files) > 1 else WHOLE
        if split in parts:
            raise DataError(f"the folder has two files for {split}; expected one. Remove one.", path=shown(images))
        parts[split] = Labelled(_read_idx(images, 3), _read_idx(labels, 1), images.name)
        fingerprints += [fingerprint_file(images), fingerprint_file(labels)]
    return labelled_source(parts, place=shown(location), names=None, fingerprints=fingerprints)


def _idx_split(images: Path) -> str:
    """The split by the last word before `images`: emnist-letters-train-images-idx3-ubyte is of train."""
    match = _IDX_IMAGES.fullmatch(images.name)
    word = match["set"].lower().rsplit("-", 1)[-1] if match else ""
    if word not in _IDX_SPLITS:
        raise DataError(
            f"the word before images is {word!r}; expected {', '.join(_IDX_SPLITS)} where a folder has several files "
            "of images. Rename the file, or pass it alone with --data",
            path=shown(images),
        )
    return _IDX_SPLITS[word]


def idx_files(folder: Path) -> list[Path]:
    """The IDX files of images in a folder, sorted; of a file and the same with .gz, the one that is unpacked."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_idx(path) and path.is_file():
            found.setdefault(path.name.removesuffix(".gz"), path)
    return list(found.values())


def is_idx(path: Path) -> bool:
    """Whether a file is called as IDX files of images are."""
    return _IDX_IMAGES.fullmatch(path.name) is not None and "idx3" in path.name


def labelled_source(
    parts: Mapping[str, Labelled], *, place: str, names: Array | None, fingerprints: Sequence[Mapping[str, Any]]
) -> Collection[ImageList]:
    """A source of arrays; classes are called by `names`, or else by their labels, in ascending order.

    Raises:
        DataError: images or labels have a shape, type or values that cannot be used.
    """
    labels = {split: _checked_labels(part, place) for split, part in parts.items()}
    _check_labels_agree(labels, parts, place)
    images, warnings = _in_bytes({split: _checked_images(part, place) for split, part in parts.items()}, parts, place)
    values = np.unique(np.concatenate(list(labels.values())))
    if names is not None:
        classes = tuple(str(name) for name in np.asarray(names).ravel())
        _check_names(classes, values, place)
        numbers = {value: int(value) for value in values}
    else:
        classes = tuple(str(value) for value in values)
        numbers = {value: number for number, value in enumerate(values)}
    made = {
        split: ImageList(
            images[split],
            [numbers[value] for value in labels[split]],
            [f"{part.name}:{row}" for row in range(len(labels[split]))],
            [hashlib.sha256(image.tobytes()).hexdigest() for image in images[split]],
        )
        for split, part in parts.items()
    }
    ordered = {split: made[split] for split in (*SPLITS, WHOLE) if split in made}
    return Collection(ordered, classes, fingerprints, warnings)


def _check_names(classes: Sequence[str], values: Array, place: str) -> None:
    if len(set(classes)) != len(classes):
        raise DataError(f"classes names {len(classes)} classes; expected different names.", path=place)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError(
            f"the labels go from {values.min()} to {values.max()} and classes has {len(classes)} names; "
            f"expected labels from 0 to {len(classes) - 1}.",
            path=place,
        )


def _checked_labels(part: Labelled, place: str) -> Array:
    labels = part.labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(part.images) or len(labels) == 0:
        raise DataError(
            f"the labels of {part.name} have shape {part.labels.shape} and the images {part.images.shape}; "
            "expected one label for each image, and at least one.",
            path=place,
        )
    if labels.dtype.kind == "f" and np.array_equal(labels, np.round(labels)):
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind not in "iubU":
        raise DataError(
            f"the labels of {part.name} are of type {labels.dtype}; expected whole numbers or text.", path=place
        )
    return labels.astype(np.int64) if labels.dtype.kind in "iub" else labels


def _check_labels_agree(labels: Mapping[str, Array], parts: Mapping[str, Labelled], place: str) -> None:
    if len({values.dtype.kind for values in labels.values()}) > 1:
        types = ", ".join(f"those of {part.name} of type {part.labels.dtype}" for part in parts.values())
        raise DataError(
            f"the labels differ in type, {types}; expected whole numbers in all, or text in all. Save all in one type.",
            path=place,
        )


def _checked_images(part: Labelled, place: str) -> Array:
    """The images with their own values, (N, height, width) or (N, height, width, 3 or 4)."""
    images = part.images
    if images.ndim == 4:
        if images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
            images = images.transpose(0, 2, 3, 1)
        images = images[..., 0] if images.shape[3] == 1 else images
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (3, 4)) or 0 in images.shape:
        raise DataError(
            f"{part.name} has shape {part.images.shape}; expected (N, height, width), with 1, 3 or 4 channels last or "
            "first if any.",
            path=place,
        )
    if images.dtype.kind not in "biuf":
        raise DataError(f"{part.name} is of type {images.dtype}; expected numbers.", path=place)
    return images


def _in_bytes(
    images: Mapping[str, Array], parts: Mapping[str, Labelled], place: str
) -> tuple[dict[str, npt.NDArray[np.uint8]], list[str]]:
    """The images as bytes, and warnings; all arrays of a kind of number are read on one scale.

    Bytes are a kind of their own, since their type alone says that they go to 255.
    """
    kinds: dict[str, list[str]] = {}
    for split, array in images.items():
        kind = "byte" if array.dtype == np.uint8 else array.dtype.kind.replace("u", "i")
        kinds.setdefault(kind, []).append(split)
    scaled: dict[str, npt.NDArray[np.uint8]] = {}
    warnings = []
    for splits in kinds.values():
        together = [images[split] for split in splits]
        names = " and ".join(parts[split].name for split in splits)
        low, high = np.min([array.min() for array in together]), np.max([array.max() for array in together])
        top = _top(together, low, high)
        if top is None:
            types = " and ".join(dict.fromkeys(str(array.dtype) for array in together))
            raise DataError(
                f"{names} {'is' if len(splits) == 1 else 'are'} of type {types} with values from {low} to {high}; "
                "expected whole numbers from 0 to 255, 0 to 65535, or floating-point numbers from 0 to 1.",
                path=place,
            )
        if high < top * _DARK:
            warnings.append(
                f"{place}: the values of {names} go from {low} to {high} and are read on the scale 0 to {top}, so the "
                "images are nearly black. Scale the values to 0..255, or as floating-point numbers to 0..1."
            )
        scaled |= {split: np.ascontiguousarray(_to_bytes(images[split], top)) for split in splits}
    return scaled, warnings


def _top(together: Sequence[Array], low: Any, high: Any) -> int | None:
    """The value that becomes 255, by the type and the range of all arrays of a kind; None for what has no scale."""
    kind = together[0].dtype.kind
    if kind == "b" or (kind == "f" and low >= 0 and high <= 1) or (low == 0 and high == 1 and kind in "iu"):
        return 1
    if low >= 0 and high <= 255 and (kind != "f" or all(np.array_equal(array, np.round(array)) for array in together)):
        return 255
    return 65535 if kind in "iu" and low >= 0 and high <= 65535 else None


def _to_bytes(images: Array, top: int) -> npt.NDArray[np.uint8]:
    if top == 1:
        return np.round(images * np.float64(255)).astype(np.uint8)
    if top == 255:
        return images.astype(np.uint8, copy=False)
    return ((images.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _labels_beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    other = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    for candidate in (name, other):
        if images.with_name(candidate).is_file():
            return images.with_name(candidate)
    wide = name.replace("idx1", "idx2").replace("ubyte", "int")
    for candidate in (wide, f"{wide.removesuffix('.gz')}.gz", wide.removesuffix(".gz")):
        if images.with_name(candidate).is_file():
            raise DataError(
                f"the labels beside it are {candidate!r}, several whole numbers for each image, which is not "
                f"supported; expected {name!r}, one byte for each image. Write the first column of the labels in that "
                "form.",
                path=shown(images),
            )
    raise DataError(f"the file of labels {name!r} is missing beside it.", path=shown(images))


def _read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, the type, the number of dimensions, each as four bytes, then the values."""
    with open_binary(path) as stream:
        try:
            content = stream.read()
        except arrays.DAMAGE as error:
            raise DataError(f"the compressed data is damaged: {error}. Fetch it again.", path=shown(path)) from error
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, _IDX_BYTES, dimensions)) or len(content) < start:
        raise DataError(
            f"the file begins with {content[:4].hex(' ') or 'nothing'}; expected 00 00 08 {dimensions:02d}, "
            f"an IDX file of bytes in {dimensions} dimensions.",
            path=shown(path),
        )
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"the file has {len(content) - start} bytes of values; expected {math.prod(shape)} for its shape {shape}. "
            "Fetch it again.",
            path=shown(path),
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
