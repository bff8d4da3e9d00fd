"""Decoding held to a lexicon, against enumeration of all targets."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
from triptych.errors import RecipeError, ShapeError, TriptychError
from triptych.spell.decoding import (
    Constrained,
    Decoding,
    LengthLimit,
    Sampling,
    beam_search,
    decode,
    greedy,
    sample,
)
from triptych.spell.lexicon import Lexicon

SEEDS = st.integers(0, 10_000)
WORD = st.lists(st.integers(FIRST_LETTER, FIRST_LETTER + 2), max_size=4).map(tuple)
WORDS = st.lists(WORD, min_size=1, max_size=12)
LIMIT = LengthLimit(factor=0.0, extra=4)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, words=WORDS, end_bias=st.sampled_from([-3.0, 0.0, 2.0]))
def test_hard_decoding_never_leaves_the_lexicon_and_never_gets_stuck(
    seed: int, words: list[tuple[int, ...]], end_bias: float
) -> None:
    bare, batch = random_model(seed, end_bias=end_bias), random_batch(seed, [1, 3, 2])
    model = Constrained(bare, Lexicon.from_words(words))
    found = [[h] for h in greedy(model, batch, limit=LIMIT)]
    found += beam_search(model, batch, beam_size=3, n_best=3, limit=LIMIT)
    found += sample(model, batch, Sampling(samples=4, seed=seed), limit=LIMIT)
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
        beam_size=100,
        n_best=100,
        length_penalty=length_penalty,
        limit=LIMIT,
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
    bare, batch, limit = random_model(seed), random_batch(seed, [2]), LengthLimit(factor=0.0, extra=3)
    model = Constrained(bare, Lexicon.from_words(words), "open", weight)
    (found,) = beam_search(model, batch, beam_size=3**4 + 40, n_best=40, limit=limit)
    own = {t.symbols: t.log_probability for t in enumerate_targets(bare, batch, limit)}
    charged = {word: value - weight * (word not in words) for word, value in own.items()}
    assert [h.score for h in found] == pytest.approx(sorted(charged.values(), reverse=True), abs=1e-4)
    for h in found:
        assert h.score == pytest.approx(charged[h.symbols], abs=1e-4)
        assert h.log_probability == pytest.approx(own[h.symbols], abs=1e-4)


def test_a_word_wins_where_the_weight_exceeds_the_models_preference() -> None:
    bare, batch = random_model(3, end_bias=-1.0), random_batch(3, [4])
    ((free,),) = beam_search(bare, batch, beam_size=100, limit=LIMIT)
    word = (*free.symbols[:-1], FIRST_LETTER + (free.symbols[-1] == FIRST_LETTER))
    gap = free.log_probability - rescore(bare, batch, word, finished=True).log_probability
    assert gap > 0.1
    for weight, expected in ((gap - 0.05, free.symbols), (gap + 0.05, word)):
        model = Constrained(bare, Lexicon.from_words([word]), "open", weight)
        assert beam_search(model, batch, beam_size=100, limit=LIMIT)[0][0].symbols == expected


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, words=WORDS, weight=st.sampled_from([0.0, 2.0]))
def test_cut_hypotheses_pay_only_for_having_left(seed: int, words: list[tuple[int, ...]], weight: float) -> None:
    bare, batch = random_model(seed, end_bias=-30.0), random_batch(seed, [2])
    model = Constrained(bare, Lexicon.from_words(words), "open", weight)
    for h in sample(model, batch, Sampling(samples=5), limit=LIMIT)[0]:
        beginning = any(word[: len(h.symbols)] == h.symbols for word in words)
        again = rescore(bare, batch, h.symbols, finished=h.finished)
        assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
        assert h.finished or h.score == pytest.approx(h.log_probability - weight * (not beginning), abs=1e-4)


def test_a_hypothesis_cut_inside_a_word_has_paid_nothing() -> None:
    bare, batch, word = random_model(0), random_batch(0, [2]), (FIRST_LETTER,) * 9
    (found,) = greedy(Constrained(bare, Lexicon.from_words([word]), "open", 50.0), batch, limit=LIMIT)
    assert (found.symbols, found.finished) == (word[:4], False)
    own = rescore(bare, batch, word[:4], finished=False).log_probability
    assert found.log_probability == found.score == pytest.approx(own, abs=1e-4)


def test_a_hard_hypothesis_cut_by_the_limit_is_the_beginning_of_a_word_and_says_so() -> None:
    word = (FIRST_LETTER,) * 9
    (found,) = greedy(Constrained(random_model(0), Lexicon.from_words([word])), random_batch(0, [2]), limit=LIMIT)
    assert (found.symbols, found.finished) == (word[:4], False)


def test_a_step_takes_off_what_the_mode_says_and_nothing_else() -> None:
    bare, batch = random_model(0), random_batch(0, [2, 2])
    a, b, c = FIRST_LETTER, FIRST_LETTER + 1, FIRST_LETTER + 2
    lexicon = Lexicon.from_words([(a,), (a, b)])
    own, _ = bare.step(torch.tensor([START, START]), bare.start(batch))
    for mode, weight in (("hard", None), ("open", 2.0)):
        model = Constrained(bare, lexicon, mode, weight)  # type: ignore[arg-type]
        taken = math.inf if weight is None else weight
        log_probs, state = model.step(torch.tensor([START, START]), model.start(batch))
        assert log_probs[0, a] == own[0, a]
        assert (own - log_probs)[:, [b, c, END]].tolist() == [pytest.approx([taken] * 3)] * 2
        own_next, _ = bare.step(torch.tensor([a, c]), state.inner)
        log_probs, _ = model.step(torch.tensor([a, c]), state)
        assert log_probs[0, [b, END]].tolist() == own_next[0, [b, END]].tolist()
        assert (own_next - log_probs)[0, [a, c]].tolist() == pytest.approx([taken] * 2)
        assert mode == "hard" or torch.equal(log_probs[1], own_next[1])


def test_attention_and_lexicons_on_lexicons_pass_through() -> None:
    bare, batch = random_model(0, attention=True), random_batch(0, [3, 2])
    loose = Lexicon.from_words([(FIRST_LETTER,)])
    model = Constrained(Constrained(bare, loose, "open", 1.0), Lexicon.from_words([(FIRST_LETTER + 1,)]), "open", 0.5)
    for method in ("greedy", "beam", "sample"):
        for row, (h,) in enumerate(decode(model, batch, Decoding(method), with_attention=True)):
            again = rescore(bare, one_row(batch, row), h.symbols, finished=h.finished)
            charge = 1.0 * (h.symbols != (FIRST_LETTER,)) + 0.5 * (h.symbols != (FIRST_LETTER + 1,))
            assert h.log_probability == pytest.approx(again.log_probability, abs=1e-4)
            assert h.score == pytest.approx(again.log_probability - charge, abs=1e-4)
            assert h.attention is not None
            assert again.attention is not None
            torch.testing.assert_close(h.attention, again.attention)


def test_words_that_the_model_cannot_produce_are_named_as_the_cause() -> None:
    model = Constrained(random_model(0), Lexicon.from_words([(0, 0)]))
    with pytest.raises(TriptychError, match=r"batch row 0 is -inf; .* a lexicon has only symbols that the model can"):
        greedy(model, random_batch(0, [2]), limit=LIMIT)


def test_a_lexicon_of_another_vocabulary_is_named() -> None:
    model = Constrained(random_model(0), Lexicon.from_words([(3, 17)]))
    with pytest.raises(ShapeError, match="largest symbol is 17; expected symbols below the vocabulary's size 6"):
        greedy(model, random_batch(0, [2]), limit=LIMIT)


@pytest.mark.parametrize(
    ("words", "mode", "weight", "message"),
    [
        ([(3,)], "hrad", None, "lexicon mode is 'hrad'; expected one of hard, open. Did you mean 'hard'?"),
        ([(3,)], "hard", 1.0, "lexicon weight is 1.0 with mode 'hard'; expected none."),
        ([(3,)], "open", None, "lexicon weight is None with mode 'open'; expected a number of nats >= 0."),
        ([(3,)], "open", -1.0, "lexicon weight is -1.0 with mode 'open'; expected a number of nats >= 0."),
        ([], "hard", None, "the lexicon has 0 words; expected 1 or more."),
        ([(3, END)], "hard", None, "the lexicon uses symbol 2, which ends a target; expected words without it."),
    ],
)
def test_impossible_settings_are_named(
    words: list[tuple[int, ...]], mode: str, weight: float | None, message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        Constrained(random_model(0), Lexicon.from_words(words), mode, weight)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
