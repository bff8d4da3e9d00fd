"""Writing files so that each is complete or absent, and reading JSON.

Everything is written to a hidden neighbour in the same folder, forced to the disk, and renamed over its place in one
step: a reader, or a process that is killed half-way, sees the old file or the new one and nothing between.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triptych.errors import RunError

_SEPARATORS = re.compile(r"\r\n|[\t\r\n]")


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well, remove it when it does not.

    The temporary file exists and is empty, keeps the suffix of `path` (some writers choose a format by it), and has
    the permissions a new file would have, or those of the file it replaces. Folders that are missing are created.

    Args:
        path: the file to write.
    Yields:
        The path to write to. The block may open it, or hand it to a library that writes paths.
    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is then as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(6)}{target.suffix}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        mode = temporary.stat().st_mode & 0o7777
        yield temporary
        temporary.chmod(mode)  # some libraries put a private file of their own in its place
        force_to_disk(temporary)
        os.replace(temporary, target)  # noqa: PTH105 - the documented atomic rename on every system
    except BaseException:  # KeyboardInterrupt and SystemExit must not leave the temporary file behind either
        temporary.unlink(missing_ok=True)
        raise
    force_to_disk(target.parent)  # the rename itself lives in the folder


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write text as UTF-8 with its line ends as they are; the file is complete or absent."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path | str, content: bytes) -> None:
    """Write bytes; the file is complete or absent."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_tsv(path: Path | str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows, tab-separated; the file is complete or absent. What UTF-8 cannot hold becomes `?`."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="", errors="replace") as stream:
        stream.writelines(tsv_row(cells) + "\n" for cells in (columns, *rows))


def tsv_row(cells: Iterable[str]) -> str:
    """Cells with tabs between them, their own tabs and line ends made spaces; other white space stays as it is."""
    return "\t".join(_SEPARATORS.sub(" ", cell) for cell in cells)


def force_to_disk(path: Path) -> None:
    """Ask the system to put a file, or a folder's list of names, on the disk; only POSIX systems do the latter."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, *, version: int | None = None, hint: str = "") -> dict[str, Any]:
    """The JSON object of a file.

    Args:
        path: the file.
        version: the format that the object must have as `format`; None asks for none.
        hint: what to do where the file is damaged.
    Raises:
        RunError: the file is damaged, or of another format, as a newer Triptych writes it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"the file is damaged ({error}).", hint=hint, path=path) from None
    return parse_json(content, path, version=version, hint=hint)


def parse_json(content: bytes, path: Path, *, version: int | None = None, hint: str = "") -> dict[str, Any]:
    """The JSON object that the bytes of a file are; see `read_json`."""
    try:
        document = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise RunError(f"the file is damaged ({error}).", hint=hint, path=path) from None
    if not isinstance(document, dict):
        raise RunError(f"the file is damaged (it holds a {type(document).__name__}).", hint=hint, path=path)
    if version is not None:
        check_format(document, path, version)
    return document


def check_format(document: Mapping[str, Any], path: Path, version: int) -> None:
    """See that a document is of the format that this version reads.

    Raises:
        RunError: it is of another, as a newer Triptych writes it.
    """
    if document.get("format") != version:
        raise RunError(
            field="format",
            value=document.get("format"),
            expected=str(version),
            hint="Update Triptych with: pip install --upgrade triptych",
            path=path,
        )


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object; see `atomic_write`."""
    write_text_atomically(path, json.dumps(dict(document), ensure_ascii=False, indent=1) + "\n")
