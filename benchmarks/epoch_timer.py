"""How long the training part of every epoch took, told by Lightning's own hooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import lightning
from lightning.pytorch.callbacks import Callback


@dataclass
class EpochTimer(Callback):
    """Notes the seconds of the training part of every epoch, by `clock`."""

    clock: Callable[[], float] = time.perf_counter
    seconds: list[float] = field(default_factory=list)
    began: float = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """An epoch begins with training."""
        self.began = self.clock()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Training is followed by validation."""
        self.seconds.append(self.clock() - self.began)
