"""Decoding held to a lexicon, against enumeration of all targets."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.decoding.tables import beam, greedy_settings, samples
from tests.oracles.decoding import (
    END,
    FIRST_LETTER,
    START,
    enumerate_targets,
    one_row,
    random_batch,
    random_model,
    rescore,
)
from triptych.config import SpellDecoding
from triptych.decoding import Constrained, Lexicon, beam_search, decode, greedy, sample
from triptych.errors import RecipeError, ShapeError, TriptychError

SEEDS = st.integers(0, 10_000)
WORD = st.lists(st.integers(FIRST_LETTER, FIRST_LETTER + 2), max_size=4).map(tuple)
WORDS = st.lists(WORD, min_size=1, max_size=12)
LIMIT: dict[str, Any] = {"factor": 0.0, "extra": 4}


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, words=WORDS, end_bias=st.sampled_from([-3.0, 0.0, 2.0]))
def test_hard_decoding_never_leaves_the_lexicon_and_never_gets_stuck(
    seed: int, words: list[tuple[int, ...]], end_bias: float
) -> None:
    bare, batch = random_model(seed, end_bias=end_bias), random_batch(seed, [1, 3, 2])
    model = Constrained(bare, Lexicon.from_words(words))
    found = greedy(model, batch, greedy_settings(**LIMIT))
    found += beam_search(model, batch, beam(3, n_best=3, **LIMIT))
    found += sample(model, batch, samples(4, seed=seed, **LIMIT))
    for row, hypotheses in enumerate(found):
        assert hypotheses
        for h in hypotheses:
            assert h.finished
            assert h.symbols in words
            again = rescore(bare, one_row(batch, row % 3), h.symbols, finished=True)
            assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
            assert h.score == h.log_probability


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, words=WORDS, length_penalty=st.sampled_from([0.0, 1.0]))
def test_hard_full_width_ranks_the_words_and_nothing_else(
    seed: int, words: list[tuple[int, ...]], length_penalty: float
) -> None:
    bare, batch = random_model(seed), random_batch(seed, [2])
    (found,) = beam_search(
        Constrained(bare, Lexicon.from_words(words)),
        batch,
        beam(100, n_best=100, length_penalty=length_penalty, **LIMIT),
    )
    scores = {
        word: rescore(bare, batch, word, finished=True).log_probability / (len(word) + 1) ** length_penalty
        for word in set(words)
    }
    assert [h.symbols for h in found] == sorted(scores, key=lambda word: -scores[word])
    assert [h.score for h in found] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, words=WORDS, weight=st.sampled_from([0.0, 0.5, 3.0, 20.0]))
def test_open_full_width_charges_the_weight_once_and_reports_the_models_log_probability(
    seed: int, words: list[tuple[int, ...]], weight: float
) -> None:
    bare, batch, how = random_model(seed), random_batch(seed, [2]), beam(3**4 + 40, n_best=40, factor=0.0, extra=3)
    model = Constrained(bare, Lexicon.from_words(words), weight)
    (found,) = beam_search(model, batch, how)
    own = {t.symbols: t.log_probability for t in enumerate_targets(bare, batch, how)}
    charged = {word: value - weight * (word not in words) for word, value in own.items()}
    assert [h.score for h in found] == pytest.approx(sorted(charged.values(), reverse=True), abs=1e-4)
    for h in found:
        assert h.score == pytest.approx(charged[h.symbols], abs=1e-4)
        assert h.log_probability == pytest.approx(own[h.symbols], abs=1e-4)


def test_a_word_wins_where_the_weight_exceeds_the_models_preference() -> None:
    bare, batch = random_model(3, end_bias=-1.0), random_batch(3, [4])
    ((free,),) = beam_search(bare, batch, beam(100, **LIMIT))
    word = (*free.symbols[:-1], FIRST_LETTER + (free.symbols[-1] == FIRST_LETTER))
    gap = free.log_probability - rescore(bare, batch, word, finished=True).log_probability
    assert gap > 0.1
    for weight, expected in ((gap - 0.05, free.symbols), (gap + 0.05, word)):
        model = Constrained(bare, Lexicon.from_words([word]), weight)
        assert beam_search(model, batch, beam(100, **LIMIT))[0][0].symbols == expected


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, words=WORDS, weight=st.sampled_from([0.0, 2.0]))
def test_cut_hypotheses_pay_only_for_having_left(seed: int, words: list[tuple[int, ...]], weight: float) -> None:
    bare, batch = random_model(seed, end_bias=-30.0), random_batch(seed, [2])
    model = Constrained(bare, Lexicon.from_words(words), weight)
    for h in sample(model, batch, samples(5, **LIMIT))[0]:
        beginning = any(word[: len(h.symbols)] == h.symbols for word in words)
        again = rescore(bare, batch, h.symbols, finished=h.finished)
        assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
        assert h.finished or h.score == pytest.approx(h.log_probability - weight * (not beginning), abs=1e-4)


def test_a_hypothesis_cut_inside_a_word_has_paid_nothing() -> None:
    bare, batch, word = random_model(0), random_batch(0, [2]), (FIRST_LETTER,) * 9
    ((found,),) = greedy(Constrained(bare, Lexicon.from_words([word]), 50.0), batch, greedy_settings(**LIMIT))
    assert (found.symbols, found.finished) == (word[:4], False)
    own = rescore(bare, batch, word[:4], finished=False).log_probability
    assert found.log_probability == found.score == pytest.approx(own, abs=1e-4)


def test_a_hard_hypothesis_cut_by_the_limit_is_the_beginning_of_a_word_and_says_so() -> None:
    word = (FIRST_LETTER,) * 9
    model = Constrained(random_model(0), Lexicon.from_words([word]))
    ((found,),) = greedy(model, random_batch(0, [2]), greedy_settings(**LIMIT))
    assert (found.symbols, found.finished) == (word[:4], False)


def test_a_step_takes_off_what_the_weight_says_and_nothing_else() -> None:
    bare, batch = random_model(0), random_batch(0, [2, 2])
    a, b, c = FIRST_LETTER, FIRST_LETTER + 1, FIRST_LETTER + 2
    lexicon = Lexicon.from_words([(a,), (a, b)])
    own, _ = bare.step(np.array([START, START]), bare.start(batch))
    for weight in (None, 2.0):
        model = Constrained(bare, lexicon, weight)
        taken = math.inf if weight is None else weight
        log_probs, state = model.step(np.array([START, START]), model.start(batch))
        assert log_probs[0, a] == own[0, a]
        leaving = [b, c, END]
        assert (own[:, leaving] - log_probs[:, leaving]).tolist() == [pytest.approx([taken] * 3)] * 2
        own_next, _ = bare.step(np.array([a, c]), state.inner)
        log_probs, _ = model.step(np.array([a, c]), state)
        assert log_probs[0, [b, END]].tolist() == own_next[0, [b, END]].tolist()
        assert (own_next[0, [a, c]] - log_probs[0, [a, c]]).tolist() == pytest.approx([taken] * 2)
        assert weight is None or log_probs[1].tolist() == own_next[1].tolist()


def test_attention_and_lexicons_on_lexicons_pass_through() -> None:
    bare, batch = random_model(0, attention=True), random_batch(0, [3, 2])
    loose = Lexicon.from_words([(FIRST_LETTER,)])
    model = Constrained(Constrained(bare, loose, 1.0), Lexicon.from_words([(FIRST_LETTER + 1,)]), 0.5)
    for how in (SpellDecoding(), beam(5), samples(1)):
        for row, (h,) in enumerate(decode(model, batch, how, with_attention=True)):
            again = rescore(bare, one_row(batch, row), h.symbols, finished=h.finished)
            charge = 1.0 * (h.symbols != (FIRST_LETTER,)) + 0.5 * (h.symbols != (FIRST_LETTER + 1,))
            assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
            assert h.score == pytest.approx(again.log_probability - charge, abs=1e-4)
            assert h.attention is not None
            assert again.attention is not None
            np.testing.assert_allclose(h.attention, again.attention, atol=1e-6)


def test_words_that_the_model_cannot_produce_are_named_as_the_cause() -> None:
    model = Constrained(random_model(0), Lexicon.from_words([(0, 0)]))
    with pytest.raises(TriptychError) as caught:
        greedy(model, random_batch(0, [2]), greedy_settings(**LIMIT))
    assert caught.value.value == -math.inf
    assert "symbol of a lexicon" in caught.value.hint


def test_a_lexicon_of_another_vocabulary_is_named() -> None:
    model = Constrained(random_model(0), Lexicon.from_words([(3, 17)]))
    with pytest.raises(ShapeError) as caught:
        greedy(model, random_batch(0, [2]), greedy_settings(**LIMIT))
    assert (caught.value.value, caught.value.expected) == (17, "a symbol below the vocabulary's size 6")


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError) as caught:
        Constrained(random_model(0), Lexicon.from_words([(3,)]), weight)
    assert caught.value.field == "lexicon weight"
    assert str(caught.value.value) == str(weight)


@pytest.mark.parametrize(("words", "message"), [([], "the lexicon has 0 words"), ([(3, END)], "uses symbol 2")])
def test_a_lexicon_without_words_or_with_the_end_symbol_is_refused(words: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Constrained(random_model(0), Lexicon.from_words(words))
