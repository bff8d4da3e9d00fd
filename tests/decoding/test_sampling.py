"""Sampling: the filters against their definitions, the draws against the distribution, the seeds against batching."""

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from tests.decoding.tables import NO_SOURCES, greedy_settings, samples
from tests.oracles.decoding import (
    END,
    FIRST_LETTER,
    START,
    enumerate_targets,
    nucleus_directly,
    one_row,
    random_batch,
    random_model,
    rescore,
    rows_of,
)
from triptych.decoding import Sources, greedy, sample
from triptych.decoding.contract import Array, log_softmax, log_sum_exp
from triptych.decoding.sampling import filtered, inverse_distribution, nucleus, top_k
from triptych.errors import ShapeError, TriptychError

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=6)
COUNTS = st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any)
"""Whole numbers as unnormalised probabilities: ties and zeros are common."""


def logs(*rows: list[float]) -> Array:
    """Logarithms of normalised rows."""
    with np.errstate(divide="ignore"):
        return log_softmax(np.log(np.array(rows, dtype=np.float32)))


@settings(max_examples=300)
@given(counts=COUNTS, p=st.floats(1e-9, 1.0, exclude_max=True))
def test_nucleus_equals_its_definition(counts: list[int], p: float) -> None:
    total = sum(counts)
    probabilities = [count / total for count in counts]
    reached = [sum(sorted(probabilities, reverse=True)[:n]) for n in range(len(counts))]
    assume(all(abs(mass - p) > 2e-6 for mass in [*reached[1:], 1.0]))
    result = nucleus(logs(probabilities), p)[0]
    assert np.exp(result).tolist() == pytest.approx(nucleus_directly(probabilities, p), abs=1e-6)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1e-9, [0, 1, 0, 0]),
        (0.5, [0, 1, 0, 0]),
        (0.51, [1 / 3, 2 / 3, 0, 0]),
        (0.75, [1 / 3, 2 / 3, 0, 0]),
        (0.8, [2 / 7, 4 / 7, 1 / 7, 0]),
    ],
)
def test_nucleus_stops_exactly_where_the_mass_is_reached(p: float, expected: list[float]) -> None:
    assert np.exp(nucleus(logs([0.25, 0.5, 0.125, 0.125]), p)[0]).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("probabilities", "p"),
    [([0.5, 0.3, 0.2], 0.8), ([0.3, 0.2, 0.5], 0.8), ([0.4, 0.3, 0.2, 0.1], 0.9), ([0.6, 0.3, 0.1], 0.9)],
)
def test_a_mass_that_is_reached_exactly_needs_no_further_symbol(probabilities: list[float], p: float) -> None:
    """As decimal fractions the kept ones sum to p; in binary they may fall short of it."""
    kept = np.exp(nucleus(logs(probabilities), p)[0]).tolist()
    smallest = min(probabilities)
    expected = [0.0 if probability == smallest else probability / p for probability in probabilities]
    assert kept == pytest.approx(expected, abs=1e-6)


def test_a_nucleus_of_one_keeps_even_what_rounding_would_lose() -> None:
    rows = np.array([[0.0, -60.0]], dtype=np.float32)
    assert filtered(rows, samples(top_p=1.0))[0].tolist() == pytest.approx([0.0, -60.0])


@settings(max_examples=200)
@given(counts=COUNTS, k=st.integers(1, 14))
def test_top_k_equals_its_definition(counts: list[int], k: int) -> None:
    best = sorted(range(len(counts)), key=lambda i: (-counts[i], i))[:k]
    mass = sum(counts[i] for i in best)
    expected = [count / mass if i in best else 0.0 for i, count in enumerate(counts)]
    assert np.exp(top_k(logs([float(count) for count in counts]), k)[0]).tolist() == pytest.approx(expected, abs=1e-6)


def test_filters_work_on_rows_and_normalise_what_they_are_given() -> None:
    rows = logs([4.0, 2.0, 1.0, 1.0], [1.0, 1.0, 6.0, 0.0]) - np.float32(3.0)
    expected = np.array([[2 / 3, 1 / 3, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_allclose(np.exp(filtered(rows, samples(top_p=0.7))), expected, atol=1e-6)
    np.testing.assert_allclose(np.exp(filtered(rows, samples(top_k=1))), [[1, 0, 0, 0], [0, 0, 1, 0]], atol=1e-6)


def test_log_sum_exp_of_nothing_possible_is_impossible() -> None:
    values = np.array([[-np.inf, -np.inf], [0.0, -np.inf], [1000.0, 1000.0]], dtype=np.float32)
    np.testing.assert_allclose(log_sum_exp(values, axis=1), [-np.inf, 0.0, 1000 + np.log(2)], rtol=1e-6)


def test_temperature_then_top_k_then_top_p() -> None:
    log_probs = logs([0.4, 0.3, 0.2, 0.1])
    squared = np.array([[0.16, 0.09, 0.04, 0.01]])
    np.testing.assert_allclose(np.exp(filtered(log_probs, samples(temperature=0.5))), squared / 0.30, atol=1e-6)
    # Of 0.16, 0.09, 0.04 the first two have mass 0.862; without top_k 0.833, without temperature 0.7 / 0.9.
    both = np.exp(filtered(log_probs, samples(temperature=0.5, top_k=3, top_p=0.85)))
    np.testing.assert_allclose(both, [[0.64, 0.36, 0, 0]], atol=1e-6)


@given(counts=COUNTS, uniform=st.floats(0, 1, exclude_max=True))
def test_draws_invert_the_distribution(counts: list[int], uniform: float) -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([counts], dtype=np.float64) / sum(counts))
    for u in (uniform, 0.0, math.nextafter(1.0, 0.0)):
        drawn = int(inverse_distribution(log_probs, np.array([u]))[0])
        assert counts[drawn] > 0
        below, target = sum(counts[:drawn]), u * sum(counts)
        assert below - 1e-9 <= target <= below + counts[drawn] + 1e-9


def test_samples_are_as_frequent_as_the_model_says() -> None:
    """Every target's share of 20,000 samples is within five standard errors of its probability."""
    model, batch, how = (
        random_model(4, end_bias=0.5),
        random_batch(4, [2]),
        samples(20_000, seed=1, factor=0.0, extra=3),
    )
    drawn = sample(model, batch, how)[0]
    shares = Counter(h.symbols for h in drawn if h.finished)
    targets = enumerate_targets(model, batch, how)
    assert len(targets) == 1 + 3 + 9 + 27
    for target in targets:
        probability = math.exp(target.log_probability)
        error = math.sqrt(probability * (1 - probability) / len(drawn))
        assert shares[target.symbols] / len(drawn) == pytest.approx(probability, abs=5 * error)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, top_p=st.sampled_from([1.0, 0.5, 0.8]))
def test_hypotheses_are_possible_and_carry_the_models_own_log_probability(
    seed: int, lengths: list[int], top_p: float
) -> None:
    model, batch = random_model(seed, attention=True), random_batch(seed, lengths)
    how = samples(3, temperature=1.7, top_p=top_p, seed=seed)
    result = sample(model, batch, how, with_attention=True)
    assert [len(row) for row in result] == [3] * len(lengths)
    for row, hypotheses in enumerate(result):
        for h in hypotheses:
            again = rescore(model, one_row(batch, row), h.symbols, finished=h.finished)
            assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
            assert h.score == h.log_probability
            assert h.finished or len(h.symbols) == lengths[row] + 2
            assert len(h.symbols) <= lengths[row] + 2
            assert all(symbol >= FIRST_LETTER for symbol in h.symbols)
            assert h.attention is not None
            assert again.attention is not None
            assert h.attention.shape == (len(h.symbols) + h.finished, lengths[row])
            np.testing.assert_allclose(h.attention, again.attention, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, order=st.randoms(use_true_random=False))
def test_a_rows_samples_depend_on_its_id_and_not_on_its_batch(seed: int, lengths: list[int], order: Random) -> None:
    model, batch = random_model(seed), with_ids(random_batch(seed, lengths), [7 * row for row in range(len(lengths))])
    how = samples(2, seed=seed)
    together = sample(model, batch, how)
    index = list(range(len(lengths)))
    order.shuffle(index)
    assert sample(model, rows_of(batch, index), how) == [together[i] for i in index]
    for row in range(len(lengths)):
        assert sample(model, one_row(batch, row), how) == [together[row]]
    more = sample(model, batch, samples(5, seed=seed))
    assert [row[:2] for row in more] == together


def with_ids(sources: Sources, row_ids: list[int]) -> Sources:
    return Sources(sources.symbols, sources.lengths, row_ids)


def test_seeds_and_ids_change_the_samples_and_rows_differ_by_default() -> None:
    model = random_model(0, end_bias=-2.0)
    source = random_batch(0, [5]).symbols[0].tolist()

    def draw(seed: int, ids: list[int] | None = None) -> list[list[tuple[int, ...]]]:
        result = sample(model, Sources.of([source, source], ids), samples(3, seed=seed))
        return [[h.symbols for h in row] for row in result]

    assert draw(0) == draw(0) == draw(0, [0, 1])
    assert draw(0) != draw(1)
    assert draw(0)[0] != draw(0)[1]
    assert draw(0, [5, 5])[0] == draw(0, [5, 5])[1]
    assert len(set(draw(0)[0])) > 1


def test_only_the_top_symbol_is_greedy_decoding() -> None:
    model, batch = random_model(3), random_batch(3, [2, 5, 4])
    expected = [row[0].symbols for row in greedy(model, batch, greedy_settings())]
    for how in (samples(top_k=1), samples(top_p=1e-6), samples(temperature=1e-4)):
        assert [row[0].symbols for row in sample(model, batch, how)] == expected


def test_the_nucleus_keeps_improbable_symbols_out_of_the_samples() -> None:
    model, batch = random_model(9), random_batch(9, [3])
    for hypothesis in sample(model, batch, samples(300, top_p=0.6))[0]:
        state, fed = model.start(batch), START
        for symbol in [*hypothesis.symbols, END] if hypothesis.finished else hypothesis.symbols:
            log_probs, state = model.step(np.array([fed]), state)
            assert nucleus_directly(np.exp(log_probs[0]).tolist(), 0.6)[symbol] > 0
            fed = symbol


def test_rows_that_cannot_go_on_are_named() -> None:
    model, batch = random_model(0), random_batch(0, [2, 5, 3])
    model.table[model.step(np.full(3, START), model.start(batch))[1].codes[1]] = math.nan
    with pytest.raises(TriptychError) as caught:
        sample(model, batch, samples(2, top_p=0.8))
    assert caught.value.field == "the largest log-probability of batch row 1"


def test_an_empty_batch_gives_no_lists() -> None:
    assert sample(random_model(0), NO_SOURCES, samples(2)) == []


def test_the_number_of_ids_must_fit() -> None:
    with pytest.raises(ShapeError, match="row_ids has 2 numbers"):
        sample(random_model(0), with_ids(random_batch(0, [2]), [1, 2]), samples())
