"""The pictures of a recipe, decoded, in splits: `load_collection`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.config import SeeData
from triptych.data.locations import check_location
from triptych.data.splits import split_by_fraction
from triptych.errors import DataError
from triptych.images.arrays import idx_files, is_idx, read_idx, read_npz
from triptych.images.bad_files import BadPicture, Skipped, shown
from triptych.images.folders import read_folder
from triptych.images.reading import PictureForm, has_sixteen_bits
from triptych.images.sources import SPLITS, WHOLE, Part, Source
from triptych.see.cache import Decoded, decode_part
from triptych.see.images import Images, check_known, relabelled, without_classes
from triptych.see.named_sets import resolve

_MIB = 2**20
_DARK = 64


@dataclass(frozen=True)
class Collection:
    """Images by split, and where they came from.

    Attributes:
        splits: `train`, `valid` and, where there is one, `test`; or only the one that was asked for whole.
        classes: names, in the order of the class numbers.
        fingerprints: per file, folder or set: path, size and SHA-256.
        warnings: complete sentences for the user.
        available: pictures of each split that a limit of the recipe took a part of.
    """

    splits: Mapping[str, Images]
    classes: tuple[str, ...]
    fingerprints: Sequence[Mapping[str, Any]]
    warnings: Sequence[str]
    available: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Images in each split."""
        return {split: len(images.labels) for split, images in self.splits.items()}

    @property
    def content(self) -> str:
        """What the items are, for a line about the data."""
        return f"images of {len(self.classes)} classes"

    def keys(self, split: str) -> Sequence[str]:
        """What tells each picture of a split from others; none where there is no such split."""
        return self.splits[split].digests if split in self.splits else ()


def load_collection(
    settings: SeeData,
    location: Path | None,
    *,
    whole: str | None = None,
    classes: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Collection:
    """Find, split and decode the recipe's pictures.

    Args:
        settings: the recipe's `[data]`.
        location: a folder of pictures or of IDX files, or one `.npz` or IDX file; None for a named set.
        whole: give only this split: the part of that name where the data has splits, otherwise all of it.
        classes: the classes of a model, whose numbers the labels then are.
        progress: called with the pictures decoded so far and the number of all.
    Raises:
        DataError: nothing to read, a file that is missing or bad, or a class that is not among `classes`.
    """
    source = _read(settings, location, whole)
    place = settings.set if location is None else shown(location)
    if classes is not None and not settings.skip_bad:  # otherwise a class may yet turn out to have no pictures
        check_known([source.classes[label] for part in source.parts.values() for label in part.labels], classes, place)
    parts = _whole(source, whole) if whole else _split(settings, source)
    whole_parts, parts = parts, _limited(settings, parts)
    available = {split: len(part) for split, part in whole_parts.items() if len(parts[split]) < len(part)}
    form = PictureForm(settings.height, settings.width, settings.colour, settings.fit, settings.max_pixels)
    count = sum(map(len, parts.values()))
    channels, height, width = form.shape
    mapped = count * channels * height * width > settings.memory_limit_mb * _MIB
    advance = _counter(progress, count)
    decoded = {
        split: decode_part(part, form, mapped=mapped, skip_bad_files=settings.skip_bad, advance=advance)
        for split, part in parts.items()
    }
    splits = {split: _images(parts[split], found) for split, found in decoded.items()}
    warnings = [
        *source.warnings,
        *_warnings(source, parts, decoded),
        *_darkness(splits, source.classes, parts, decoded),
    ]
    lost = _lost(parts, splits)
    warnings += [
        f"class {source.classes[number]!r} has no picture in training that can be read, so it is no class."
        for number in sorted(lost)
    ]
    splits, names = without_classes(splits, source.classes, lost) if lost else (splits, source.classes)
    if classes is not None:
        splits, names = relabelled(splits, names, classes, place), tuple(classes)
    warnings += _class_warnings(splits, names)
    return Collection(splits, names, source.fingerprints, warnings, available)


def _read(settings: SeeData, location: Path | None, whole: str | None) -> Source:
    if location is None:
        if not settings.set:
            raise DataError(
                "data.set is '' and no data is given; expected one of them. "
                "Use --data with a folder of pictures, an .npz or IDX files, or --set data.set=digits"
            )
        return resolve(settings.set).load()
    check_location(location)
    if location.is_dir():
        if idx_files(location):
            return read_idx(location)
        names = {"train": settings.train, "valid": settings.valid, "test": settings.test}
        return read_folder(location, names, whole=whole, skip_bad_files=settings.skip_bad)
    if location.suffix.lower() == ".npz":
        return read_npz(location)
    if is_idx(location):
        return read_idx(location)
    raise DataError(
        f"the file is called {location.name!r}; expected a folder, an .npz, or an IDX file of images such as "
        "train-images-idx3-ubyte.gz. Give one of these with --data",
        path=shown(location),
    )


def _whole(source: Source, whole: str) -> dict[str, Part]:
    for part in (whole, WHOLE):
        if part in source.parts:
            return {whole: source.parts[part]}
    raise DataError(f"the split is {whole!r}; expected one that the data has: {', '.join(source.parts)}.")


def _split(settings: SeeData, source: Source) -> dict[str, Part]:
    """Splits by fractions of what has none; validation out of training where only that is missing."""
    parts = dict(source.parts)
    if WHOLE in parts:
        given: dict[str, float] = {str(split): share for split, share in settings.fractions.items()}
        fractions = {split: given[split] for split in SPLITS if split in given}
        return _by_fraction(parts[WHOLE], fractions, settings.split_seed)
    if "train" not in parts:
        raise DataError(f"the data has only {', '.join(parts)}; expected images to train on.")
    if "valid" not in parts:
        fractions = {"train": 1 - settings.valid_fraction, "valid": settings.valid_fraction}
        parts.update(_by_fraction(parts["train"], fractions, settings.split_seed))
    return {split: parts[split] for split in SPLITS if split in parts}


def _by_fraction(part: Part, fractions: Mapping[str, float], seed: int) -> dict[str, Part]:
    """The same share of each class; equal pictures stay together, and the only image of a class is in training."""
    rows = split_by_fraction(part.digests, fractions=fractions, seed=seed, stratify=part.labels)
    return {split: part.select(chosen) for split, chosen in _with_single_images_in_train(part, rows).items()}


def _with_single_images_in_train(part: Part, rows: Mapping[str, list[int]]) -> dict[str, list[int]]:
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


def _limited(settings: SeeData, parts: Mapping[str, Part]) -> dict[str, Part]:
    """A random part of each split where the recipe sets a limit."""

    def some(part: Part, most: int) -> Part:
        if most == 0 or len(part) <= most:
            return part
        return part.select(sorted(random.Random(settings.split_seed).sample(range(len(part)), most)))

    limits = {"train": settings.max_train_images, "valid": settings.max_eval_images, "test": settings.max_eval_images}
    return {split: some(part, limits[split]) for split, part in parts.items()}


def _counter(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    done = 0

    def advance(further: int) -> None:
        nonlocal done
        done += further
        if progress:
            progress(done, total)

    return advance


def _images(part: Part, found: Decoded) -> Images:
    labels = torch.tensor([part.labels[row] for row in found.rows], dtype=torch.int64)
    names = [part.names[row] for row in found.rows]
    return Images(found.pixels, labels, names, [part.digests[row] for row in found.rows])


def _lost(parts: Mapping[str, Part], splits: Mapping[str, Images]) -> set[int]:
    """The classes whose files for training are all bad."""
    return set(parts["train"].labels) - set(splits["train"].labels.tolist()) if "train" in parts else set()


def _warnings(source: Source, parts: Mapping[str, Part], decoded: Mapping[str, Decoded]) -> list[str]:
    """What was left out, the cache's troubles, and pictures that lie in two splits or two classes."""
    warnings = list(dict.fromkeys(remark for found in decoded.values() for remark in found.warnings))
    skipped = Skipped()
    for bad in source.bad:
        skipped.add(bad)
    for split, found in decoded.items():
        for row, reason in found.bad.items():
            skipped.add(BadPicture(parts[split].names[row], reason))
    warnings += skipped.sentences(read=sum(len(found.rows) for found in decoded.values()))
    if "train" in parts:
        seen = set(parts["train"].digests)
        for split in parts.keys() - {"train"}:
            names = [
                name for name, digest in zip(parts[split].names, parts[split].digests, strict=True) if digest in seen
            ]
            if names:
                warnings.append(f"{names[0]}: this picture of {split} is in train too; such pictures: {len(names)}.")
    return warnings + _twofold(parts)


def _twofold(parts: Mapping[str, Part]) -> list[str]:
    labels: dict[str, int] = {}
    twofold: dict[str, str] = {}
    for part in parts.values():
        for digest, label, name in zip(part.digests, part.labels, part.names, strict=True):
            if labels.setdefault(digest, label) != label:
                twofold.setdefault(digest, name)
    if not twofold:
        return []
    first = next(iter(twofold.values()))
    return [f"{first}: this picture is in another class too; such pictures: {len(twofold)}."]


def _darkness(
    splits: Mapping[str, Images], classes: Sequence[str], parts: Mapping[str, Part], decoded: Mapping[str, Decoded]
) -> list[str]:
    """A warning where no value of any picture file is bright, or of any of a class with 16 bits: 12 on a scale of 16.

    In most data the first picture of each class ends the search.
    """
    if any(isinstance(part.pictures, np.ndarray) for part in parts.values()):
        return []
    brightest: dict[int, int] = {}
    first: dict[int, tuple[str, int]] = {}
    for split, images in splits.items():
        for row, label in enumerate(images.labels.tolist()):
            if brightest.get(label, 0) < _DARK:
                brightest[label] = max(brightest.get(label, 0), int(images.pixels[row].max()))
                first.setdefault(label, (split, row))

    def is_suspect(label: int) -> bool:
        split, row = first[label]
        return brightest[label] < _DARK and has_sixteen_bits(Path(parts[split].pictures[decoded[split].rows[row]]))

    if max(brightest.values()) < _DARK:
        suspects, which, others = sorted(brightest), "any other", ""
    else:
        suspects = [label for label in sorted(brightest) if is_suspect(label)]
        which = f"any other of class {classes[suspects[0]]!r}" if suspects else ""
        others = f" Such classes: {len(suspects)} of {len(brightest)}."
    if not suspects:
        return []
    split, row = first[suspects[0]]
    most = brightest[suspects[0]] if others else max(brightest.values())
    return [
        f"{splits[split].names[row]}: no value of this picture or {which} is above {most} of 255, so they are nearly "
        f"black.{others} Pictures of 16-bit numbers are read on the scale 0 to 65535; scale their values to it, or to "
        "0..255 in 8 bits."
    ]


def _class_warnings(splits: Mapping[str, Images], classes: Sequence[str]) -> list[str]:
    counts = {split: Counter(images.labels.tolist()) for split, images in splits.items()}
    total = sum(counts.values(), Counter[int]())
    warnings = []
    for number, name in enumerate(classes):
        if "train" in counts and total[number] == 1:
            where = next(split for split, count in counts.items() if count[number])
            warnings.append(
                f"class {name!r} has 1 image; training and validation need more. Its only image is in {where}."
            )
            continue
        without = [split for split, count in counts.items() if not count[number]]
        if without and "train" in counts:
            warnings.append(f"class {name!r} has no image in {' and '.join(without)}.")
    return warnings
