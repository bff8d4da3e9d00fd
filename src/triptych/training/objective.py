"""Protocols between training and a panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """A ratio before the division: its parts are summed over batches and processes first.

    Attributes:
        total: the numerator, such as a sum of losses or of edits.
        count: the denominator, such as a number of symbols; never negative.
    """

    total: Tensor | float
    count: Tensor | float


class Objective(Protocol):
    """Training loss, and metrics on validation data."""

    @property
    def network(self) -> nn.Module:
        """The module whose parameters are trained and saved."""

    def loss(self, batch: Any) -> Share:
        """The batch's training loss as a differentiable sum and the number of terms in it."""

    def measure(self, batch: Any) -> Mapping[str, Share]:
        """Metrics on validation data, by name (`valid_` is put before it); called without gradients."""
