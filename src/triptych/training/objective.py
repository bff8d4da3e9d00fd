"""What a panel hands to training: objective, batches and the description of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from triptych.config import Recipe


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


LoaderBuilder = Callable[[int, int], Any]


@dataclass(frozen=True)
class Loaders:
    """Builders of loaders for one process: each takes its rank and the number of processes."""

    train: LoaderBuilder
    valid: LoaderBuilder


@dataclass(frozen=True)
class FirstFit:
    """Result of a direct fit.

    Attributes:
        metrics: `train_loss` and validation metrics, as an epoch has them.
        facts: what `run.json` keeps of it.
        text: one line about it.
    """

    metrics: Mapping[str, float]
    facts: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Prepared:
    """A network for some data, ready to train.

    Attributes:
        recipe: the recipe, with a number in place of every "auto".
        objective: what to train, with a freshly initialised network.
        loaders: its batches.
        description: the content of `model.json`.
        files: content of further files of the run, by name.
        first_fit: fits a part of the network directly, before the first epoch, and changes it in place; None for most.
    """

    recipe: Recipe
    objective: Objective
    loaders: Loaders
    description: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    first_fit: Callable[[], FirstFit] | None = None

    @property
    def trainable(self) -> int:
        """Number of parameters that receive gradients."""
        return sum(p.numel() for p in self.objective.network.parameters() if p.requires_grad)
