"""Folders of pictures: what counts as one, links, hidden files, split folders, and what is said of mistakes."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.see.drawn import draw, draw_classes
from triptych.config import SeeData
from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError
from triptych.images.folders import read_folder
from triptych.images.reader import FileReader
from triptych.images.sources import Collection, ImageList
from triptych.images.walking import Remarks, image_files


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def read(folder: Path, *, whole: str | None = None, skip: bool = False, **settings: Any) -> Collection[ImageList]:
    data = SeeData(skip_bad=skip, **settings)
    return read_folder(folder, data, FileReader(data), whole=whole)


def test_images_are_found_by_name_or_by_their_first_bytes(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"b": 2, "a": 1})
    draw(tmp_path / "b" / "deep" / "er" / "UPPER.JPG", 7)
    shutil.copy(tmp_path / "a" / "000.png", tmp_path / "a" / "no-suffix")
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "b/.hidden.png", "__MACOSX/x.png", ".git/x.png", "README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text")
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    remarks = Remarks()
    found = [str(path.relative_to(tmp_path)) for path in image_files(tmp_path, remarks)]
    assert found == ["a/000.png", "a/no-suffix", "b/000.png", "b/001.png", "b/deep/er/UPPER.JPG"]
    assert remarks.others == [str(tmp_path / name) for name in ("README", "notes.txt", "pipe.png")]
    assert remarks.sentences() == [f"Skipped 3 files that are not images; the first: {tmp_path}/README."]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    draw_classes(tmp_path / "pictures", {"a": 2})
    elsewhere = draw(tmp_path / "elsewhere" / "x.png", 50)
    (tmp_path / "pictures" / "a" / "up").symlink_to(tmp_path / "pictures")
    (tmp_path / "pictures" / "a" / "self").symlink_to("self")
    (tmp_path / "pictures" / "b").symlink_to(elsewhere.parent)
    (tmp_path / "pictures" / "c.png").symlink_to(elsewhere)
    found = [str(path.relative_to(tmp_path / "pictures")) for path in image_files(tmp_path / "pictures")]
    assert found == ["a/000.png", "a/001.png", "b/x.png", "c.png"]


def test_the_search_begins_before_it_has_seen_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_classes(tmp_path, {"a": 1, "b": 1})
    listed: list[str] = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(str(folder)) or iterdir(folder))  # type: ignore[func-returns-value]
    assert next(image_files(tmp_path)).name == "000.png"
    assert listed == [str(tmp_path), str(tmp_path / "a")]


def test_class_folders_without_splits(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"dog": 2, "cat": 3, "Zebra": 1})
    source = read(tmp_path)
    assert source.classes == ("Zebra", "cat", "dog")
    part = source.splits["all"]
    assert part.labels == [0, 1, 1, 1, 2, 2]
    assert part.names[0] == "Zebra/000.png"
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in part.names]
    assert part.digests == digests
    items = [f"{source.classes[label]}\t{digest}" for label, digest in zip(part.labels, digests, strict=True)]
    assert source.fingerprints == [{"path": str(tmp_path), "images": 6, "sha256": fingerprint_items(items)}]


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_split_folders_by_their_usual_names(tmp_path: Path, valid: str) -> None:
    for split, count in (("train", 3), (valid, 2), ("test", 1)):
        draw_classes(tmp_path / split, {"a": count, "b": count})
    (tmp_path / "notes").mkdir()
    source = read(tmp_path)
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 6, "valid": 4, "test": 2}
    assert [entry["path"] for entry in source.fingerprints] == [
        str(tmp_path / name) for name in ("train", valid, "test")
    ]
    assert read(tmp_path, whole="test").splits.keys() == {"test"}


def test_split_folders_by_the_recipes_names(tmp_path: Path) -> None:
    for name in ("seg_train/seg_train", "train", "holdout"):
        draw_classes(tmp_path / name, {"a": 1, "b": 1}, seed=len(name))
    source = read(tmp_path, train="seg_train/seg_train", test="holdout")
    assert [entry["path"] for entry in source.fingerprints] == [
        str(tmp_path / name) for name in ("seg_train/seg_train", "holdout")
    ]


def test_a_class_may_be_called_valid(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"valid": 2, "invalid": 2})
    assert read(tmp_path).classes == ("invalid", "valid")


def test_mistakes_of_layout_are_named(tmp_path: Path) -> None:
    draw_classes(tmp_path / "one", {"a": 3})
    draw_classes(tmp_path / "flat", {"train": 2, "test": 2})
    draw_classes(tmp_path / "half" / "test", {"a": 1, "b": 1})
    draw_classes(tmp_path / "odd" / "train", {"apple": 1, "pear": 1})
    draw_classes(tmp_path / "odd" / "test", {"aple": 1, "pear": 1})
    draw_classes(tmp_path / "empty", {"a": 0, "b": 0})
    for name, message in (
        ("one", "one: the folder has 1 class folder; expected 2 or more, each with images of one class."),
        ("flat", "flat/train: the folder has 0 class folders; expected 2 or more, each with images of one class."),
        ("half", "half: there is a folder 'test' and none for training; expected 'train' beside it (data.train)."),
        ("odd", "odd/test: the class is 'aple'; expected one that training has too. Did you mean 'apple'?"),
        ("empty", "empty: the folder has no images that can be read; expected some in each class."),
        ("none", "none: no such folder."),
    ):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path}/{message}"
    with pytest.raises(DataError) as caught:
        read(tmp_path / "odd", whole="valid")
    assert (caught.value.field, caught.value.value, caught.value.path) == ("the split", "valid", tmp_path / "odd")
    assert read(tmp_path / "one", whole="test").classes == ("a",)


def test_a_class_folder_without_images_is_not_a_class(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"a": 3, "empty": 0, "nowhere": 0, "z": 2})
    draw_classes(tmp_path / "test", {"a": 1, "empty": 2, "more": 0, "z": 1}, seed=1)
    source = read(tmp_path)
    assert source.classes == ("a", "z")
    assert source.splits["train"].labels == [0, 0, 0, 1, 1]
    assert source.splits["test"].labels == [0, 1]
    assert [Path(name).parent.name for name in source.splits["test"].names] == ["a", "z"]
    assert source.warnings == [
        f"{tmp_path}/test/more: this class folder has no images, so it is not used.",
        f"{tmp_path}/train/empty: this class folder has no images that can be read, so it is not used as a class. "
        "Skipped 2 images of it in test too.",
        f"{tmp_path}/train/nowhere: this class folder has no images that can be read, so it is not used as a class.",
    ]
    assert read(tmp_path / "train").classes == ("a", "z")
    draw_classes(tmp_path / "one", {"a": 3, "b": 0, "c": 0})
    with pytest.raises(DataError) as caught:
        read(tmp_path / "one")
    assert str(caught.value) == (
        f"{tmp_path}/one: 1 of 3 class folders has images that can be read; expected 2 or more. Add images to 'b'."
    )
    assert read(tmp_path / "one", whole="test").classes == ("a",)
    for row in range(3):
        (tmp_path / "train" / "z" / f"{row:03d}.png").unlink(missing_ok=True)
    (tmp_path / "train" / "z" / "gone.png").symlink_to("nowhere")
    (tmp_path / "train" / "empty" / "a.png").write_bytes((tmp_path / "train" / "a" / "000.png").read_bytes())
    source = read(tmp_path, skip=True)
    assert source.classes == ("a", "empty")
    assert source.splits["test"].labels == [0, 1, 1]


def test_a_folder_of_images_without_classes_is_not_a_split(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"a": 3, "b": 2})
    draw(tmp_path / "test" / "1.png", 90)
    (tmp_path / "valid").mkdir()
    source = read(tmp_path)
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 5}
    assert source.warnings == [
        f"{tmp_path}/valid: this folder has no class folders, so it is not used as the valid split.",
        f"{tmp_path}/test: this folder has no class folders, so it is not used as the test split. "
        f"`triptych predict RUN {tmp_path}/test` classifies its images.",
    ]
    assert source.fingerprints == read(tmp_path, whole="train").fingerprints
    with pytest.raises(DataError, match="test: the folder has 0 class folders; expected 1 or more"):
        read(tmp_path, whole="test")


def test_files_that_cannot_be_read_stop_or_are_counted(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "gone.png").symlink_to("nowhere")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/a/gone.png: no such file. Replace or remove the file, or skip bad files with --skip-bad."
    )
    source = read(tmp_path, skip=True)
    assert len(source.splits["all"]) == 4
    assert [str(bad) for bad in source.bad] == [f"{tmp_path}/a/gone.png: no such file."]


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError) as caught:
        list(image_files(tmp_path))
    assert str(caught.value) == f"{tmp_path}: the folder cannot be read: Permission denied."


def test_a_folder_below_that_may_not_be_read_is_a_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_classes(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "closed").mkdir()
    real = Path.iterdir

    def refuse(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/a/closed: the folder cannot be read: Permission denied. "
        "Replace or remove the file, or skip bad files with --skip-bad."
    )
    source = read(tmp_path, skip=True)
    assert len(source.splits["all"]) == 4
    assert [str(bad) for bad in source.bad] == [f"{tmp_path}/a/closed: the folder cannot be read: Permission denied."]


def test_names_that_are_not_utf8_are_shown_with_their_bytes(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"caf\udce9": 1, "tea": 1})
    source = read(tmp_path)
    assert source.classes == ("caf\\xe9", "tea")
    assert source.splits["all"].names[0] == "caf\\xe9/000.png"
    assert len(source.splits["all"]) == 2
