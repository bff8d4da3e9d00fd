"""The one training step: any panel's objective as a Lightning module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from triptych.config import OptimizerTable
from triptych.training.objective import Objective, Share
from triptych.training.optimizers import build_optimizer, build_schedule


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
