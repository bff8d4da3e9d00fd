"""Which folders are splits and which are classes, whatever their case, and the warnings about what is not used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.messages import check_message
from tests.see.drawn import draw, draw_classes
from triptych.config import ImageForm, SeeData
from triptych.errors import DataError
from triptych.images import reader as of_reader
from triptych.images.folders import read_folder, split_folders
from triptych.images.reader import FileReader, KnownDigests, settled_state
from triptych.images.reading import decode_or_reason
from triptych.images.walking import Remarks


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def found(folder: Path, *, whole: str | None = None, **names: Any) -> tuple[dict[str, str], list[str]]:
    """The folders of the splits below the folder, and the warnings with its path left out."""
    remarks = Remarks()
    folders = split_folders(folder, SeeData(**names), remarks, whole=whole)
    shown = [sentence.replace(f"{folder}/", "").replace(f"{folder}:", "FOLDER:") for sentence in remarks.folders]
    return {split: str(path.relative_to(folder)) for split, path in folders.items()}, shown


def lay_out(folder: Path, *places: str, each: Sequence[str] = ("a", "b")) -> None:
    for number, place in enumerate(places):
        draw_classes(folder / place, dict.fromkeys(each, 1), seed=number)


@pytest.mark.parametrize(
    ("places", "splits"),
    [
        (("Train", "Test"), {"train": "Train", "test": "Test"}),
        (("TRAIN", "Val", "TEST"), {"train": "TRAIN", "valid": "Val", "test": "TEST"}),
        (("train", "Test"), {"train": "train", "test": "Test"}),
        (("Training", "Validation", "Testing"), {"train": "Training", "valid": "Validation", "test": "Testing"}),
        (
            ("seg_train/seg_train", "seg_test/seg_test"),
            {"train": "seg_train/seg_train", "test": "seg_test/seg_test"},
        ),
        (("train/Train", "test"), {"train": "train/Train", "test": "test"}),
    ],
)
def test_split_folders_are_found_whatever_their_case(
    tmp_path: Path, places: tuple[str, ...], splits: dict[str, str]
) -> None:
    lay_out(tmp_path, *places)
    assert found(tmp_path) == (splits, [])
    collection = read_folder(tmp_path, SeeData(), FileReader(SeeData()), whole=None)
    assert collection.classes == ("a", "b")


def test_the_name_in_lower_case_goes_first(tmp_path: Path) -> None:
    lay_out(tmp_path, "Train", "train")
    splits, warnings = found(tmp_path)
    assert splits == {"train": "train"}
    assert [sentence.split(":")[0] for sentence in warnings] == ["Train"]


def test_kaggles_archive_of_scenes(tmp_path: Path) -> None:
    lay_out(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    draw(tmp_path / "seg_pred" / "seg_pred" / "3.jpg", 5)
    splits, warnings = found(tmp_path)
    assert splits == {"train": "seg_train/seg_train", "test": "seg_test/seg_test"}
    assert [sentence.split(":")[0] for sentence in warnings] == ["seg_pred"]


def test_a_flat_test_folder_beside_classes_is_warned_of(tmp_path: Path) -> None:
    lay_out(tmp_path, ".")
    draw(tmp_path / "test" / "1.png", 9)
    splits, (warning,) = found(tmp_path)
    assert splits == {"all": "."}
    assert warning.startswith("test: this folder is used as a class, since no folder beside it is for training.")


def test_classes_that_hold_the_same_folders_are_warned_of(tmp_path: Path) -> None:
    lay_out(tmp_path, "portion1", "portion2")
    splits, (warning,) = found(tmp_path)
    assert splits == {"all": "."}
    assert warning.startswith("FOLDER: the classes 'portion1' and 'portion2' hold folders of the same names (a, b).")
    assert "--set data.train=portion1" in warning
    assert found(tmp_path, train="portion1", test="portion2")[0] == {"train": "portion1", "test": "portion2"}
    lay_out(tmp_path / "groups", "cat", each=("video1", "video2"))
    lay_out(tmp_path / "groups", "dog", each=("video3", "video4"))
    assert found(tmp_path / "groups") == ({"all": "."}, [])


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_that_is_named_and_missing_is_an_error(tmp_path: Path, split: str) -> None:
    lay_out(tmp_path, "train", "test", "validation")
    with pytest.raises(DataError) as caught:
        found(tmp_path, **{split: "testt"})
    assert (caught.value.field, caught.value.value, caught.value.path) == (f"data.{split}", "testt", tmp_path)
    assert caught.value.hint == "Did you mean 'test'?"
    check_message(f"images.missing-{split}", caught.value, tmp_path)
    assert found(tmp_path, whole="test", **{split: "testt"})[0] == {"test": "test"}, "another folder may lack it"


def test_what_is_not_used_is_reported(tmp_path: Path) -> None:
    lay_out(tmp_path, "train", "holdout")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text.txt").write_text("text")
    draw(tmp_path / "cover.png", 1)
    assert found(tmp_path)[1] == [
        "holdout: this folder is not used. If it is a split, name it with data.valid or data.test "
        "(--set data.test=holdout).",
        "FOLDER: 1 image beside the folders is not used; the first: cover.png. Put each image into the folder of its "
        "class.",
    ]
    assert found(tmp_path, test="holdout")[0] == {"train": "train", "test": "holdout"}
    draw(tmp_path / "train" / "x.png", 2)
    draw(tmp_path / "train" / "y.png", 3)
    warnings = read_folder(tmp_path / "train", SeeData(), FileReader(SeeData()), whole=None).warnings
    assert warnings == [
        f"{tmp_path}/train: 2 images beside the folders are not used; the first: x.png. Put each image into the folder "
        "of its class."
    ]


# each file is read once


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on, where all files count as settled."""
    monkeypatch.setattr("triptych.images.reader.SETTLED_S", -1e9)
    names: list[str] = []
    real = Path.read_bytes

    def noted(path: Path) -> bytes:
        if path.suffix == ".png":
            names.append(path.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    return names


def digests(folder: Path, **options: Any) -> list[str]:
    data = SeeData(height=8, width=8)
    reader = FileReader(data, **options)
    part = read_folder(folder, data, reader, whole=None).splits["all"]
    list(reader.pixels(part.images))
    return list(part.digests)


def test_a_file_is_read_once_for_its_digest_and_its_pixels(tmp_path: Path, reads: list[str]) -> None:
    draw_classes(tmp_path, {"a": 3, "b": 2})
    first = digests(tmp_path, early=True)
    assert len(reads) == 5
    assert digests(tmp_path, early=True) == first
    assert len(reads) == 10, "known digests need no reading, pixels do"
    assert digests(tmp_path, early=True, room=0) == first


@pytest.mark.parametrize("change", ["content", "content of the same size and mtime", "another file renamed over it"])
def test_a_changed_file_has_a_new_digest(tmp_path: Path, reads: list[str], change: str) -> None:
    draw_classes(tmp_path, {"a": 2, "b": 2})
    path = tmp_path / "a" / "000.png"
    before = digests(tmp_path)
    status = path.stat()
    content = path.read_bytes()
    match change:
        case "content":
            draw(path, 77)
        case "content of the same size and mtime":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case _:
            other = tmp_path / "other"
            other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
            other.replace(path)
    reads.clear()
    after = digests(tmp_path)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", 1)
    assert settled_state(path) is None
    known = KnownDigests.of(tmp_path)
    known.remember(path, settled_state(path), "digest")
    known.save()
    assert KnownDigests.of(tmp_path).find(path) is None


def test_a_damaged_index_is_ignored(tmp_path: Path, reads: list[str]) -> None:
    draw_classes(tmp_path, {"a": 2, "b": 2})
    first = digests(tmp_path)
    file = KnownDigests.of(tmp_path).file
    assert file.exists()
    for text in ("", "[]", '{"format": 1}', '{"format": 9, "files": {}}', '{"format": 1, "files": {"x": 3}}'):
        file.write_text(text)
        assert digests(tmp_path) == first
    assert KnownDigests.of(tmp_path).find(tmp_path / "a" / "000.png") == first[0]


def test_pixels_wait_only_as_far_as_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_classes(tmp_path, {"a": 3, "b": 3})
    calls: list[object] = []

    def noted(source: Any, form: ImageForm) -> Any:
        calls.append(source)
        return decode_or_reason(source, form)

    monkeypatch.setattr(of_reader, "decode_or_reason", noted)
    digests(tmp_path, early=True, room=1, workers=1)
    assert [isinstance(source, bytes) for source in calls] == [True] + [False] * 5
