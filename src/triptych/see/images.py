"""Decoded images and their classes, and the numbers that a network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from triptych.config import ImageForm, SeeData
from triptych.errors import DataError
from triptych.images.form import InputForm
from triptych.see.pretrained import DEVIATION, MEAN


@dataclass(frozen=True)
class Images:
    """One split.

    Attributes:
        pixels: uint8 (N, C, height, width), in memory, or mapped from a file where all splits together are larger than
            `memory_limit_mb`.
        labels: class numbers, int64 (N,).
        names: the path of each file below the data's folder, or the name of the array or set and the row, from 0.
        digests: SHA-256 of each image's file, or of its row's bytes.
    """

    pixels: Tensor
    labels: Tensor
    names: Sequence[str]
    digests: Sequence[str]

    def select(self, rows: Sequence[int]) -> Images:
        """Only these rows, in their order, in memory."""
        chosen = torch.tensor(rows, dtype=torch.int64)
        names, digests = ([texts[row] for row in rows] for texts in (self.names, self.digests))
        return Images(self.pixels[chosen], self.labels[chosen], names, digests)


def without_classes(
    splits: Mapping[str, Images], classes: Sequence[str], lost: set[int]
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """Splits and class names less some classes.

    Raises:
        DataError: a split has images of those alone.
    """
    kept = [number for number in range(len(classes)) if number not in lost]
    remaining = {}
    for split, images in splits.items():
        rows = [row for row, label in enumerate(images.labels.tolist()) if label not in lost]
        if not rows:
            gone = ", ".join(classes[number] for number in sorted(lost))
            raise DataError(
                f"{split} has only images of classes without training images ({gone}); expected others too."
            )
        remaining[split] = images if len(rows) == len(images.names) else images.select(rows)
    numbers = [kept.index(number) if number in kept else -1 for number in range(len(classes))]
    return _renumbered(remaining, numbers), tuple(classes[number] for number in kept)


def relabelled(
    splits: Mapping[str, Images], classes: Sequence[str], of_model: Sequence[str], place: str
) -> dict[str, Images]:
    """The same images with the class numbers of a model; `place` is where they are, for the error.

    Raises:
        DataError: a class that has images is not among the model's.
    """
    used = {label for images in splits.values() for label in images.labels.tolist()}
    check_known([classes[label] for label in used], of_model, place)
    return _renumbered(splits, [of_model.index(name) if name in of_model else -1 for name in classes])


def _renumbered(splits: Mapping[str, Images], numbers: Sequence[int]) -> dict[str, Images]:
    """The same images, with the class number at the place of each one's own."""
    table = torch.tensor(numbers)
    return {split: replace(images, labels=table[images.labels]) for split, images in splits.items()}


def check_known(classes: Sequence[str], of_model: Sequence[str], place: str) -> None:
    """Check that all classes are among a model's.

    Raises:
        DataError: one is not.
    """
    unknown = sorted(set(classes) - set(of_model))
    if unknown:
        others = f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise DataError(
            f"class {unknown[0]!r}{others} is unknown to the model; expected some of: {', '.join(of_model)}.",
            hint="Rename or remove the class.",
            path=place,
        )


IMAGES_AT_ONCE = 1024  # while averaging over many


def scaled(form: InputForm, pixels: Tensor) -> Tensor:
    """Numbers as the network takes them, from bytes or from numbers between 0 and 1, of shape (B, C, H, W)."""
    values = pixels.to(torch.get_default_dtype()) / 255 if pixels.dtype == torch.uint8 else pixels
    if form.is_unit:
        return values
    mean, deviation = (
        torch.tensor(part, device=values.device).view(1, -1, 1, 1) for part in (form.mean, form.deviation)
    )
    return (values - mean) / deviation


def input_form(settings: SeeData, train_pixels: Tensor) -> InputForm:
    """The form that the recipe asks for; statistics are those of the training images, bytes of shape (N, C, H, W)."""
    channels = train_pixels.shape[1]
    mean, deviation = (0.0,) * channels, (1.0,) * channels
    if settings.pixels == "standard":
        mean, deviation = _statistics(train_pixels)
    elif settings.pixels == "pretrained":
        mean, deviation = MEAN, DEVIATION
    height, width = train_pixels.shape[2:]
    form = {**settings.model_dump(include=set(ImageForm.model_fields)), "height": height, "width": width}
    return InputForm(**form, mean=mean, deviation=deviation)


def _statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of values from 0 to 1; a channel without variation is left as it is."""
    total = torch.zeros(pixels.shape[1], dtype=torch.float64)
    squares = torch.zeros(pixels.shape[1], dtype=torch.float64)
    for part in torch.split(pixels, IMAGES_AT_ONCE):
        values = part.double() / 255
        total += values.sum(dim=(0, 2, 3))
        squares += values.square().sum(dim=(0, 2, 3))
    count = pixels.numel() // pixels.shape[1]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    deviation[deviation < 1e-6] = 1.0
    return tuple(mean.tolist()), tuple(deviation.tolist())
