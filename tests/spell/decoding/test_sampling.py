"""Sampling: the filters against their definitions, the draws against the distribution, the seeds against batching."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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
)
from triptych.errors import RecipeError, ShapeError, TriptychError
from triptych.spell.decoding import LengthLimit, Sampling, SourceBatch, greedy, nucleus, sample, top_k
from triptych.spell.decoding.sampling import filtered, inverse_distribution

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=6)
LIMIT = LengthLimit(factor=1.0, extra=2)
COUNTS = st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any)
"""Whole numbers as unnormalised probabilities: ties and zeros are common."""


@settings(max_examples=300)
@given(counts=COUNTS, p=st.one_of(st.just(1.0), st.floats(1e-9, 1.0)))
def test_nucleus_equals_its_definition(counts: list[int], p: float) -> None:
    total = sum(counts)
    probabilities = [count / total for count in counts]
    reached = [sum(sorted(probabilities, reverse=True)[:n]) for n in range(len(counts))]
    assume(all(abs(mass - p) > 1e-6 for mass in reached[1:]) or p == 1)
    result = nucleus(torch.tensor(probabilities).log(), p)
    assert result.exp().tolist() == pytest.approx(nucleus_directly(probabilities, p), abs=1e-6)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1e-9, [0, 1, 0, 0]),
        (0.5, [0, 1, 0, 0]),
        (0.51, [1 / 3, 2 / 3, 0, 0]),
        (0.75, [1 / 3, 2 / 3, 0, 0]),
        (0.8, [2 / 7, 4 / 7, 1 / 7, 0]),
        (1.0, [0.25, 0.5, 0.125, 0.125]),
    ],
)
def test_nucleus_stops_exactly_where_the_mass_is_reached(p: float, expected: list[float]) -> None:
    log_probs = torch.tensor([0.25, 0.5, 0.125, 0.125], dtype=torch.float64).log()
    assert nucleus(log_probs, p).exp().tolist() == pytest.approx(expected)


def test_a_nucleus_of_one_keeps_even_what_rounding_would_lose() -> None:
    assert nucleus(torch.tensor([0.0, -60.0]), 1.0).tolist() == pytest.approx([0.0, -60.0])


@settings(max_examples=200)
@given(counts=COUNTS, k=st.integers(1, 14))
def test_top_k_equals_its_definition(counts: list[int], k: int) -> None:
    best = sorted(range(len(counts)), key=lambda i: (-counts[i], i))[:k]
    mass = sum(counts[i] for i in best)
    expected = [count / mass if i in best else 0.0 for i, count in enumerate(counts)]
    assert top_k(torch.tensor(counts).float().log(), k).exp().tolist() == pytest.approx(expected, abs=1e-6)


def test_filters_work_on_rows_and_normalise_what_they_are_given() -> None:
    rows = torch.tensor([[4.0, 2.0, 1.0, 1.0], [1.0, 1.0, 6.0, 0.0]]).log() - 3.0
    expected = torch.tensor([[2 / 3, 1 / 3, 0, 0], [0, 0, 1, 0]])
    torch.testing.assert_close(nucleus(rows, 0.7).exp(), expected)
    torch.testing.assert_close(top_k(rows, 1).exp(), torch.tensor([[1.0, 0, 0, 0], [0, 0, 1.0, 0]]))


def test_temperature_then_top_k_then_top_p() -> None:
    log_probs = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    squared = torch.tensor([[0.16, 0.09, 0.04, 0.01]])
    torch.testing.assert_close(filtered(log_probs, Sampling(temperature=0.5)).exp(), squared / 0.30)
    # Of 0.16, 0.09, 0.04 the first two have mass 0.862; without top_k 0.833, without temperature 0.7 / 0.9.
    both = filtered(log_probs, Sampling(temperature=0.5, top_k=3, top_p=0.85)).exp()
    torch.testing.assert_close(both, torch.tensor([[0.64, 0.36, 0, 0]]))


@given(counts=COUNTS, uniform=st.floats(0, 1, exclude_max=True))
def test_draws_invert_the_distribution(counts: list[int], uniform: float) -> None:
    log_probs = torch.tensor([counts], dtype=torch.float64).log().log_softmax(1)
    for u in (uniform, 0.0, math.nextafter(1.0, 0.0)):
        drawn = int(inverse_distribution(log_probs, torch.tensor([u], dtype=torch.float64)))
        assert counts[drawn] > 0
        below, target = sum(counts[:drawn]), u * sum(counts)
        assert below - 1e-9 <= target <= below + counts[drawn] + 1e-9


def test_samples_are_as_frequent_as_the_model_says() -> None:
    """Every target's share of 20,000 samples is within five standard errors of its probability."""
    model, batch, limit = random_model(4, end_bias=0.5), random_batch(4, [2]), LengthLimit(factor=0.0, extra=3)
    drawn = sample(model, batch, Sampling(samples=20_000, seed=1), limit=limit)[0]
    shares = Counter(h.symbols for h in drawn if h.finished)
    targets = enumerate_targets(model, batch, limit)
    assert len(targets) == 1 + 3 + 9 + 27
    for target in targets:
        probability = math.exp(target.log_probability)
        error = math.sqrt(probability * (1 - probability) / len(drawn))
        assert shares[target.symbols] / len(drawn) == pytest.approx(probability, abs=5 * error)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, top_p=st.sampled_from([None, 0.5, 0.8]))
def test_hypotheses_are_possible_and_carry_the_models_own_log_probability(
    seed: int, lengths: list[int], top_p: float | None
) -> None:
    model, batch = random_model(seed, attention=True), random_batch(seed, lengths)
    how = Sampling(samples=3, temperature=1.7, top_p=top_p, seed=seed)
    result = sample(model, batch, how, limit=LIMIT, with_attention=True)
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
            torch.testing.assert_close(h.attention, again.attention)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=LENGTHS, order=st.randoms(use_true_random=False))
def test_a_rows_samples_depend_on_its_id_and_not_on_its_batch(  # type: ignore[no-untyped-def]
    seed: int, lengths: list[int], order
) -> None:
    model, batch = random_model(seed), random_batch(seed, lengths)
    how, ids = Sampling(samples=2, seed=seed), [7 * row for row in range(len(lengths))]
    together = sample(model, batch, how, row_ids=ids, limit=LIMIT)
    index = list(range(len(lengths)))
    order.shuffle(index)
    shuffled = SourceBatch(batch.symbols[index], batch.lengths[index])
    assert sample(model, shuffled, how, row_ids=[ids[i] for i in index], limit=LIMIT) == [together[i] for i in index]
    for row in range(len(lengths)):
        assert sample(model, one_row(batch, row), how, row_ids=ids[row : row + 1], limit=LIMIT) == [together[row]]
    more = sample(model, batch, Sampling(samples=5, seed=seed), row_ids=ids, limit=LIMIT)
    assert [row[:2] for row in more] == together


def test_seeds_and_ids_change_the_samples_and_rows_differ_by_default() -> None:
    model = random_model(0, end_bias=-2.0)
    batch = random_batch(0, [5])
    twice = SourceBatch(batch.symbols.repeat(2, 1), batch.lengths.repeat(2))

    def draw(seed: int, ids: list[int] | None = None) -> list[list[tuple[int, ...]]]:
        result = sample(model, twice, Sampling(samples=3, seed=seed), row_ids=ids, limit=LIMIT)
        return [[h.symbols for h in row] for row in result]

    assert draw(0) == draw(0) == draw(0, [0, 1])
    assert draw(0) != draw(1)
    assert draw(0)[0] != draw(0)[1]
    assert draw(0, [5, 5])[0] == draw(0, [5, 5])[1]
    assert len(set(draw(0)[0])) > 1


def test_only_the_top_symbol_is_greedy_decoding() -> None:
    model, batch = random_model(3), random_batch(3, [2, 5, 4])
    expected = [hypothesis.symbols for hypothesis in greedy(model, batch, limit=LIMIT)]
    for how in (Sampling(top_k=1), Sampling(top_p=1e-6), Sampling(temperature=1e-4)):
        assert [row[0].symbols for row in sample(model, batch, how, limit=LIMIT)] == expected


def test_the_nucleus_keeps_improbable_symbols_out_of_the_samples() -> None:
    model, batch = random_model(9), random_batch(9, [3])
    how = Sampling(samples=300, top_p=0.6)
    for hypothesis in sample(model, batch, how, limit=LIMIT)[0]:
        state, fed = model.start(batch), START
        for symbol in [*hypothesis.symbols, END] if hypothesis.finished else hypothesis.symbols:
            log_probs, state = model.step(torch.tensor([fed]), state)
            assert nucleus_directly(log_probs[0].exp().tolist(), 0.6)[symbol] > 0
            fed = symbol


def test_rows_that_cannot_go_on_are_named() -> None:
    model, batch = random_model(0), random_batch(0, [2, 5, 3])
    model.table[model.step(torch.full((3,), START), model.start(batch))[1].codes[1]] = math.nan
    with pytest.raises(TriptychError, match="log-probability of batch row 1 is nan; expected a finite number"):
        sample(model, batch, Sampling(samples=2, top_p=0.8), limit=LIMIT)


def test_an_empty_batch_gives_no_lists() -> None:
    batch = SourceBatch(torch.zeros(0, 3, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert sample(random_model(0), batch, Sampling(samples=2), limit=LIMIT) == []


def test_the_number_of_ids_must_fit() -> None:
    with pytest.raises(ShapeError, match="row_ids has 2 numbers; expected 1, one per row"):
        sample(random_model(0), random_batch(0, [2]), Sampling(), row_ids=[1, 2], limit=LIMIT)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"samples": 0}, "decoding.samples is 0; expected an integer >= 1."),
        ({"temperature": 0.0}, "decoding.temperature is 0.0; expected a number > 0. Use --decode greedy"),
        ({"top_k": 0}, "decoding.top_k is 0; expected an integer >= 1."),
        ({"top_p": 0.0}, "decoding.top_p is 0.0; expected a number above 0 and at most 1."),
        ({"top_p": 1.1}, "decoding.top_p is 1.1; expected a number above 0 and at most 1."),
        ({"seed": -1}, "decoding.seed is -1; expected an integer >= 0."),
    ],
)
def test_impossible_settings_are_named(setting: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Sampling(**setting)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_filters_check_their_own_parameters() -> None:
    with pytest.raises(RecipeError, match=r"decoding\.top_p is 2; expected"):
        nucleus(torch.zeros(3), 2)
    with pytest.raises(RecipeError, match=r"decoding\.top_k is -1; expected"):
        top_k(torch.zeros(3), -1)
