"""The images of a recipe, decoded, in splits: `load_collection`."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from triptych.config import SeeData
from triptych.config.common import AUTO
from triptych.data.files import check_location
from triptych.data.splits import split_by_fraction
from triptych.errors import DataError
from triptych.images.arrays import idx_files, is_idx, read_idx, read_npz
from triptych.images.bad_files import Skipped, counted, shown
from triptych.images.cache import Decoded, decode_images
from triptych.images.folders import read_folder
from triptych.images.reader import FileReader
from triptych.images.reading import has_sixteen_bits
from triptych.images.sizing import usual_side
from triptych.images.sources import CLASSES_LISTED, SPLITS, WHOLE, Collection, ImageList
from triptych.see.images import Images, check_known, relabelled, without_classes
from triptych.see.named_sets import resolve

_MIB = 2**20
_DARK = 64
PRETRAINED_SIDE = 224  # pixels, as the weights were trained
SMALL = 48  # images whose shorter side is usually less gain nothing by being enlarged that far (docs/decisions.md)
SIDE_OF_SMALL = 160
USUAL_VALID_SHARE = 0.1
LEAST_TO_VALIDATE = 2000  # training images, of which a tenth is enough to choose by; fewer are cross-validated
LEAST_TO_TEST = 10  # images of the smallest class; a tenth of fewer would test nothing


def load_collection(
    settings: SeeData,
    location: Path | None,
    *,
    whole: str | None = None,
    classes: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Collection[Images]:
    """Find, split and decode the recipe's images.

    Args:
        settings: the recipe's `[data]`.
        location: a folder of images or of IDX files, or one `.npz` or IDX file; None for a named set.
        whole: give only this split, without a limit: the part of that name where the data has splits, otherwise all.
        classes: the classes of a model, whose numbers the labels then are.
        progress: called with the number of images decoded so far and the number of all.
    Raises:
        DataError: nothing to read, a file that is missing or bad, or a class that is not among `classes`.
    """
    limit = settings.memory_limit_mb * _MIB
    is_limited = whole is None and bool(settings.max_train_images or settings.max_eval_images)
    # Where the size is yet to be chosen nothing is decoded before all files are known.
    reader = FileReader(settings, early=settings.is_sized and not is_limited, room=limit, progress=progress)
    source = _read(settings, location, whole, reader)
    if not settings.is_sized:
        settings = sized(settings, source)
        reader = FileReader(settings, room=limit, progress=progress)
    place = settings.set if location is None else shown(location)
    if classes is not None and not settings.skip_bad:  # otherwise a class may yet turn out to have no images
        check_known([source.classes[label] for part in source.splits.values() for label in part.labels], classes, place)
    every = _whole(source, whole) if whole else _split(settings, source)
    lists = every if whole else _limited(settings, every)
    available = {split: len(part) for split, part in every.items() if len(lists[split]) < len(part)}
    reader.total = sum(map(len, lists.values()))
    mapped = reader.total * math.prod(settings.shape) > limit
    decoded = {
        split: decode_images(part, reader, mapped=mapped, skip_bad=settings.skip_bad) for split, part in lists.items()
    }
    splits = {split: _images(found) for split, found in decoded.items()}
    warnings = [*source.warnings, *_warnings(source, lists, decoded), *_darkness(decoded, source.classes)]
    has_train = "train" in lists
    lost = set(lists["train"].labels) - set(splits["train"].labels.tolist()) if has_train else set()
    warnings += [
        f"class {source.classes[number]!r} has no training image that can be read, so it is not used as a class."
        for number in sorted(lost)
    ]
    splits, names = without_classes(splits, source.classes, lost) if lost else (splits, source.classes)
    if classes is not None:
        splits, names = relabelled(splits, names, classes, place), tuple(classes)
    warnings += _class_warnings(splits, names, is_complete=classes is not None)
    return Collection(splits, names, source.fingerprints, warnings, available)


def _read(settings: SeeData, location: Path | None, whole: str | None, reader: FileReader) -> Collection[ImageList]:
    if location is None:
        if not settings.set:
            raise DataError(
                "no data is given and data.set is empty; expected one of them.",
                hint="Use --data with a folder of images, an .npz or IDX files, or --set data.set=digits",
            )
        return resolve(settings.set).load()
    check_location(location)
    if location.is_dir():
        if idx_files(location):
            return read_idx(location)
        return read_folder(location, settings, reader, whole=whole)
    if location.suffix.lower() == ".npz":
        return read_npz(location)
    if is_idx(location):
        return read_idx(location)
    raise DataError(
        field="the file",
        value=location.name,
        expected="a folder, an .npz, or an IDX file of images such as train-images-idx3-ubyte.gz",
        hint="Give one of these with --data",
        path=shown(location),
    )


def sized(settings: SeeData, source: Collection[ImageList]) -> SeeData:
    """The settings with a size for pretrained weights, chosen by the usual size of the training images."""
    side = usual_side(source.splits.get("train") or next(iter(source.splits.values())))
    chosen = PRETRAINED_SIDE if side >= SMALL else SIDE_OF_SMALL
    return settings.model_copy(update={"height": chosen, "width": chosen})


def _whole(source: Collection[ImageList], whole: str) -> dict[str, ImageList]:
    for part in (whole, WHOLE):
        if part in source.splits:
            return {whole: source.splits[part]}
    raise DataError(field="the split", value=whole, expected=f"one that the data has: {', '.join(source.splits)}")


def _split(settings: SeeData, source: Collection[ImageList]) -> dict[str, ImageList]:
    """Splits by fractions of what has none; validation out of training where only that is missing."""
    parts = dict(source.splits)
    if WHOLE in parts:
        fractions = _fractions(settings, parts[WHOLE])
        if len(fractions) == 1:
            return {"train": parts[WHOLE]}
        return _by_fraction(parts[WHOLE], fractions, settings.split_seed)
    if "train" not in parts:
        raise DataError(f"the data has only {', '.join(parts)}; expected images to train on.")
    share = _valid_share(settings, len(parts["train"]))
    if "valid" not in parts and share:
        fractions = {"train": 1 - share, "valid": share}
        parts.update(_by_fraction(parts["train"], fractions, settings.split_seed))
    return {split: parts[split] for split in SPLITS if split in parts}


def _fractions(settings: SeeData, images: ImageList) -> dict[str, float]:
    """The shares of the splits of data that has none.

    Where validation is left to the data, few images are not validated on, and with very few all are trained on.
    """
    given: dict[str, float] = {str(split): share for split, share in settings.fractions.items()}
    fractions = {split: given[split] for split in SPLITS if split in given}
    if settings.valid_fraction != AUTO or _valid_share(settings, len(images)):
        return fractions
    if min(Counter(images.labels).values()) < LEAST_TO_TEST:
        return {"train": 1.0}
    fractions["train"] += fractions.pop("valid")
    return fractions


def _valid_share(settings: SeeData, count: int) -> float:
    """The share of `count` training images that validates; 0 for none."""
    if settings.valid_fraction == AUTO:
        return USUAL_VALID_SHARE if count >= LEAST_TO_VALIDATE else 0.0
    return settings.valid_fraction


def _by_fraction(part: ImageList, fractions: Mapping[str, float], seed: int) -> dict[str, ImageList]:
    """The same share of each class; equal images stay together, and the only image of a class is in training."""
    rows = split_by_fraction(part.digests, fractions=fractions, seed=seed, stratify=part.labels)
    return {split: part.select(chosen) for split, chosen in _with_single_images_in_train(part, rows).items()}


def _with_single_images_in_train(part: ImageList, rows: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The rows of each split, after the only images of classes, and their equals, went from the others to training.

    A split that nothing would be left of stays as it is.
    """
    counts = Counter(part.labels)
    single = {digest for digest, label in zip(part.digests, part.labels, strict=True) if counts[label] == 1}
    moved = {split: list(chosen) for split, chosen in rows.items()}
    for split in rows.keys() - {"train"}:
        kept = [row for row in rows[split] if part.digests[row] not in single]
        if kept:
            moved["train"] += [row for row in rows[split] if part.digests[row] in single]
            moved[split] = kept
    moved["train"].sort()
    return moved


def _limited(settings: SeeData, parts: Mapping[str, ImageList]) -> dict[str, ImageList]:
    """A random part of each split where the recipe sets a limit."""

    def some(part: ImageList, most: int) -> ImageList:
        if most == 0 or len(part) <= most:
            return part
        return part.select(sorted(random.Random(settings.split_seed).sample(range(len(part)), most)))

    limits = {"train": settings.max_train_images, "valid": settings.max_eval_images, "test": settings.max_eval_images}
    return {split: some(part, limits[split]) for split, part in parts.items()}


def _images(found: Decoded) -> Images:
    labels = torch.tensor(found.images.labels, dtype=torch.int64)
    return Images(torch.from_numpy(found.pixels), labels, found.images.names, found.images.digests)


def _warnings(
    source: Collection[ImageList], parts: Mapping[str, ImageList], decoded: Mapping[str, Decoded]
) -> list[str]:
    """Warnings about skipped files, problems of the cache, and images that lie in two splits or two classes."""
    warnings = list(dict.fromkeys(remark for found in decoded.values() for remark in found.warnings))
    skipped = Skipped()
    for bad in chain(source.bad, *(found.bad for found in decoded.values())):
        skipped.add(bad)
    warnings += skipped.sentences(read=sum(len(found.images) for found in decoded.values()))
    seen = set(parts["train"].digests) if "train" in parts else set()
    for split in parts.keys() - {"train"}:
        rows = [row for row, digest in enumerate(parts[split].digests) if digest in seen]
        if rows:
            number, first = counted(len(rows), "image"), parts[split].place(rows[0])
            warnings.append(f"{number} of {split} {_is(rows)} in train too; the first: {first}.")
    return warnings + _twofold(parts)


def _is(several: Sequence[object]) -> str:
    return "is" if len(several) == 1 else "are"


def _twofold(parts: Mapping[str, ImageList]) -> list[str]:
    labels: dict[str, int] = {}
    twofold: dict[str, str] = {}
    for part in parts.values():
        for row, (digest, label) in enumerate(zip(part.digests, part.labels, strict=True)):
            if labels.setdefault(digest, label) != label:
                twofold.setdefault(digest, part.place(row))
    if not twofold:
        return []
    first = next(iter(twofold.values()))
    return [f"{counted(len(twofold), 'image')} {_is(list(twofold))} in more than one class; the first: {first}."]


def _darkness(decoded: Mapping[str, Decoded], classes: Sequence[str]) -> list[str]:
    """A warning where no value of any image file is bright, or of any of a class with 16 bits: 12 on a scale of 16.

    In most data the first image of each class ends the search.
    """
    if any(isinstance(found.images.images, np.ndarray) for found in decoded.values()):
        return []
    brightest: dict[int, int] = {}
    first: dict[int, tuple[ImageList, int]] = {}
    for found in decoded.values():
        for row, label in enumerate(found.images.labels):
            if brightest.get(label, 0) < _DARK:
                brightest[label] = max(brightest.get(label, 0), int(found.pixels[row].max()))
                first.setdefault(label, (found.images, row))

    def is_suspect(label: int) -> bool:
        images, row = first[label]
        return brightest[label] < _DARK and has_sixteen_bits(Path(images.images[row]))

    if max(brightest.values()) < _DARK:
        suspects, most, which, others = sorted(brightest), max(brightest.values()), "any other", ""
    else:
        suspects = [label for label in sorted(brightest) if is_suspect(label)]
        if not suspects:
            return []
        most, which = brightest[suspects[0]], f"any other of class {classes[suspects[0]]!r}"
        others = f" Such classes: {len(suspects)} of {len(brightest)}."
    images, row = first[suspects[0]]
    return [
        f"{images.place(row)}: no value of this image or {which} is above {most} of 255, so they are nearly black."
        f"{others} Images of 16-bit numbers are read on the scale 0 to 65535; scale their values to it, or to 0..255 "
        "in 8 bits."
    ]


def _class_warnings(splits: Mapping[str, Images], classes: Sequence[str], *, is_complete: bool) -> list[str]:
    """Classes with one image, and those that a split lacks, where there is training or all should be there."""
    counts = {split: Counter(images.labels.tolist()) for split, images in splits.items()}
    if "train" not in counts and not is_complete:
        return []
    total = sum(counts.values(), Counter[int]())
    warnings = []
    lacking: dict[tuple[str, ...], list[str]] = {}
    for number, name in enumerate(classes):
        if "train" in counts and total[number] == 1:
            where = next(split for split, count in counts.items() if count[number])
            warnings.append(
                f"class {name!r} has 1 image; training and validation need more. Its only image is in {where}."
            )
            continue
        without = tuple(split for split, count in counts.items() if not count[number])
        if without:
            lacking.setdefault(without, []).append(name)
    for without, names in lacking.items():
        where = " and ".join(without)
        if len(names) == 1:
            warnings.append(f"class {names[0]!r} has no image in {where}.")
        else:
            more = ", ..." if len(names) > CLASSES_LISTED else ""
            listed = ", ".join(map(repr, names[:CLASSES_LISTED]))
            warnings.append(f"{len(names)} classes have no image in {where}: {listed}{more}.")
    return warnings
