"""The one training step: any panel's objective as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from triptych.config import OptimizerTable
from triptych.training.objective import Objective, Share
from triptych.training.optimizers import build_optimizer, build_schedule


class Trainable(lightning.LightningModule):
    """Trains an objective. Losses and metrics are ratios of sums, the same over one process or many.

    Args:
        objective: what is trained.
        optimizer: the recipe's `[optimizer]`.
        monitor: metric that a plateau schedule follows.
        mode: whether that metric should fall or rise.
    """

    def __init__(self, objective: Objective, optimizer: OptimizerTable, *, monitor: str, mode: str) -> None:
        super().__init__()
        self.objective = objective
        self.network = objective.network
        self.settings = optimizer
        self.monitor = monitor
        self.mode = mode
        self.learning_rate = optimizer.learning_rate  # where Lightning's learning-rate finder puts its trials
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def training_step(self, batch: Any, _index: int) -> Tensor:
        """The mean loss of the batch over all processes, as this process's share of it."""
        share = self.objective.loss(batch)
        assert isinstance(share.total, Tensor)
        self._add("train_loss", Share(share.total.detach(), share.count))
        count = torch.as_tensor(share.count, dtype=torch.float32, device=self.device)
        world = self.trainer.world_size
        if world > 1:  # gradients are averaged over processes: weigh each by its part of the whole batch
            count = torch.as_tensor(self.trainer.strategy.reduce(count.clone(), reduce_op="sum")) / world
        return share.total / count

    def validation_step(self, batch: Any, _index: int) -> None:
        """Add the batch to the epoch's metrics."""
        for name, share in self.objective.measure(batch).items():
            self._add(f"valid_{name}", share)

    def collect(self) -> dict[str, float]:
        """The epoch's ratios by name, summed over all processes; starts the next epoch's at zero."""
        metrics = {}
        for name in sorted(self._sums):  # one order on every process: each name is a collective operation
            pair = torch.stack(self._sums[name]).to(self.device)
            if self.trainer.world_size > 1:
                pair = torch.as_tensor(self.trainer.strategy.reduce(pair, reduce_op="sum"))
            total, count = pair.tolist()
            metrics[name] = total / count if count else float("nan")
        self._sums.clear()
        return metrics

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer and schedule."""
        settings = self.settings.model_copy(update={"learning_rate": self.learning_rate})
        optimizer = build_optimizer(self.network.parameters(), settings)
        if settings.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="min" if self.mode == "min" else "max", factor=0.5, patience=settings.plateau_patience
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": self.monitor}}
        schedule = build_schedule(optimizer, settings, int(self.trainer.estimated_stepping_batches))
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _add(self, name: str, share: Share) -> None:
        total = torch.as_tensor(share.total, dtype=torch.float64 if self.device.type != "mps" else torch.float32)
        count = torch.as_tensor(share.count, dtype=total.dtype)
        if name in self._sums:
            before = self._sums[name]
            total, count = before[0] + total, before[1] + count
        self._sums[name] = (total, count)
