"""Figures about images: what a network saw in one, and how it did on many. They know no panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import ShapeError
from triptych.report.canvas import (
    COLOURS,
    MARKED,
    MUTED,
    frame_only,
    house_style,
    new_figure,
    say_nothing_to_show,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Numbers = NDArray[np.float64]

_WIDTH = 9.0  # inches, of figures that fill a report's column
_LONGEST_CLASS = 24  # characters of a class name that are shown
_COUNTS_UP_TO = 20  # classes; beyond, numbers do not fit into a confusion matrix
_NAMES_UP_TO = 60  # classes; beyond, names do not fit beside it
_MAPS_SHOWN = 64
_CAPTION = 22  # characters below a thumbnail
_TITLE = 22  # characters of a class name above a heat map


@house_style()
def activation_maps(image: ArrayLike, maps: ArrayLike, *, layer: str = "", image_label: str = "image") -> Figure:
    """An image, and beside it what each channel of a layer made of it; dark is weak, light is strong.

    All maps share one scale, that of the layer's smallest and largest value. The first 64 are shown.

    Args:
        image: bytes, or numbers in [0, 1]. Shape (height, width), (height, width, 1) or (height, width, 3).
        maps: activations. Shape (C, height', width'), C >= 1.
    Raises:
        ShapeError: an array has another shape.
    """
    grid = np.asarray(maps, dtype=np.float64)
    if grid.ndim != 3 or grid.size == 0:
        raise ShapeError(f"maps has shape {grid.shape}; expected (C, height, width), with at least one channel.")
    shown = grid[:_MAPS_SHOWN]
    columns = max(2, min(8, math.ceil(math.sqrt(2 * len(shown)))))
    rows = math.ceil(len(shown) / columns)
    cell = min(1.6, 5.7 / columns)  # inches
    figure = new_figure(_WIDTH, max(2.4, 0.4 + rows * (cell * grid.shape[1] / grid.shape[2] + 0.19)))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.02, wspace=0, hspace=0)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[2.2, 6.8])[0]
    original = left.subplots()
    _show_image(original, image, image_label)
    original.set_anchor("N")
    panels = right.subplots(rows, columns, squeeze=False).flatten()
    low, high = float(np.nanmin(grid)), float(np.nanmax(grid))
    for channel, axes in enumerate(panels):
        axes.set_axis_off()
        if channel < len(shown):
            drawn = axes.imshow(shown[channel], cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
            axes.set_title(str(channel), fontsize=7, pad=2, loc="center", color=MUTED)
    bar = right.colorbar(drawn, ax=list(panels), shrink=0.8, aspect=24, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    rest = f", the first {len(shown)} of {len(grid)} channels" if len(grid) > len(shown) else ", all channels"
    size = f"{grid.shape[1]} x {grid.shape[2]}"
    right.suptitle(f"{layer or 'layer'}{rest}, {size}", fontsize=10, x=0.01, ha="left")
    return figure


@house_style()
def saliency(
    image: ArrayLike, heats: Mapping[str, ArrayLike], classes: Sequence[tuple[str, float]], *, explained: str
) -> Figure:
    """An image, the evidence for a class by one or more methods, and the most probable classes.

    Args:
        image: as for `activation_maps`.
        heats: by the name of the method, importance of every pixel; negative values are evidence against the class.
            Shape (height, width).
        classes: the most probable classes with their probabilities, best first.
    Raises:
        ShapeError: a heat map is not as large as the image.
    """
    pixels = _as_pixels(image)
    figure = new_figure(_WIDTH, 2.9)
    panels = figure.subplots(1, len(heats) + 2, width_ratios=[1] * (len(heats) + 1) + [1.25])
    _show_image(panels[0], image, "image")
    grey = pixels if pixels.ndim == 2 else pixels @ np.array([0.299, 0.587, 0.114])
    for axes, (name, heat) in zip(panels[1:-1], heats.items(), strict=True):
        values = np.asarray(heat, dtype=np.float64)
        if values.shape != grey.shape:
            raise ShapeError(f"{name} has shape {values.shape}; expected {grey.shape}, as the image.")
        _show_heat(axes, grey, values, f"{name}\n{shortened(explained, _TITLE)}")
    _show_classes(panels[-1], classes)
    return figure


@house_style()
def confusion_matrix(matrix: ArrayLike, classes: Sequence[str]) -> Figure:
    """Images by true class and predicted class; the colour is the share of the true class.

    Numbers are written up to 20 classes, names up to 60; beyond, positions.

    Args:
        matrix: counts by true class (rows) and predicted class (columns). Shape (K, K), K >= 1.
        classes: K names.
    Raises:
        ShapeError: the matrix does not fit the names.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    k = len(classes)
    if counts.shape != (k, k) or not k:
        raise ShapeError(f"matrix has shape {counts.shape}; expected ({k}, {k}), a row and a column per class.")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    names = [shortened(name, _LONGEST_CLASS) for name in classes]
    cell = float(np.clip(7.0 / k, 0.15, 0.62))
    letters = max(map(len, names)) if k <= _NAMES_UP_TO else 4
    size = float(np.clip(cell * 36, 5, 10))  # points
    side = max(k * cell, 2.2)
    margin = letters * size * 0.62 / 72
    figure = new_figure(side + margin + 1.5, side + margin + 0.6)
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.grid(visible=False)
    if k <= _NAMES_UP_TO:
        axes.set_xticks(range(k), names, rotation=90 if letters > 2 else 0, fontsize=size)
        axes.set_yticks(range(k), names, fontsize=size)
        axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.spines[:].set_visible(True)
    if k <= _COUNTS_UP_TO:
        _write_counts(axes, counts, shares, cell)
    bar = figure.colorbar(drawn, ax=axes, ticks=[0, 0.5, 1], shrink=min(1.0, 2.2 / side), aspect=14, pad=0.03)
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


@house_style()
def reliability_curve(bins: Sequence[tuple[float, float, int]], *, error: float) -> Figure:
    """Accuracy against confidence, and the number of images by confidence.

    On the diagonal probabilities are calibrated; below it the model is overconfident.

    Args:
        bins: mean confidence in [0, 1], accuracy in [0, 1], and images of each bin.
        error: expected calibration error, in [0, 1].
    """
    figure = new_figure(5.2, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="calibrated")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    upper.set_title(f"expected calibration error {error:.3f}", fontsize=10)
    lower.set(xlabel="confidence", ylabel="images")
    counted = [(confidence, accuracy, count) for confidence, accuracy, count in bins if count]
    if not counted:
        say_nothing_to_show(lower, "no images")
        return figure
    confidences, accuracies, counts = (np.array(values, dtype=np.float64) for values in zip(*counted, strict=True))
    areas = 18 + 160 * counts / counts.max()
    upper.vlines(confidences, np.minimum(confidences, accuracies), np.maximum(confidences, accuracies), color=MARKED)
    upper.plot(confidences, accuracies, color=COLOURS[0], linewidth=1.4)
    upper.scatter(confidences, accuracies, s=areas, color=COLOURS[0], zorder=3, clip_on=False, label="model")
    upper.legend(loc="upper left")
    lower.bar(confidences, counts, width=0.03, color=COLOURS[0])
    lower.set_ylim(bottom=0)
    return figure


@house_style()
def thumbnails(images: Sequence[ArrayLike], captions: Sequence[str]) -> Figure:
    """Small images in rows, each with a caption of a line or two below it, long ones shortened in the middle.

    Raises:
        ShapeError: images and captions differ in number, or an image has another shape.
    """
    if len(images) != len(captions):
        raise ShapeError(f"captions has {len(captions)} entries; expected {len(images)}, one per image.")
    columns = min(6, max(1, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    figure = new_figure(max(3.0, 1.5 * columns), rows * (1.35 + 0.17 * lines))
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    if not images:
        say_nothing_to_show(panels[0], "no images")
        return figure
    for axes in panels[len(images) :]:
        axes.set_axis_off()
    for axes, image, caption in zip(panels, images, captions, strict=False):
        _show_image(axes, image, "")
        axes.set_xlabel("\n".join(_fitting(line) for line in caption.split("\n")), fontsize=8)
    return figure


def _fitting(line: str) -> str:
    """A line that fits below a thumbnail: the beginning of a long one, and its end, where a number often is."""
    return line if len(line) <= _CAPTION else f"{line[: _CAPTION - 10]}…{line[-9:]}"


def _as_pixels(image: ArrayLike) -> _Numbers:
    """Numbers in [0, 1] of shape (height, width) or (height, width, 3)."""
    given = np.asarray(image)
    pixels = given.astype(np.float64) / (255 if given.dtype == np.uint8 else 1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise ShapeError(
            f"image has shape {given.shape}; expected (height, width), (height, width, 1) or (height, width, 3)."
        )
    return np.clip(pixels, 0, 1)


def _show_image(axes: Axes, image: ArrayLike, title: str) -> None:
    pixels = _as_pixels(image)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    frame_only(axes)
    if title:
        axes.set_title(title, fontsize=10)


def _show_heat(axes: Axes, grey: _Numbers, heat: _Numbers, title: str) -> None:
    """Evidence over a pale image: from nothing to red, or from blue (against) to red (for) around nothing."""
    against = heat.min() < 0
    most = float(np.abs(heat).max()) or 1.0
    axes.imshow(0.55 + 0.45 * grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    strength = np.abs(heat) / most
    cmap, least = ("coolwarm", -most) if against else ("Reds", 0)
    axes.imshow(heat, cmap=cmap, vmin=least, vmax=most, alpha=0.15 + 0.8 * strength, interpolation="nearest")
    frame_only(axes)
    axes.set_title(title, fontsize=10)
    meaning = (
        "red: for, blue: against" if against else "red: for the class" if heat.any() else "no evidence for the class"
    )
    axes.set_xlabel(meaning, fontsize=8, color=MUTED)


def _show_classes(axes: Axes, classes: Sequence[tuple[str, float]]) -> None:
    """Bars of probabilities with the names above them, so that long ones have room."""
    if not classes:
        say_nothing_to_show(axes, "no classes")
        return
    places = np.arange(len(classes))
    axes.barh(places, [probability for _, probability in classes], height=0.3, color=COLOURS[0])
    for place, (name, probability) in zip(places, classes, strict=True):
        words = f"{shortened(name, _LONGEST_CLASS)}  {100 * probability:.1f} %"
        axes.text(0, place - 0.22, words, fontsize=8.5, va="bottom", ha="left")
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(classes), 3) - 0.5, -0.75)
    axes.set(yticks=[], xticks=[0, 0.5, 1], xlabel="probability")
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.set_title("predicted", fontsize=10)


def _write_counts(axes: Axes, counts: _Numbers, shares: _Numbers, cell: float) -> None:
    """The numbers in the cells, white where the cell is dark; nothing where there is nothing."""
    for row, column in np.argwhere(counts > 0):
        text = f"{counts[row, column]:.0f}"
        size = min(10.0, cell * 72 * 0.8 / (0.62 * max(len(text), 2)))
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
