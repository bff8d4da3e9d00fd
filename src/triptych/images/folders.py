"""Folders of picture files: which files count, in which order, and which class each belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError, did_you_mean
from triptych.images.bad_files import BAD_FILE_ADVICE, BadPicture, BadPictureError, shown
from triptych.images.reading import in_order, read_content
from triptych.images.sources import SPLITS, WHOLE, Part, Source

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".bmp", ".dib", ".tif",
    ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx", ".ico", ".pcx", ".sgi", ".rgb",
})  # fmt: skip
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "$recycle.bin"})
_USUAL_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}


@dataclass
class Remarks:
    """What was left out on the way.

    Attributes:
        others: files that are no pictures by their name.
        bad: files that cannot be read.
        folders: warnings about folders, complete sentences.
        skip_bad: whether a folder that cannot be read is left out as a bad file is, instead of stopping the search.
    """

    others: list[str] = field(default_factory=list)
    bad: list[BadPicture] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skip_bad: bool = False

    def sentences(self) -> list[str]:
        """Warnings for the user about files that are no pictures, and about folders."""
        if not self.others:
            return self.folders
        files = f"{self.others[0]}: this is no picture. Such files left out, from this one on: {len(self.others)}."
        return [files, *self.folders]


def image_files(folder: Path, remarks: Remarks | None = None) -> Iterator[Path]:
    """All picture files in a folder and the folders below it, sorted within each folder, found as they are asked for.

    A file is a picture by its suffix, or, with any other, by its first bytes. Hidden files and folders and those of
    operating systems (Thumbs.db, __MACOSX) are passed over, and so are sockets and the like. Links are followed; one
    that leads back to a folder it lies in is not.

    Args:
        folder: where to begin.
        remarks: takes the names of the files that are no pictures, and says what becomes of folders below this one that
            cannot be read.
    Raises:
        DataError: the folder is missing, or one cannot be read.
    """
    return _walk(folder, remarks or Remarks(), ())


def read_folder(location: Path, split_names: Mapping[str, str], *, whole: str | None, skip_bad_files: bool) -> Source:
    """The classes and pictures of a folder, with or without split folders.

    With a folder for training below it, the splits are those folders; otherwise each folder below it is a class. A
    warning tells of a class folder without pictures, which is no class, and of a folder for validation or testing
    without class folders, which is no split.

    Args:
        location: the folder.
        split_names: what the folders of `train`, `valid` and `test` are called; val, validation, training and testing
            are found too.
        whole: take only this split: its folder where there is one, otherwise all classes.
        skip_bad_files: leave unreadable files out instead of stopping at the first.
    Raises:
        DataError: fewer than two classes have pictures, a class is not in training, or a file cannot be read.
    """
    remarks = Remarks(skip_bad=skip_bad_files)
    folders = _split_folders(location, split_names)
    if whole is not None and folders:
        if whole not in folders:
            raise DataError(f"there is no folder {split_names[whole]!r}; expected one.", path=shown(location))
        folders = {whole: folders[whole]}
    elif folders and "train" not in folders:
        raise DataError(
            f"there is a folder {next(iter(folders.values())).name!r} and none for training; expected "
            f"{split_names['train']!r} beside it (data.train).",
            path=shown(location),
        )
    else:
        folders = _without_flat(folders, remarks)
    folders = folders or {WHOLE: location}
    least = 1 if whole else 2
    classes = _class_names(next(iter(folders.values())), least=least)
    parts = {
        split: _read_part(folder, classes, remarks, skip_bad_files=skip_bad_files) for split, folder in folders.items()
    }
    parts, classes = _without_empty(parts, folders, classes, remarks, least=least)
    fingerprints = [_fingerprint(folders[split], part, classes) for split, part in parts.items()]
    return Source(parts, classes, fingerprints, remarks.sentences(), remarks.bad)


def _split_folders(location: Path, split_names: Mapping[str, str]) -> dict[str, Path]:
    """The folders of the splits that are there, by the names of the recipe or else by usual ones.

    Where none is for training, a folder without folders below it is not a split: `valid` may well be a class.
    """
    found: dict[str, Path] = {}
    for split in SPLITS:
        wanted = split_names[split]
        for name in (wanted, *(_USUAL_NAMES[split] if wanted == split else ())):
            is_split = (location / name).is_dir() and ("train" in found or split == "train")
            if is_split or ((location / name).is_dir() and _class_entries(location / name)):
                found[split] = location / name
                break
    return found


def _without_flat(folders: Mapping[str, Path], remarks: Remarks) -> dict[str, Path]:
    """The folders of the splits less those without class folders, such as pictures to predict beside those to train."""
    kept = {}
    for split, folder in folders.items():
        if split == "train" or _class_entries(folder):
            kept[split] = folder
            continue
        place = shown(folder)
        has_pictures = next(image_files(folder), None) is not None
        advice = f" `triptych predict RUN {place}` names its pictures." if has_pictures else ""
        remarks.folders.append(f"{place}: the folder has no class folders, so it is no {split} split.{advice}")
    return kept


def _without_empty(
    parts: Mapping[str, Part], folders: Mapping[str, Path], classes: Sequence[str], remarks: Remarks, *, least: int
) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Parts and classes less the classes that the first part, that of training, has no pictures of."""
    first = next(iter(parts))
    used = set(parts[first].labels)
    kept = tuple(name for number, name in enumerate(classes) if number in used)
    missing = [name for name in classes if name not in kept]
    for name in missing:
        _remark_on_empty(name, classes.index(name), parts, shown(folders[first]), remarks)
    if len(kept) < least:
        raise DataError(
            f"{len(kept)} of the {len(classes)} class folders has pictures that can be read; expected {least} or more. "
            f"Add pictures to {missing[0]!r}.",
            path=shown(folders[first]),
        )
    if not missing:
        return dict(parts), kept
    made = {}
    for split, part in parts.items():
        some = part.select([row for row, label in enumerate(part.labels) if label in used])
        made[split] = replace(some, labels=[kept.index(classes[label]) for label in some.labels])
    return {split: part for split, part in made.items() if len(part)}, kept


def _remark_on_empty(name: str, number: int, parts: Mapping[str, Part], place: str, remarks: Remarks) -> None:
    counts = {split: part.labels.count(number) for split, part in parts.items()}
    others = "".join(f" Its pictures in {split}, left out too: {count}." for split, count in counts.items() if count)
    remarks.folders.append(
        f"{place}/{name}: this class folder has no pictures that can be read, so it is no class.{others}"
    )


def _class_entries(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(folder) if not _is_hidden(entry.name) and Path(entry.path).is_dir()]


def _class_names(folder: Path, *, least: int) -> tuple[str, ...]:
    names = tuple(shown(entry.name) for entry in _class_entries(folder))
    if len(names) < least:
        raise DataError(
            f"the folder has {len(names)} class folders; expected {least} or more, each with pictures of one class.",
            path=shown(folder),
        )
    return names


def _read_part(folder: Path, classes: Sequence[str], remarks: Remarks, *, skip_bad_files: bool) -> Part:
    paths: list[Path] = []
    labels: list[int] = []
    for entry in _class_entries(folder):
        name = shown(entry.name)
        inside = list(image_files(Path(entry.path), remarks))
        if not inside and name not in classes:
            remarks.folders.append(f"{shown(folder)}/{name}: this class folder has no pictures, so it is left out.")
            continue
        if name not in classes:
            raise DataError(
                f"the class is {name!r}; expected one that training has too. {did_you_mean(name, classes)}",
                path=shown(folder),
            )
        paths += inside
        labels += [classes.index(name)] * len(inside)
    return _hashed(folder, paths, labels, remarks, skip_bad_files=skip_bad_files)


def _hashed(folder: Path, paths: list[Path], labels: list[int], remarks: Remarks, *, skip_bad_files: bool) -> Part:
    digests: list[str] = []
    rows: list[int] = []
    for row, digest in enumerate(in_order(_digest, paths)):
        if not isinstance(digest, BadPictureError):
            digests.append(digest)
            rows.append(row)
        elif skip_bad_files:
            remarks.bad.append(BadPicture(shown(paths[row]), str(digest)))
        else:
            raise DataError(f"{digest}. {BAD_FILE_ADVICE}", path=shown(paths[row]))
    if not rows:
        raise DataError("the folder has no pictures that can be read; expected some in each class.", path=shown(folder))
    kept = [paths[row] for row in rows]
    return Part(kept, [labels[row] for row in rows], [shown(path) for path in kept], digests)


def _digest(path: Path) -> str | BadPictureError:
    try:
        return hashlib.sha256(read_content(path)).hexdigest()
    except BadPictureError as error:
        return error


def _fingerprint(folder: Path, part: Part, classes: Sequence[str]) -> Mapping[str, Any]:
    items = (f"{classes[label]}\t{digest}" for label, digest in zip(part.labels, part.digests, strict=True))
    return {"path": shown(folder), "images": len(part), "sha256": fingerprint_items(items)}


def _walk(folder: Path, remarks: Remarks, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        entries = _sorted_entries(folder)
    except OSError as error:
        if not above:
            raise _unreadable(folder, error) from None
        reason = f"the folder cannot be read: {error.strerror or error}"
        if not remarks.skip_bad:
            raise DataError(f"{reason}. {BAD_FILE_ADVICE}", path=shown(folder)) from None
        remarks.bad.append(BadPicture(shown(folder), reason))
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        path = Path(entry.path)
        if _is_hidden(entry.name):
            continue
        if path.is_dir():
            yield from _walk(path, remarks, (*above, here))
        elif _is_picture(path):
            yield path
        else:
            remarks.others.append(shown(path))


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return path.is_file() or path.is_symlink()  # a broken link is a bad file, not one to pass over
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            beginning = stream.read(12)
    except OSError:
        return True  # reading it will tell what is wrong
    return beginning.startswith(_BEGINNINGS) or (beginning[:4] == b"RIFF" and beginning[8:] == b"WEBP")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return _sorted_entries(folder)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _sorted_entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _unreadable(folder: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError("no such folder.", path=shown(folder))
    return DataError(f"the folder cannot be read: {error.strerror or error}.", path=shown(folder))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES or name.lower() in _SYSTEM_FOLDERS
