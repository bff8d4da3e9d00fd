"""The one training: an objective, two loaders and a run, on whatever hardware Lightning is given."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from triptych.config import OptimizerTable, TrainingTable
from triptych.errors import RecipeError, RunError, did_you_mean
from triptych.files import atomic_write
from triptych.training.keeper import Keeper, Listener
from triptych.training.module import Trainable
from triptych.training.objective import Objective
from triptych.training.run import Row, Run

LoaderBuilder = Callable[[int, int], Any]
Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
ACCELERATORS = ("auto", "cpu", "gpu", "mps", "tpu")


@dataclass(frozen=True)
class Hardware:
    """What to train on, in Lightning's terms.

    Attributes:
        accelerator: `auto`, `cpu`, `gpu`, `mps` or `tpu`.
        devices: processes on this machine.
        nodes: machines.
        precision: `32-true`, `16-mixed`, `bf16-mixed` or `64-true`.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32-true"

    @classmethod
    def checked(cls, accelerator: str, *, devices: int, nodes: int, precision: str) -> Hardware:
        """Hardware from names, as a command line gives them.

        Raises:
            RecipeError: a name is not known, or there is no such accelerator here.
        """
        for what, value, known in (("accelerator", accelerator, ACCELERATORS), ("precision", precision, PRECISIONS)):
            if value not in known:
                raise RecipeError(
                    f"--{what} is {value!r}; expected one of {', '.join(known)}. {did_you_mean(value, known)}"
                )
        if accelerator == "gpu" and not torch.cuda.is_available():
            raise RecipeError(
                "--accelerator is 'gpu'; expected a CUDA device, and none is here. Use --accelerator auto"
            )
        if accelerator == "mps" and not torch.backends.mps.is_available():
            raise RecipeError("--accelerator is 'mps'; expected an Apple GPU, and none is here. Use --accelerator auto")
        return cls(accelerator, devices, nodes, cast(Precision, precision))


@dataclass(frozen=True)
class Loaders:
    """Builders of loaders for one process: each takes its rank and the number of processes."""

    train: LoaderBuilder
    valid: LoaderBuilder


@dataclass(frozen=True)
class Fitted:
    """How a training ended.

    Attributes:
        rows: one per epoch, as in `metrics.csv`.
        best_epoch: from 1; the epoch whose monitored metric was best.
        interrupted: True when Ctrl-C ended it.
        is_main_process: False in the helpers of a training over several processes.
    """

    rows: list[Row]
    best_epoch: int
    interrupted: bool
    is_main_process: bool


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


class _AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are complete or absent, and that load as tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_write(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return checkpoint


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
        hardware: devices and precision.
        output: progress, TensorBoard and listeners.
    Returns:
        How it ended, best epoch included. After Ctrl-C the best model so far is in the run.
    Raises:
        TriptychError: the loss is not finite, or the monitored metric does not exist.
        RunError: the checkpoint is damaged.
    """
    hardware, output = hardware or Hardware(), output or Output()
    module = Trainable(objective, optimizer, monitor=training.monitor, mode=training.mode)
    keeper = Keeper(run, training, output.listener)
    with quiet():
        trainer = _trainer(keeper, training, run, hardware, output)
        checkpoint = run.checkpoint if run is not None and run.checkpoint.exists() else None
        interrupted = _run(trainer, module, _Data(loaders), checkpoint)
    return Fitted(keeper.rows, keeper.best_epoch, interrupted, trainer.is_global_zero)


@dataclass(frozen=True)
class Output:
    """What a training shows while it runs.

    Attributes:
        progress: show a progress bar on standard error.
        tensorboard: write logs for TensorBoard into the run.
        listener: called with every epoch's row.
        callbacks: further Lightning callbacks, such as a pruning one.
    """

    progress: bool = False
    tensorboard: bool = False
    listener: Listener | None = None
    callbacks: tuple[Callback, ...] = ()


def _trainer(
    keeper: Keeper, training: TrainingTable, run: Run | None, hardware: Hardware, output: Output
) -> lightning.Trainer:
    callbacks: list[Callback] = [keeper, *output.callbacks]
    if training.average_decay > 0:
        callbacks.append(EMAWeightAveraging(decay=training.average_decay))
    if output.progress:
        callbacks.append(RichProgressBar(leave=False, console_kwargs={"stderr": True}))
    if run is not None:
        folder = run.checkpoint.parent
        callbacks.append(ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False))
    logger = TensorBoardLogger(run.path, name="tensorboard", version="") if output.tensorboard and run else False
    return lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        precision=hardware.precision,
        max_epochs=training.epochs,
        gradient_clip_val=training.gradient_clip or None,
        callbacks=callbacks,
        plugins=[_AtomicCheckpoints()],
        logger=logger,
        enable_progress_bar=output.progress,
        enable_model_summary=False,
        enable_checkpointing=run is not None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=None if run is None else run.path,
    )


def _run(trainer: lightning.Trainer, module: Trainable, data: _Data, checkpoint: Path | None) -> bool:
    """Fit; True when Ctrl-C ended it."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # how Lightning ends after Ctrl-C, having shut everything down
        if trainer.interrupted:
            return True
        raise
    except (RuntimeError, EOFError, KeyError) as error:
        if checkpoint is not None and trainer.global_step == 0:
            raise RunError(
                f"{checkpoint} cannot be resumed from ({error}); expected a complete checkpoint of this recipe. "
                "Start anew with --force."
            ) from error
        raise
    return trainer.interrupted


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
