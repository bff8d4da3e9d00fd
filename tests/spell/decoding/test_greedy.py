"""Greedy decoding against a loop over single symbols."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.decoding import FIRST_LETTER, greedy_path, one_row, random_batch, random_model, rescore
from triptych.errors import TriptychError
from triptych.spell.decoding import LengthLimit, SourceBatch, greedy

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=7)
LIMIT = LengthLimit(factor=1.0, extra=2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, end_bias=st.sampled_from([-4.0, -0.5, 1.0]))
def test_equals_a_loop_over_single_symbols(seed: int, lengths: list[int], end_bias: float) -> None:
    model = random_model(seed, end_bias=end_bias, attention=True)
    batch = random_batch(seed, lengths)
    result = greedy(model, batch, limit=LIMIT, with_attention=True)
    assert len(result) == len(lengths)
    for row, hypothesis in enumerate(result):
        expected = greedy_path(model, one_row(batch, row), LIMIT)
        assert (hypothesis.symbols, hypothesis.finished) == (expected.symbols, expected.finished)
        assert hypothesis.log_probability == pytest.approx(expected.log_probability, abs=1e-5)
        assert hypothesis.score == hypothesis.log_probability
        assert hypothesis.attention is not None
        assert expected.attention is not None
        assert hypothesis.attention.shape == (len(hypothesis.symbols) + hypothesis.finished, lengths[row])
        torch.testing.assert_close(hypothesis.attention, expected.attention)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, order=st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_batch(seed: int, lengths: list[int], order) -> None:  # type: ignore[no-untyped-def]
    model, batch = random_model(seed), random_batch(seed, lengths)
    together = greedy(model, batch, limit=LIMIT)
    index = list(range(len(lengths)))
    order.shuffle(index)
    shuffled = greedy(model, SourceBatch(batch.symbols[index], batch.lengths[index]), limit=LIMIT)
    assert shuffled == [together[i] for i in index]
    assert [greedy(model, one_row(batch, row), limit=LIMIT)[0] for row in range(len(lengths))] == together


def test_the_limit_cuts_before_the_end_symbol_and_admits_an_end_right_at_it() -> None:
    endless = random_model(0, end_bias=-50.0)
    (cut,) = greedy(endless, random_batch(0, [4]), limit=LimitOf(5))
    assert (len(cut.symbols), cut.finished) == (5, False)
    again = rescore(endless, random_batch(0, [4]), cut.symbols, finished=False)
    assert cut.log_probability == pytest.approx(again.log_probability, abs=1e-5)
    model = random_model(3, end_bias=-1.0)
    (free,) = greedy(model, random_batch(3, [4]), limit=LimitOf(50))
    assert free.finished
    assert len(free.symbols) >= 2
    assert greedy(model, random_batch(3, [4]), limit=LimitOf(len(free.symbols))) == [free]
    (shorter,) = greedy(model, random_batch(3, [4]), limit=LimitOf(len(free.symbols) - 1))
    assert (shorter.symbols, shorter.finished) == (free.symbols[:-1], False)


def LimitOf(symbols: int) -> LengthLimit:  # noqa: N802
    return LengthLimit(factor=0.0, extra=symbols)


def test_finished_rows_leave_the_model() -> None:
    model = random_model(5, end_bias=0.5)
    result = greedy(model, random_batch(5, [3] * 40), limit=LIMIT)
    steps = [len(hypothesis.symbols) + 1 for hypothesis in result]
    assert len(set(steps)) > 2
    assert model.rows_stepped == [sum(step > t for step in steps) for t in range(max(steps))]


def test_attention_is_absent_unless_asked_for_and_offered() -> None:
    batch = random_batch(1, [3, 2])
    assert greedy(random_model(1, attention=True), batch, limit=LIMIT)[0].attention is None
    assert greedy(random_model(1), batch, limit=LIMIT, with_attention=True)[0].attention is None


def test_ties_go_to_the_lowest_index() -> None:
    model = random_model(0)
    model.table[:] = torch.full_like(model.table, -math.inf)
    model.table[:, FIRST_LETTER:] = -math.log(3)
    (hypothesis,) = greedy(model, random_batch(0, [1]), limit=LimitOf(2))
    assert hypothesis.symbols == (FIRST_LETTER, FIRST_LETTER)


def test_an_empty_batch_gives_no_hypotheses() -> None:
    batch = SourceBatch(torch.zeros(0, 3, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert greedy(random_model(0), batch, limit=LIMIT) == []


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_rows_that_cannot_go_on_are_named(value: float) -> None:
    model, batch = random_model(0), random_batch(0, [2, 5, 3])
    first = model.step(torch.full((3,), 1), model.start(batch))[1].codes
    model.table[first[1]] = value
    with pytest.raises(TriptychError, match=f"log-probability of batch row 1 is {value}; expected a finite number"):
        greedy(model, batch, limit=LIMIT)
