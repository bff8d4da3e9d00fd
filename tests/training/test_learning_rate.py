"""The learning rate finder: its losses against plain updates, its suggestion on curves whose answer is known."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.command import triptych
from tests.toy import write_toy
from tests.training.line import POINTS, Line, loaders, train
from triptych.config import OptimizerTable, TrainingTable
from triptych.training.learning_rate import HIGHEST, LOWEST, smoothed, suggestion_of, try_learning_rates
from triptych.training.objective import Share


def test_rates_rise_and_the_suggestion_lies_where_the_loss_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rates, losses, suggestion = try_learning_rates(
        Line(),
        loaders(POINTS),  # all in one batch, so that losses can be compared
        optimizer=OptimizerTable(name="sgd", schedule="cosine", warmup_steps=3),
        training=TrainingTable(),
        steps=60,
    )
    assert len(rates) == len(losses)
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == pytest.approx((LOWEST, HIGHEST))
    assert suggestion is not None
    assert LOWEST < suggestion < HIGHEST
    assert losses[-1] < 0.8 * max(losses)
    assert list(tmp_path.iterdir()) == []


def test_smoothing_moves_no_fall_to_other_rates() -> None:
    step = smoothed([1.0] * 50 + [0.0] * 50, window=3.0)
    assert step[:30] == pytest.approx([1.0] * 30)
    assert step[49] + step[50] == pytest.approx(1.0)


def test_the_losses_are_those_of_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is that of the untouched model, the others those of plain updates at the rates."""
    line = Line()
    network = copy.deepcopy(line.network)
    batch = next(iter(loaders(POINTS).train(0, 1)))
    expected, rates = [], np.geomspace(LOWEST, HIGHEST, 20)
    for rate in rates:
        loss = (network(batch[:, :1]) - batch[:, 1:]).square().mean()
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=float(rate))
        expected.append(loss.item())
    monkeypatch.setattr("triptych.training.learning_rate.smoothed", lambda losses, window: losses)
    found, losses, _ = try_learning_rates(
        line, loaders(POINTS), optimizer=OptimizerTable(name="sgd"), training=TrainingTable(gradient_clip=0), steps=20
    )
    assert found == pytest.approx(rates.tolist())
    assert losses == pytest.approx(expected, rel=1e-4)


RATES = np.geomspace(LOWEST, HIGHEST, 200)
WINDOW = 10.0


def curve(lowest: float, depth: float) -> NDArray[np.float64]:
    """A loss that falls by `depth` up to the rate `lowest`, rises to what it was, and then far beyond."""
    distance = np.log10(RATES / lowest)
    losses: NDArray[np.float64] = 2.3 - depth * np.exp(-(distance**2) * 2) + 20 * np.maximum(0.0, distance - 1.0)
    return losses


@pytest.mark.parametrize("lowest", [1e-4, 3e-3, 3e-2])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss(lowest: float, noise: float) -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        losses = curve(lowest, 0.5) + draw.normal(size=len(RATES)) * noise
        assert suggestion_of(RATES.tolist(), losses.tolist(), window=WINDOW) == pytest.approx(lowest / 10, rel=0.5)


def test_mere_noise_suggests_nothing() -> None:
    draw = np.random.default_rng(0)
    growing = 1 + 10 * (RATES > 0.01) * np.log10(RATES / 0.01)
    found = [
        suggestion_of(RATES.tolist(), (curve(3e-3, 0.0) + 0.02 * scale * draw.normal(size=200)).tolist(), window=WINDOW)
        for scale in (1.0, growing)
        for _ in range(300)
    ]
    assert sum(rate is not None for rate in found) <= 6


def test_a_fall_after_a_rise_is_a_bump_and_not_learning() -> None:
    """The loss rises where the rate is too high and falls back to what it was: the picture that misled the old rule."""
    bump = 2.3 + 0.8 * np.exp(-(np.log10(RATES / 0.03) ** 2) * 20)
    noise = 0.02 * np.random.default_rng(0).normal(size=len(RATES))
    assert suggestion_of(RATES.tolist(), (bump + noise).tolist(), window=WINDOW) is None
    learning = bump - 0.3 * np.exp(-(np.log10(RATES / 0.003) ** 2) * 4)
    rate = suggestion_of(RATES.tolist(), (learning + noise).tolist(), window=WINDOW)
    assert rate == pytest.approx(0.0003, rel=0.5)


class Steep(Line):
    """A line whose loss is so steep that updates at rates far below 1 diverge."""

    def loss(self, batch: Tensor) -> Share:
        share = super().loss(batch)
        return Share(1e4 * share.total, share.count)


def test_losses_that_explode_end_the_search() -> None:
    rates, losses, suggestion = try_learning_rates(
        Steep(), loaders(POINTS), optimizer=OptimizerTable(name="sgd"), training=TrainingTable(), steps=200
    )
    assert len(rates) == len(losses) < 200
    assert np.isfinite(losses).all()
    assert suggestion is not None
    assert suggestion < 1e-4


def test_random_numbers_and_later_trainings_are_untouched() -> None:
    expected, line = Line(dropout=0.5), Line(dropout=0.5)
    train(expected, epochs=2)
    tried = Line(dropout=0.5)
    state = torch.random.get_rng_state()
    try_learning_rates(tried, loaders(), optimizer=OptimizerTable(), training=TrainingTable(), steps=20)
    assert torch.equal(torch.random.get_rng_state(), state)
    train(line, epochs=2)
    for name, weight in expected.network.state_dict().items():
        assert torch.equal(line.network.state_dict()[name], weight)


@pytest.mark.slow
def test_the_command_draws_and_suggests(tmp_path: Path) -> None:
    data = write_toy(tmp_path / "toy", train=64, valid=8, test=4)
    work = tmp_path / "work"
    work.mkdir()
    done = triptych("find-learning-rate", "p2g-additive-tiny", "--data", data, "--steps", "60", runs=tmp_path, cwd=work)
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr, "no progress bar goes into a log"
    assert done.stdout.startswith("suggested learning rate  ")
    assert LOWEST < float(done.stdout.split()[-1]) < HIGHEST
    assert sorted(str(path.relative_to(work)) for path in work.rglob("*.*")) == [
        "learning-rate/learning-rate.png",
        "learning-rate/learning-rate.svg",
    ]
