"""Text files line by line, with bounded memory and with errors that name the path and the line."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from triptych.errors import DataError, nearest

MAX_LINE_BYTES = 4 * 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a text.

    Attributes:
        number: counted from 1.
        text: without its line end (LF, CRLF, or CR in a file without LF); what could not be decoded is U+FFFD.
        problem: why the line must not be used, or None.
    """

    number: int
    text: str
    problem: str | None = None


def check_location(location: Path) -> None:
    """Check that data is where a user said that it is.

    Raises:
        DataError: nothing is there; a neighbour of a similar name is suggested.
    """
    if location.exists():
        return
    folder = location.absolute().parent
    close = nearest(location.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else None
    hint = f"Did you mean {str(location.with_name(close))!r}?" if close else "Check the path given with --data."
    path = os.fsencode(location).decode("utf-8", "backslashreplace")
    raise DataError("no such file or folder.", hint=hint, path=path)


@contextmanager
def open_binary(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file to read bytes, unpacked where its name ends in .gz.

    Raises:
        DataError: it is missing (the nearest name beside it is suggested), a directory, or cannot be opened.
    """
    path = Path(path)
    with _open(path, unpack=path.suffix.lower() == ".gz") as stream:
        yield stream


@contextmanager
def open_raw(path: Path | str) -> Iterator[BinaryIO]:
    """As `open_binary`, but a .gz file gives its compressed bytes."""
    with _open(Path(path), unpack=False) as stream:
        yield stream


def number_lines(stream: Iterable[str] | Iterable[bytes], *, path: Path | str) -> Iterator[Line]:
    """The lines of a stream, numbered and checked; the bad ones are marked, not raised.

    A UTF-8 byte order mark at the start is dropped. A line is bad where it is not UTF-8, has a NUL byte, or is longer
    than `MAX_LINE_BYTES`; no more than that is held at a time where the stream can read parts of a line.

    Args:
        stream: an open binary or text stream, or any lines.
        path: what to call the stream in errors.
    Raises:
        DataError: the stream cannot be read on: damaged or truncated gzip data, a text stream that is not UTF-8.
    """
    offset = 0
    number = 0
    pieces = _pieces(stream)
    while True:
        try:
            piece = next(pieces, None)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"the compressed data is damaged: {_reason(error)}. Fetch or compress the file again.",
                path=path,
                line=number + 1,
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(f"the text is not UTF-8: {error}.", path=path, line=number + 1) from error
        except OSError as error:
            raise DataError(f"cannot be read: {_reason(error)}.", path=path, line=number + 1) from error
        if piece is None:
            return
        number += 1
        yield _line(piece, number, offset)
        offset += piece.length


def _open(path: Path, *, unpack: bool) -> BinaryIO:
    try:
        if path.is_dir():
            raise DataError("is a directory; expected a file.", path=path)
        return cast(BinaryIO, gzip.open(path, "rb")) if unpack else path.open("rb")
    except FileNotFoundError:
        raise DataError(f"no such file. {_suggestion(path)}", path=path) from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be opened: {_reason(error)}.", path=path) from error


@dataclass(frozen=True, slots=True)
class _Piece:
    """The start of a line, at most MAX_LINE_BYTES of it, and the whole line's length in bytes."""

    head: bytes
    length: int


def _pieces(stream: Iterable[str] | Iterable[bytes]) -> Iterator[_Piece]:
    """One piece per line; where the stream has `readline`, no line is ever held whole beyond the limit.

    A file that has carriage returns and not one line feed at its beginning is of an old Macintosh, where those end
    lines.
    """
    readline = getattr(stream, "readline", None)
    parts: Iterator[str | bytes] = (
        iter(stream) if readline is None else iter(lambda: readline(MAX_LINE_BYTES) or None, None)
    )
    head, length = b"", 0
    ends: tuple[bytes, ...] = (b"\n",)
    for number, part in enumerate(parts):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        if number == 0 and readline is not None and b"\r" in data and b"\n" not in data:
            ends = (b"\n", b"\r")
        for piece in data.splitlines(keepends=True) if len(ends) > 1 else (data,):
            head = head + piece if length < MAX_LINE_BYTES else head
            length += len(piece)
            if readline is None or piece.endswith(ends):
                yield _Piece(head, length)
                head, length = b"", 0
    if length:
        yield _Piece(head, length)


def _line(piece: _Piece, number: int, offset: int) -> Line:
    data = piece.head.removesuffix(b"\n").removesuffix(b"\r")
    if number == 1 and data.startswith(_BYTE_ORDER_MARK):
        data = data.removeprefix(_BYTE_ORDER_MARK)
        offset += len(_BYTE_ORDER_MARK)
    if piece.length > MAX_LINE_BYTES:
        return Line(number, "", f"the line has {piece.length} bytes; expected at most {MAX_LINE_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} at offset {offset + error.start} of the file is not UTF-8"
        advice = "expected UTF-8 text. Convert the file with: iconv -f <its encoding> -t UTF-8"
        return Line(number, data.decode("utf-8", "replace"), f"{found}; {advice}")
    nul = data.find(b"\0")
    if nul >= 0:
        found = f"a NUL byte is at offset {offset + nul} of the file"
        return Line(number, text.replace("\0", "\N{REPLACEMENT CHARACTER}"), f"{found}; expected text")
    return Line(number, text)


def _suggestion(path: Path) -> str:
    """The next step for a file that is not there."""
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist either."
    try:
        close = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        close = None
    return f"Did you mean {str(path.parent / close)!r}?" if close else "Check the path."


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).rstrip(".")
