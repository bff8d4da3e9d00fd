"""The form in which a network sees pictures: size, colours, scale of the values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from triptych.config import SeeData
from triptych.errors import RunError

IMAGES_AT_ONCE = 1024  # while averaging over many


@dataclass(frozen=True)
class InputForm:
    """How a picture becomes what the network takes.

    Attributes:
        height: pixels.
        width: pixels.
        colour: `grey` is one channel, `rgb` three.
        fit: how other shapes are brought to height x width, as `SeeData` says.
        max_pixels: largest picture that is decoded.
        mean: per channel, of values from 0 to 1; taken away.
        deviation: per channel, > 0; divided by.
    """

    height: int
    width: int
    colour: Literal["grey", "rgb"]
    fit: Literal["stretch", "crop", "pad"]
    max_pixels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.colour == "grey" else 3

    def scaled(self, pixels: Tensor) -> Tensor:
        """Numbers as the network takes them, from bytes or from numbers between 0 and 1, of shape (B, C, H, W)."""
        values = pixels.to(torch.get_default_dtype()) / 255 if pixels.dtype == torch.uint8 else pixels
        if any(self.mean) or any(deviation != 1 for deviation in self.deviation):
            mean = torch.tensor(self.mean, device=values.device).view(1, -1, 1, 1)
            deviation = torch.tensor(self.deviation, device=values.device).view(1, -1, 1, 1)
            values = (values - mean) / deviation
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `model.json`."""
        return {**asdict(self), "mean": list(self.mean), "deviation": list(self.deviation)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], path: Path) -> InputForm:
        """What `to_dict` wrote; `path` names the file in messages.

        Raises:
            RunError: it is damaged.
        """
        try:
            form = cls(**{**document, "mean": tuple(document["mean"]), "deviation": tuple(document["deviation"])})
            whole = all(isinstance(value, int) and value > 0 for value in (form.height, form.width, form.max_pixels))
            if not whole or form.colour not in ("grey", "rgb") or form.fit not in ("stretch", "crop", "pad"):
                raise ValueError("a size, colour or fit is out of range")
            numbers = (*form.mean, *form.deviation)
            if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
                raise ValueError("mean or deviation is no finite number")
            if len(form.mean) != form.channels or len(form.deviation) != form.channels or min(form.deviation) <= 0:
                raise ValueError("mean or deviation does not fit the channels")
        except (TypeError, ValueError, KeyError) as error:
            raise RunError(f"{path}: input is damaged ({error}); expected what training wrote.") from None
        return form


def input_form(settings: SeeData, train_pixels: Tensor) -> InputForm:
    """The form that the recipe asks for; statistics are those of the training images, bytes of shape (N, C, H, W)."""
    channels = train_pixels.shape[1]
    mean, deviation = (0.0,) * channels, (1.0,) * channels
    if settings.pixels == "standard":
        mean, deviation = _statistics(train_pixels)
    return InputForm(
        settings.height, settings.width, settings.colour, settings.fit, settings.max_pixels, mean, deviation
    )


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
