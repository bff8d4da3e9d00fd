"""The training loop: any panel's objective as a Lightning module, and what happens when an epoch ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from triptych.config import OptimizerTable, TrainingTable
from triptych.errors import RecipeError, TrainingError, did_you_mean
from triptych.runs.run import Row, Run
from triptych.training.objective import Objective, Share
from triptych.training.optimizers import build_optimizer, build_schedule, is_better, plateau_factor
from triptych.training.output import Listener


class Trainable(lightning.LightningModule):
    """Trains an objective. Losses and metrics are ratios of sums, the same over one process or many.

    Args:
        objective: what is trained.
        optimizer: the recipe's `[optimizer]`.

    Attributes:
        learning_rate: what the schedule multiplies.
        plateau: a further factor, which whoever follows the metrics sets before an epoch.
    """

    def __init__(self, objective: Objective, optimizer: OptimizerTable) -> None:
        super().__init__()
        self.objective = objective
        self.network = objective.network
        self.settings = optimizer
        self.learning_rate = optimizer.learning_rate
        self.plateau = 1.0
        self._schedule: Callable[[int], float] | None = None
        self._sums: dict[str, tuple[Tensor | float, Tensor | float]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """As any module, but at once where the attribute is a plain one already.

        Lightning notes the name of every hook it calls in an attribute, forty times per update, and PyTorch looks each
        time whether it is a parameter, a module or a buffer: for small networks a noticeable part of an update.
        """
        if name in self.__dict__ and not isinstance(value, Tensor | nn.Module):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of the coming update."""
        if self._schedule is None and self.settings.schedule != "plateau":
            return
        factor = 1.0 if self._schedule is None else self._schedule(self.trainer.global_step)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rate * factor * self.plateau

    def training_step(self, batch: Any, _index: int) -> Tensor:
        """The mean loss of the batch over all processes, as this process's share of it."""
        share = self.objective.loss(batch)
        assert isinstance(share.total, Tensor)
        self._add("train_loss", Share(share.total.detach(), share.count))
        world = self.trainer.world_size
        if world == 1:
            return share.total / share.count
        # Gradients are averaged over processes: each is weighed by its part of the whole batch.
        count = torch.as_tensor(share.count, dtype=torch.float32, device=self.device).clone()
        whole = torch.as_tensor(self.trainer.strategy.reduce(count, reduce_op="sum"))
        return share.total * world / whole

    def validation_step(self, batch: Any, _index: int) -> None:
        """Add the batch to the epoch's metrics."""
        for name, share in self.objective.measure(batch).items():
            self._add(f"valid_{name}", share)

    def collect(self) -> dict[str, float]:
        """The epoch's ratios by name, summed over all processes; starts the next epoch's at zero."""
        # The main process has a share of every batch; another may have had none to measure.
        names: list[str] = self.trainer.strategy.broadcast(sorted(self._sums))
        rows = [[float(part) for part in self._sums.get(name, (0.0, 0.0))] for name in names]
        self._sums.clear()
        table = torch.tensor(rows, dtype=self._exact, device=self.device).reshape(-1, 2)
        if self.trainer.world_size > 1:
            table = torch.as_tensor(self.trainer.strategy.reduce(table, reduce_op="sum"))
        return {
            name: total / count if count else float("nan")
            for name, (total, count) in zip(names, table.tolist(), strict=True)
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimizer; its schedule is asked for a rate before every update."""
        settings = self.settings.model_copy(update={"learning_rate": self.learning_rate})
        self._schedule = build_schedule(settings, lambda: int(self.trainer.estimated_stepping_batches))
        return build_optimizer(self.network.parameters(), settings)

    def _add(self, name: str, share: Share) -> None:
        total = share.total.to(self._exact) if isinstance(share.total, Tensor) else share.total
        if name in self._sums:
            before, count = self._sums[name]
            self._sums[name] = (before + total, count + share.count)
        else:
            self._sums[name] = (total, share.count)

    @property
    def _exact(self) -> torch.dtype:
        """Data type of sums; Apple's GPUs lack double precision."""
        return torch.float32 if self.device.type == "mps" else torch.float64


class Checkpointing(Callback):
    """Measures each epoch, keeps the best or the last model in the run, and stops when patience ends.

    At the end of an epoch the model is written, then the history, then the checkpoint. All that this callback knows
    travels in the checkpoint, so a training that was killed anywhere goes back to its latest checkpoint, decides and
    draws random numbers as an uninterrupted one would, and writes the same files again.

    It must come before a weight-averaging callback: metrics and the kept model are then those of the averaged weights.

    Args:
        run: where to keep model, history and checkpoint; None keeps nothing on disk.
        training: the recipe's `[training]`.
        optimizer: the recipe's `[optimizer]`, for a schedule that follows the metric.
        listener: called with each finished row and whether it is the best yet.
    """

    def __init__(
        self, run: Run | None, training: TrainingTable, optimizer: OptimizerTable, listener: Listener | None = None
    ) -> None:
        self.run = run
        self.training = training
        self.optimizer = optimizer
        self.listener = listener
        self.rows: list[Row] = []
        self.best_epoch = 0
        self._started_at = 0.0
        self._train_metrics: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        """Where its state lies in a checkpoint; the first versions named it so."""
        return "Keeper"

    @property
    def is_complete(self) -> bool:
        """Whether training is complete: all epochs are done, or patience has ended."""
        done, patience = len(self.rows), self.training.epochs_without_best
        return done >= self.training.most_epochs or 0 < patience <= done - self.best_epoch

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock, and let a schedule that follows the metric choose."""
        assert isinstance(pl_module, Trainable)
        self._started_at = time.monotonic()
        if self.optimizer.schedule == "plateau":
            values = [float(row[self.training.monitor]) for row in self.rows]
            patience = self.optimizer.plateau_patience
            pl_module.plateau = plateau_factor(values, mode=self.training.mode, patience=patience)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin the epoch's own stream of random numbers, a function of seed, epoch and process alone.

        Not earlier: whether a loader draws a number before its first batch depends on whether training was resumed.
        """
        if batch_idx == 0:
            torch.manual_seed(_mix(self.training.seed, trainer.current_epoch, trainer.global_rank))

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go no further with a training that has diverged."""
        assert isinstance(pl_module, Trainable)
        self._train_metrics = pl_module.collect()
        epoch = trainer.current_epoch + 1
        _check_finite("train_loss", self._train_metrics["train_loss"], epoch)
        for name, weight in pl_module.network.named_parameters():
            _check_finite(f"the largest weight of {name}", float(weight.detach().abs().max()), epoch)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Complete the epoch's row and keep the model if it is to be kept."""
        assert isinstance(pl_module, Trainable)
        epoch = trainer.current_epoch + 1
        metrics = self._train_metrics | pl_module.collect()
        self._check(metrics, epoch)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        seconds = round(time.monotonic() - self._started_at, 2)
        row: Row = {"epoch": epoch, "learning_rate": rate, **metrics, "seconds": seconds}
        is_best = self._is_best(row)
        keeps = is_best or self.training.keep == "last"
        if self.run is not None and keeps and trainer.is_global_zero:
            self.run.write_tensors(pl_module.network.state_dict())
        self.rows.append(row)
        self.best_epoch = epoch if is_best else self.best_epoch
        trainer.should_stop = trainer.should_stop or self.is_complete
        if trainer.is_global_zero and self.listener is not None:
            self.listener(row, is_best)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the history and, when all else is on the disk, the checkpoint."""
        row = self.rows[-1]
        for logger in trainer.loggers:
            values = {name: value for name, value in row.items() if name != "epoch" and isinstance(value, float)}
            logger.log_metrics(values, step=int(row["epoch"]))
        if self.run is not None:
            if trainer.is_global_zero:
                self.run.write_history(self.rows)
            trainer.save_checkpoint(self.run.checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """State of the training for its checkpoint."""
        return {"rows": self.rows, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint remembers."""
        self.rows = list(state_dict["rows"])
        self.best_epoch = state_dict["best_epoch"]

    def _is_best(self, row: Row) -> bool:
        if self.best_epoch == 0:
            return True
        monitor = self.training.monitor
        return is_better(float(row[monitor]), float(self.rows[self.best_epoch - 1][monitor]), self.training.mode)

    def _check(self, metrics: dict[str, float], epoch: int) -> None:
        monitor = self.training.monitor
        if monitor not in metrics:
            names = [name for name in metrics if name.startswith("valid_")]
            raise RecipeError(
                field="training.monitor",
                value=monitor,
                expected="a validation metric",
                hint=did_you_mean(monitor, names),
            )
        _check_finite(monitor, metrics[monitor], epoch)


def _check_finite(what: str, value: float, epoch: int) -> None:
    """All processes have the same value, and stop together."""
    if not math.isfinite(value):
        raise TrainingError(
            field=f"{what} in epoch {epoch}",
            value=value,
            expected="a finite number",
            hint="Lower optimizer.learning_rate or set training.gradient_clip=1",
        )


def _mix(seed: int, epoch: int, rank: int) -> int:
    """One seed from three, spread over 63 bits."""
    mixed = 0x9E3779B97F4A7C15
    for part in (seed, epoch, rank):
        mixed = ((mixed ^ (part + 1)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1
