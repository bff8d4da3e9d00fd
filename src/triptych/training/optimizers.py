"""Optimizers by name, learning-rate schedules as functions, and the moving average of the weights.

A learning rate is a function of the number of updates done and of the metrics so far. Nothing about it has to be saved,
so a resumed training cannot lose it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from triptych.config import OptimizerTable
from triptych.errors import RecipeError

Schedule = Literal["constant", "cosine", "linear", "one-cycle", "plateau"]
RISE = 0.3  # share of one-cycle's steps that rise
LOWEST_START = 0.04  # where one-cycle begins, as a fraction of its peak; both are PyTorch's OneCycleLR defaults


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerTable) -> torch.optim.Optimizer:
    """The optimizer that `[optimizer]` names, over these parameters."""
    rate, decay = settings.learning_rate, settings.weight_decay
    betas = (settings.beta1, settings.beta2)
    parameters = list(parameters)
    # One kernel for all of a CPU's update; elsewhere PyTorch's default, which works with scaled gradients too.
    fused = all(parameter.device.type == "cpu" for parameter in parameters) or None
    optimizer: torch.optim.Optimizer
    match settings.name:
        case "adam":
            optimizer = torch.optim.Adam(parameters, lr=rate, betas=betas, weight_decay=decay, fused=fused)
        case "adamw":
            optimizer = torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay, fused=fused)
        case "sgd":
            optimizer = torch.optim.SGD(
                parameters, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=fused
            )
    if fused:  # no gradient is scaled on a CPU; a fused kernel that could undo it keeps Lightning from clipping
        optimizer._step_supports_amp_scaling = False
    return optimizer


def build_schedule(settings: OptimizerTable, total_steps: Callable[[], int]) -> Callable[[int], float] | None:
    """From the number of updates done to what the learning rate is multiplied by; None where that is always 1.

    Args:
        settings: the recipe's `[optimizer]`.
        total_steps: gives the number of updates of the whole training; called only where a schedule depends on it.
    Raises:
        RecipeError: all updates would be warm-up.
    """
    warms_up = settings.warmup_steps or settings.warmup_fraction
    if settings.schedule in ("constant", "plateau") and not warms_up:
        return None
    steps = total_steps()
    warmup_steps = settings.warmup_steps or round(settings.warmup_fraction * steps)
    if warmup_steps >= steps:
        raise RecipeError(
            field="optimizer.warmup_steps",
            value=warmup_steps,
            expected=f"fewer than the {steps} updates of the whole training, which would never leave its warm-up",
            hint="Lower it, use optimizer.warmup_fraction=0.1 in its place, or raise training.epochs",
        )
    return partial(
        schedule_factor,
        schedule=settings.schedule,
        total_steps=steps,
        warmup_steps=warmup_steps,
        final_fraction=settings.final_fraction,
    )


def schedule_factor(
    step: int, *, schedule: Schedule, total_steps: int, warmup_steps: int = 0, final_fraction: float = 0.0
) -> float:
    """Factor of the learning rate at a step, from 0.

    A linear rise over `warmup_steps`, then the schedule over what is left: `cosine` and `linear` fall from 1 to
    `final_fraction` at the last step, `one-cycle` rises from 0.04 over three tenths and falls after.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine); Smith and Topin 2018, arXiv:1708.07120 (one-cycle).
    Checked by tests/training/test_optimizers.py against PyTorch's schedulers.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps))
    if schedule == "cosine":
        return _cosine(1.0, final_fraction, progress)
    if schedule == "linear":
        return 1.0 + (final_fraction - 1.0) * progress
    if schedule == "one-cycle":
        if progress < RISE:
            return _cosine(LOWEST_START, 1.0, progress / RISE)
        return _cosine(1.0, final_fraction, (progress - RISE) / (1 - RISE))
    return 1.0


def plateau_factor(values: Sequence[float], *, mode: Literal["min", "max"], patience: int) -> float:
    """What `plateau` multiplies the learning rate by after epochs with these values of the monitored metric.

    Halved whenever more than `patience` epochs in a row brought nothing better than the best before them: PyTorch's
    ReduceLROnPlateau with factor 0.5 and threshold 0.
    """
    factor, stalled = 1.0, 0
    best: float | None = None
    for value in values:
        if best is None or is_better(value, best, mode):
            best, stalled = value, 0
        else:
            stalled += 1
        if stalled > patience:
            factor, stalled = factor / 2, 0
    return factor


def is_better(value: float, than: float, mode: Literal["min", "max"]) -> bool:
    """Whether a metric that should fall (`min`) or rise (`max`) has done so; equal is not better."""
    return value < than if mode == "min" else value > than


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """The function that updates averages in place: average <- d average + (1 - d) now.

    d = min(decay, (1 + n) / (10 + n)) after n states have been seen. A fixed decay of 0.998 would still hold 84 % of
    the first weights after 90 updates, which is a whole training where images are few.

    Args:
        decay: in [0, 1].
    Source: `tf.train.ExponentialMovingAverage`, `num_updates`.  Checked by tests/training/test_averaging.py.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        seen = int(count)
        new = 1 - min(decay, (1 + seen) / (10 + seen))
        for average, value in zip(averages, now, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), new)
            else:  # counters of batch normalisation
                average.copy_(value)

    return update


def weight_averaging(decay: float) -> WeightAveraging:
    """The callback that keeps such an average, buffers included, validates with it and leaves it as the model."""
    return WeightAveraging(multi_avg_fn=moving_average(decay))
