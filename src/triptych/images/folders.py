"""Folders of image files: which class each file belongs to, and its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.config import SeeData
from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError, did_you_mean
from triptych.images.bad_files import BAD_FILE_ADVICE, BadImage, BadImageError, counted, shown
from triptych.images.digests import KnownDigests
from triptych.images.layout import remark_on_loose_images, split_folders
from triptych.images.reader import FileReader
from triptych.images.sources import Collection, ImageList
from triptych.images.walking import Remarks, folders_in, image_files


def read_folder(location: Path, settings: SeeData, reader: FileReader, *, whole: str | None) -> Collection[ImageList]:
    """The classes and images of a folder, with or without split folders; see `layout.split_folders`.

    A warning names each class folder without images, which is not used as a class.

    With `whole` only this split is read: its folder where there is one, otherwise all classes.

    Raises:
        DataError: fewer than two classes have images, a class is not in training, or a file cannot be read.
    """
    remarks = Remarks(skip_bad=settings.skip_bad)
    folders = split_folders(location, settings, remarks, whole=whole)
    least = 1 if whole else 2
    classes = _class_names(next(iter(folders.values())), least=least)
    found = {split: _files(folder, classes, remarks) for split, folder in folders.items()}
    reader.total = sum(len(paths) for paths, _ in found.values())
    lists = {
        split: _hashed(location, folders[split], paths, labels, remarks, reader)
        for split, (paths, labels) in found.items()
    }
    lists, classes = _without_empty(lists, folders, classes, remarks, least=least)
    fingerprints = [_fingerprint(folders[split], images, classes) for split, images in lists.items()]
    return Collection(lists, classes, fingerprints, remarks.sentences(), bad=remarks.bad)


def _without_empty(
    lists: Mapping[str, ImageList], folders: Mapping[str, Path], classes: Sequence[str], remarks: Remarks, *, least: int
) -> tuple[dict[str, ImageList], tuple[str, ...]]:
    """Lists and classes without those classes of which the first list, that of training, lacks images."""
    first = next(iter(lists))
    used = set(lists[first].labels)
    kept = tuple(name for number, name in enumerate(classes) if number in used)
    missing = [name for name in classes if name not in kept]
    for name in missing:
        _remark_on_empty(name, classes.index(name), lists, shown(folders[first]), remarks)
    if len(kept) < least:
        raise DataError(
            f"{len(kept)} of {counted(len(classes), 'class folder')} has images that can be read; "
            f"expected {least} or more.",
            hint=f"Add images to {missing[0]!r}.",
            path=shown(folders[first]),
        )
    if not missing:
        return dict(lists), kept
    made = {}
    for split, images in lists.items():
        some = images.select([row for row, label in enumerate(images.labels) if label in used])
        made[split] = replace(some, labels=[kept.index(classes[label]) for label in some.labels])
    return {split: images for split, images in made.items() if len(images)}, kept


def _remark_on_empty(name: str, number: int, lists: Mapping[str, ImageList], place: str, remarks: Remarks) -> None:
    counts = {split: images.labels.count(number) for split, images in lists.items()}
    others = "".join(
        f" Skipped {counted(count, 'image')} of it in {split} too." for split, count in counts.items() if count
    )
    remarks.folders.append(
        f"{place}/{name}: this class folder has no images that can be read, so it is not used as a class.{others}"
    )


def _class_names(folder: Path, *, least: int) -> tuple[str, ...]:
    names = tuple(shown(entry.name) for entry in folders_in(folder))
    if len(names) < least:
        raise DataError(
            f"the folder has {counted(len(names), 'class folder')}; expected {least} or more, each with images of one "
            "class.",
            path=shown(folder),
        )
    return names


def _files(folder: Path, classes: Sequence[str], remarks: Remarks) -> tuple[list[Path], list[int]]:
    """The image files of a split, and the class of each."""
    paths: list[Path] = []
    labels: list[int] = []
    for entry in folders_in(folder):
        name = shown(entry.name)
        inside = list(image_files(entry, remarks))
        if not inside and name not in classes:
            remarks.folders.append(f"{shown(folder)}/{name}: this class folder has no images, so it is not used.")
            continue
        if name not in classes:
            raise DataError(
                field="the class",
                value=name,
                expected="one that training has too",
                hint=did_you_mean(name, classes),
                path=shown(folder),
            )
        paths += inside
        labels += [classes.index(name)] * len(inside)
    remark_on_loose_images(folder, remarks)
    return paths, labels


def _hashed(
    location: Path, folder: Path, paths: list[Path], labels: list[int], remarks: Remarks, reader: FileReader
) -> ImageList:
    known = KnownDigests.of(folder)
    digests: list[str] = []
    rows: list[int] = []
    for row, digest in enumerate(reader.digests(paths, known)):
        if not isinstance(digest, BadImageError):
            digests.append(digest)
            rows.append(row)
        elif remarks.skip_bad:
            remarks.bad.append(BadImage(shown(paths[row]), str(digest)))
        else:
            raise DataError(f"{digest}.", hint=BAD_FILE_ADVICE, path=shown(paths[row]))
    if not rows:
        raise DataError("the folder has no images that can be read; expected some in each class.", path=shown(folder))
    known.save()
    kept = [paths[row] for row in rows]
    names = [shown(path.relative_to(location).as_posix()) for path in kept]
    return ImageList(kept, [labels[row] for row in rows], names, digests)


def _fingerprint(folder: Path, images: ImageList, classes: Sequence[str]) -> Mapping[str, Any]:
    items = (f"{classes[label]}\t{digest}" for label, digest in zip(images.labels, images.digests, strict=True))
    return {"path": shown(folder), "images": len(images), "sha256": fingerprint_items(items)}
