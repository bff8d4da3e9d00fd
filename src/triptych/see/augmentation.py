"""Random changes of training images, drawn for every image and applied to whole batches of tensors.

In this order: mirror, crop, zoom, turn and shift in one resampling (what comes from outside is reflected at the edge);
brightness, contrast and saturation; a blank square; a mixture with another image of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from triptych.config import SeeAugmentation

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow turns colour into grey
_LARGEST_ASPECT = 4 / 3


def augmented(
    pixels: Tensor, labels: Tensor, settings: SeeAugmentation, generator: Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Change a batch; what is given stays as it is.

    Args:
        pixels: values in [0, 1]. Shape (B, C, height, width).
        labels: class probabilities. Shape (B, K).
        settings: the recipe's `[augmentation]`.
        generator: where chance comes from; None is PyTorch's own.
    Returns:
        New pixels in [0, 1], and labels whose rows still have their sums.
    """
    chance = _Chance(len(pixels), generator, pixels.device)
    if settings.crop_scale < 1 or settings.shift or settings.rotation or settings.zoom:
        pixels = _resampled(pixels, settings, chance)
    else:
        pixels = _mirrored(pixels, settings, chance)
    if settings.brightness or settings.contrast or settings.saturation:
        pixels = _recoloured(pixels, settings, chance)
    if settings.cutout:
        pixels = _cut(pixels, settings, chance)
    if settings.mixup or settings.cutmix:
        pixels, labels = _mixed(pixels, labels, settings, chance)
    return pixels, labels


def _mirrored(pixels: Tensor, settings: SeeAugmentation, chance: _Chance) -> Tensor:
    for probability, side in ((settings.flip, 3), (settings.vertical_flip, 2)):
        if probability:
            pixels = torch.where(chance.flags(probability)[:, None, None, None], pixels.flip(side), pixels)
    return pixels


def _resampled(pixels: Tensor, settings: SeeAugmentation, chance: _Chance) -> Tensor:
    """Every geometric change as one affine map from the places of the result to those of the image.

    Places run from -1 to 1 across the image. A place p of the result shows `turn @ (size * p) + centre`.
    """
    height, width = pixels.shape[2:]
    area = chance.uniform(settings.crop_scale, 1.0)
    aspect = chance.uniform(-1, 1) * (-area.log()).clamp(max=math.log(_LARGEST_ASPECT))  # no side beyond 1
    across, down = (area * aspect.exp()).sqrt(), (area * (-aspect).exp()).sqrt()
    size = 1 / chance.uniform(1 - settings.zoom, 1 + settings.zoom)
    centre_x = (1 - across) * chance.uniform(-1, 1) + 2 * settings.shift * chance.uniform(-1, 1)
    centre_y = (1 - down) * chance.uniform(-1, 1) + 2 * settings.shift * chance.uniform(-1, 1)
    across = across * size * torch.where(chance.flags(settings.flip), -1.0, 1.0)
    down = down * size * torch.where(chance.flags(settings.vertical_flip), -1.0, 1.0)
    angle = chance.uniform(-1, 1) * math.radians(settings.rotation)
    cosine, sine = angle.cos(), angle.sin()
    first = torch.stack([cosine * across, -sine * down * (height / width), centre_x], dim=1)
    second = torch.stack([sine * across * (width / height), cosine * down, centre_y], dim=1)
    grid = _grid(torch.stack([first, second], dim=1).to(pixels.dtype), height, width)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recoloured(pixels: Tensor, settings: SeeAugmentation, chance: _Chance) -> Tensor:
    """Brightness b, contrast c and saturation s as one linear map of each image's colours.

    With grey g = w'x: saturation gives s x + (1 - s) g, brightness multiplies by b, and contrast gives
    c x + (1 - c) m with m the image's mean grey, which saturation leaves as it is.
    """
    channels = pixels.shape[1]
    weights = torch.tensor(_LUMINANCE if channels == 3 else [1 / channels] * channels).to(pixels)
    bright, contrast, saturation = (
        chance.uniform(max(0.0, 1 - most), 1 + most).to(pixels.dtype)
        for most in (settings.brightness, settings.contrast, settings.saturation)
    )
    flat = pixels.flatten(2)
    middle = bright * (flat.mean(dim=2) @ weights)
    colours = saturation[:, None, None] * torch.eye(channels).to(pixels)
    colours = colours + (1 - saturation)[:, None, None] * weights.expand(channels, channels)
    maps = (bright * contrast)[:, None, None] * colours
    changed = torch.baddbmm(((1 - contrast) * middle)[:, None, None], maps, flat)
    return changed.clamp_(0, 1).view(pixels.shape)


def _cut(pixels: Tensor, settings: SeeAugmentation, chance: _Chance) -> Tensor:
    inside = [
        chance.spans(torch.full((len(pixels),), max(1, round(settings.cutout * length))), length)
        for length in pixels.shape[2:]
    ]
    blank = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(blank, pixels.mean(dim=(0, 2, 3), keepdim=True), pixels)


def _mixed(pixels: Tensor, labels: Tensor, settings: SeeAugmentation, chance: _Chance) -> tuple[Tensor, Tensor]:
    """Weighs each pixel of an image against that of another one; labels are weighed by the mean weight."""
    if settings.cutmix:
        share = (1 - chance.beta(settings.cutmix)).sqrt()
        inside = [chance.spans((share * length).round().long(), length) for length in pixels.shape[2:]]
        kept = (~(inside[0][:, None, :, None] & inside[1][:, None, None, :])).to(pixels.dtype)
        if settings.mixup:
            weight = chance.beta(settings.mixup).to(pixels.dtype)[:, None, None, None]
            kept = torch.where(chance.flags(0.5)[:, None, None, None], kept, weight)
    else:
        kept = chance.beta(settings.mixup).to(pixels.dtype)[:, None, None, None]
    others = chance.permutation()
    share_kept = kept.mean(dim=(1, 2, 3))[:, None].to(labels.dtype)
    return torch.lerp(pixels[others], pixels, kept), torch.lerp(labels[others], labels, share_kept)


def _grid(maps: Tensor, height: int, width: int) -> Tensor:
    """The places (B, height, width, 2) that affine maps (B, 2, 3) send the pixels' centres to.

    As `torch.nn.functional.affine_grid`, in a fortieth of its time on a processor: it adds a row and a column.
    """
    x, y = ((2 * torch.arange(length).to(maps) + 1) / length - 1 for length in (width, height))
    across = maps[:, :, 0, None, None] * x
    down = maps[:, :, 1, None, None] * y[:, None] + maps[:, :, 2, None, None]
    return torch.movedim(across + down, 1, -1)


@dataclass(frozen=True)
class _Chance:
    """Draws for each of `count` images."""

    count: int
    generator: Generator | None
    device: torch.device

    def uniform(self, low: float, high: float) -> Tensor:
        """Numbers in [low, high)."""
        drawn = torch.rand(self.count, generator=self.generator, device=self._source())
        return (drawn * (high - low) + low).to(self.device)

    def flags(self, probability: float) -> Tensor:
        """True with a probability."""
        return self.uniform(0, 1) < probability

    def spans(self, lengths: Tensor, total: int) -> Tensor:
        """For each image, which of `total` places lie in a span of its length around a random place. (count, total)."""
        middle = (self.uniform(0, 1) * total).floor().long().clamp(max=total - 1)
        first = middle - lengths.to(self.device) // 2
        places = torch.arange(total, device=self.device)
        return (places >= first[:, None]) & (places < (first + lengths.to(self.device))[:, None])

    def beta(self, alpha: float) -> Tensor:
        """Numbers of the distribution Beta(alpha, alpha)."""
        seed = int(torch.randint(2**62, (), generator=self.generator, device=self._source()))
        drawn = np.random.default_rng(seed).beta(alpha, alpha, self.count)
        return torch.from_numpy(drawn.astype(np.float32)).to(self.device)

    def permutation(self) -> Tensor:
        """The images in another order."""
        return torch.randperm(self.count, generator=self.generator, device=self._source()).to(self.device)

    def _source(self) -> torch.device | str:
        return "cpu" if self.generator is None else self.generator.device
