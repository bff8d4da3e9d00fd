"""Novelty: digits against noise and against a digit that is not stored, and a threshold that keeps its promise."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from tests.messages import check_message
from triptych.errors import DataError, TriptychError
from triptych.memory.memory import Memory
from triptych.memory.novelty import Score, calibrate


@cache
def digits() -> tuple[Tensor, Tensor]:
    data, target = load_digits(return_X_y=True)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data, dtype=torch.float32)[order], torch.tensor(target)[order]


def auroc(known: Tensor, novel: Tensor) -> float:
    """The probability that a novel cue scores above a known one."""
    truth = torch.cat([torch.zeros(len(known)), torch.ones(len(novel))]).long()
    return binary_auroc(torch.cat([known, novel]).double().sigmoid(), truth).item()


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


def test_a_threshold_holds_for_the_patterns_and_beta_of_its_calibration() -> None:
    x, _ = digits()
    memory = Memory(x[:200], beta=8.0)
    memory.calibrate(x[200:300], score="distance")
    assert memory.novelty(x[:5]).tolist() == memory.novelty(x[:5], score="distance").tolist()
    memory.tune_beta(candidates=[16.0])
    assert memory.threshold is not None, "distances do not depend on beta"
    memory.calibrate(x[200:300], score="energy")
    memory.beta = 16.0
    assert memory.threshold is not None, "the same value"
    for change in (
        lambda: memory.tune_beta(candidates=[8.0]),
        lambda: setattr(memory, "beta", 9.0),
        lambda: memory.add(x[300:301]),
        lambda: memory.remove([0]),
    ):
        kept = memory.calibrate(x[200:300], score="energy")
        change()
        assert memory.threshold != kept
        assert memory.stale_threshold is not None
        assert memory.stale_threshold.threshold == kept.threshold
        with pytest.raises(TriptychError) as caught:
            memory.is_novel(x[:5])
        assert caught.value.field == "threshold"
        check_message("memory.threshold-stale", caught.value)
    again = memory.calibrate(x[200:300])
    memory.add(x[:0])
    assert memory.threshold == again, "nothing was added"


def test_a_stale_threshold_is_saved_as_stale(tmp_path: Path) -> None:
    """1,400 of 1,500 digits are removed after a calibration at 0.05, and 29 % of further digits would be alarms."""
    x, _ = digits()
    memory = Memory(x[:1200], normalisation="centred-unit")
    memory.calibrate(x[1200:1400])
    memory.save(tmp_path / "store")
    assert '"stale"' not in (tmp_path / "store" / "memory.json").read_text(), "older versions read it"
    memory.remove(range(1100))
    false_alarms = (memory.novelty(x[1400:]) > memory._threshold.threshold).float().mean()  # type: ignore[union-attr]
    assert false_alarms > 0.15
    memory.save()
    loaded = Memory.load(tmp_path / "store")
    assert loaded.threshold is None
    assert loaded.stale_threshold == memory.stale_threshold
    found = loaded.calibrate(x[1200:1400])
    assert (loaded.novelty(x[1400:]) > found.threshold).float().mean() < 0.1


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DataError) as few:
        calibrate(torch.rand(18), score="energy")
    assert (few.value.value, few.value.expected) == (18, "at least 19 rows")
    check_message("memory.too-few-cues", few.value)
    for rate in (1, 0.0, "a"):
        with pytest.raises(TriptychError) as caught:
            calibrate(torch.rand(18), score="energy", false_alarm_rate=rate)  # type: ignore[arg-type]
        assert (caught.value.field, caught.value.value) == ("false_alarm_rate", rate)
    with pytest.raises(TriptychError) as score:
        calibrate(torch.rand(18), score="entropy")  # type: ignore[arg-type]
    assert (score.value.field, score.value.value, score.value.expected) == ("score", "entropy", "energy or distance")
