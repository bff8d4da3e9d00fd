"""Network, objective and data that a panel prepares for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from triptych.config import Recipe
from triptych.training.objective import Objective

LoaderBuilder = Callable[[int, int], Any]


@dataclass(frozen=True)
class Loaders:
    """Builders of loaders for one process: each takes its rank and the number of processes."""

    train: LoaderBuilder
    valid: LoaderBuilder


@dataclass(frozen=True)
class Prepared:
    """A network for some data, ready to train.

    Attributes:
        recipe: the recipe, with a number in place of every "auto".
        objective: what to train, with a freshly initialised network.
        loaders: its batches.
        description: the content of `model.json`.
    """

    recipe: Recipe
    objective: Objective
    loaders: Loaders
    description: Mapping[str, Any]

    @property
    def trainable(self) -> int:
        """Number of parameters that receive gradients."""
        return sum(p.numel() for p in self.objective.network.parameters() if p.requires_grad)
