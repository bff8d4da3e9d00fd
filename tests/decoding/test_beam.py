"""Beam search against enumeration of all targets, and against itself where that is the definition."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.decoding.tables import NO_SOURCES, beam, greedy_settings
from tests.oracles.decoding import (
    END,
    FIRST_LETTER,
    START,
    enumerate_targets,
    narrow_beam,
    one_row,
    random_batch,
    random_model,
    rescore,
    rows_of,
)
from triptych.decoding import beam_search, greedy
from triptych.decoding.beam import MAXIMA, largest
from triptych.errors import TriptychError

SEEDS = st.integers(0, 10_000)
LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)
PENALTIES = st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0])
END_BIAS = st.sampled_from([-3.0, -0.5, 1.0])


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, length_penalty=PENALTIES, end_bias=END_BIAS, n_best=st.sampled_from([1, 3, 40]))
def test_full_width_finds_the_best_of_all_targets(
    seed: int, length_penalty: float, end_bias: float, n_best: int
) -> None:
    model = random_model(seed, letters=3, end_bias=end_bias)
    batch, wide = random_batch(seed, [2, 3, 1]), beam(3**4 + 40, n_best=n_best, length_penalty=length_penalty, extra=0)
    for row, hypotheses in enumerate(beam_search(model, batch, wide)):
        everything = enumerate_targets(model, one_row(batch, row), wide)
        scores = {t.symbols: t.log_probability / (len(t.symbols) + 1) ** length_penalty for t in everything}
        best = sorted(scores.values(), reverse=True)[:n_best]
        finished = [h for h in hypotheses if h.finished]
        assert len(finished) == min(n_best, len(everything))
        assert [h.score for h in finished] == pytest.approx(best, abs=1e-5)
        assert [h.score for h in finished] == pytest.approx([scores[h.symbols] for h in finished], abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, lengths=LENGTHS, length_penalty=PENALTIES, end_bias=END_BIAS, beam_size=st.integers(1, 6))
def test_narrow_beams_equal_the_definition_run_to_the_limit(
    seed: int, lengths: list[int], length_penalty: float, end_bias: float, beam_size: int
) -> None:
    model, batch = random_model(seed, end_bias=end_bias), random_batch(seed, lengths)
    how = beam(beam_size, n_best=beam_size, length_penalty=length_penalty)
    for row, hypotheses in enumerate(beam_search(model, batch, how)):
        expected = narrow_beam(model, one_row(batch, row), how)
        assert [(h.symbols, h.finished) for h in hypotheses] == [(t.symbols, t.finished) for t in expected]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, lengths=LENGTHS, length_penalty=PENALTIES, end_bias=END_BIAS)
def test_a_beam_of_one_is_greedy(seed: int, lengths: list[int], length_penalty: float, end_bias: float) -> None:
    model, batch = random_model(seed, end_bias=end_bias, attention=True), random_batch(seed, lengths)
    expected = greedy(model, batch, greedy_settings(), with_attention=True)
    result = beam_search(model, batch, beam(1, length_penalty=length_penalty), with_attention=True)
    for (found,), (wanted,) in zip(result, expected, strict=True):
        length = len(wanted.symbols) + wanted.finished
        assert (found.symbols, found.finished) == (wanted.symbols, wanted.finished)
        assert found.log_probability == wanted.log_probability
        assert found.score == pytest.approx(wanted.score / length**length_penalty, rel=1e-5)
        assert found.attention is not None
        assert wanted.attention is not None
        np.testing.assert_array_equal(found.attention, wanted.attention)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, lengths=LENGTHS, length_penalty=PENALTIES, end_bias=END_BIAS, beam_size=st.integers(1, 6))
def test_hypotheses_are_distinct_ranked_possible_and_rescored_by_the_model(
    seed: int, lengths: list[int], length_penalty: float, end_bias: float, beam_size: int
) -> None:
    model, batch = random_model(seed, end_bias=end_bias, attention=True), random_batch(seed, lengths)
    how = beam(beam_size, n_best=beam_size, length_penalty=length_penalty)
    for row, hypotheses in enumerate(beam_search(model, batch, how, with_attention=True)):
        assert 1 <= len(hypotheses) <= beam_size
        assert len({h.symbols for h in hypotheses}) == len(hypotheses)
        ranks = [(not h.finished, -h.score) for h in hypotheses]
        assert ranks == sorted(ranks)
        for h in hypotheses:
            assert len(h.symbols) <= lengths[row] + 2
            assert h.finished or len(h.symbols) == lengths[row] + 2
            assert all(symbol >= FIRST_LETTER for symbol in h.symbols)
            again = rescore(model, one_row(batch, row), h.symbols, finished=h.finished)
            length = len(h.symbols) + h.finished
            assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
            assert h.score == pytest.approx(again.log_probability / length**length_penalty, abs=1e-4)
            assert h.attention is not None
            assert again.attention is not None
            assert h.attention.shape == (length, lengths[row])
            np.testing.assert_allclose(h.attention, again.attention, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, lengths=LENGTHS, length_penalty=PENALTIES, end_bias=END_BIAS, beam_size=st.integers(1, 6))
def test_shorter_lists_are_the_beginnings_of_longer_ones(
    seed: int, lengths: list[int], length_penalty: float, end_bias: float, beam_size: int
) -> None:
    model, batch = random_model(seed, end_bias=end_bias), random_batch(seed, lengths)
    lists = [
        beam_search(model, batch, beam(beam_size, n_best=n_best, length_penalty=length_penalty))
        for n_best in range(1, beam_size + 1)
    ]
    for n_best, shorter in enumerate(lists, start=1):
        assert shorter == [hypotheses[:n_best] for hypotheses in lists[-1]]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, lengths=LENGTHS, order=st.randoms(use_true_random=False), length_penalty=PENALTIES)
def test_a_row_does_not_depend_on_its_batch(
    seed: int, lengths: list[int], order: Random, length_penalty: float
) -> None:
    model, batch = random_model(seed), random_batch(seed, lengths)
    how = beam(4, n_best=3, length_penalty=length_penalty)
    together = beam_search(model, batch, how)
    index = list(range(len(lengths)))
    order.shuffle(index)
    assert beam_search(model, rows_of(batch, index), how) == [together[i] for i in index]
    assert [beam_search(model, one_row(batch, row), how)[0] for row in range(len(lengths))] == together


@pytest.mark.parametrize("count", [1, 3, MAXIMA, MAXIMA + 1, 24])
def test_the_largest_values_come_in_falling_order_and_of_equal_ones_the_first(count: int) -> None:
    values = np.random.default_rng(count).integers(0, 6, (50, 24)).astype(np.float32)
    found, places = largest(values.copy(), count)
    for row, (best, where) in enumerate(zip(found.tolist(), places.tolist(), strict=True)):
        expected = sorted(range(24), key=lambda place: (-values[row, place], place))[:count]
        assert where == expected
        assert best == values[row, expected].tolist()
    values[3, 7] = np.nan
    found, places = largest(values, count)
    assert math.isnan(found[3, 0])
    assert places[3, 0] == 7


def test_of_equally_probable_targets_the_lower_symbols_come_first() -> None:
    model = random_model(0)
    model.table[:, END:] = math.log(1 / 4)
    for beam_size in (4, 20):
        (row,) = beam_search(model, random_batch(0, [1]), beam(beam_size, n_best=4, factor=0.0, extra=1))
        a, b, c = FIRST_LETTER, FIRST_LETTER + 1, FIRST_LETTER + 2
        assert [h.symbols for h in row] == [(), (a,), (b,), (c,)]


def test_a_row_leaves_once_nothing_can_overtake_its_best() -> None:
    """The first symbol is the end symbol with probability 0.9: nothing else can be more probable."""
    model = random_model(0)
    model.table[:, END] = math.log(0.9)
    model.table[:, FIRST_LETTER:] = math.log(0.1 / 3)
    beam_search(model, random_batch(0, [3, 4]), beam(4))
    assert model.rows_stepped == [2]
    model.rows_stepped.clear()
    beam_search(model, random_batch(0, [3, 4]), beam(4, n_best=2))
    assert model.rows_stepped == [2, 6]


@pytest.mark.parametrize(("longest", "steps"), [(31, 1), (32, 2)])
def test_a_row_stays_no_longer_than_the_limit_lets_a_mean_recover(longest: int, steps: int) -> None:
    """log(0.9) against log(0.1 / 3) / (limit + 1), which is less at 31 symbols and more at 32."""
    model = random_model(0)
    model.table[:, END] = math.log(0.9)
    model.table[:, FIRST_LETTER:] = math.log(0.1 / 3)
    beam_search(model, random_batch(0, [3]), beam(2, length_penalty=1.0, factor=0.0, extra=longest))
    assert len(model.rows_stepped) == steps


def test_an_early_end_does_not_stop_a_longer_hypothesis_with_a_better_mean() -> None:
    """Ending at once has log-probability log 0.6; four letters and the end have log 0.4 + 4 log 0.99, a better mean."""
    model = random_model(0, letters=1, contexts=10_007)
    batch = random_batch(0, [1])
    state, ends = model.start(batch), [0.6, 0.01, 0.01, 0.01, 0.99]
    for symbol, probability in zip([START] + [FIRST_LETTER] * 4, ends, strict=True):
        state = model.step(np.array([symbol]), state)[1]
        model.table[state.codes, END] = math.log(probability)
        model.table[state.codes, FIRST_LETTER] = math.log(1 - probability)

    def best(length_penalty: float) -> tuple[int, ...]:
        return beam_search(model, batch, beam(2, length_penalty=length_penalty, factor=0.0, extra=6))[0][0].symbols

    assert best(0.0) == ()
    assert best(1.0) == (FIRST_LETTER,) * 4


def test_the_beam_may_be_wider_than_the_vocabulary_and_than_all_targets() -> None:
    model, batch = random_model(2, letters=1), random_batch(2, [1, 1])
    result = beam_search(model, batch, beam(50, n_best=50, factor=0.0, extra=2))
    assert [[h.finished for h in row] for row in result] == [[True] * 3] * 2
    assert [{len(h.symbols) for h in row} for row in result] == [{0, 1, 2}] * 2


def test_cut_hypotheses_come_after_finished_ones_and_fill_the_list() -> None:
    model = random_model(1, end_bias=-6.0)
    (row,) = beam_search(model, random_batch(1, [2]), beam(4, n_best=4, factor=0.0, extra=3))
    assert len(row) == 4
    assert not row[-1].finished
    assert [h.finished for h in row] == sorted((h.finished for h in row), reverse=True)
    assert all(len(h.symbols) == 3 for h in row if not h.finished)


def test_attention_is_absent_unless_asked_for() -> None:
    (row,) = beam_search(random_model(1, attention=True), random_batch(1, [3]), beam(2))
    assert row[0].attention is None


def test_an_empty_batch_gives_no_lists() -> None:
    assert beam_search(random_model(0), NO_SOURCES, beam(2)) == []


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_rows_that_cannot_go_on_are_named(value: float) -> None:
    model, batch = random_model(0), random_batch(0, [2, 5, 3])
    first = model.step(np.full(3, START), model.start(batch))[1].codes
    model.table[first[2]] = value
    with pytest.raises(TriptychError) as caught:
        beam_search(model, batch, beam(3))
    assert caught.value.field == "the largest log-probability of batch row 2"
    assert str(caught.value.value) == str(value)
