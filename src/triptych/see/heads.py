"""Heads: how the features at all positions of an image become one vector.

A head takes (B, C, height, width) and gives (B, width of the vector).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from triptych.anatomy.modes import evaluating
from triptych.recall.layers import Hopfield, HopfieldPooling

HeadName = Literal["flatten", "average", "hopfield"]


class HopfieldHead(nn.Module):
    """Learnt queries retrieve from the positions of an image as from stored patterns.

    Args:
        pooling: takes stored patterns (B, height x width, C) and gives (B, queries, C).
    Source: Ramsauer et al. 2020, arXiv:2008.02217, section 4, Hopfield pooling.
    """

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, height, width) to (B, queries x C)."""
        pooled: Tensor = self.pooling(features.flatten(2).transpose(1, 2))
        return pooled.flatten(1)


def build_head(name: HeadName, channels: int, *, steps: int = 1, queries: int = 1) -> nn.Module:
    """A head for C channels: `flatten` keeps all positions, `average` takes their mean, `hopfield` retrieves from them.

    A hopfield head updates each of its queries `steps` times; both are >= 1.
    """
    match name:
        case "flatten":
            return nn.Flatten()
        case "average":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "hopfield":
            return HopfieldHead(HopfieldPooling(channels, queries=queries, association=Hopfield(channels, steps=steps)))


@torch.no_grad()
def output_width(features: nn.Module, shape: tuple[int, int, int]) -> int:
    """Width of the vector that a head at the end of `features` makes of an image of a shape (C, height, width)."""
    with evaluating(features):
        return int(features(torch.zeros(1, *shape)).shape[1])
