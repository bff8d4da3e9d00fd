"""The end of every epoch: measure, decide what is best, keep it, write it down."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from triptych.config import TrainingTable
from triptych.errors import RecipeError, TriptychError
from triptych.training.module import Trainable
from triptych.training.run import Row, Run

Listener = Callable[[Row, bool], None]


class Keeper(Callback):
    """Measures each epoch, keeps the best or the last model in the run, and stops when patience ends.

    All it knows travels in the checkpoint, so a resumed training decides as an uninterrupted one would. It must come
    before a weight-averaging callback: metrics and the kept model are then those of the averaged weights.

    Args:
        run: where to keep the model and the history; None keeps nothing on disk.
        training: the recipe's `[training]`.
        listener: called with each finished row and whether it is the best yet.
    """

    def __init__(self, run: Run | None, training: TrainingTable, listener: Listener | None = None) -> None:
        self.run = run
        self.training = training
        self.listener = listener
        self.rows: list[Row] = []
        self.best_epoch = 0
        self.stopped = False
        self._started_at = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A training that had already stopped early does not go on."""
        trainer.should_stop = self.stopped

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin the epoch's own stream of random numbers, a function of seed, epoch and process alone."""
        torch.manual_seed(_mix(self.training.seed, trainer.current_epoch, trainer.global_rank))
        self._started_at = time.monotonic()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Complete the epoch's row and keep the model if it is to be kept."""
        assert isinstance(pl_module, Trainable)
        epoch = trainer.current_epoch + 1
        metrics = pl_module.collect()
        self._check(metrics, epoch)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        seconds = round(time.monotonic() - self._started_at, 2)
        self.rows.append({"epoch": epoch, "learning_rate": rate, **metrics, "seconds": seconds})
        pl_module.log_dict(metrics, sync_dist=False)
        is_best = self._is_best()
        if is_best:
            self.best_epoch = epoch
        patience = self.training.patience
        self.stopped = patience > 0 and epoch - self.best_epoch >= patience
        if self.stopped:
            trainer.should_stop = True
        if trainer.is_global_zero:
            if self.run is not None and (is_best or self.training.keep == "last"):
                self.run.write_tensors(pl_module.network.state_dict())
            if self.listener is not None:
                self.listener(self.rows[-1], is_best)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the history; the checkpoint is written after it."""
        if self.run is not None and trainer.is_global_zero:
            self.run.write_history(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers of the training so far."""
        return {"rows": self.rows, "best_epoch": self.best_epoch, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint remembers."""
        self.rows = list(state_dict["rows"])
        self.best_epoch = state_dict["best_epoch"]
        self.stopped = state_dict["stopped"]

    def _is_best(self) -> bool:
        if self.best_epoch == 0:
            return True
        value = float(self.rows[-1][self.training.monitor])
        best = float(self.rows[self.best_epoch - 1][self.training.monitor])
        return value < best if self.training.mode == "min" else value > best

    def _check(self, metrics: dict[str, float], epoch: int) -> None:
        monitor = self.training.monitor
        if monitor not in metrics:
            names = ", ".join(name for name in metrics if name.startswith("valid_"))
            raise RecipeError(f"training.monitor is {monitor!r}; expected a validation metric: {names}.")
        if not math.isfinite(metrics.get("train_loss", 0.0)):
            raise TriptychError(
                f"the training loss is {metrics['train_loss']} in epoch {epoch}; expected a finite number. "
                "Lower optimizer.learning_rate or set training.gradient_clip=1"
            )


def _mix(seed: int, epoch: int, rank: int) -> int:
    """One seed from three, spread over 63 bits."""
    mixed = 0x9E3779B97F4A7C15
    for part in (seed, epoch, rank):
        mixed = ((mixed ^ (part + 1)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def print_epoch(epochs: int, monitor: str) -> Listener:
    """A listener that prints one line per epoch on standard error."""

    def listen(row: Row, is_best: bool) -> None:
        values = "  ".join(
            f"{name.removeprefix('valid_')} {value:.4f}"
            for name, value in row.items()
            if name.startswith(("train_loss", "valid_")) and isinstance(value, float)
        )
        mark = f"  best {monitor.removeprefix('valid_')} so far" if is_best else ""
        print(f"epoch {row['epoch']:>3}/{epochs}  {values}  {row['seconds']} s{mark}", file=sys.stderr)  # noqa: T201

    return listen
