"""What a panel hands over to be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from triptych.training.objective import Objective

LoaderBuilder = Callable[[int, int], Any]


@dataclass(frozen=True)
class Loaders:
    """Builders of loaders for one process: each takes its rank and the number of processes."""

    train: LoaderBuilder
    valid: LoaderBuilder


@dataclass(frozen=True)
class Prepared:
    """A recipe with its data, ready to train.

    Attributes:
        objective: what to train, with a freshly initialised network.
        loaders: its batches.
        description: what `model.json` is to say.
        fingerprints: of every file and set of data.
        counts: items per split.
        warnings: complete sentences for the user.
        data: all splits, as the panel read them.
        available: items of each split that a limit of the recipe took a part of.
        content: what the items are, such as "images of 3 classes".
    """

    objective: Objective
    loaders: Loaders
    description: Mapping[str, Any]
    fingerprints: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    warnings: Sequence[str] = ()
    data: Any = None
    available: Mapping[str, int] = field(default_factory=dict)
    content: str = "items"

    def summary(self) -> str:
        """What there is to train on, in a line: how many items of each split, and of how many where a limit holds."""
        parts = []
        for split, count in self.counts.items():
            whole = f" of {self.available[split]:,}" if split in self.available else ""
            parts.append(f"{split} {count:,}{whole}")
        return f"{', '.join(parts)} {self.content}"
