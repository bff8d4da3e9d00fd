"""Naming pictures: from files, bytes and arrays, one by one and as a stream, under every setting of prediction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tests.see.architectures import Architecture
from tests.see.drawn import draw
from triptych.config import SeeDecoding
from triptych.errors import DataError, RecipeError, ShapeError
from triptych.images.bad_files import BadImage
from triptych.images.classifier import Array, Classifier
from triptych.images.form import InputForm
from triptych.see.adapter import Model, NetworkScorer
from triptych.see.images import scaled

CLASSES = ("cat", "dog", "fish", "owl")
FORM = InputForm(height=10, width=12, max_pixels=10_000, mean=(0.4, 0.5, 0.6), deviation=(0.2, 0.3, 0.4))


def classifier(**decoding: Any) -> Model:
    torch.manual_seed(0)
    network = Architecture.of(10, 12, 4, channels=(4, 8), hidden=(16,)).build().eval()
    for parameter in network.parameters():
        parameter.data *= 2  # so that classes differ
    return Classifier(NetworkScorer(network), form=FORM, classes=CLASSES, decoding=SeeDecoding(**decoding))


def pixels(count: int = 5) -> Array:
    drawn = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, 10, 12), dtype=torch.uint8, generator=drawn).numpy()


@torch.inference_mode()
def by_definition(values: Tensor, temperature: float = 1.0) -> Array:
    return torch.softmax(classifier().scorer.network(values).double() / temperature, dim=1).numpy()


def array_of(path: Path) -> NDArray[np.uint8]:
    return np.array(Image.open(path))


def test_a_file_its_bytes_and_its_array_are_the_same_image(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", 1)
    array = array_of(path)
    model = classifier()
    for picture in (path, str(path), path.read_bytes(), array):
        assert model.read(picture).tolist() == array.transpose(2, 0, 1).tolist()
    named = model.predict([path, path.read_bytes(), array])
    assert [item.name for item in named] == [str(path), "image 1", "image 2"]
    assert named[0].classes == named[1].classes == named[2].classes
    assert model.predict(path) == model.predict([path])
    assert model.predict([]) == []


def test_arrays_of_one_and_four_channels_are_read_as_files_of_them(tmp_path: Path) -> None:
    colour = array_of(draw(tmp_path / "a.png", 1, height=20, width=30))
    for name, array in (("grey.png", colour[:, :, 0]), ("alpha.png", np.dstack([colour, colour[:, :, 0]]))):
        Image.fromarray(array).save(tmp_path / name)
        assert np.array_equal(classifier().read(array), classifier().read(tmp_path / name))
    assert np.array_equal(classifier().read(colour[:, :, :1]), classifier().read(tmp_path / "grey.png"))


EMPTY = [np.zeros((0, 10, 3), np.uint8), np.zeros((4, 0), np.uint8), Image.new("RGB", (0, 0))]


@pytest.mark.parametrize("empty", EMPTY)
def test_an_image_without_pixels_is_refused(empty: Any) -> None:
    with pytest.raises(DataError, match=r"expected at least one pixel"):
        classifier().predict(empty)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((10, 12, 3)), "float64 with shape (10, 12, 3)"),
        (np.zeros((3, 10, 12), np.uint8), "uint8 with shape (3, 10, 12)"),
        (np.zeros(12, np.uint8), "uint8 with shape (12,)"),
    ],
)
def test_other_arrays_are_refused(array: NDArray[Any], what: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"the image is an array of {what}; expected uint8")):
        classifier().predict(array)


def test_probabilities_are_the_softmax() -> None:
    found = classifier(batch_size=2).probabilities(pixels())
    np.testing.assert_allclose(found, by_definition(scaled(FORM, torch.from_numpy(pixels()))), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), np.ones(5))
    assert classifier().probabilities(pixels(0)).shape == (0, 4)


def test_temperature_divides_the_logits() -> None:
    found = classifier(temperature=3.0).probabilities(pixels())
    np.testing.assert_allclose(
        found, by_definition(scaled(FORM, torch.from_numpy(pixels())), 3.0), rtol=1e-5, atol=1e-6
    )
    given = classifier().probabilities(pixels(), decoding=SeeDecoding(temperature=3.0))
    assert np.array_equal(found, given)


def shifted(values: Tensor, down: int, right: int) -> Tensor:
    """Moved, with the border repeated, by index arithmetic."""
    rows = (torch.arange(values.shape[2]) - down).clamp(0, values.shape[2] - 1)
    columns = (torch.arange(values.shape[3]) - right).clamp(0, values.shape[3] - 1)
    return values[:, :, rows][:, :, :, columns]


@pytest.mark.parametrize(("kind", "count"), [("one", 1), ("flips", 2), ("shifts", 5), ("shifts-and-flips", 10)])
def test_views_are_averaged(kind: Any, count: int) -> None:
    values = scaled(FORM, torch.from_numpy(pixels()))
    views = [values]
    if kind.startswith("shifts"):
        views += [shifted(values, *by) for by in ((2, 0), (-2, 0), (0, 2), (0, -2))]
    if kind.endswith("flips"):
        views += [torch.flip(view, [3]) for view in views]
    assert len(views) == count
    expected = np.mean([by_definition(view) for view in views], axis=0)
    np.testing.assert_allclose(classifier(views=kind).probabilities(pixels()), expected, rtol=1e-5, atol=1e-6)


def test_the_most_probable_classes_come_first(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", 1)
    every = classifier(top_k=9).predict(path)[0]
    assert sorted(every.classes) == sorted(CLASSES)
    assert list(every.probabilities) == sorted(every.probabilities, reverse=True)
    assert sum(every.probabilities) == pytest.approx(1)
    expected = classifier().probabilities(classifier().read(path)[None])[0]
    assert {name: every.probabilities[every.classes.index(name)] for name in CLASSES} == dict(
        zip(CLASSES, expected.tolist(), strict=True)
    )
    assert (every.label, every.probability) == (every.classes[0], every.probabilities[0])
    assert classifier(top_k=2).predict(path)[0].classes == every.classes[:2]
    assert classifier().predict(path, top_k=1)[0].classes == every.classes[:1]
    for count in (0, -2):
        with pytest.raises(RecipeError, match=rf"^top_k \(--n-best\) is {count}; expected an integer >= 1"):
            classifier().predict(path, top_k=count)
        with pytest.raises(RecipeError, match="top_k"):
            next(classifier().stream([path], top_k=count))
    assert classifier().predict(path, decoding=SeeDecoding(top_k=1))[0].classes == every.classes[:1]


def test_pillow_images_are_named_as_their_files(tmp_path: Path) -> None:
    upright = draw(tmp_path / "a.jpg", 1, height=90, width=70)
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(upright).save(turned, exif=exif)
    for path in (draw(tmp_path / "a.png", 2), turned):
        with Image.open(path) as image:
            size = image.size
            assert np.array_equal(classifier().read(image), classifier().read(path))
            assert image.size == size, "the user's image stays as it is"
    for odd, name in ((None, "NoneType"), (3, "int")):
        with pytest.raises(DataError, match=rf"^an image of type {name} cannot be read; expected a path, the bytes of"):
            classifier().predict(odd)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r": this is a folder; expected an image file\. Replace the image\.$"):
        classifier().predict(tmp_path)


def test_a_stream_names_in_order_what_prediction_names(tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{n}.png", n, height=8 + n) for n in range(7)]
    streamed = list(classifier(batch_size=3).stream(paths, workers=2))
    expected = classifier().predict(paths)
    assert [item.name for item in streamed] == [str(path) for path in paths]
    assert [item.classes for item in streamed] == [item.classes for item in expected]
    for ours, theirs in zip(streamed, expected, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, rel=1e-4)
    assert [len(item.classes) for item in classifier().stream(paths, top_k=1)] == [1] * 7


def test_a_stream_reads_ahead_a_little_only(tmp_path: Path) -> None:
    path, asked = draw(tmp_path / "a.png", 1), []

    def paths() -> Iterator[Path]:
        for number in range(1000):
            asked.append(number)
            yield path

    stream = classifier(batch_size=4).stream(paths(), workers=1)
    next(stream)
    assert len(asked) < 100


def test_bad_files_stop_a_stream_or_are_reported_and_skipped(tmp_path: Path) -> None:
    good = [draw(tmp_path / f"{n}.png", n) for n in range(3)]
    bad = tmp_path / "bad.png"
    bad.write_bytes(good[0].read_bytes()[:60])
    skipped: list[BadImage] = []
    paths = [good[0], bad, *good[1:], tmp_path / "gone.png"]
    names = [item.name for item in classifier().stream(paths, on_bad=skipped.append)]
    assert names == [str(path) for path in good]
    assert [str(remark).split(":")[0] for remark in skipped] == [str(bad), str(tmp_path / "gone.png")]
    with pytest.raises(DataError, match=r"bad\.png"):
        list(classifier().stream(paths))
    with pytest.raises(DataError, match=r"gone\.png"):
        classifier().predict(tmp_path / "gone.png")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("before", [0, 1, 3, 4])
def test_a_stream_names_what_came_before_a_bad_file(tmp_path: Path, before: int, workers: int) -> None:
    paths = [draw(tmp_path / f"{n}.png", n) for n in range(7)]
    paths[before].write_bytes(b"bad")
    named = classifier(batch_size=3).stream(paths, workers=workers)
    assert [next(named).name for _ in range(before)] == [str(path) for path in paths[:before]]
    with pytest.raises(DataError, match=rf"/{before}\.png: this is not a supported image format"):
        next(named)


def test_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match=re.escape("pixels have shape (1, 3, 10, 11); expected (N, 3, 10, 12).")):
        classifier().probabilities(np.zeros((1, 3, 10, 11), np.uint8))


def test_bytes_that_are_not_an_image_are_refused() -> None:
    with pytest.raises(DataError, match="not a supported image format"):
        classifier().predict(b"no image")
