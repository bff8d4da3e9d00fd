"""Patterns from files: what is read equals what was written, and what cannot be used is told with its place."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from triptych.errors import DataError
from triptych.memory.patterns import ImageSize, read_patterns

ROWS: NDArray[Any] = np.arange(24, dtype=np.float64).reshape(4, 6) / 7


def expected(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(array.reshape(len(array), -1).astype(np.float32))


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        ROWS.astype(np.float32),
        np.asfortranarray(ROWS),
        (ROWS * 9).astype(np.uint8),
        ROWS > 1,
        ROWS.reshape(4, 2, 3),
    ],
    ids=["float64", "float32", "column-major", "uint8", "bool", "images"],
)
def test_npy(tmp_path: Path, array: NDArray[Any]) -> None:
    np.save(tmp_path / "x.npy", array)
    found = read_patterns(tmp_path / "x.npy")
    assert torch.equal(found.patterns, expected(array))
    assert (found.labels, found.values, found.ids) == (None, None, None)


def test_npz(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz", x=ROWS, labels=np.array([3, 1, 4, 1]), values=ROWS[:, :2], ids=np.arange(4), other=ROWS
    )
    found = read_patterns(tmp_path / "x.npz")
    assert torch.equal(found.patterns, expected(ROWS))
    assert found.values is not None
    assert torch.equal(found.values, expected(ROWS[:, :2]))
    assert (found.labels, found.ids) == (["3", "1", "4", "1"], [0, 1, 2, 3])
    np.savez_compressed(tmp_path / "y.npz", anything=ROWS)
    assert torch.equal(read_patterns(tmp_path / "y.npz").patterns, expected(ROWS))


def test_csv_with_and_without_header(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "x.csv", ROWS, delimiter=",")
    assert torch.equal(read_patterns(tmp_path / "x.csv").patterns, expected(ROWS))
    with (tmp_path / "y.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["a", "label", "b", "id"])
        writer.writerows([[1, 'x, "y"', 2, 7], [3, "", -4e-3, 9]])
    found = read_patterns(tmp_path / "y.csv")
    torch.testing.assert_close(found.patterns, torch.tensor([[1.0, 2.0], [3.0, -4e-3]]))
    assert (found.labels, found.ids) == (['x, "y"', ""], [7, 9])


def test_a_folder_of_images(tmp_path: Path) -> None:
    for label, value in (("cat", 51), ("dog", 204)):
        (tmp_path / label).mkdir()
        Image.new("RGB", (9, 5), (value, value, value)).save(tmp_path / label / "one.png")
    gradient: NDArray[Any] = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(gradient).save(tmp_path / "cat" / "two.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    grey = read_patterns(tmp_path, image_size=ImageSize(3, 4))
    assert grey.labels == ["cat", "cat", "dog"]
    torch.testing.assert_close(grey.patterns[0], torch.full((12,), 0.2))
    torch.testing.assert_close(grey.patterns[1], torch.from_numpy(gradient).float().reshape(-1) / 255)
    assert read_patterns(tmp_path, image_size=ImageSize(3, 4, 3)).patterns.shape == (3, 36)
    assert read_patterns(tmp_path / "cat").labels is None


def write(path: Path, content: object) -> None:
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]


BAD = {
    "pickled": (
        "x.npy",
        np.array([{}], dtype=object),
        "holds pickled Python objects, which can run code and are never",
    ),
    "text": ("x.npy", np.array([["a"]]), "the array has dtype <U1; expected numbers."),
    "vector": ("x.npy", np.ones(3), "the array has shape (3,); expected (rows, columns)"),
    "NaN": ("x.npy", np.array([[1, 2], [3, np.nan]]), "the array is nan in row 1, column 1; expected finite numbers."),
    "overflow": ("x.npy", np.array([[1, 1e300]]), "the array is 1e+300 in row 0, column 1; expected finite numbers."),
    "empty": ("x.npy", np.ones((0, 3)), "holds 0 patterns; expected at least one."),
    "no npy": ("x.npy", b"hello", "is no whole .npy array: "),
    "no npz": ("x.npz", b"hello", "is no whole .npz file: "),
    "other kind": ("x.parquet", b"hello", "is a .parquet file; expected .npy, .npz, .csv or a folder of images."),
    "ragged": ("x.csv", "1,2\n3\n", "2: has 1 cells; expected 2, as the lines before."),
    "word": ("x.csv", "1,2\n3,four\n", "2: a cell is 'four'; expected a number. Name a column of texts 'label'."),
    "nan": ("x.csv", "1,2\n3,nan\n", "2: a cell is 'nan'; expected a finite number"),
    "id": ("x.csv", "id,a\nx,1\n", "an id is 'x'; expected an integer >= 0."),
    "labels only": ("x.csv", "label\nx\n", "has no column of numbers; expected at least one besides label and id."),
    "blank": ("x.csv", "\n", "holds 0 patterns; expected at least one."),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_told(tmp_path: Path, name: str, content: object, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(DataError) as raised:
        read_patterns(tmp_path / name)
    text = str(raised.value).removeprefix(f"{tmp_path / name}:")
    assert text.strip().startswith(message)


def test_a_truncated_array_and_a_missing_one_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"x\.npy: is no whole \.npy array"):
        read_patterns(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"y\.npy: no such file\. Did you mean"):
        read_patterns(tmp_path / "y.npy")
    np.savez(tmp_path / "z.npz", a=ROWS, patern=ROWS)
    with pytest.raises(
        DataError, match=r"has the arrays a, patern; expected one called 'patterns'\. Did you mean 'patern'"
    ):
        read_patterns(tmp_path / "z.npz")


def test_bad_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder has no images; expected some of \.png"):
        read_patterns(tmp_path)
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"x\.png: is no readable image: "):
        read_patterns(tmp_path)
    with pytest.raises(DataError, match=r"the images' height is 0; expected at least 1"):
        read_patterns(tmp_path, image_size=ImageSize(height=0))
