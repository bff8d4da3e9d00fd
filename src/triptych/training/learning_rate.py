"""Suggest a learning rate: the loss while the rate rises from one update to the next."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from triptych.config import OptimizerTable, TrainingTable
from triptych.training.fit import quiet
from triptych.training.hardware import precision_here
from triptych.training.interrupt import signals_restored
from triptych.training.loop import Trainable
from triptych.training.objective import Loaders, Objective

LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.05  # standard deviation, as a share of all updates
DIVERGED = 4.0  # times the lowest mean of recent losses: no higher rate is tried
BELOW_LOWEST = 10  # the suggestion is this many times below the rate with the lowest loss
LARGE = 3.5  # a fall this many times its standard error is no chance: one in hundreds of noise curves exceeds it


class _RisingRate(Callback):
    """Raises the learning rate exponentially and records the loss of every update.

    Attributes:
        rates, losses: of the updates so far.
    """

    def __init__(self, steps: int) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._lowest = np.inf
        self._all: list[float] = np.geomspace(LOWEST, HIGHEST, steps).tolist()

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Set the rate of the coming update."""
        self.rates.append(self._all[len(self.rates)])
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.rates[-1]

    def on_train_batch_end(self, trainer: lightning.Trainer, _module: Any, outputs: Any, *_: Any) -> None:
        """Record the loss before the update; stop after the last rate, and where the loss has exploded."""
        self.losses.append(float(outputs["loss"]))
        recent = max(1, round(SMOOTHING * len(self._all)))
        latest = float(np.mean(self.losses[-recent:]))
        self._lowest = min(self._lowest, latest)
        exploded = not np.isfinite(latest) or latest > DIVERGED * self._lowest
        trainer.should_stop = exploded or len(self.rates) == len(self._all)


def try_learning_rates(
    objective: Objective,
    loaders: Loaders,
    *,
    optimizer: OptimizerTable,
    training: TrainingTable,
    steps: int = 100,
) -> tuple[list[float], list[float], float | None]:
    """Raise the learning rate exponentially from 1e-6 to 1 over some updates; random numbers elsewhere are untouched.

    The network is trained by it and of no use afterwards.

    Args:
        objective: what to train.
        loaders: its batches.
        optimizer: the recipe's `[optimizer]`; its schedule is not used.
        training: the recipe's `[training]`.
        steps: updates, >= 1; fewer where the loss explodes.
    Returns:
        The rates, the smoothed loss at each, and the suggested rate, or None where no fall is significant.
    Source: Smith 2017, arXiv:1506.01186, section 3.3.
    """
    constant = optimizer.model_copy(update={"schedule": "constant", "warmup_steps": 0, "warmup_fraction": 0.0})
    recorder = _RisingRate(steps)
    with quiet(), signals_restored(), tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(training.seed)
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision=precision_here(training.precision, "auto"),
            max_epochs=-1,
            limit_val_batches=0,
            gradient_clip_val=training.gradient_clip or None,
            callbacks=[recorder],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            default_root_dir=folder,
        )
        trainer.fit(Trainable(objective, constant), train_dataloaders=loaders.train(0, 1))
    count = len(recorder.losses) - (not np.isfinite(recorder.losses[-1]))
    rates, losses = recorder.rates[:count], recorder.losses[:count]
    window = SMOOTHING * steps
    return rates, smoothed(losses, window=window), suggestion_of(rates, losses, window=window)


def smoothed(losses: Sequence[float], *, window: float) -> list[float]:
    """Each loss averaged with its neighbours on both sides, so that no fall is moved to higher rates.

    Args:
        losses: of successive updates.
        window: standard deviation of the Gaussian weights, in updates, > 0.
    """
    averaged: list[float] = (_weights(len(losses), window) @ np.asarray(losses)).tolist()
    return averaged


def suggestion_of(rates: Sequence[float], losses: Sequence[float], *, window: float) -> float | None:
    """A tenth of the rate with the lowest smoothed loss; None where that loss is not clearly below the first one.

    Beyond the lowest loss the updates do harm; a tenth of that rate is where the loss falls, with a margin for noise.
    Clearly: by more than 3.5 standard errors, from the scatter of the losses about the curve at either place.

    Args:
        rates: rising.
        losses: of the updates at these rates, not smoothed.
        window: see `smoothed`.
    Checked by tests/training/test_learning_rate.py: on curves of mere noise, and on noisy curves with a known fall.
    """
    if not losses:
        return None
    weights, values = _weights(len(losses), window), np.asarray(losses)
    curve = weights @ values
    lowest = int(curve.argmin())
    scatter = weights @ (values - curve) ** 2 / (1 - weights.diagonal()).clip(min=1e-9)  # variance of a loss, (N,)
    error = np.sqrt(scatter * (weights**2).sum(axis=1))  # of the curve, (N,)
    fall = curve[0] - curve[lowest]
    is_clear = fall > LARGE * float(np.hypot(error[0], error[lowest]))
    return rates[lowest] / BELOW_LOWEST if is_clear else None


def _weights(count: int, window: float) -> NDArray[np.float64]:
    """Weight of each loss in the average at each place; rows sum to one. Shape (N, N)."""
    places = np.arange(count)
    weights: NDArray[np.float64] = np.exp(-(((places[:, None] - places) / window) ** 2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
