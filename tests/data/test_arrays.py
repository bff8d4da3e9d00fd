"""Arrays of .npy and .npz files, whole, damaged and pickled."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.data.arrays import read_npy, read_npz
from triptych.errors import DataError


class Explosive:
    """What would end the test if it were unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("unpickled",))


def test_the_chosen_arrays_are_read_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    objects = np.array([Explosive()], dtype=object)
    np.savez(path, x=np.arange(6).reshape(2, 3), names=np.array(["a", "é"]), other=objects)
    seen: list[str] = []

    def choose(names: list[str]) -> list[str]:
        seen.extend(names)
        return ["x", "names"]

    found = read_npz(path, choose)
    assert sorted(seen) == ["names", "other", "x"]
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["names"].tolist() == ["a", "é"]
    with pytest.raises(DataError) as caught:
        read_npz(path, lambda names: names)
    assert caught.value.path == path
    assert "pickled Python objects" in str(caught.value)


def test_an_npy_file_is_read_and_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(3.0))
    assert read_npy(path).tolist() == [0.0, 1.0, 2.0]
    np.save(path, np.array([Explosive()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects"):
        read_npy(path)


@pytest.mark.parametrize("cut", [0, 1, 10, 100, 200, -1, -30])
@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_are_data_errors(tmp_path: Path, cut: int, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=np.arange(100.0))
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(DataError) as caught:
        read_npz(path, lambda names: names)
    assert caught.value.path == path
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(DataError):
        read_npz(path, lambda names: names)


def test_an_archive_without_arrays_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", "no array")
    with pytest.raises(DataError) as caught:
        read_npz(path, lambda names: names)
    assert caught.value.hint == "Save the arrays again."
