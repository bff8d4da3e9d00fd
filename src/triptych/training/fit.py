"""The one training: an objective, two loaders and a run, on whatever hardware Lightning is given."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from triptych.config import OptimizerTable, TrainingTable
from triptych.errors import RecipeError, TriptychError
from triptych.runs.checkpoints import AtomicCheckpoints, damaged, read_checkpoint
from triptych.runs.run import Run, is_helper_process
from triptych.training.hardware import Hardware, precision_here
from triptych.training.interrupt import CtrlC, Interrupted, signals_restored
from triptych.training.loop import Checkpointing, Trainable
from triptych.training.objective import Loaders, Objective
from triptych.training.optimizers import weight_averaging
from triptych.training.output import Fitted, Output


class _Data(lightning.LightningDataModule):
    """Gives every process its own share of the batches."""

    def __init__(self, loaders: Loaders) -> None:
        super().__init__()
        self.loaders = loaders

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.loaders.train(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.loaders.valid(self.trainer.global_rank, self.trainer.world_size)


def fit(
    objective: Objective,
    loaders: Loaders,
    *,
    optimizer: OptimizerTable,
    training: TrainingTable,
    run: Run | None,
    hardware: Hardware | None = None,
    output: Output | None = None,
) -> Fitted:
    """Train, keeping the chosen model and a checkpoint per epoch in the run; resume where a checkpoint is there.

    Args:
        objective: what to train.
        loaders: builders of the training and validation loaders.
        optimizer: the recipe's `[optimizer]`.
        training: the recipe's `[training]`.
        run: where results go; None writes nothing.
        hardware: processes and what they run on.
        output: progress, TensorBoard and listeners.
    Returns:
        How it ended, best epoch included. After Ctrl-C or SIGTERM the best model so far is in the run.
    Raises:
        TrainingError: the loss is not finite.
        RecipeError: the monitored metric does not exist, or a batch is too small to give every process an item.
        RunError: the checkpoint is damaged.
        KeyboardInterrupt: Ctrl-C before the first batch, or for the second time.
    """
    hardware, output = hardware or Hardware(), output or Output()
    processes = hardware.devices * hardware.nodes
    if training.items_per_update < processes:
        raise RecipeError(
            f"training.batch_size is {training.batch_size} with {processes} processes; "
            f"expected an item for each, >= {processes}. Raise it or lower --devices"
        )
    module = Trainable(objective, optimizer)
    checkpointing = Checkpointing(run, training, optimizer, output.listener)
    ctrl_c = CtrlC()
    checkpoint = run.checkpoint if run is not None and run.checkpoint.exists() else None
    if checkpoint is not None:
        checkpointing.load_state_dict(read_checkpoint(checkpoint)["callbacks"][checkpointing.state_key])
    if not checkpointing.is_complete:
        with quiet(), signals_restored():
            trainer = _trainer([checkpointing, ctrl_c], training, _logger(checkpointing, output), hardware, output)
            _run(trainer, module, _Data(loaders), checkpoint)
    is_main = not is_helper_process()
    stopped, number = ctrl_c.stop_requested, ctrl_c.signal_number
    return Fitted(checkpointing.rows, checkpointing.best_epoch, stopped, checkpointing.is_complete, is_main, number)


def _trainer(
    callbacks: Sequence[Callback],
    training: TrainingTable,
    logger: TensorBoardLogger | None,
    hardware: Hardware,
    output: Output,
) -> lightning.Trainer:
    more: list[Callback] = list(output.callbacks)
    if training.average_decay > 0:
        more.append(weight_averaging(training.average_decay))
    if output.progress:
        more.append(RichProgressBar(refresh_rate=10, leave=False, console_kwargs={"stderr": True}))
    return lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        precision=precision_here(training.precision, hardware.accelerator),
        max_epochs=training.most_epochs,
        sync_batchnorm=hardware.devices * hardware.nodes > 1
        and hardware.accelerator != "cpu"
        and torch.cuda.is_available(),
        gradient_clip_val=training.gradient_clip or None,
        callbacks=[*callbacks, *more],
        plugins=[AtomicCheckpoints()],
        logger=logger or False,
        enable_progress_bar=output.progress,
        enable_model_summary=False,
        enable_checkpointing=False,  # our own callback writes them
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _logger(checkpointing: Checkpointing, output: Output) -> TensorBoardLogger | None:
    """Logs by epoch; rows that an interrupted training logged for epochs that are repeated are marked as void."""
    if not output.tensorboard or checkpointing.run is None:
        return None
    return TensorBoardLogger(
        checkpointing.run.path, name="tensorboard", version="", purge_step=len(checkpointing.rows) + 1
    )


def _run(trainer: lightning.Trainer, module: Trainable, data: _Data, checkpoint: Path | None) -> None:
    """Fit to the end, or to Ctrl-C."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except Interrupted:
        pass
    except TriptychError as error:  # on every process alike
        if not trainer.is_global_zero:  # the main process says it
            raise SystemExit(2) from error
        raise
    except (RuntimeError, KeyError) as error:
        if checkpoint is not None and trainer.global_step == 0:
            raise damaged(checkpoint, error) from error
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and advice for others' loaders off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
