"""The learning-rate finder leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from tests.command import triptych
from tests.toy import write_toy
from tests.training.line import POINTS, Line, loaders, train
from triptych.config import OptimizerTable, TrainingTable
from triptych.training.learning_rate import HIGHEST, LOWEST, raw_losses, smoothed, steepest, try_learning_rates


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
    assert (rates[0], rates[-1]) == pytest.approx((LOWEST, HIGHEST), rel=0.3)
    assert suggestion is not None
    assert LOWEST < suggestion < HIGHEST
    assert losses[-1] < 0.8 * max(losses)
    assert list(tmp_path.iterdir()) == []


def test_losses_are_lightnings_averages_undone_and_smoothed_on_both_sides() -> None:
    losses = [5.0, 4.0, 4.5, 3.0, 2.0, 8.0]
    averages, average = [], 0.0
    for update, loss in enumerate(losses, start=1):
        average = 0.98 * average + 0.02 * loss
        averages.append(average / (1 - 0.98 ** (update + 1)))
    assert raw_losses(averages) == pytest.approx(losses)
    step = smoothed([1.0] * 50 + [0.0] * 50)
    assert step[:30] == pytest.approx([1.0] * 30)
    assert step[49] + step[50] == pytest.approx(1.0), "the fall stays where it was"


def test_averages_are_read_as_lightning_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first loss of the search is that of the untouched model."""
    line = Line()
    batch = next(iter(loaders(POINTS).train(0, 1)))
    with torch.no_grad():
        share = line.loss(batch)
    expected = float(share.total) / float(share.count)
    monkeypatch.setattr("triptych.training.learning_rate.smoothed", lambda losses: losses)
    _, losses, _ = try_learning_rates(
        line, loaders(POINTS), optimizer=OptimizerTable(), training=TrainingTable(), steps=20
    )
    assert losses[0] == pytest.approx(expected, rel=1e-4)


def test_the_suggestion_is_the_steepest_place_of_the_drawn_curve() -> None:
    rates = [10 ** (exponent / 10) for exponent in range(-60, 1)]
    losses = [3 - 2 / (1 + (0.003 / rate) ** 2) for rate in rates]  # falls most steeply at 0.003
    assert steepest(rates, losses) == pytest.approx(0.003, rel=0.13)
    exploding = [*losses[:50], *(40.0 - 3 * place for place in range(11))]
    assert steepest(rates, exploding) == pytest.approx(0.003, rel=0.13), "a fall after the explosion does not count"
    assert steepest(rates, [1.0 + rate for rate in rates]) is None


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


def test_not_even_for_a_while_is_anything_written_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Path] = []
    save = lightning.Trainer.save_checkpoint

    def spy(trainer: lightning.Trainer, path: str, *rest: Any, **named: Any) -> None:
        saved.append(Path(path))
        save(trainer, path, *rest, **named)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", spy)
    try_learning_rates(Line(), loaders(), optimizer=OptimizerTable(), training=TrainingTable(), steps=20)
    assert saved
    assert not any(path.is_relative_to(tmp_path) for path in saved)


@pytest.mark.slow
def test_the_command_draws_and_suggests(tmp_path: Path) -> None:
    data = write_toy(tmp_path / "toy", train=64, valid=8, test=4)
    work = tmp_path / "work"
    work.mkdir()
    done = triptych("find-learning-rate", "p2g-additive-tiny", "--data", data, "--steps", "40", runs=tmp_path, cwd=work)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("suggested learning rate  ")
    assert LOWEST < float(done.stdout.split()[-1]) < HIGHEST
    assert sorted(str(path.relative_to(work)) for path in work.rglob("*.*")) == [
        "learning-rate/learning-rate.png",
        "learning-rate/learning-rate.svg",
    ]
