"""Several models that predict as one: the mean of probabilities, on models that are tables and on transducers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.decoding.tables import beam, greedy_settings
from tests.oracles.decoding import one_row, random_batch, random_model
from triptych.config import SpellModel
from triptych.decoding import Ensemble, beam_search, greedy
from triptych.decoding.contract import START, Array
from triptych.spell.adapter import TorchModel
from triptych.spell.build import build_transducer


def test_the_next_symbols_probability_is_the_mean_of_the_members() -> None:
    members = [random_model(seed) for seed in range(3)]
    batch = random_batch(0, [3, 1, 5])
    ensemble = Ensemble(members)
    state, own = ensemble.start(batch), [member.start(batch) for member in members]
    symbols = np.full(3, START)
    for _ in range(4):
        log_probs, state = ensemble.step(symbols, state)
        steps = [member.step(symbols, inner) for member, inner in zip(members, own, strict=True)]
        own = [after for _, after in steps]
        for row in range(3):
            for symbol in range(log_probs.shape[1]):
                mean = sum(math.exp(float(step[row, symbol])) for step, _ in steps) / 3
                assert math.exp(float(log_probs[row, symbol])) == pytest.approx(mean, abs=1e-6)
        symbols = np.maximum(log_probs.argmax(1), 3)


def test_an_ensemble_of_one_model_with_itself_is_the_model() -> None:
    model = random_model(4, attention=True)
    batch = random_batch(1, [4, 2, 6, 1])
    how = beam(4, n_best=3, extra=3)
    alone = beam_search(model, batch, how, with_attention=True)
    twice = beam_search(Ensemble([model, model]), batch, how, with_attention=True)
    for one, two in zip(alone, twice, strict=True):
        assert [h.symbols for h in one] == [h.symbols for h in two]
        for a, b in zip(one, two, strict=True):
            assert b.log_probability == pytest.approx(a.log_probability, abs=1e-5)
            assert a.attention is not None
            assert b.attention is not None
            np.testing.assert_allclose(a.attention, b.attention, atol=1e-6)


def test_attention_is_the_mean_and_missing_where_a_member_has_none() -> None:
    with_attention = [random_model(seed, attention=True) for seed in (1, 2)]
    batch = random_batch(0, [3, 5])

    def weights(*models: object) -> Array | None:
        ensemble = Ensemble(list(models))  # type: ignore[arg-type]
        return ensemble.step(np.full(2, START), ensemble.start(batch))[1].attention

    first, second, both = weights(with_attention[0]), weights(with_attention[1]), weights(*with_attention)
    assert first is not None
    assert second is not None
    assert both is not None
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)
    assert weights(with_attention[0], random_model(3)) is None


def test_select_keeps_the_members_rows_together() -> None:
    torch.manual_seed(0)
    settings = [
        SpellModel(hidden=8, embedding=8, cell="lstm", attention="additive"),
        SpellModel(hidden=8, embedding=8, cell="gru", attention="dot"),
    ]
    ensemble = Ensemble([TorchModel(build_transducer(s, source_size=50, target_size=9).eval()) for s in settings])
    batch = random_batch(2, [5, 2, 3])
    whole = greedy(ensemble, batch, greedy_settings(extra=3))
    for row in range(3):
        (single,) = greedy(ensemble, one_row(batch, row), greedy_settings(extra=3))[0]
        assert single.symbols == whole[row][0].symbols
        assert single.log_probability == pytest.approx(whole[row][0].log_probability, abs=1e-4)
