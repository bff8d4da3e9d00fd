"""Heads: how the features at all positions of an image become one vector.

A head takes (B, C, height, width) and gives (B, width of the vector).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from triptych.errors import RecipeError, did_you_mean
from triptych.recall.layers import Hopfield, HopfieldPooling

HeadName = Literal["flatten", "average", "hopfield"]

_NAMES = ("flatten", "average", "hopfield")


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
    """A head by name.

    `flatten` keeps all positions, `average` takes their mean, `hopfield` retrieves from them.

    Args:
        name: which.
        channels: C of what comes in; of a hopfield head.
        steps: updates of each query, >= 1; of a hopfield head.
        queries: >= 1; of a hopfield head.
    Raises:
        RecipeError: there is no such head.
    """
    match name:
        case "flatten":
            return nn.Flatten()
        case "average":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "hopfield":
            return HopfieldHead(HopfieldPooling(channels, queries=queries, association=Hopfield(channels, steps=steps)))
        case _:
            raise RecipeError(field="model.head", value=name, expected="a known head", hint=did_you_mean(name, _NAMES))


def head_width(name: HeadName, channels: int, positions: int, *, queries: int = 1) -> int:
    """Width of a head's output for C channels and N positions; 0 for an unknown name."""
    return channels * {"flatten": positions, "average": 1, "hopfield": queries}.get(name, 0)
