"""The cache: decoded once, keyed by content and form, complete or absent, mapped where memory is short."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.see.drawn import draw
from triptych.config import ImageForm
from triptych.errors import DataError
from triptych.images import cache, reader as of_reader
from triptych.images.bad_files import BadImage
from triptych.images.cache import Decoded, decode_images
from triptych.images.reader import FileReader
from triptych.images.reading import decode, decode_or_reason
from triptych.images.sources import ImageList

FORM = ImageForm(height=6, width=7)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "see"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every image that is decoded from now on."""
    calls: list[object] = []

    def counted(source: Any, form: ImageForm) -> Any:
        calls.append(source)
        return decode_or_reason(source, form)

    monkeypatch.setattr(of_reader, "decode_or_reason", counted)
    return calls


def part(folder: Path, count: int = 5, bad: tuple[int, ...] = ()) -> ImageList:
    paths = [draw(folder / f"{n}.png", n) for n in range(count)]
    for n in bad:
        paths[n].write_bytes(b"bad")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return ImageList(paths, [n % 2 for n in range(count)], [str(path) for path in paths], digests)


def run(images: ImageList, form: ImageForm = FORM, *, mapped: bool = False, skip: bool = False) -> Decoded:
    return decode_images(images, FileReader(form), mapped=mapped, skip_bad=skip)


@pytest.mark.parametrize("mapped", [False, True])
def test_images_are_decoded_once(store: Path, decoded: list[object], tmp_path: Path, *, mapped: bool) -> None:
    images = part(tmp_path)
    first = run(images, mapped=mapped)
    expected = np.stack([decode(path, FORM) for path in images.images])
    assert np.array_equal(first.pixels, expected)
    assert first.images == images
    assert len(decoded) == 5
    for again in (False, True):
        second = run(images, mapped=again)
        assert np.array_equal(second.pixels, first.pixels)
        assert second.images == images
    assert len(decoded) == 5
    assert sorted(path.suffix for path in store.iterdir()) == [".json", ".raw"]


def test_the_key_is_content_order_and_form(store: Path, decoded: list[object], tmp_path: Path) -> None:
    images = part(tmp_path)
    run(images)
    run(replace(images, names=["other"] * 5, labels=[0] * 5))
    assert len(decoded) == 5
    changes: list[dict[str, object]] = [
        {"height": 5},
        {"width": 5},
        {"colour": "grey"},
        {"fit": "pad"},
        {"max_pixels": 9999},
    ]
    others = [FORM.model_copy(update=change) for change in changes]
    for number, form in enumerate(others, start=2):
        run(images, form)
        assert len(decoded) == 5 * number
    turned = run(images.select([4, 3, 2, 1, 0]))
    assert len(decoded) == 5 * 7
    assert np.array_equal(turned.pixels, run(images).pixels[::-1])
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("PIL.__version__", "0")
    run(images)
    monkeypatch.undo()
    assert len(decoded) == 5 * 8


def test_mapped_pixels_come_from_the_file_and_never_change_it(store: Path, tmp_path: Path) -> None:
    images = part(tmp_path)
    mapped = run(images, mapped=True).pixels
    data = next(store.glob("*.raw"))
    before = data.read_bytes()
    assert any(str(data) in line for line in Path("/proc/self/maps").read_text().splitlines())
    mapped[0] = 7
    assert (mapped[0] == 7).all()
    assert data.read_bytes() == before


@pytest.mark.parametrize("mapped", [False, True])
def test_bad_files_stop_or_are_skipped(store: Path, tmp_path: Path, *, mapped: bool) -> None:
    images = part(tmp_path, bad=(1, 3))
    with pytest.raises(DataError) as caught:
        run(images, mapped=mapped)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/1.png: this is not a supported image format; expected JPEG")
    assert message.endswith("Replace or remove the file, or skip bad files with --skip-bad.")
    assert not list(store.glob("*"))
    for _ in range(2):
        kept = run(images, mapped=mapped, skip=True)
        assert kept.images == images.select([0, 2, 4])
        assert [bad.name for bad in kept.bad] == [str(tmp_path / "1.png"), str(tmp_path / "3.png")]
        assert np.array_equal(kept.pixels, np.stack([decode(Path(images.images[n]), FORM) for n in (0, 2, 4)]))
    with pytest.raises(DataError) as caught:
        run(images, mapped=mapped)
    assert str(caught.value) == message
    with pytest.raises(DataError, match=r"0\.png: all 2 files are bad; this one: this is not a supported image"):
        run(part(tmp_path, 2, bad=(0, 1)), mapped=mapped, skip=True)


@pytest.mark.parametrize("mapped", [False, True])
def test_what_could_not_be_read_for_now_is_read_another_time(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mapped: bool
) -> None:
    images = part(tmp_path)
    real = Path.read_bytes

    def hiccup(path: Path) -> bytes:
        if path.name == "2.png":
            raise OSError(24, "Too many open files")
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", hiccup)
        kept = run(images, mapped=mapped, skip=True)
    assert kept.bad == [BadImage(str(tmp_path / "2.png"), "the file cannot be read: Too many open files")]
    expected = [decode(Path(path), FORM) for path in images.images]
    assert np.array_equal(kept.pixels, np.stack([*expected[:2], *expected[3:]]))
    again = run(images, mapped=mapped, skip=True)
    assert not again.bad
    assert np.array_equal(again.pixels, np.stack(expected))


@pytest.mark.parametrize("damage", ["cut", "no data", "no note", "odd note", "other count"])
def test_a_damaged_entry_is_decoded_again(store: Path, decoded: list[object], tmp_path: Path, damage: str) -> None:
    images = part(tmp_path)
    expected = run(images).pixels.copy()
    data, note = next(store.glob("*.raw")), next(store.glob("*.json"))
    match damage:
        case "cut":
            data.write_bytes(data.read_bytes()[:-1])
        case "no data":
            data.unlink()
        case "no note":
            note.unlink()
        case "odd note":
            note.write_text("[1]")
        case _:
            note.write_text('{"good": 4, "bad": []}')
    assert np.array_equal(run(images).pixels, expected)
    assert len(decoded) == 10


@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_or_memory_error_leaves_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise end

    monkeypatch.setattr("PIL.Image.Image.resize", interrupt)
    for mapped in (False, True):
        with pytest.raises(end):
            run(part(tmp_path), mapped=mapped, skip=True)
    assert not store.exists() or not list(store.iterdir())


def test_without_a_writable_cache_memory_must_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("TRIPTYCH_CACHE", str(blocked))
    images = part(tmp_path)
    found = run(images)
    assert len(found.pixels) == 5
    assert found.warnings == [
        f"{blocked}/see: the cache cannot be written (Not a directory), so images are decoded again next time. "
        "Set TRIPTYCH_CACHE to another folder."
    ]
    with pytest.raises(DataError, match=r"the cache cannot be written: Not a directory\. Set TRIPTYCH_CACHE"):
        run(images, mapped=True)


def test_arrays_of_the_right_size_need_no_cache(store: Path, decoded: list[object]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 3), dtype=np.uint8)
    images = ImageList(values, [0, 1, 0, 1], list("abcd"), list("abcd"))
    assert np.array_equal(run(images).pixels, values.transpose(0, 3, 1, 2))
    assert not decoded
    assert not store.exists()
    grey = run(images, ImageForm(height=6, width=7, colour="grey")).pixels
    assert grey.shape == (4, 1, 6, 7)
    assert len(decoded) == 4


def test_arrays_of_the_same_bytes_in_another_shape_are_other_images(store: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 3), dtype=np.uint8)
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in values]
    form = ImageForm(height=5, width=5, colour="grey")
    for shape in ((4, 6, 7, 3), (4, 7, 6, 3), (4, 18, 7)):
        images = ImageList(values.reshape(shape), [0, 1, 0, 1], list("abcd"), digests)
        for mapped in (False, True):
            expected = np.stack([decode(picture, form) for picture in values.reshape(shape)])
            assert np.array_equal(run(images, form, mapped=mapped).pixels, expected)
    assert len(list(store.glob("*.raw"))) == 3


def test_progress_counts_every_image(store: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    for _ in range(2):
        reader = FileReader(FORM, progress=lambda images, of: done.append((images, of)))
        reader.total = 5
        decode_images(part(tmp_path, bad=(2,)), reader, mapped=False, skip_bad=True)
    assert done == [*((n, 5) for n in range(1, 6)), (5, 5)]


def test_what_was_used_last_stays_within_the_limit(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = [part(tmp_path / str(n), count=n) for n in (2, 3, 4)]
    of_two, of_three = (cache._Entry.of(images, FORM) for images in lists[:2])
    for images in lists[:2]:
        run(images)
    os.utime(of_two.note, (1, 1))
    os.utime(of_three.note, (2, 2))
    run(lists[0])  # used again
    size = 3 * 6 * 7
    monkeypatch.setattr(cache, "LIMIT_BYTES", 2 * size + 4 * size + 400)  # of two and of four, with their notes
    run(lists[2])
    assert of_two.note.exists()
    assert not of_three.note.exists()
    assert not of_three.data.exists()
    assert sum(path.stat().st_size for path in store.iterdir()) <= cache.LIMIT_BYTES
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    assert len(run(lists[1]).pixels) == 3, "the newest entry stays"
    assert len(list(store.iterdir())) == 2
