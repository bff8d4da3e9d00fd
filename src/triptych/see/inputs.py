"""From images to the numbers that a network takes: their statistics, and their scale."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.config import ImageForm, SeeData
from triptych.images.form import InputForm

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
    form = settings.model_dump(include=set(ImageForm.model_fields))
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
