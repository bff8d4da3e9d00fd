"""Finding image files below a folder, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from triptych.errors import DataError
from triptych.images.bad_files import BAD_FILE_ADVICE, BadImage, UnreadableError, counted, shown
from triptych.images.reading import is_heic

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".bmp", ".dib", ".tif",
    ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx", ".ico", ".pcx", ".sgi", ".rgb",
})  # fmt: skip
_HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "$recycle.bin"})


@dataclass
class Remarks:
    """Files and folders that were skipped.

    Attributes:
        others: files that are not images by their name and content.
        heic: files in Apple's HEIC format, which cannot be read.
        bad: files that cannot be read.
        folders: warnings about folders, complete sentences.
        skip_bad: whether a folder that cannot be read is skipped as a bad file is, instead of stopping the search.
    """

    others: list[str] = field(default_factory=list)
    heic: list[str] = field(default_factory=list)
    bad: list[BadImage] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skip_bad: bool = False

    def sentences(self) -> list[str]:
        """Warnings for the user about files that are not images, and about folders."""
        found = []
        if self.heic:
            number = counted(len(self.heic), "HEIC image")
            found.append(
                f"Skipped {number}, a format that cannot be read; the first: {self.heic[0]}. Convert it to JPEG."
            )
        if self.others:
            number = counted(len(self.others), "file")
            verb = "that is not an image" if len(self.others) == 1 else "that are not images"
            found.append(f"Skipped {number} {verb}; the first: {self.others[0]}.")
        return [*found, *self.folders]


def image_files(folder: Path, remarks: Remarks | None = None) -> Iterator[Path]:
    """All image files in a folder and the folders below it, sorted within each folder, found as they are asked for.

    A file is an image by its suffix, or, with any other, by its first bytes. Hidden files and folders and those of
    operating systems (Thumbs.db, __MACOSX) are ignored, and so are sockets and the like. Links are followed; one that
    leads back to a folder it lies in is not. `remarks` takes the names of the files that are not images, and says what
    becomes of folders below this one that cannot be read.

    Raises:
        DataError: the folder is missing, or one cannot be read.
    """
    return _walk(folder, remarks or Remarks(), ())


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones and those of operating systems.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    return [path for path in _listed(folder) if path.is_dir()]


def images_in(folder: Path) -> list[Path]:
    """The image files that lie in a folder itself, sorted by name.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    return [path for path in _listed(folder) if not path.is_dir() and _kind(path) == "image"]


def _walk(folder: Path, remarks: Remarks, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        entries = _entries(folder)
    except UnreadableError as error:
        if not above or not remarks.skip_bad:
            raise DataError(f"{error}.", hint=BAD_FILE_ADVICE if above else "", path=shown(folder)) from None
        remarks.bad.append(BadImage(shown(folder), str(error)))
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for path in entries:
        if path.is_dir():
            yield from _walk(path, remarks, (*above, here))
            continue
        match _kind(path):
            case "image":
                yield path
            case "heic":
                remarks.heic.append(shown(path))
            case _:
                remarks.others.append(shown(path))


def _kind(path: Path) -> str:
    """`image`, `heic` or `other`."""
    if path.suffix.lower() in SUFFIXES:
        return "image" if path.is_file() or path.is_symlink() else "other"  # a broken link is a bad file
    if not path.is_file():
        return "other"
    if path.suffix.lower() in _HEIC_SUFFIXES:
        return "heic"
    try:
        with path.open("rb") as stream:
            beginning = stream.read(12)
    except OSError:
        return "image"  # reading it reports the problem
    if is_heic(beginning):
        return "heic"
    known = beginning.startswith(_BEGINNINGS) or (beginning[:4] == b"RIFF" and beginning[8:] == b"WEBP")
    return "image" if known else "other"


def _listed(folder: Path) -> list[Path]:
    try:
        return _entries(folder)
    except UnreadableError as error:
        raise DataError(f"{error}.", path=shown(folder)) from None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _is_hidden(path.name))
    except FileNotFoundError:
        raise UnreadableError("no such folder") from None
    except OSError as error:
        raise UnreadableError(f"the folder cannot be read: {error.strerror or error}") from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES or name.lower() in _SYSTEM_FOLDERS
