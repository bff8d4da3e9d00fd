"""The moving average against its definition, and what it forgets."""

from __future__ import annotations

import pytest
import torch

from triptych.training.optimizers import moving_average


@pytest.mark.parametrize(("seen", "expected"), [(1, 2 / 11), (8, 0.5), (100, 0.9), (torch.tensor(35), 0.8)])
def test_one_update(seen: int | torch.Tensor, expected: float) -> None:
    averages = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    now = [torch.tensor([5.0, 6.0]), torch.tensor(7.0)]
    before = [tensor.clone() for tensor in averages]
    moving_average(0.9)(averages, now, seen)
    for average, old, new in zip(averages, before, now, strict=True):
        torch.testing.assert_close(average, expected * old + (1 - expected) * new)


def test_counters_are_those_of_now() -> None:
    averages = [torch.tensor(3)]
    moving_average(0.9)(averages, [torch.tensor(17)], 5)
    assert averages[0].item() == 17


def test_a_short_training_does_not_keep_its_first_weights() -> None:
    """Of the state that the average began with, a fixed decay of 0.998 would keep 84 % after 90 updates."""
    averages = [torch.tensor(1.0)]
    for seen in range(1, 90):
        moving_average(0.998)(averages, [torch.tensor(0.0)], seen)
    assert averages[0].item() < 1e-6
