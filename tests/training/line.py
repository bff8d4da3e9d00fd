"""The smallest thing that can be trained: a line through points, with everything a panel has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from triptych.config import OptimizerTable, TrainingTable
from triptych.runs.run import Run
from triptych.training.fit import fit
from triptych.training.objective import Loaders, Share
from triptych.training.output import Fitted, Output

POINTS = 24


class Line:
    """Fits y = 2x + 1 by least squares; validation reports a loss and a figure that is read from a list.

    Args:
        figures: the figure `valid_figure` of each epoch, to choose which epoch is best; the last one stays.
        dropout: on the input.
    """

    def __init__(self, figures: list[float] | None = None, *, dropout: float = 0.0) -> None:
        torch.manual_seed(0)
        self._network = nn.Sequential(nn.Dropout(dropout), nn.Linear(1, 1))
        self.figures = figures or [0.0]
        self.epochs_measured = 0
        self.weights_measured: list[dict[str, Tensor]] = []

    @property
    def network(self) -> nn.Module:
        return self._network

    def loss(self, batch: Tensor) -> Share:
        residual = self._network(batch[:, :1]) - batch[:, 1:]
        return Share(residual.square().sum(), len(batch))

    def measure(self, batch: Tensor) -> dict[str, Share]:
        figure = self.figures[min(self.epochs_measured, len(self.figures) - 1)]
        self.epochs_measured += 1
        self.weights_measured.append({k: v.detach().clone() for k, v in self._network.state_dict().items()})
        return {"loss": self.loss(batch), "figure": Share(figure, 1)}


@dataclass
class Batches:
    """A loader: points in batches, in the same order every epoch."""

    size: int
    seen: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return POINTS // self.size

    def __iter__(self) -> Iterator[Tensor]:
        x = torch.linspace(-1, 1, POINTS).unsqueeze(1)
        for batch in torch.split(torch.cat((x, 2 * x + 1), dim=1), self.size):
            self.seen.append(len(batch))
            yield batch


def loaders(size: int = 8) -> Loaders:
    """Three training batches, or as the size says; one validation batch."""
    return Loaders(lambda _rank, _world: Batches(size), lambda _rank, _world: Batches(POINTS))


def train(
    line: Line, run: Run | None = None, *, output: Output | None = None, optimizer: Any = None, **training: Any
) -> Fitted:
    """Fit a line with settings of `[training]` and, as a dictionary, of `[optimizer]`."""
    rate: dict[str, Any] = {"learning_rate": 0.1, "name": "sgd", **(optimizer or {})}
    return fit(
        line,
        loaders(training.pop("batch_size", 8)),
        optimizer=OptimizerTable(**rate),
        training=TrainingTable(**training),
        run=run,
        output=output,
    )
