"""Lightning's learning-rate finder on any objective."""

from __future__ import annotations

import tempfile

import lightning
import torch
from lightning.pytorch.tuner.tuning import Tuner

from triptych.config import OptimizerTable, TrainingTable
from triptych.training.fit import quiet
from triptych.training.hardware import precision_here
from triptych.training.interrupt import sigint_restored
from triptych.training.module import Trainable
from triptych.training.objective import Objective
from triptych.training.prepared import Loaders

LOWEST, HIGHEST = 1e-6, 1.0


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
    with quiet(), sigint_restored(), tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
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
    losses = [float(loss) for loss in finder.results["loss"]]
    return rates, losses, finder.suggestion()
