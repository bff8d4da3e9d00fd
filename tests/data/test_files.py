"""Lines with numbers and problems, and fingerprints against published digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from triptych.data.files import MAX_LINE_BYTES, Line, number_lines, open_binary
from triptych.data.fingerprints import fingerprint_file, fingerprint_items
from triptych.errors import DataError


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0\ufeff"))))
def test_lines_come_back_as_they_were_joined(texts: list[str]) -> None:
    stream = io.BytesIO("".join(f"{text}\n" for text in texts).encode())
    assert list(number_lines(stream, path="x")) == [Line(number, text) for number, text in enumerate(texts, start=1)]


def test_line_ends_and_the_byte_order_mark_are_dropped() -> None:
    stream = io.BytesIO(b"\xef\xbb\xbfa\r\nb\r\r\n\xef\xbb\xbfc\x0bd")
    assert [line.text for line in number_lines(stream, path="x")] == ["a", "b\r", "\ufeffc\x0bd"]


def test_a_long_line_is_not_held_whole_and_reading_continues() -> None:
    class Long(io.BytesIO):
        parts_left = 20

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size == MAX_LINE_BYTES
            self.parts_left -= 1
            return b"x" * size if self.parts_left >= 0 else super().readline(size)

    tracemalloc.start()
    first, second = number_lines(Long(b"\nnext\n"), path="x")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.problem == f"the line has {20 * MAX_LINE_BYTES + 1} bytes; expected at most {MAX_LINE_BYTES}"
    assert second == Line(2, "next")
    assert peak_bytes < 4 * MAX_LINE_BYTES


def test_offsets_count_from_the_start_of_the_file() -> None:
    lines = list(number_lines(io.BytesIO(b"\xef\xbb\xbfab\r\ncd\xff\n\xfe"), path="x"))
    assert [line.problem is None for line in lines] == [True, False, False]
    assert lines[1].problem is not None
    assert lines[1].problem.startswith("byte 0xff at offset 9 of the file is not UTF-8")
    assert lines[2].problem is not None
    assert lines[2].problem.startswith("byte 0xfe at offset 11 of the file")


def test_a_stream_that_fails_is_a_data_error_with_the_line() -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2:
                raise OSError(5, "Input/output error")
            return super().readline(size)

    lines = number_lines(Failing(b"a\nb\n"), path="disk.tsv")
    assert next(lines).text == "a"
    with pytest.raises(DataError, match=r"^disk\.tsv:2: cannot be read: Input/output error\.$"):
        next(lines)


def test_a_path_that_cannot_be_opened_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300)
    with pytest.raises(DataError, match=r"n: cannot be opened: File name too long\.$"), open_binary(path):
        pass
    with pytest.raises(DataError, match="cannot be opened: embedded null byte"), open_binary("a\0b"):
        pass


def test_a_file_fingerprint_is_sha256_of_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert fingerprint_file(path) == {
        "path": str(path),
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # FIPS 180-4's example
    }
    packed = tmp_path / "big.gz"
    packed.write_bytes(gzip.compress(bytes(3 * 2**20), compresslevel=0))
    assert fingerprint_file(packed)["sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    missing = tmp_path / "ab"
    with pytest.raises(DataError) as caught:
        fingerprint_file(missing)
    assert str(caught.value) == f"{missing}: no such file. Did you mean '{path}'?"


def test_an_item_fingerprint_depends_on_order_and_boundaries_only() -> None:
    assert fingerprint_items(["é", "b"]) == fingerprint_items(["é".encode(), b"b"])
    different = [["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", ""], ["abc"], []]
    assert len({fingerprint_items(items) for items in different}) == len(different)
    assert fingerprint_items([]) == hashlib.sha256().hexdigest()
    assert fingerprint_items(["ab"]) == hashlib.sha256(b"\0\0\0\0\0\0\0\x02ab").hexdigest()
