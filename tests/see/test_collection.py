"""Whole collections: the splits are those of the plain script, nothing is lost, and mistakes are reported."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from plain_see import read_kmnist, read_scenes

from tests.see.drawn import draw, draw_classes
from triptych.config import SeeData
from triptych.errors import DataError
from triptych.images.sources import Collection, ImageList
from triptych.see import collection
from triptych.see.collection import load_collection
from triptych.see.images import Images


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def load(location: Path | None, **settings: Any) -> Collection[Images]:
    return load_collection(SeeData(**{"height": 8, "width": 8, **settings}), location)


def sizes(found: Collection[Images]) -> dict[str, int]:
    return {split: len(images.labels) for split, images in found.splits.items()}


def write_idx(path: Path, values: np.ndarray[Any, Any]) -> None:
    head = bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def test_idx_files_are_split_as_the_plain_script_does(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    pictures = drawn.integers(0, 256, (300, 28, 28))
    pictures[250:] = pictures[:50]  # equal pictures stay together
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", pictures)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.concatenate([np.arange(250), np.arange(50)]) % 10)
    plain = read_kmnist(tmp_path)
    found = load(tmp_path, height=28, width=28, colour="grey")
    assert list(found.splits) == ["train", "valid", "test"]
    for split, images in found.splits.items():
        assert images.pixels.dtype == torch.uint8
        assert np.array_equal(images.pixels[:, 0].numpy(), np.array(plain[split].pictures))
        assert images.labels.dtype == torch.int64
        assert images.labels.tolist() == plain[split].labels
    assert found.classes == tuple("0123456789")
    assert found.splits["valid"].names[0].startswith("t10k-images-idx3-ubyte.gz:")


def test_folders_are_split_as_the_plain_script_does(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"b": 30, "a": 20, "c": 10})
    draw_classes(tmp_path / "test", {"a": 4, "b": 4, "c": 4}, seed=1)
    plain = read_scenes(tmp_path, 8)
    found = load(tmp_path)
    assert sizes(found) == {"train": 54, "valid": 6, "test": 12}
    for split, images in found.splits.items():
        assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), np.array(plain[split].pictures))
        assert images.labels.tolist() == plain[split].labels
        for name, label in zip(images.names, images.labels.tolist(), strict=True):
            assert Path(name).parent.name == found.classes[label]
    assert Counter(found.splits["valid"].labels.tolist()) == {0: 2, 1: 3, 2: 1}
    assert found.warnings == []


def test_the_splits_follow_the_settings(tmp_path: Path) -> None:
    draw_classes(tmp_path / "flat", {"a": 40, "b": 40})
    assert sizes(load(tmp_path / "flat")) == {"train": 64, "valid": 8, "test": 8}
    assert sizes(load(tmp_path / "flat", fractions={"valid": 0.5, "train": 0.5})) == {"train": 40, "valid": 40}
    first, second = (load(tmp_path / "flat", split_seed=seed).splits["test"].names for seed in (0, 1))
    assert set(first) != set(second)
    shutil.move(tmp_path / "flat", tmp_path / "train")
    assert sizes(load(tmp_path)) == {"train": 72, "valid": 8}
    assert sizes(load(tmp_path, valid_fraction=0.25)) == {"train": 60, "valid": 20}


def drawn_labels(labels: list[int]) -> ImageList:
    """A part without pixels, in which some pictures are equal."""
    names = [f"x:{row}" for row in range(len(labels))]
    keys = [row // 2 if row < 40 else row for row in range(len(labels))]
    digests = [hashlib.sha256(str(key).encode()).hexdigest() for key in keys]
    return ImageList(np.zeros((len(labels), 1, 1), np.uint8), labels, names, digests)


@pytest.mark.parametrize(
    ("key", "seed", "digest"),
    [
        ("all", 0, "6ed442a50c5e730b4c0da42831d81ad7c2f178df26f8a1505cf83aa4be5ba6a8"),
        ("all", 1, "101ef363f86422768f7db5f7ad9de0afdf1d36c7487fbc77230a9bc1d0596f2c"),
        ("train", 0, "d6b832c7d17ddda6435fb80cb4299094a390582e31756d0747d050070232f3e7"),
        ("train", 1, "4d41aa1da72efcfc33a0cc15ed355a1f8d1ff915c33cfdfae4dd3534cdc249e4"),
    ],
)
def test_splits_stay_what_they_were(key: str, seed: int, digest: str) -> None:
    """Published figures and kept runs rest on these splits."""
    part = drawn_labels([row % 7 if row % 3 else 0 for row in range(600)])
    splits = collection._split(SeeData(split_seed=seed), Collection({key: part}, tuple("abcdefg"), []))
    listing = json.dumps({split: list(found.names) for split, found in splits.items()})
    assert hashlib.sha256(listing.encode()).hexdigest() == digest


@pytest.mark.parametrize("key", ["all", "train"])
def test_the_only_image_of_a_class_is_in_training(key: str) -> None:
    common = [row % 2 for row in range(100)]
    one = drawn_labels([*common, *range(2, 32)])
    equal = replace(one, digests=[*one.digests[:-1], one.digests[99]])  # the last class's image is in another too
    for seed in range(5):
        settings = SeeData(split_seed=seed)
        for part in (one, equal):
            splits = collection._split(settings, Collection({key: part}, (), []))
            assert set(splits["train"].labels) == set(range(32))
            assert set(splits["valid"].labels) == {0, 1}
            assert sorted(name for found in splits.values() for name in found.names) == sorted(part.names)
            assert not set(splits["train"].digests) & set(splits["valid"].digests)
            rows = [int(name.removeprefix("x:")) for name in splits["train"].names]
            assert rows == sorted(rows)
    singles = drawn_labels(list(range(60)))
    assert all(collection._split(SeeData(), Collection({key: singles}, (), [])).values()), "no split is empty"


def test_limits_take_a_random_part(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"a": 40, "b": 40})
    found = load(tmp_path, max_train_images=10, max_eval_images=3)
    assert sizes(found) == {"train": 10, "valid": 3, "test": 3}
    whole = load(tmp_path).splits["train"]
    places = [whole.names.index(name) for name in found.splits["train"].names]
    assert places == sorted(places)
    assert torch.equal(found.splits["train"].pixels, whole.pixels[places])


def test_limits_leave_other_data_whole(tmp_path: Path) -> None:
    """`triptych test RUN --data OTHER` evaluates all of it, whatever the recipe's limits."""
    draw_classes(tmp_path / "all", {"a": 5, "b": 4})
    draw_classes(tmp_path / "splits" / "train", {"a": 5, "b": 4}, seed=1)
    draw_classes(tmp_path / "splits" / "test", {"a": 3, "b": 3}, seed=2)
    settings = SeeData(height=8, width=8, max_train_images=2, max_eval_images=1)
    for place, count in (("all", 9), ("splits", 6)):
        found = load_collection(settings, tmp_path / place, whole="test", classes=["a", "b"])
        assert sizes(found) == {"test": count}
        assert found.available == {}


def test_images_are_named_by_their_paths_below_the_data(tmp_path: Path) -> None:
    draw_classes(tmp_path / "splits" / "train", {"a": 20, "b": 20})
    draw_classes(tmp_path / "splits" / "test", {"a": 3, "b": 3}, seed=2)
    for location, prefix in ((tmp_path / "splits", "train/a/"), (tmp_path / "splits" / "train", "a/")):
        found = load(location)
        assert found.splits["train"].names[0].startswith(prefix)
        assert all((location / name).is_file() for images in found.splits.values() for name in images.names)


def test_named_sets_and_sizes() -> None:
    found = load(None, set="digits", height=12, width=10, colour="rgb")
    assert sum(sizes(found).values()) == 1797
    assert found.splits["train"].pixels.shape[1:] == (3, 12, 10)
    assert found.fingerprints[0]["path"] == "digits"


@pytest.mark.parametrize("form", ["arrays", "folder"])
def test_what_exceeds_the_memory_limit_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    if form == "folder":
        draw_classes(tmp_path, {"a": 20, "b": 20})
        location = tmp_path
    else:
        location = tmp_path / "x.npz"
        np.savez(
            location, x=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), y=np.arange(40) % 2
        )
    held = load(location)
    assert "cache" not in mapped_files(held)
    monkeypatch.setattr(collection, "_MIB", 40 * 8 * 8 * 3 - 1)
    mapped = load(location, memory_limit_mb=1)
    for split in held.splits:
        assert torch.equal(held.splits[split].pixels, mapped.splits[split].pixels)
    assert "cache" in mapped_files(mapped)
    del held, mapped
    monkeypatch.setattr(collection, "_MIB", 40 * 8 * 8 * 3)
    held = load(location, memory_limit_mb=1)
    assert "cache" not in mapped_files(held)


def mapped_files(found: Collection[Images]) -> str:
    """Where the first pixel of the training images lies, by the system's list of mappings."""
    place = found.splits["train"].pixels.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= place < last:
            return " ".join(line.split()[5:])
    raise AssertionError("the pixels are in no mapping")


def test_everything_as_one_split_with_a_models_classes(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"cat": 3, "dog": 2})
    settings = SeeData(height=8, width=8)
    found = load_collection(settings, tmp_path, whole="test", classes=["ant", "dog", "cat"])
    assert sizes(found) == {"test": 5}
    assert found.classes == ("ant", "dog", "cat")
    assert found.splits["test"].labels.tolist() == [2, 2, 2, 1, 1]
    assert found.warnings == ["class 'ant' has no image in test."]
    with pytest.raises(DataError) as caught:
        load_collection(settings, tmp_path, whole="test", classes=["dog", "ant"])
    assert str(caught.value) == (
        f"{tmp_path}: class 'cat' is unknown to the model; expected some of: dog, ant. Rename or remove the class."
    )
    np.savez(tmp_path / "x.npz", train_images=np.zeros((4, 8, 8)), train_labels=[0, 1, 0, 1])
    with pytest.raises(DataError, match="the split is 'test'; expected one that the data has: train"):
        load_collection(settings, tmp_path / "x.npz", whole="test")


def test_progress_reaches_the_number_of_all(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"a": 10, "b": 10})
    reported: list[tuple[int, int]] = []
    for _ in range(2):
        reported.clear()
        load_collection(
            SeeData(height=8, width=8), tmp_path, progress=lambda done, total: reported.append((done, total))
        )
        assert reported[-1] == (20, 20)
        assert reported == sorted(reported)


def test_bad_files_are_counted_over_all_splits(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"a": 20, "b": 20})
    for number in (3, 9, 14):
        (tmp_path / "a" / f"{number:03d}.png").write_bytes(b"bad" * number)
    (tmp_path / "b" / "gone.png").symlink_to("nowhere")
    with pytest.raises(DataError, match="Replace or remove the file, or skip bad files"):
        load(tmp_path)
    found = load(tmp_path, skip_bad=True)
    assert sum(sizes(found).values()) == 37
    first, *others = found.warnings
    assert first == f"Skipped 4 unreadable files and read 37 images; the first: {tmp_path}/b/gone.png: no such file."
    assert sorted(reported.partition(": ")[0] for reported in others) == [
        f"{tmp_path}/a/{row:03d}.png" for row in (3, 9, 14)
    ]
    assert all(": this is not a supported image format; expected" in reported for reported in others)
    assert all(reported.endswith(".") for reported in others)


def test_a_class_whose_files_are_all_bad_is_not_a_class(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"a": 20, "b": 20, "c": 20})
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(b"junk of " + path.name.encode())
    found = load(tmp_path, skip_bad=True)
    assert found.classes == ("a", "c")
    assert "class 'b' has no training image that can be read, so it is not used as a class." in found.warnings
    for images in found.splits.values():
        for name, label in zip(images.names, images.labels.tolist(), strict=True):
            assert Path(name).parent.name == found.classes[label]
    settings = SeeData(height=8, width=8, skip_bad=True)
    again = load_collection(settings, tmp_path, classes=found.classes)
    for split, images in again.splits.items():
        assert (images.names, images.labels.tolist()) == (
            found.splits[split].names,
            found.splits[split].labels.tolist(),
        )
    for number in range(5):  # some of them are in training
        draw(tmp_path / "b" / f"good{number}.png", 5 + number)
    assert load(tmp_path, skip_bad=True).classes == ("a", "b", "c")
    with pytest.raises(DataError, match="class 'b' is unknown to the model"):
        load_collection(settings, tmp_path, classes=("a", "c"))


def test_a_split_of_lost_classes_alone_is_reported(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"a": 20, "b": 20, "c": 20})
    draw_classes(tmp_path / "valid", {"c": 3}, seed=1)
    for path in (tmp_path / "train" / "c").iterdir():
        path.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"^valid has only images of classes without training images \(c\)"):
        load(tmp_path, skip_bad=True)


def test_doubtful_collections_are_warned_of(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"a": 30, "b": 30, "few": 2, "one": 1})
    draw(tmp_path / "train" / "a" / "x.png", 77_000)
    draw(tmp_path / "train" / "b" / "x.png", 77_000)
    draw_classes(tmp_path / "valid", {"a": 3, "b": 3}, seed=1)
    draw_classes(tmp_path / "test", {"a": 3, "b": 3, "few": 1}, seed=2)
    shutil.copy(tmp_path / "train" / "a" / "000.png", tmp_path / "test" / "a" / "copy.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("notes")
    assert load(tmp_path).warnings == [
        f"Skipped 1 file that is not an image; the first: {tmp_path}/train/a/notes.txt.",
        f"1 image of test is in train too; the first: {tmp_path}/test/a/copy.png.",
        f"1 image is in more than one class; the first: {tmp_path}/train/b/x.png.",
        "class 'one' has 1 image; training and validation need more. Its only image is in train.",
        "class 'few' has no image in valid.",
    ]


def test_images_of_12_bits_are_warned_of(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "ab"[number % 2] / f"{number:02d}.tif"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(drawn.integers(0, 4096, (8, 8), dtype=np.uint16)).save(path)
    (reported,) = load(tmp_path, fractions={"train": 0.5, "valid": 0.5}).warnings
    assert reported.startswith(f"{tmp_path}/")
    assert ".tif: no value of this image or any other is above 16 of 255, so they are nearly black. Images" in reported
    draw(tmp_path / "a" / "bright.png", 1)
    (reported,) = load(tmp_path, fractions={"train": 0.5, "valid": 0.5}).warnings
    assert "no value of this image or any other of class 'b' is above 16 of 255" in reported
    assert " Such classes: 1 of 2. " in reported
    for grey, path in enumerate((tmp_path / "b").iterdir()):
        Image.new("L", (8, 8), grey).save(path)  # dark, and of eight bits: so they may be meant
    assert load(tmp_path, fractions={"train": 0.5, "valid": 0.5}).warnings == []


def test_nothing_to_read_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    for location, settings, message in (
        (None, {}, "no data is given and data.set is empty; expected one of them. Use --data with a folder of images"),
        (None, {"set": "digit"}, "data.set is 'digit'; expected a known data set. Did you mean 'digits'?"),
        (tmp_path / "pictres", {}, f"{tmp_path}/pictres: no such file or folder. Did you mean '{tmp_path}/pictures'?"),
        (
            tmp_path / "notes.txt",
            {},
            f"{tmp_path}/notes.txt: the file is 'notes.txt'; expected a folder, an .npz",
        ),
        (tmp_path / "pictures", {}, f"{tmp_path}/pictures: the folder has 0 class folders; expected 2 or more"),
    ):
        with pytest.raises(DataError) as caught:
            load(location, **settings)
        assert str(caught.value).startswith(message)
