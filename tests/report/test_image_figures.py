"""Pictures about images: what is in them, read back from matplotlib's own objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from triptych.errors import ShapeError
from triptych.report.canvas import figure_bytes
from triptych.report.image_figures import (
    activation_maps,
    confusion_matrix,
    reliability_curve,
    saliency,
    thumbnails,
)

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (12, 10, 3), dtype=np.uint8)


def drawn(figure: Figure) -> list[np.ndarray[Any, Any]]:
    """The arrays of all images of a figure, in order."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def widths(axes: Axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]


def words(figure: Figure) -> str:
    """All text of a figure, as it is written into the SVG's objects."""
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of visible tick labels on one axis that lie over each other."""
    figure_bytes(figure, "png")
    found = []
    for axes in figure.axes:
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            labels = [label for label in ticks if label.get_text() and label.get_visible()]
            boxes = [label.get_window_extent() for label in labels]
            for place in range(len(boxes) - 1):
                if boxes[place].overlaps(boxes[place + 1]):
                    found.append((labels[place].get_text(), labels[place + 1].get_text()))
    return found


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (8, 8), (100, 64)])
def test_activation_maps_stand_beside_the_image(channels: int, shown: int) -> None:
    maps = RANDOM.normal(size=(channels, 6, 5))
    figure = activation_maps(IMAGE, maps, layer="blocks.0.convolution")
    images = drawn(figure)
    np.testing.assert_allclose(images[0], IMAGE / 255)
    np.testing.assert_array_equal(np.stack(images[1 : shown + 1]), maps[:shown])
    limits = {image.get_clim() for axes in figure.axes[1 : shown + 1] for image in axes.images}
    assert limits == {(maps.min(), maps.max())}
    assert "blocks.0.convolution" in words(figure)
    assert ("the first 64 of 100" in words(figure)) == (channels == 100)


def test_saliency_shows_heat_and_classes() -> None:
    heat = RANDOM.normal(size=(12, 10))
    figure = saliency(
        IMAGE, {"Grad-CAM": np.abs(heat), "gradients": heat}, [("glacier", 0.75), ("sea", 0.2)], explained="sea"
    )
    images = drawn(figure)
    np.testing.assert_allclose(images[2], np.abs(heat))
    np.testing.assert_allclose(images[4], heat)
    assert figure.axes[2].images[1].get_clim() == (-np.abs(heat).max(), np.abs(heat).max())
    assert widths(figure.axes[3]) == [0.75, 0.2]
    assert "glacier  75.0 %" in words(figure)
    with pytest.raises(ShapeError, match=r"Grad-CAM has shape \(3, 3\); expected \(12, 10\)"):
        saliency(IMAGE, {"Grad-CAM": np.ones((3, 3))}, [], explained="sea")


def test_evidence_that_is_blank_is_said_in_words() -> None:
    blank = saliency(IMAGE, {"Grad-CAM": np.zeros((12, 10))}, [("sea", 1.0)], explained="sea")
    assert "no evidence for the class" in words(blank)
    assert "no evidence" not in words(saliency(IMAGE, {"Grad-CAM": np.eye(12, 10)}, [("sea", 1.0)], explained="sea"))


@pytest.mark.parametrize("name", ["sea", "mountain", "industrial-area", "a class of more than thirty letters"])
def test_titles_of_heat_maps_keep_apart(name: str) -> None:
    def figure_of(explained: str) -> Figure:
        heats = {"Grad-CAM": np.eye(12, 10), "integrated gradients": -np.eye(12, 10)}
        figure = saliency(IMAGE, heats, [(explained, 0.9)], explained=explained)
        figure.draw_without_rendering()
        return figure

    figure = figure_of(name)
    boxes = [axes._left_title.get_window_extent() for axes in figure.axes]  # type: ignore[attr-defined]
    assert not [n for n in range(len(boxes) - 1) if boxes[n].overlaps(boxes[n + 1])]
    assert figure.axes[1].bbox.width == pytest.approx(figure_of("sea").axes[1].bbox.width, rel=0.1)


@pytest.mark.parametrize("classes", [2, 6, 10, 50])
def test_confusion_matrix_shows_shares_and_counts(classes: int) -> None:
    matrix = np.diag(np.arange(classes) + 3)
    matrix[0, 1] = 1
    figure = confusion_matrix(matrix, [f"class {place}" for place in range(classes)])
    shares = drawn(figure)[0]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[0, 1] == pytest.approx(0.25)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ([] if classes > 20 else ["3", "1", *(str(place + 3) for place in range(1, classes))])
    assert overlaps(figure) == []
    width, height = figure.get_size_inches()
    assert max(width, height) <= 11


def test_confusion_matrix_of_a_class_without_images() -> None:
    shares = drawn(confusion_matrix([[0, 0], [1, 1]], ["a", "b"]))[0]
    np.testing.assert_array_equal(shares, [[0, 0], [0.5, 0.5]])
    with pytest.raises(ShapeError, match=r"matrix has shape \(2, 2\); expected \(3, 3\)"):
        confusion_matrix([[0, 0], [1, 1]], ["a", "b", "c"])


def test_reliability_curve() -> None:
    figure = reliability_curve([(0.3, 0.25, 4), (0.5, 0.5, 0), (0.9, 0.8, 40)], error=0.0519)
    upper, lower = figure.axes
    np.testing.assert_allclose(np.asarray(upper.lines[1].get_xydata(), float), np.array([[0.3, 0.25], [0.9, 0.8]]))
    assert [bar.get_height() for bar in lower.patches if isinstance(bar, Rectangle)] == [4, 40]
    assert "expected calibration error 0.052" in words(figure)
    assert "no images" in words(reliability_curve([], error=0.0))


def test_thumbnails() -> None:
    grey = RANDOM.random((8, 8, 1))
    figure = thumbnails([IMAGE, grey], ["sea 99 %\nis glacier", "a name that is much too long 87 %"])
    images = drawn(figure)
    np.testing.assert_allclose(images[0], IMAGE / 255)
    np.testing.assert_allclose(images[1], grey[:, :, 0])
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[0] == "sea 99 %\nis glacier"
    assert len(labels[1]) == 22
    assert labels[1].endswith("87 %")
    with pytest.raises(ShapeError, match="captions has 1 entries; expected 2"):
        thumbnails([IMAGE, grey], ["one"])
    with pytest.raises(ShapeError, match=r"image has shape \(3, 8, 8\)"):
        thumbnails([np.ones((3, 8, 8))], ["one"])
    assert "no images" in words(thumbnails([], []))
