"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from triptych.config import OptimizerTable

Schedule = Literal["constant", "cosine", "linear", "one-cycle", "plateau"]
RISE = 0.3  # share of one-cycle's steps that rise
LOWEST_START = 0.04  # where one-cycle begins, as a fraction of its peak; both are PyTorch's OneCycleLR defaults


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerTable) -> torch.optim.Optimizer:
    """The optimizer that `[optimizer]` names, over these parameters."""
    rate, decay = settings.learning_rate, settings.weight_decay
    betas = (settings.beta1, settings.beta2)
    match settings.name:
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, betas=betas, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)


def build_schedule(optimizer: torch.optim.Optimizer, settings: OptimizerTable, total_steps: int) -> LRScheduler | None:
    """The per-step schedule that `[optimizer]` names, or None for one that is constant or follows a metric."""
    if settings.schedule in ("constant", "plateau") and settings.warmup_steps == 0:
        return None
    factor = partial(
        schedule_factor,
        schedule=settings.schedule,
        total_steps=total_steps,
        warmup_steps=settings.warmup_steps,
        final_fraction=settings.final_fraction,
    )
    return LambdaLR(optimizer, factor)


def schedule_factor(
    step: int, *, schedule: Schedule, total_steps: int, warmup_steps: int = 0, final_fraction: float = 0.0
) -> float:
    """What the learning rate is multiplied by at a step, from 0.

    A linear rise over `warmup_steps`, then the schedule over what is left: `cosine` and `linear` fall from 1 to
    `final_fraction` at the last step, `one-cycle` rises from 0.04 over three tenths and falls after.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine); Smith and Topin 2018, arXiv:1708.07120 (one-cycle).
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


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
