"""Optimizers by name; schedules against PyTorch's own."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from triptych.config import OptimizerTable, TrainingTable
from triptych.errors import RecipeError
from triptych.training.optimizers import build_optimizer, build_schedule, plateau_factor, schedule_factor

STEPS = 40


def rates(build: Callable[[torch.optim.Optimizer], LRScheduler]) -> list[float]:
    """The learning rates of one of PyTorch's schedulers, for a peak of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build(optimizer)
    found = []
    for step in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < STEPS - 1:
            scheduler.step()
    return found


def factors(schedule: Any, *, final_fraction: float = 0.0, warmup_steps: int = 0) -> list[float]:
    return [
        schedule_factor(
            step, schedule=schedule, total_steps=STEPS, warmup_steps=warmup_steps, final_fraction=final_fraction
        )
        for step in range(STEPS)
    ]


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_torchs(final: float) -> None:
    expected = rates(lambda optimizer: CosineAnnealingLR(optimizer, T_max=STEPS - 1, eta_min=final))
    assert factors("cosine", final_fraction=final) == pytest.approx(expected)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_linear_is_torchs(final: float) -> None:
    expected = rates(lambda o: LinearLR(o, start_factor=1.0, end_factor=final, total_iters=STEPS - 1))
    assert factors("linear", final_fraction=final) == pytest.approx(expected)


def test_one_cycle_is_torchs() -> None:
    """PyTorch puts the peak at 0.3 * steps - 1; with 40 steps that is a whole step, and 0.3 of the way is near it."""
    steps = 101  # 0.3 * (steps - 1) is whole: our peak
    ours = [schedule_factor(step, schedule="one-cycle", total_steps=steps) for step in range(steps)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, pct_start=31 / steps, final_div_factor=1e12, cycle_momentum=False
    )  # fmt: skip
    theirs = []
    for step in range(steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_warmup_rises_then_the_schedule_has_what_is_left() -> None:
    warm = factors("cosine", warmup_steps=10)
    assert warm[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    left = [schedule_factor(step, schedule="cosine", total_steps=STEPS - 10) for step in range(STEPS - 10)]
    assert warm[10:] == pytest.approx(left)
    assert factors("constant", warmup_steps=10)[9:] == [1.0] * 31


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_is_torchs(mode: Literal["min", "max"], patience: int) -> None:
    rng = random.Random(patience)
    values = [rng.choice((0.1, 0.2, 0.3, 0.4)) for _ in range(30)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=patience, threshold=0.0, eps=0.0)
    for epoch, value in enumerate(values, start=1):
        scheduler.step(value)
        factor = plateau_factor(values[:epoch], mode=mode, patience=patience)
        assert factor == optimizer.param_groups[0]["lr"]
    assert factor < 1  # the values do stall


def test_a_schedule_that_is_always_one_is_none() -> None:
    def never() -> int:
        raise AssertionError("asked for the steps in vain")

    assert build_schedule(OptimizerTable(), never) is None
    assert build_schedule(OptimizerTable(schedule="plateau"), never) is None
    schedule = build_schedule(OptimizerTable(schedule="linear", final_fraction=0.5), lambda: 11)
    assert schedule is not None
    assert schedule(5) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "adam"}, {"name": "adamw", "weight_decay": 0.1}),
        ({"name": "adam"}, {"name": "sgd"}),
        ({"name": "adam"}, {"name": "adam", "weight_decay": 0.5}),
        ({"name": "adam"}, {"name": "adam", "beta1": 0.5}),
        ({"name": "adam"}, {"name": "adam", "beta2": 0.5}),
        ({"name": "adamw"}, {"name": "adamw", "beta1": 0.5}),
        ({"name": "sgd"}, {"name": "sgd", "momentum": 0.9}),
        ({"name": "sgd"}, {"name": "sgd", "learning_rate": 0.5}),
    ],
)
def test_every_setting_of_an_optimizer_changes_its_path(first: dict[str, Any], second: dict[str, Any]) -> None:
    def path(settings: dict[str, Any]) -> float:
        weight = nn.Parameter(torch.tensor([1.0]))
        optimizer = build_optimizer([weight], OptimizerTable(**settings))
        for gradient in (1.0, -0.3, 0.7):
            weight.grad = torch.tensor([gradient])
            optimizer.step()
        return float(weight.detach())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert path(first) != path(second)
        assert path(first) == path(first)


def test_warm_up_as_a_share_is_that_many_steps() -> None:
    share = build_schedule(OptimizerTable(schedule="cosine", warmup_fraction=0.25), lambda: STEPS)
    steps = build_schedule(OptimizerTable(schedule="cosine", warmup_steps=10), lambda: STEPS)
    assert share is not None
    assert steps is not None
    assert [share(step) for step in range(STEPS)] == [steps(step) for step in range(STEPS)]


@pytest.mark.parametrize("warmup", [STEPS, 320])
def test_a_training_that_never_leaves_its_warm_up_is_refused(warmup: int) -> None:
    with pytest.raises(RecipeError) as caught:
        build_schedule(OptimizerTable(schedule="cosine", warmup_steps=warmup), lambda: STEPS)
    assert (caught.value.field, caught.value.value) == ("optimizer.warmup_steps", warmup)
    assert f"fewer than the {STEPS} updates" in caught.value.expected


@pytest.mark.parametrize(
    ("table", "given"),
    [
        (OptimizerTable, {"warmup_steps": 3, "warmup_fraction": 0.1}),
        (TrainingTable, {"patience": 3, "patience_fraction": 0.1}),
    ],
)
def test_a_length_is_given_once(table: type[BaseModel], given: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="expected one of them to be 0"):
        table(**given)


@pytest.mark.parametrize(("epochs", "fraction", "expected"), [(100, 0.1, 10), (7, 0.5, 4), (3, 0.01, 1), (50, 0, 0)])
def test_patience_as_a_share_is_whole_epochs(epochs: int, fraction: float, expected: int) -> None:
    assert TrainingTable(epochs=epochs, patience_fraction=fraction).epochs_without_best == expected
