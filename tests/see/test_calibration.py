"""Temperatures against the one that made the labels, and against a dense search."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError
from triptych.see.calibration import HIGHEST, LOWEST, fit_temperature, log_loss


def drawn(temperature: float, count: int = 20_000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores of one view, and labels drawn with the probabilities that they mean at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(count, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(torch.softmax(scores / temperature, dim=1), 1, generator=generator)[:, 0]
    return scores[None], labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.7])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_lower_loss() -> None:
    scores, labels = drawn(1.6, count=300)
    several = torch.cat([scores, scores + torch.randn(scores.shape, generator=torch.Generator().manual_seed(1))])
    for views in (scores, several):

        def cost(temperature: float, views: Tensor = views) -> float:
            return log_loss(views, labels, temperature) + (math.log(temperature) / 0.5) ** 2 / (2 * 300)

        found = fit_temperature(views, labels)
        assert cost(found) <= min(cost(t) for t in np.geomspace(LOWEST, HIGHEST, 2000).tolist()) + 1e-9


def test_the_loss_is_of_the_mean_over_views() -> None:
    scores = torch.tensor([[[1.0, 0.0, -1.0]], [[0.5, 2.0, 0.0]]])
    mean = torch.softmax(scores / 0.7, dim=2).mean(dim=0)[0]
    assert log_loss(scores, torch.tensor([1]), 0.7) == pytest.approx(-math.log(mean[1]), rel=1e-6)


def test_few_images_that_are_all_right_or_all_wrong_move_it_a_little() -> None:
    scores = 4 * torch.eye(3)[None]
    assert 0.5 < fit_temperature(scores, torch.arange(3)) < 1
    assert 1 < fit_temperature(scores, torch.tensor([1, 2, 0])) < 5


def test_a_calibrated_model_is_not_made_worse_by_few_images() -> None:
    scores, labels = drawn(0.25, count=40_000)  # right in some nine of ten
    calibrated = scores / 0.25
    fresh = slice(20_000, None)
    for begin in range(0, 3000, 30):
        few = slice(begin, begin + 30)
        found = fit_temperature(calibrated[:, few], labels[few])
        assert 0.4 < found < 2.5
        losses = [log_loss(calibrated[:, fresh], labels[fresh], temperature) for temperature in (found, 1.0)]
        assert losses[0] < 1.35 * losses[1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"^scores have shape \(3, 3\) and labels \(3,\); expected"):
        fit_temperature(torch.eye(3), torch.arange(3))
    with pytest.raises(DataError, match="no images to calibrate on"):
        fit_temperature(torch.zeros(1, 0, 3), torch.zeros(0, dtype=torch.int64))
