"""A file is complete or absent, whatever happens while it is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from triptych.files import atomic_write, write_bytes_atomically, write_text_atomically, write_tsv
from triptych.report.comparison import read_rows


def test_writes_text_and_bytes_exactly_and_makes_folders(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a" / "b" / "t͡ʃ.txt", "ʃ\r\nx\n")
    write_bytes_atomically(tmp_path / "bytes.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "t͡ʃ.txt").read_bytes() == "ʃ\r\nx\n".encode()
    assert (tmp_path / "bytes.bin").read_bytes() == b"\x00\xff"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "bytes.bin"]


def test_the_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "model.json"
    target.write_text("old")
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
        assert temporary.suffix == ".json"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "metrics.csv"
    target.write_text("old")

    def write_half() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("ha")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_rename_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(OSError):
        write_text_atomically(folder, "text")
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_permissions_are_those_of_any_new_file_or_of_the_replaced_one(tmp_path: Path) -> None:
    plain, written = tmp_path / "plain", tmp_path / "written"
    plain.write_text("")
    write_text_atomically(written, "")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    written.chmod(0o640)
    write_text_atomically(written, "again")
    assert stat.S_IMODE(written.stat().st_mode) == 0o640
    with atomic_write(tmp_path / "swapped.txt") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert stat.S_IMODE((tmp_path / "swapped.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    def watched_replace(old: Path, new: Path) -> None:
        calls.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_text_atomically(tmp_path / "a", "text")
    assert calls[:2] == ["fsync", "replace"]


def test_cells_of_a_table_stay_in_their_row_and_column(tmp_path: Path) -> None:
    write_tsv(tmp_path / "new" / "a.tsv", ["x", "y"], [["a\tb", "c\r\nd\n"], ["", "\udcff"]])
    assert (tmp_path / "new" / "a.tsv").read_bytes() == b"x\ty\na b\tc d \n\t?\n"


def test_white_space_that_ends_no_line_of_a_file_stays_as_it_is(tmp_path: Path) -> None:
    cell = "a\u2028b\x85c\x1cd\x1de\x1ef\x0bg\x0ch\u00a0i"
    write_tsv(tmp_path / "a.tsv", ["x", "y"], [[cell, "z"]])
    assert read_rows(tmp_path / "a.tsv") == [{"x": cell, "y": "z"}]
