"""Novelty: digits against noise and against a digit that is not stored, and a threshold that keeps its promise."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from triptych.errors import DataError, TriptychError
from triptych.memory.memory import Memory
from triptych.memory.novelty import Score, auroc, calibrate


@cache
def digits() -> tuple[Tensor, Tensor]:
    data, target = load_digits(return_X_y=True)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data, dtype=torch.float32)[order], torch.tensor(target)[order]


@pytest.mark.parametrize("score", ["energy", "distance"])
def test_noise_is_novel(score: Score) -> None:
    x, _ = digits()
    memory = Memory(x[:1000], normalisation="centred-unit")
    known = memory.novelty(x[1000:], score=score)
    generator = torch.Generator().manual_seed(1)
    noise = 16 * torch.rand(800, 64, generator=generator)
    shuffled = x[1000:][:, torch.randperm(64, generator=generator)]
    for novel in (noise, shuffled):
        assert auroc(known, memory.novelty(novel, score=score)) > 0.99


@pytest.mark.parametrize("held_out", [0, 3, 7])
def test_a_digit_that_is_not_stored_is_novel(held_out: int) -> None:
    x, y = digits()
    stored, later = x[:1000][y[:1000] != held_out], x[1000:]
    memory = Memory(stored, normalisation="centred-unit")
    known, novel = later[y[1000:] != held_out], later[y[1000:] == held_out]
    found = auroc(memory.novelty(known), memory.novelty(novel))
    assert found > 0.95
    threshold = memory.calibrate(known[:400], false_alarm_rate=0.05)
    assert memory.is_novel(known[400:]).float().mean() < 0.1
    assert memory.is_novel(novel).float().mean() > 0.8
    assert torch.equal(memory.is_novel(novel), memory.novelty(novel) > threshold.threshold)


def test_auroc_is_torchmetrics_own_and_the_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    known, novel = torch.randn(50, generator=generator).round(decimals=1), torch.randn(30, generator=generator) + 1
    novel = novel.round(decimals=1)
    scores = torch.cat([known, novel]).sigmoid().double()
    truth = torch.cat([torch.zeros(50), torch.ones(30)]).long()
    assert auroc(known, novel) == pytest.approx(binary_auroc(scores, truth).item(), abs=1e-6)
    pairs = (novel[:, None] > known).double() + 0.5 * (novel[:, None] == known)
    assert auroc(known, novel) == pytest.approx(pairs.mean().item())


def test_the_threshold_keeps_its_false_alarm_rate() -> None:
    """Over many calibrations the mean share of false alarms is (n + 1 - rank) / (n + 1), here exactly 0.1."""
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(2000):
        found = calibrate(torch.rand(19, generator=generator), score="energy", false_alarm_rate=0.1)
        shares.append(1 - found.threshold)  # the probability that a uniform score is above it
    assert sum(shares) / len(shares) == pytest.approx(0.1, abs=0.005)
    least = calibrate(torch.arange(9.0), score="distance", false_alarm_rate=0.1)
    assert (least.threshold, least.score, least.n_cues, least.false_alarm_rate) == (8.0, "distance", 9, 0.1)


def test_a_threshold_of_the_energy_falls_with_its_beta() -> None:
    x, _ = digits()
    memory = Memory(x[:200], beta=8.0)
    memory.calibrate(x[200:300], score="distance")
    assert memory.novelty(x[:5]).tolist() == memory.novelty(x[:5], score="distance").tolist()
    memory.tune_beta(candidates=[16.0])
    assert memory.threshold is not None
    memory.calibrate(x[200:300], score="energy")
    memory.tune_beta(candidates=[8.0])
    assert memory.threshold is None


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(
        DataError, match=r"the held-out cues are 18; expected at least 19 for a false alarm rate of 0.05"
    ):
        calibrate(torch.rand(18), score="energy")
    with pytest.raises(TriptychError, match=r"false_alarm_rate is 1; expected a number between 0 and 1"):
        calibrate(torch.rand(18), score="energy", false_alarm_rate=1)
    with pytest.raises(TriptychError, match=r"score is 'entropy'; expected energy or distance"):
        calibrate(torch.rand(18), score="entropy")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"the novel cues are 0; expected at least one"):
        auroc(torch.rand(3), torch.rand(0))
