"""A compact pre-activation residual network for images of 28 to 64 pixels, trained from scratch on a processor.

A cheap stem halves the image: a narrow convolution at full size, where each channel costs most, and one of stride 2.
Stages of residual blocks follow, each after the first at half the size of the one before. Then normalisation, ReLU, a
head, dropout and the last linear layer.

Source: He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027, for the blocks; He et al. 2019,
Bag of Tricks, arXiv:1812.01187, for the averaging shortcut; Hu et al. 2018, arXiv:1709.01507, for squeeze-and-
excitation; Huang et al. 2016, arXiv:1603.09382, for stochastic depth.  Checked by tests/see/test_residual.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.config import SeeModel
from triptych.errors import ShapeError
from triptych.nn.dropout import Dropout
from triptych.see.heads import build_head, output_width


class SqueezeExcitation(nn.Module):
    """Weighs channels by a small network of their averages: x * sigmoid(W2 relu(W1 mean(x) + b1) + b2).

    Args:
        channels: C.
        reduction: the small network's inner layer has C / reduction units, at least 4.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(4, channels // reduction)
        self.reduce = nn.Linear(channels, inner)
        self.expand = nn.Linear(inner, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, height, width) to the same shape."""
        weights = torch.sigmoid(self.expand(F.relu(self.reduce(features.mean(dim=(2, 3))))))
        return features * weights[:, :, None, None]


class DropPath(nn.Module):
    """In training, sets a whole item to zero with a probability, and scales the others so that the mean stays.

    Args:
        probability: of each item's being dropped, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """(B, C, height, width) to the same shape."""
        if not self.training or self.probability == 0:
            return branch
        kept = 1 - self.probability
        return branch * branch.new_empty(len(branch), 1, 1, 1).bernoulli_(kept).div_(kept)

    def extra_repr(self) -> str:
        return f"probability={self.probability:g}"


class ResidualBlock(nn.Module):
    """shortcut(a) + branch, with a = relu(norm(x)) and branch = conv(relu(norm(conv(a)))).

    Where neither size nor width changes the shortcut is x itself; otherwise it is a 1x1 convolution of a, after
    averaging over 2x2 positions where the size is halved.

    Args:
        inward, outward: channels.
        stride: 1, or 2 to halve height and width, rounded up.
        drop_path: probability that training skips the branch, in [0, 1).
        squeeze: reduction of squeeze-and-excitation on the branch; 0 for none.
    """

    def __init__(self, inward: int, outward: int, *, stride: int = 1, drop_path: float = 0.0, squeeze: int = 0) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(inward)
        self.first = nn.Conv2d(inward, outward, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outward)
        self.second = nn.Conv2d(outward, outward, 3, padding=1, bias=False)
        self.squeeze = SqueezeExcitation(outward, squeeze) if squeeze else None
        self.drop_path = DropPath(drop_path)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inward != outward:
            parts: list[nn.Module] = []
            if stride != 1:
                parts.append(nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False))
            self.shortcut = nn.Sequential(*parts, nn.Conv2d(inward, outward, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inward, height, width) to (B, outward, height / stride, width / stride)."""
        activated = F.relu(self.first_norm(features), inplace=True)
        branch = self.second(F.relu(self.second_norm(self.first(activated)), inplace=True))
        if self.squeeze is not None:
            branch = self.squeeze(branch)
        kept = features if self.shortcut is None else self.shortcut(activated)
        total: Tensor = kept + self.drop_path(branch)
        return total


class ResidualNetwork(nn.Module):
    """A stem that halves the image, stages of residual blocks, and a classifier on the positions' one vector.

    Args:
        norm: over the last stage's channels.
        head: (B, C', height', width') to (B, width).
        dropout: share of the vector that is dropped in training, in [0, 1).
    """

    def __init__(
        self,
        stem: nn.Sequential,
        stages: nn.Sequential,
        norm: nn.BatchNorm2d,
        head: nn.Module,
        *,
        dropout: float,
        last: nn.Linear,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = stages
        self.norm = norm
        self.activation = nn.ReLU(inplace=True)
        self.head = head
        self.dropout = Dropout(dropout)
        self.last = last

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to logits (B, K)."""
        features = self.activation(self.norm(self.stages(self.stem(images))))
        logits: Tensor = self.last(self.dropout(self.head(features)))
        return logits


def build_residual(model: SeeModel, shape: tuple[int, int, int], classes: int) -> ResidualNetwork:
    """The network of a recipe's settings for images of a shape (C, height, width).

    Starting weights are those of He et al. 2015, arXiv:1502.01852, with every residual block starting as its shortcut:
    the last convolution of each branch is zero. A zero in its last normalisation, which serves networks that normalise
    after convolving, would here hide behind the ReLU, and no gradient would ever reach the branch.

    Raises:
        ShapeError: a stage would have nothing to halve.
    """
    stages, (in_channels, height, width) = len(model.channels), shape
    smallest = 2 ** (stages - 1) + 1
    if min(height, width) < smallest:
        raise ShapeError(
            f"images are {height} x {width} pixels; expected at least {smallest} x {smallest} for {stages} stages, "
            "each of half the size. Use larger data.height and data.width, or fewer model.channels."
        )
    narrow = max(8, model.channels[0] // 2)
    stem = nn.Sequential(
        nn.Conv2d(in_channels, narrow, 3, padding=1, bias=False),
        nn.BatchNorm2d(narrow),
        nn.ReLU(inplace=True),
        nn.Conv2d(narrow, model.channels[0], 3, stride=2, padding=1, bias=False),
    )
    blocks = build_stages(model.channels, blocks=model.blocks, drop_path=model.drop_path, squeeze=model.squeeze)
    head = build_head(model.head or "average", model.channels[-1], steps=model.head_steps, queries=model.head_queries)
    last = nn.Linear(output_width(nn.Sequential(stem, blocks, head), shape), classes)
    network = ResidualNetwork(stem, blocks, nn.BatchNorm2d(model.channels[-1]), head, dropout=model.dropout, last=last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.second.weight)
    return network


def build_stages(channels: Sequence[int], *, blocks: int, drop_path: float = 0.0, squeeze: int = 0) -> nn.Sequential:
    """Residual blocks of all stages in one sequence; every stage but the first begins at half the size.

    Args:
        channels: of each stage; the stem gives the first.
        blocks: in each stage, >= 1.
        drop_path: of the last block, in [0, 1); it rises to that in equal steps, beginning with one step.
        squeeze: reduction of squeeze-and-excitation; 0 for none.
    """
    every: list[nn.Module] = []
    inward, count = channels[0], len(channels) * blocks
    for stage, outward in enumerate(channels):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            share = drop_path * (len(every) + 1) / count
            every.append(ResidualBlock(inward, outward, stride=stride, drop_path=share, squeeze=squeeze))
            inward = outward
    return nn.Sequential(*every)
