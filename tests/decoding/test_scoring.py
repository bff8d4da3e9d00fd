"""Given targets: their scores against the oracle's, paths against all paths."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests.decoding.tables import greedy_settings
from tests.oracles.decoding import END, FIRST_LETTER, enumerate_targets, one_row, random_batch, random_model, rescore
from triptych.decoding import Ensemble, Sources
from triptych.decoding.scoring import force, heaviest_path

TARGETS = [(3, 4, 5), (), (5,), (4, 4, 3, 5, 3)]
SOURCES = random_batch(3, [5, 3, 1, 4])


def test_scores_are_the_sums_of_the_models_own_steps() -> None:
    model = random_model(3, attention=True)
    for row, found in enumerate(force(model, SOURCES, TARGETS, with_alignment=True)):
        expected = rescore(model, one_row(SOURCES, row), TARGETS[row], finished=True)
        assert found.log_probabilities.shape == (len(TARGETS[row]) + 1,)
        assert found.log_probabilities.sum() == pytest.approx(expected.log_probability, abs=1e-5)
        assert found.attention is not None
        np.testing.assert_array_equal(found.attention, expected.attention)
        assert found.walk is None


def test_the_probabilities_of_all_targets_that_a_limit_allows_are_those_of_the_enumeration() -> None:
    model, source = random_model(5), random_batch(5, [2])
    every = enumerate_targets(model, source, greedy_settings(extra=1))
    sources = Sources.of([source.symbols[0].tolist()] * len(every))
    found = force(model, sources, [target.symbols for target in every])
    for account, target in zip(found, every, strict=True):
        assert account.log_probabilities.sum() == pytest.approx(target.log_probability, abs=1e-5)
    assert sum(math.exp(account.log_probabilities.sum()) for account in found) < 1


def test_rows_that_have_ended_leave_the_state() -> None:
    model = random_model(3)
    force(model, SOURCES, TARGETS)
    assert model.rows_stepped == [4, 3, 2, 2, 1, 1]


def test_a_symbol_that_cannot_be_written_has_no_probability_and_spoils_no_other() -> None:
    model = random_model(3)
    (found,) = force(model, one_row(SOURCES, 0), [(3, 0, 4)])
    assert found.log_probabilities.tolist()[1] == -math.inf
    assert np.isfinite(found.log_probabilities[[0, 2, 3]]).all()


def test_no_sources_give_nothing_and_attention_only_comes_when_asked_for() -> None:
    assert force(random_model(3), Sources.of([]), []) == []
    assert force(random_model(3, attention=True), SOURCES, TARGETS)[0].attention is None


def test_several_models_score_by_the_mean_of_their_probabilities_at_every_step() -> None:
    members = [random_model(3), random_model(4)]
    (found,) = force(Ensemble(members), one_row(SOURCES, 0), [(3, 4)])
    singly = [force(member, one_row(SOURCES, 0), [(3, 4)])[0].log_probabilities for member in members]
    np.testing.assert_allclose(found.log_probabilities, np.log(np.exp(singly).mean(0)), atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_the_heaviest_path_is_the_best_of_all_paths_that_never_go_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.random((int(random.integers(1, 6)), int(random.integers(1, 5))))
    every = [
        path for path in itertools.product(range(weights.shape[1]), repeat=len(weights)) if list(path) == sorted(path)
    ]
    best = max(every, key=lambda path: math.prod(weights[range(len(path)), path]))
    assert tuple(heaviest_path(weights)) == best


def test_paths_through_zeros_and_ties_and_nothing() -> None:
    assert heaviest_path(np.zeros((3, 2))).tolist() == [0, 0, 0]
    assert heaviest_path(np.array([[0.0, 1.0], [1.0, 0.0]])).tolist() == [0, 0]
    assert heaviest_path(np.zeros((0, 4))).tolist() == []
    assert END < FIRST_LETTER
