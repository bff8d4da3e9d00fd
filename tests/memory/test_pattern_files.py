"""Patterns from files: what is read equals what was written, and errors name the place of what cannot be used."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.messages import check_message
from triptych.config.see import ImageForm
from triptych.errors import DataError, TriptychError
from triptych.images.bad_files import Skipped
from triptych.images.reading import read_image
from triptych.memory.manifest import ImageSize
from triptych.memory.pattern_files import read_patterns

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
    (tmp_path / "cat" / "._one.png").write_bytes(b"hidden, as some systems leave them beside files")
    grey = read_patterns(tmp_path, image_size=ImageSize(3, 4))
    assert grey.labels == ["cat", "cat", "dog"]
    assert grey.image_size == ImageSize(3, 4)
    torch.testing.assert_close(grey.patterns[0], torch.full((12,), 0.2))
    torch.testing.assert_close(grey.patterns[1], torch.from_numpy(gradient).float().reshape(-1) / 255)
    assert read_patterns(tmp_path, image_size=ImageSize(3, 4, 3)).patterns.shape == (3, 36)
    assert read_patterns(tmp_path / "cat").labels is None
    one = read_patterns(tmp_path / "cat" / "two.png", image_size=ImageSize(3, 4))
    assert torch.equal(one.patterns, grey.patterns[1:2])


def test_images_are_read_as_classifiers_read_them(tmp_path: Path) -> None:
    """16-bit values are scaled, images are turned upright, transparent parts are white; rows are (height, width, C)."""
    ramp: NDArray[Any] = np.linspace(0, 65535, 12).round().astype(np.uint16).reshape(3, 4)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    turned: NDArray[Any] = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(turned).save(tmp_path / "turned.png", exif=exif)
    clear = Image.new("RGBA", (4, 3), (255, 0, 0, 0))
    clear.putpixel((1, 2), (255, 0, 0, 255))
    clear.save(tmp_path / "clear.png")
    names = ("clear.png", "deep.png", "turned.png")
    grey = read_patterns(tmp_path, image_size=ImageSize(3, 4)).patterns
    form = ImageForm(height=3, width=4, colour="grey")
    for row, name in zip(grey, names, strict=True):
        torch.testing.assert_close(row, torch.from_numpy(read_image(tmp_path / name, form)).reshape(-1) / 255)
    torch.testing.assert_close(
        grey[1], torch.from_numpy(ramp.astype(np.float32)).reshape(-1) / 65535, atol=0.003, rtol=0
    )
    upright = read_patterns(tmp_path / "turned.png", image_size=ImageSize(4, 3)).patterns[0]
    torch.testing.assert_close(upright, torch.from_numpy(np.rot90(turned, -1).copy()).float().reshape(-1) / 255)
    assert grey[0].tolist().count(1.0) == 11
    colour = read_patterns(tmp_path / "clear.png", image_size=ImageSize(3, 4, 3)).patterns.reshape(3, 4, 3)
    assert colour[2, 1].tolist() == [1.0, 0.0, 0.0]
    assert colour[0, 0].tolist() == [1.0, 1.0, 1.0]


def test_images_that_cannot_be_read_are_skipped_where_asked(tmp_path: Path) -> None:
    Image.new("L", (4, 3), 90).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        read_patterns(tmp_path)
    assert caught.value.path == tmp_path / "b.png"
    skipped = Skipped()
    assert len(read_patterns(tmp_path, on_bad=skipped.add).patterns) == 1
    assert skipped.count == 1
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError) as none:
        read_patterns(tmp_path, on_bad=skipped.add)
    assert none.value.path == tmp_path


def write(path: Path, content: object) -> None:
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]


BAD = {
    "pickled": ("x.npy", np.array([{}], dtype=object), "", None),
    "text": ("x.npy", np.array([["a"]]), "the array", np.dtype("<U1")),
    "vector": ("x.npy", np.ones(3), "the array", (3,)),
    "infinity": ("x.npy", np.array([[1, 2], [3, np.inf]]), "the array", np.inf),
    "overflow": ("x.npy", np.array([[1, 1e300]]), "the array", 1e300),
    "empty": ("x.npy", np.ones((0, 3)), "", None),
    "no npy": ("x.npy", b"hello", "", None),
    "no npz": ("x.npz", b"hello", "", None),
    "other kind": ("x.parquet", b"hello", "suffix", ".parquet"),
    "ragged": ("x.csv", "1,2\n3\n", "cells", 1),
    "word": ("x.csv", "1,2\n3,four\n", "cell", "four"),
    "nan": ("x.csv", "1,2\n3,nan\n", "cell", "nan"),
    "id": ("x.csv", "id,a\nx,1\n", "id", "x"),
    "labels only": ("x.csv", "label\nx\n", "", None),
    "blank": ("x.csv", "\n", "", None),
}


@pytest.mark.parametrize(("name", "content", "field", "value"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, name: str, content: object, field: str, value: object, request: pytest.FixtureRequest
) -> None:
    write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read_patterns(tmp_path / name)
    assert (caught.value.path, caught.value.field, caught.value.value) == (tmp_path / name, field, value)
    assert caught.value.line == (2 if "csv" in name and field in ("cell", "cells") else None)
    check_message(f"patterns.{request.node.callspec.id.replace(' ', '-')}", caught.value, tmp_path)


def test_a_truncated_array_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError) as short:
        read_patterns(tmp_path / "x.npy")
    assert short.value.path == tmp_path / "x.npy"
    with pytest.raises(DataError) as missing:
        read_patterns(tmp_path / "y.npy")
    assert missing.value.path == tmp_path / "y.npy"
    np.savez(tmp_path / "z.npz", a=ROWS, patern=ROWS)
    with pytest.raises(DataError) as names:
        read_patterns(tmp_path / "z.npz")
    assert (names.value.field, names.value.hint) == ("patterns", "Did you mean 'patern'?")


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_patterns(tmp_path)
    check_message("patterns.no-images", caught.value, tmp_path)
    for field, size in (("height", (0, 28, 1)), ("width", (28, -1, 1)), ("channels", (28, 28, 2))):
        with pytest.raises(TriptychError) as wrong:
            ImageSize(*size)  # type: ignore[arg-type]
        assert wrong.value.field == field
