"""Arrays of pictures: .npz with any usual names, shapes and types, and IDX files."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.errors import DataError
from triptych.images.arrays import idx_files, read_idx, read_npz


def pixels(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def idx(values: np.ndarray[Any, Any]) -> bytes:
    """The format as its authors describe it."""
    return bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"), 3),
        (("x_train", "y_train", "x_test", "y_test"), 2),
        (("x", "y"), 1),
    ],
)
def test_npz_by_its_usual_names(tmp_path: Path, names: tuple[str, ...], splits: int) -> None:
    arrays: dict[str, Any] = {}
    for number, (images, labels) in enumerate(zip(names[::2], names[1::2], strict=True)):
        arrays |= {images: pixels(4, 5, 6, seed=number), labels: np.array([0, 1, 2, 1])}
    source = read_npz(save(tmp_path / "a.npz", **arrays))
    assert list(source.splits) == (
        ["all"] if splits == 1 else ["train", "valid", "test"] if splits == 3 else ["train", "test"]
    )
    assert source.classes == ("0", "1", "2")
    part = next(iter(source.splits.values()))
    assert np.array_equal(np.asarray(part.images), arrays[names[0]])
    assert part.labels == [0, 1, 2, 1]
    assert part.names[3] == f"{names[0]}:3"
    assert part.digests[2] == hashlib.sha256(arrays[names[0]][2].tobytes()).hexdigest()
    assert source.fingerprints[0]["sha256"] == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((3, 5, 6), (3, 5, 6)), ((3, 5, 6, 1), (3, 5, 6)), ((3, 1, 5, 6), (3, 5, 6)), ((3, 5, 6, 3), (3, 5, 6, 3)),
        ((3, 3, 5, 6), (3, 5, 6, 3)), ((3, 5, 6, 4), (3, 5, 6, 4)),
    ],
)  # fmt: skip
def test_channels_first_or_last(tmp_path: Path, given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    values = pixels(*given)
    part = read_npz(save(tmp_path / "a.npz", x=values, y=[0, 1, 0])).splits["all"]
    assert np.asarray(part.images).shape == expected
    moved = values.transpose(0, 2, 3, 1) if given == (3, 3, 5, 6) else values
    assert np.asarray(part.images).tobytes() == moved.tobytes()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 7, 255], np.int64), [0, 7, 255]),
        (np.array([0, 7, 255], np.float32), [0, 7, 255]),
        (np.array([0, 0.5, 1], np.float64), [0, 128, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 257, 65535], np.uint16), [0, 1, 255]),
        (np.array([0, 1, 1], np.uint8), [0, 255, 255]),
        (np.array([0, 1, 1], np.int64), [0, 255, 255]),
        (np.array([1, 1, 1], np.uint8), [1, 1, 1]),
        (np.array([0, 1, 2], np.uint8), [0, 1, 2]),
        (
            np.array([-1, 0, 255], np.int64),
            "x is of type int64 with values from -1 to 255; expected whole numbers from 0",
        ),
        (np.array([0, 0.5, 200]), "x is of type float64 with values from 0.0 to 200.0; expected"),
        (np.array([0, np.nan, 1]), "x is of type float64 with values from nan to nan; expected"),
        (np.array(["a", "b", "c"]), "x is of type <U1; expected numbers."),
    ],
)
def test_values_of_every_type(tmp_path: Path, values: np.ndarray[Any, Any], expected: list[int] | str) -> None:
    path = save(tmp_path / "a.npz", x=values.reshape(3, 1, 1), y=[0, 1, 1])
    if isinstance(expected, list):
        assert np.asarray(read_npz(path).splits["all"].images).ravel().tolist() == expected
        return
    with pytest.raises(DataError) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


def test_splits_are_read_on_one_scale(tmp_path: Path) -> None:
    def values(train: Any, test: Any) -> list[list[int]]:
        arrays = {name: np.reshape(given, (2, 1, 1)) for name, given in (("x_train", train), ("x_test", test))}
        source = read_npz(save(tmp_path / "a.npz", **arrays, y_train=[0, 1], y_test=[0, 1]))
        return [np.asarray(part.images).ravel().tolist() for part in source.splits.values()]

    whole = np.array([0, 33000], np.uint16), np.array([200, 255], np.uint16)
    assert values(*whole) == [[0, 128], [1, 1]]
    assert values(*reversed(whole)) == [[1, 1], [0, 128]]
    assert values(whole[0], np.array([0, 255], np.uint8)) == [[0, 128], [0, 255]]
    assert values(np.array([0.0, 255.0]), np.array([0.0, 1.0], np.float32)) == [[0, 255], [0, 1]]
    assert values(np.array([0, 33000], np.int64), np.array([True, False])) == [[0, 128], [255, 0]]
    with pytest.raises(DataError) as caught:
        values(np.array([0.5, 1.0]), np.array([0.0, 255.0], np.float32))
    assert str(caught.value).startswith(
        f"{tmp_path}/a.npz: x_train and x_test are of type float64 and float32 with values from 0.0 to 255.0; expected"
    )
    with pytest.raises(DataError, match="x_train and x_test are of type float64 with values from nan to nan"):
        values(np.array([0.5, 1.0]), np.array([0.0, np.nan]))


@pytest.mark.parametrize(
    ("values", "range_text"),
    [
        (np.array([0, 16], np.uint8), "from 0 to 16 and are read on the scale 0 to 255,"),
        (np.array([0.0, 16.0]), "from 0.0 to 16.0 and are read on the scale 0 to 255,"),
        (np.array([3, 4095], np.uint16), "from 3 to 4095 and are read on the scale 0 to 65535,"),
        (np.array([0, 0.2]), "from 0.0 to 0.2 and are read on the scale 0 to 1,"),
        (np.array([0, 64], np.uint8), None),
        (np.array([0, 1], np.uint8), None),
        (np.array([0, 16384], np.uint16), None),
        (np.array([0, 0.25]), None),
    ],
)
def test_values_far_below_their_scale_are_warned_of(tmp_path: Path, values: Any, range_text: str | None) -> None:
    images = values.reshape(2, 1, 1)
    path = save(tmp_path / "a.npz", x_train=images, y_train=[0, 1], x_test=images[:1], y_test=[1])
    assert read_npz(path).warnings == [
        f"{path}: the values of x_train and x_test go {range_text} so the images are nearly black. "
        "Scale the values to 0..255, or as floating-point numbers to 0..1."
    ] * (range_text is not None)


@pytest.mark.parametrize(
    ("labels", "names", "classes", "numbers"),
    [
        ([3, 7, 3], None, ("3", "7"), [0, 1, 0]),
        ([[1], [0], [1]], None, ("0", "1"), [1, 0, 1]),
        ([1.0, 0.0, 1.0], None, ("0", "1"), [1, 0, 1]),
        (["pear", "apple", "pear"], None, ("apple", "pear"), [1, 0, 1]),
        ([b"pear", b"apple", b"pear"], None, ("apple", "pear"), [1, 0, 1]),
        ([2, 0, 2], ["cat", "dog", "emu"], ("cat", "dog", "emu"), [2, 0, 2]),
        ([10, 9, 10], None, ("9", "10"), [1, 0, 1]),
    ],
)
def test_class_names_and_numbers(
    tmp_path: Path, labels: list[Any], names: list[str] | None, classes: tuple[str, ...], numbers: list[int]
) -> None:
    named = {} if names is None else {"classes": np.array(names)}
    source = read_npz(save(tmp_path / "a.npz", x=pixels(3, 2, 2), y=np.array(labels), **named))
    assert source.classes == classes
    assert source.splits["all"].labels == numbers


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_imgs": 1, "y": 1}, "the arrays are train_imgs, y; expected train_images and train_labels, or x and y. "
         "Rename them."),
        ({"x": pixels(3, 4), "y": [0, 1, 1]}, "x has shape (3, 4); expected (N, height, width)"),
        ({"x": pixels(3, 5, 5, 2), "y": [0, 1, 1]}, "x has shape (3, 5, 5, 2); expected (N, height, width)"),
        ({"x": pixels(3, 4, 4), "y": [0, 1]}, "the labels of x have shape (2,) and the images (3, 4, 4); expected"),
        ({"x": pixels(3, 4, 4), "y": np.eye(3)}, "the labels of x have shape (3, 3) and the images (3, 4, 4)"),
        ({"x": pixels(2, 4, 4), "y": [0.5, 1]}, "the labels of x are of type float64; expected whole numbers"),
        ({"x": pixels(2, 4, 4), "y": [0, 2], "classes": ["a", "b"]}, "the labels go from 0 to 2 and classes has 2 "
         "names; expected labels from 0 to 1."),
        ({"x": pixels(2, 4, 4), "y": [0, 1], "classes": ["a", "a"]}, "classes names 2 classes; expected different"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_labels_of_numbers_and_of_text_do_not_mix(tmp_path: Path) -> None:
    images = {"x_train": pixels(2, 4, 4), "x_test": pixels(2, 4, 4)}
    path = save(tmp_path / "a.npz", **images, y_train=np.array([0, 1], np.uint8), y_test=np.array(["0", "1"]))
    with pytest.raises(DataError) as caught:
        read_npz(path)
    assert str(caught.value) == (
        f"{path}: the labels differ in type, those of x_train of type uint8, those of x_test of type <U1; expected "
        "whole numbers in all, or text in all. Save all in one type."
    )
    save(path, **images, y_train=np.array([0, 1], np.uint8), y_test=np.array([[1.0], [0.0]]))
    assert read_npz(path).splits["test"].labels == [1, 0]


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), y=[0], allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects") as caught:
        read_npz(path)
    assert caught.value.path == path


def test_a_damaged_npz(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=pixels(30, 9, 9), y=np.arange(30))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as \.npz: File is not a zip file"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"nothing")
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as \.npz: "):
        read_npz(path)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_pairs_by_their_names(tmp_path: Path, packed: bool) -> None:
    for name, count in (("train", 6), ("t10k", 3)):
        for kind, values in (
            ("images-idx3", pixels(count, 4, 5, seed=count)),
            ("labels-idx1", pixels(count, seed=count) % 3),
        ):
            data = idx(values)
            path = tmp_path / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    source = read_idx(tmp_path)
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 6, "test": 3}
    assert np.array_equal(np.asarray(source.splits["test"].images), pixels(3, 4, 5, seed=3))
    assert [int(source.classes[label]) for label in source.splits["train"].labels] == (pixels(6, seed=6) % 3).tolist()
    assert source.splits["test"].names[2] == f"t10k-images-idx3-ubyte{'.gz' if packed else ''}:2"
    assert len(source.fingerprints) == 4
    for path in tmp_path.glob("train*"):
        path.unlink()
    assert list(read_idx(tmp_path).splits) == ["all"]
    assert list(read_idx(idx_files(tmp_path)[0]).splits) == ["all"]


def write_pair(folder: Path, name: str, count: int, *, labels: str = "labels-idx1-ubyte") -> None:
    (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels(count, 4, 5)))
    (folder / f"{name}-{labels}.gz").write_bytes(gzip.compress(idx(pixels(count) % 3)))


@pytest.mark.parametrize("names", [("emnist-letters-train", "emnist-letters-test"), ("qmnist-train", "qmnist-test")])
def test_idx_files_of_the_mnist_family_say_their_split(tmp_path: Path, names: tuple[str, str]) -> None:
    write_pair(tmp_path, names[0], 6)
    write_pair(tmp_path, names[1], 3)
    assert {split: len(part) for split, part in read_idx(tmp_path).splits.items()} == {"train": 6, "test": 3}
    write_pair(tmp_path, "t10k", 3)
    with pytest.raises(DataError, match="the folder has two files for test; expected one"):
        read_idx(tmp_path)


def test_idx_files_of_no_known_split_are_reported(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", 6)
    write_pair(tmp_path, "emnist-more", 3)
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/emnist-more-images-idx3-ubyte: the word before images is 'more'; expected train, t10k, test, "
        "valid, val where a folder has several files of images. Rename the file, or pass it alone with --data"
    )
    assert list(read_idx(tmp_path / "emnist-more-images-idx3-ubyte").splits) == ["all"]


def test_labels_of_several_numbers_are_not_supported(tmp_path: Path) -> None:
    write_pair(tmp_path, "qmnist-train", 6, labels="labels-idx2-int")
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/qmnist-train-images-idx3-ubyte: the labels beside it are 'qmnist-train-labels-idx2-int.gz', "
        "several whole numbers for each image, which is not supported; expected 'qmnist-train-labels-idx1-ubyte', one "
        "byte for each image. Write the first column of the labels in that form."
    )


def test_idx_files_that_cannot_be_used(tmp_path: Path) -> None:
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte.gz"
    images.write_bytes(idx(pixels(3, 4, 5)))

    def refused() -> str:
        with pytest.raises(DataError) as caught:
            read_idx(tmp_path)
        return str(caught.value)

    assert refused() == f"{images}: the file of labels 'train-labels-idx1-ubyte' is missing beside it."
    labels.write_bytes(gzip.compress(idx(pixels(2))))
    assert refused().startswith(f"{tmp_path}: the labels of {images.name} have shape (2,) and the images (3, 4, 5)")
    labels.write_bytes(gzip.compress(idx(pixels(300)))[:90])
    assert refused().startswith(f"{labels}: the compressed data is damaged: ")
    labels.write_bytes(gzip.compress(idx(pixels(3))[:-1]))
    assert refused() == f"{labels}: the file has 2 bytes of values; expected 3 for its shape (3,). Fetch it again."
    images.write_bytes(b"\x89PNG\r\n")
    assert (
        refused()
        == f"{images}: the file begins with 89 50 4e 47; expected 00 00 08 03, an IDX file of bytes in 3 dimensions."
    )
