"""Output of a training while it runs, and its result. This module does not import Lightning, which takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triptych.config import Recipe
from triptych.runs.run import Row

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

Listener = Callable[[Row, bool], None]


@dataclass(frozen=True)
class Fitted:
    """Result of a training.

    Attributes:
        rows: one per epoch, as in `metrics.csv`.
        best_epoch: from 1; the epoch whose monitored metric was best.
        interrupted: Ctrl-C was pressed, or SIGTERM came.
        complete: no epoch is left to train.
        is_main_process: False in the helpers of a training over several processes.
        signal: the number of the signal that interrupted it, 0 where none came to this process.
    """

    rows: list[Row]
    best_epoch: int
    interrupted: bool
    complete: bool
    is_main_process: bool
    signal: int = 0


@dataclass(frozen=True)
class Output:
    """Output of a training while it runs.

    Attributes:
        progress: show a progress bar on standard error.
        tensorboard: write logs for TensorBoard into the run.
        listener: called with every epoch's row.
        callbacks: further Lightning callbacks.
        warn: called with warnings about the data, complete sentences, before training begins.
        describe: called with a line about data and network before training begins.
        decide: called after that with the recipe, in which every "auto" has its number by then.
    """

    progress: bool = False
    tensorboard: bool = False
    listener: Listener | None = None
    callbacks: tuple[Callback, ...] = ()
    warn: Callable[[Sequence[str]], None] = lambda _: None
    describe: Callable[[str], None] = lambda _: None
    decide: Callable[[Recipe], None] = lambda _: None


class PrintEpochs:
    """A listener that prints one line per epoch on standard error."""

    def __init__(self) -> None:
        self._epochs = ""
        self._monitor = ""

    def decide(self, recipe: Recipe) -> None:
        """Take the number of epochs and the monitored metric of a recipe."""
        self._epochs = f"/{recipe.training.epochs}" if recipe.training.epochs else ""
        self._monitor = recipe.training.monitor.removeprefix("valid_")

    def __call__(self, row: Row, is_best: bool) -> None:
        """Print the row of an epoch."""
        values = "  ".join(
            f"{name.removeprefix('valid_')} {value:.4f}"
            for name, value in row.items()
            if name.startswith(("train_loss", "valid_")) and isinstance(value, float)
        )
        mark = f"  best {self._monitor} so far" if is_best else ""
        print(f"epoch {row['epoch']:>3}{self._epochs}  {values}  {row['seconds']} s{mark}", file=sys.stderr)  # noqa: T201
