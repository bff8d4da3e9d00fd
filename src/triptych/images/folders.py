"""Folders of image files: the folders of splits and classes, which class each file belongs to, and its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.config import SeeData
from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError, did_you_mean
from triptych.images.bad_files import BAD_FILE_ADVICE, BadImage, BadImageError, counted, shown
from triptych.images.reader import FileReader, KnownDigests
from triptych.images.sources import SPLITS, WHOLE, Collection, ImageList
from triptych.images.walking import Remarks, folders_in, image_files, images_in

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "seg_train"),
    "valid": ("valid", "val", "validation", "seg_valid", "seg_val"),
    "test": ("test", "testing", "seg_test"),
}
_LIKE_SPLITS = frozenset(name for names in USUAL_NAMES.values() for name in names) | {"seg_pred", "pred", "dev"}


def split_folders(location: Path, settings: SeeData, remarks: Remarks, *, whole: str | None) -> dict[str, Path]:
    """The folders of the splits, or the folder itself as the only one, `all`, where it has class folders.

    Splits are found by the names of the recipe, or by common ones, whatever their case. A split folder that holds only
    a folder of its own name, as those of Kaggle do, counts as that folder. Where there is no folder for training, all
    folders are classes; a folder for validation or testing without class folders is not a split.

    Args:
        location, settings: the folder, and the recipe's `[data]`.
        remarks: takes warnings about what is not used, and about classes named like splits.
        whole: give only this split: its folder where there are splits, otherwise everything.
    Raises:
        DataError: a split that the recipe names is missing, or there is no folder for training.
    """
    found = _found(location, settings, whole=whole)
    if not found:
        _remark_on_doubtful_classes(location, remarks)
        return {WHOLE: location}
    if whole is not None:
        if whole not in found:
            expected = f"a folder for it, such as {getattr(settings, whole)!r}"
            raise DataError(field="the split", value=whole, expected=expected, path=shown(location))
        return {whole: found[whole]}
    if "train" not in found:
        raise DataError(
            f"there is a folder {next(iter(found.values())).name!r} and none for training; expected {settings.train!r} "
            "beside it (data.train).",
            path=shown(location),
        )
    _remark_on_unused(location, found, remarks)
    return _without_flat(found, remarks)


def _found(location: Path, settings: SeeData, *, whole: str | None) -> dict[str, Path]:
    inside = folders_in(location)
    found: dict[str, Path] = {}
    missing = []
    for split in SPLITS:
        wanted = getattr(settings, split)
        is_named = wanted != SeeData.model_fields[split].default
        if is_named and (location / wanted).is_dir():
            found[split] = _unwrapped(location / wanted)
        elif is_named and whole is None:
            missing.append(split)
        else:
            usual = _by_usual_name(split, inside, others="train" in found)
            if usual is not None:
                found[split] = _unwrapped(usual)
    if missing:
        split, names = missing[0], [folder.name for folder in inside]
        raise DataError(
            field=f"data.{split}",
            value=getattr(settings, split),
            expected="the name of a folder there",
            hint=did_you_mean(getattr(settings, split), map(shown, names)) if names else "",
            path=shown(location),
        )
    return found


def _by_usual_name(split: str, inside: Sequence[Path], *, others: bool) -> Path | None:
    """The folder of a split by its usual names; without `others`, one without class folders may well be a class."""
    only_splits = all(folder.name.casefold() in _LIKE_SPLITS for folder in inside)
    for name in USUAL_NAMES[split]:
        same = sorted((folder for folder in inside if folder.name.casefold() == name), key=lambda f: f.name != name)
        for folder in same:
            if (others and split != "train") or folders_in(folder) or (split == "train" and only_splits):
                return folder
    return None


def _unwrapped(folder: Path) -> Path:
    inside = folders_in(folder)
    while len(inside) == 1 and inside[0].name.casefold() == folder.name.casefold():
        folder = inside[0]
        inside = folders_in(folder)
    return folder


def _without_flat(folders: Mapping[str, Path], remarks: Remarks) -> dict[str, Path]:
    """The folders of the splits less those without class folders, such as images to predict beside those to train."""
    kept = {}
    for split, folder in folders.items():
        if split == "train" or folders_in(folder):
            kept[split] = folder
            continue
        place = shown(folder)
        has_images = next(image_files(folder), None) is not None
        advice = f" `triptych predict RUN {place}` classifies its images." if has_images else ""
        remarks.folders.append(
            f"{place}: this folder has no class folders, so it is not used as the {split} split.{advice}"
        )
    return kept


def _remark_on_unused(location: Path, found: Mapping[str, Path], remarks: Remarks) -> None:
    """Warn about folders with images that are not splits, and about images beside class folders."""
    used = {folder.relative_to(location).parts[0] for folder in found.values()}
    for folder in folders_in(location):
        if folder.name not in used and next(image_files(folder), None) is not None:
            remarks.folders.append(
                f"{shown(folder)}: this folder is not used. If it is a split, name it with data.valid or data.test "
                f"(--set data.test={shown(folder.name)})."
            )
    remark_on_loose_images(location, remarks)


def remark_on_loose_images(folder: Path, remarks: Remarks) -> None:
    """Warn of images that lie beside class folders."""
    loose = images_in(folder)
    if loose:
        verb = "is" if len(loose) == 1 else "are"
        remarks.folders.append(
            f"{shown(folder)}: {counted(len(loose), 'image')} beside the folders {verb} not used; the first: "
            f"{shown(loose[0].name)}. Put each image into the folder of its class."
        )


def _remark_on_doubtful_classes(location: Path, remarks: Remarks) -> None:
    """Warn where classes are called like splits, or where each holds the same folders, as splits do."""
    classes = folders_in(location)
    for folder in classes:
        if folder.name.casefold() in _LIKE_SPLITS:
            remarks.folders.append(
                f"{shown(folder)}: this folder is used as a class, since no folder beside it is for training. If it is "
                "a split, put the folders of the classes to train on into a folder 'train'; if its images have no "
                "class, move it elsewhere."
            )
    inside = [{folder.name.casefold() for folder in folders_in(name)} for name in classes]
    if len(classes) > 1 and len(inside[0]) > 1 and all(names == inside[0] for names in inside):
        listed = " and ".join(repr(shown(folder.name)) for folder in classes[:2])
        same = ", ".join(sorted(inside[0])[:3])
        remarks.folders.append(
            f"{shown(location)}: the classes {listed} hold folders of the same names ({same}). "
            "If they are splits, name them with data.train, data.valid and data.test "
            f"(--set data.train={shown(classes[0].name)})."
        )


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
