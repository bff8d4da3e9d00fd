"""Greedy decoding against a loop over single symbols."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.decoding.tables import NO_SOURCES, greedy_settings
from tests.oracles.decoding import (
    FIRST_LETTER,
    START,
    greedy_path,
    one_row,
    random_batch,
    random_model,
    rescore,
    rows_of,
)
from triptych.config import SpellDecoding
from triptych.decoding import greedy
from triptych.errors import TriptychError

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=7)
SHORT = greedy_settings()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, end_bias=st.sampled_from([-4.0, -0.5, 1.0]))
def test_equals_a_loop_over_single_symbols(seed: int, lengths: list[int], end_bias: float) -> None:
    model = random_model(seed, end_bias=end_bias, attention=True)
    batch = random_batch(seed, lengths)
    result = greedy(model, batch, SHORT, with_attention=True)
    assert len(result) == len(lengths)
    for row, (hypothesis,) in enumerate(result):
        expected = greedy_path(model, one_row(batch, row), SHORT)
        assert (hypothesis.symbols, hypothesis.finished) == (expected.symbols, expected.finished)
        assert hypothesis.log_probability == pytest.approx(expected.log_probability, abs=1e-5)
        assert hypothesis.score == hypothesis.log_probability
        assert hypothesis.attention is not None
        assert expected.attention is not None
        assert hypothesis.attention.shape == (len(hypothesis.symbols) + hypothesis.finished, lengths[row])
        np.testing.assert_allclose(hypothesis.attention, expected.attention, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, order=st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_batch(seed: int, lengths: list[int], order: Random) -> None:
    model, batch = random_model(seed), random_batch(seed, lengths)
    together = greedy(model, batch, SHORT)
    index = list(range(len(lengths)))
    order.shuffle(index)
    assert greedy(model, rows_of(batch, index), SHORT) == [together[i] for i in index]
    assert [greedy(model, one_row(batch, row), SHORT)[0] for row in range(len(lengths))] == together


def test_the_limit_cuts_before_the_end_symbol_and_admits_an_end_right_at_it() -> None:
    endless = random_model(0, end_bias=-50.0)
    ((cut,),) = greedy(endless, random_batch(0, [4]), limit_of(5))
    assert (len(cut.symbols), cut.finished) == (5, False)
    again = rescore(endless, random_batch(0, [4]), cut.symbols, finished=False)
    assert cut.log_probability == pytest.approx(again.log_probability, abs=1e-5)
    model = random_model(4, end_bias=-1.0)
    ((free,),) = greedy(model, random_batch(3, [4]), limit_of(50))
    assert free.finished
    assert len(free.symbols) >= 2
    assert greedy(model, random_batch(3, [4]), limit_of(len(free.symbols))) == [[free]]
    ((shorter,),) = greedy(model, random_batch(3, [4]), limit_of(len(free.symbols) - 1))
    assert (shorter.symbols, shorter.finished) == (free.symbols[:-1], False)


def limit_of(symbols: int) -> SpellDecoding:
    return greedy_settings(factor=0.0, extra=symbols)


def test_finished_rows_leave_the_model() -> None:
    model = random_model(5, end_bias=0.5)
    result = greedy(model, random_batch(5, [3] * 40), SHORT)
    steps = [len(hypothesis.symbols) + 1 for (hypothesis,) in result]
    assert len(set(steps)) > 2
    assert model.rows_stepped == [sum(step > t for step in steps) for t in range(max(steps))]


def test_attention_is_absent_unless_asked_for_and_offered() -> None:
    batch = random_batch(1, [3, 2])
    assert greedy(random_model(1, attention=True), batch, SHORT)[0][0].attention is None
    assert greedy(random_model(1), batch, SHORT, with_attention=True)[0][0].attention is None


def test_ties_go_to_the_lowest_index() -> None:
    model = random_model(0)
    model.table[:] = -math.inf
    model.table[:, FIRST_LETTER:] = -math.log(3)
    ((hypothesis,),) = greedy(model, random_batch(0, [1]), limit_of(2))
    assert hypothesis.symbols == (FIRST_LETTER, FIRST_LETTER)


def test_an_empty_batch_gives_no_hypotheses() -> None:
    assert greedy(random_model(0), NO_SOURCES, SHORT) == []


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_rows_that_cannot_go_on_are_named(value: float) -> None:
    model, batch = random_model(0), random_batch(0, [2, 5, 3])
    first = model.step(np.full(3, START), model.start(batch))[1].codes
    model.table[first[1]] = value
    with pytest.raises(TriptychError) as caught:
        greedy(model, batch, SHORT)
    assert caught.value.field == "the largest log-probability of batch row 1"
    assert str(caught.value.value) == str(value)
