"""The tuned inverse temperature is the one that theory says, and leads noisy cues home."""

from __future__ import annotations

import math

import pytest
import torch

from tests.messages import check_message
from triptych.errors import DataError, ShapeError, TriptychError
from triptych.memory.memory import Memory
from triptych.recall.temperature import noisy_cues, tune_beta


def unit_patterns(count: int, width: int) -> torch.Tensor:
    x = torch.randn(count, width, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(x, dim=1)


def test_one_update_is_best_at_the_inverse_variance_of_the_noise() -> None:
    """The posterior mean of a unit pattern under normal noise of variance s² has beta = 1/s²."""
    x, variance = unit_patterns(300, 8), 1 / 20
    cue, rows = noisy_cues(x.repeat(10, 1), noise=math.sqrt(8 * variance), n_cues=3000, seed=1)
    candidates = [5.0, 10.0, 20.0, 40.0, 80.0]
    found = tune_beta(x, cue, rows % 300, candidates=candidates, max_steps=1)
    assert found.candidates[min(range(5), key=found.error.__getitem__)] == 20.0
    mean = torch.softmax(20.0 * (cue @ x.T), 1) @ x
    expected = (mean - x[rows % 300]).square().sum(1).mean().item()
    assert found.error[2] == pytest.approx(expected, rel=1e-4)


def test_noise_is_as_long_as_it_says() -> None:
    x = unit_patterns(2000, 16) * 3
    cue, rows = noisy_cues(x, noise=0.5, n_cues=1000, seed=0)
    assert len(set(rows.tolist())) == 1000
    assert (cue - x[rows]).square().sum(1).mean().sqrt().item() == pytest.approx(1.5, rel=0.03)
    assert torch.equal(cue, noisy_cues(x, noise=0.5, n_cues=1000, seed=0)[0])
    assert not torch.equal(cue, noisy_cues(x, noise=0.5, n_cues=1000, seed=1)[0])


def test_a_tuned_memory_leads_noisy_cues_home() -> None:
    x = unit_patterns(400, 24)
    memory = Memory(x)
    found = memory.tune_beta(noise=0.5)
    assert memory.beta == found.beta
    assert max(found.success) == 1.0
    assert found.success[0] < 0.05
    cue, rows = noisy_cues(x, noise=0.5, n_cues=400, seed=7)
    assert (memory.retrieve(cue).confidence.nearest == rows).float().mean() > 0.99
    assert memory.tune_beta(candidates=[3.0]).beta == memory.beta == 3.0


def test_a_sample_represents_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.memory.memory._TUNED_ON", 50)
    memory = Memory(unit_patterns(400, 24), beta=1.0)
    assert memory.tune_beta(candidates=[3.0]).beta == memory.beta == pytest.approx(3 * math.log(400) / math.log(50))


def test_wrong_arguments_are_refused() -> None:
    x = unit_patterns(4, 3)
    with pytest.raises(ShapeError) as shape:
        tune_beta(x, x, torch.arange(2))
    assert (shape.value.field, shape.value.value) == ("target", (2,))
    for candidates, field in (([], "candidates"), ([-1.0], "beta"), ([1.0, math.inf], "beta")):
        with pytest.raises(TriptychError) as caught:
            tune_beta(x, x, torch.arange(4), candidates=candidates)
        assert caught.value.field == field
    with pytest.raises(DataError) as zeros:
        tune_beta(torch.zeros(4, 3), x, torch.arange(4))
    check_message("recall.no-temperature", zeros.value)
