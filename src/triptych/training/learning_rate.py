"""Lightning's learning-rate finder on any objective."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import lightning
import numpy as np
import torch
from lightning.pytorch.tuner.tuning import Tuner

from triptych.config import OptimizerTable, TrainingTable
from triptych.training.fit import quiet
from triptych.training.hardware import precision_here
from triptych.training.interrupt import signals_restored
from triptych.training.module import Trainable
from triptych.training.objective import Objective
from triptych.training.prepared import Loaders

LOWEST, HIGHEST = 1e-6, 1.0
LIGHTNINGS_DECAY = 0.98
SMOOTHING = 0.03  # standard deviation, as a share of all updates
RISEN = 1.2


def try_learning_rates(
    objective: Objective,
    loaders: Loaders,
    *,
    optimizer: OptimizerTable,
    training: TrainingTable,
    steps: int = 100,
) -> tuple[list[float], list[float], float | None]:
    """Raise the learning rate exponentially from 1e-6 to 1 over some updates; random numbers elsewhere are untouched.

    Returns:
        The rates, the smoothed loss after each, and the rate where the loss falls most steeply, or None.
    Source: Smith 2017, arXiv:1506.01186, section 3.3.
    """
    constant = optimizer.model_copy(update={"schedule": "constant", "warmup_steps": 0})
    module = Trainable(objective, constant)
    with quiet(), signals_restored(), tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(training.seed)
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision=precision_here(training.precision, "auto"),
            max_epochs=-1,
            gradient_clip_val=training.gradient_clip or None,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            default_root_dir=folder,
        )
        finder = Tuner(trainer).lr_find(
            module,
            train_dataloaders=loaders.train(0, 1),
            min_lr=LOWEST,
            max_lr=HIGHEST,
            num_training=steps,
            update_attr=False,
            attr_name="learning_rate",
        )
    assert finder is not None
    rates = [float(rate) for rate in finder.results["lr"]]
    losses = smoothed(raw_losses([float(loss) for loss in finder.results["loss"]]))
    return rates, losses, steepest(rates, losses)


def raw_losses(averages: Sequence[float]) -> list[float]:
    """The loss of every update from Lightning's running averages of them.

    After update k, from 1, Lightning tells a_k / (1 - b^(k + 1)) with a_k = b a_(k-1) + (1 - b) loss_k: an average that
    lags behind and begins at half its size. What is drawn and judged here is smoothed anew.
    """
    raw, before = [], 0.0
    for update, told in enumerate(averages, start=1):
        average = told * (1 - LIGHTNINGS_DECAY ** (update + 1))
        raw.append((average - LIGHTNINGS_DECAY * before) / (1 - LIGHTNINGS_DECAY))
        before = average
    return raw


def smoothed(losses: Sequence[float]) -> list[float]:
    """Each loss averaged with its neighbours on both sides, so that no fall is moved to later rates."""
    places = np.arange(len(losses))
    weights = np.exp(-(((places[:, None] - places) / (SMOOTHING * len(losses))) ** 2) / 2)
    averaged: list[float] = (weights @ np.asarray(losses) / weights.sum(axis=1)).tolist()
    return averaged


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate where the loss falls most steeply over the logarithm of the rate, as it is drawn; None if nowhere.

    A fall after the loss has risen to more than it began with is no learning and does not count.
    """
    slopes = np.gradient(losses, np.log(rates))
    risen = np.asarray(losses) > RISEN * losses[0]
    last = int(risen.argmax()) if risen.any() else len(losses)
    best = int(slopes[:last].argmin()) if last else 0
    return rates[best] if last and slopes[best] < 0 else None
