"""Error rates on symbol sequences: by hand, against the textbook recurrence, and as identities."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.oracles.edit_distance import edit_distance
from triptych.errors import DataError, ShapeError, TriptychError
from triptych.report.comparison import differences
from triptych.spell.metrics import (
    ItemResult,
    Nearest,
    by_length,
    confusions,
    error_rows,
    errors_of,
    examples,
    nearest_reference,
    score,
    worst,
)

SYMBOLS = ("a", "b", "t͡ʃ", "ɑ̃", "AH0", " ")
words = st.lists(st.sampled_from(SYMBOLS), max_size=7).map(tuple)
references = st.lists(words.filter(bool), min_size=1, max_size=3).map(tuple)


@st.composite
def items_of_any_kind(draw: Any) -> ItemResult:
    predictions = tuple(draw(st.lists(words, min_size=1, max_size=4)))
    return ItemResult(draw(words), draw(references), predictions, tuple(-1.0 - k for k in range(len(predictions))))


several = st.lists(items_of_any_kind(), min_size=1, max_size=6)


def item(reference: str, *predictions: str, source: str = "x", also: tuple[str, ...] = ()) -> ItemResult:
    """An item whose symbols are letters."""
    return ItemResult(
        tuple(source),
        (tuple(reference), *(tuple(other) for other in also)),
        tuple(tuple(prediction) for prediction in predictions),
        tuple(-1.0 - k for k in range(len(predictions))),
    )


THREE = [item("abcd", "abcd"), item("abcd", "abxd"), item("ab", "")]


def test_rates_by_hand() -> None:
    scores = score(THREE)
    assert scores.n_items == 3
    assert scores.cer.value == pytest.approx((0 + 1 + 2) / (4 + 4 + 2))
    assert scores.wer.value == pytest.approx(2 / 3)
    assert scores.mean_error.value == pytest.approx((0 + 1 / 4 + 1) / 3)
    assert scores.wer_at_k == ()
    assert scores.cer_over_predictions is None
    assert scores.wer_over_predictions is None


def test_rates_of_samples_by_hand() -> None:
    items = [
        item("abcd", "abcx", "abcd", "abcd"),
        item("ab", "xy", "ay", "a"),
        item("abc", "abc", "xxxxx", "abc"),
        item("a", "b", "b", "a"),
    ]
    scores = score(items, sampled=True)
    assert [estimate.value for estimate in scores.wer_at_k] == pytest.approx([3 / 4, 2 / 4, 1 / 4])
    assert scores.wer_at_k[0].value == scores.wer.value
    assert scores.cer.value == pytest.approx((1 + 2 + 0 + 1) / 10)
    assert scores.cer_over_predictions is not None
    assert scores.cer_over_predictions.value == pytest.approx((1 / 3 + 4 / 3 + 5 / 3 + 2 / 3) / 10)
    assert scores.wer_over_predictions is not None
    assert scores.wer_over_predictions.value == pytest.approx((1 / 3 + 3 / 3 + 1 / 3 + 2 / 3) / 4)
    ranked = score(items)
    assert (ranked.wer_at_k, ranked.cer) == (scores.wer_at_k, scores.cer)
    assert ranked.cer_over_predictions is ranked.wer_over_predictions is None, "means over a ranked list say nothing"


def test_lengths_are_averaged_too_where_predictions_are_nearest_to_different_references() -> None:
    scores = score([item("abcdef", "abcdex", "x", also=("xy",))], sampled=True)
    assert scores.cer.value == pytest.approx(1 / 6)
    assert scores.cer_over_predictions is not None
    assert scores.cer_over_predictions.value == pytest.approx((1 + 1) / (6 + 2))


def test_an_item_with_fewer_predictions_counts_with_all_it_has() -> None:
    scores = score([item("a", "b", "a"), item("a", "b")])
    assert [estimate.value for estimate in scores.wer_at_k] == [1.0, 0.5]


def test_the_mean_over_samples_is_the_mean_of_the_samples_own_rates() -> None:
    generator = random.Random(3)
    drawn = [
        item(word, *("".join(generator.choice("ab") for _ in range(5)) for _ in range(3)))
        for word in ("ababa", "aabba", "bbbab", "abbba")
    ]
    single = [score([ItemResult(i.source, i.references, (i.predictions[k],), (0.0,)) for i in drawn]) for k in range(3)]
    scores = score(drawn, sampled=True)
    assert scores.cer_over_predictions is not None
    assert scores.cer_over_predictions.value == pytest.approx(np.mean([s.cer.value for s in single]))
    assert scores.wer_over_predictions is not None
    assert scores.wer_over_predictions.value == pytest.approx(np.mean([s.wer.value for s in single]))


@given(words, words.filter(bool))
def test_edits_equal_the_textbook_recurrence(prediction: tuple[str, ...], reference: tuple[str, ...]) -> None:
    assert nearest_reference(prediction, [reference]).edits == edit_distance(reference, prediction)


@given(words, references)
def test_the_nearest_reference_is_the_first_least_by_edits_then_rate(
    prediction: tuple[str, ...], several_references: tuple[tuple[str, ...], ...]
) -> None:
    near = nearest_reference(prediction, several_references)
    by_hand = min(
        (edit_distance(reference, prediction), edit_distance(reference, prediction) / len(reference), place)
        for place, reference in enumerate(several_references)
    )
    assert near == Nearest(several_references[by_hand[2]], by_hand[0])


def test_multi_letter_symbols_are_one_edit_each() -> None:
    result = ItemResult(("c", "h"), (("t͡ʃ", "ə"),), (("d͡ʒ", "ə"),), (-1.0,))
    assert score([result]).cer.value == 0.5


def test_any_reference_may_be_matched_and_the_nearest_gives_the_length() -> None:
    assert score([item("abcdef", "xy", also=("xy",))]).wer.value == 0
    scores = score([item("abcdef", "abx", also=("ab", "abcx"))])
    assert scores.cer.value == pytest.approx(1 / 4)
    first = nearest_reference(tuple("ab"), [tuple("ac"), tuple("xb")])
    assert first.reference == tuple("ac")


@given(several)
@settings(deadline=None, max_examples=60)
def test_identities(items: list[ItemResult]) -> None:
    scores = score(items, samples=20)
    edits = [min(edit_distance(reference, i.predictions[0]) for reference in i.references) for i in items]
    all_right = all(i.predictions[0] in i.references for i in items)
    assert (scores.cer.value == 0) == (scores.wer.value == 0) == (scores.mean_error.value == 0) == all_right
    assert scores.wer.value == pytest.approx(sum(i.predictions[0] not in i.references for i in items) / len(items))
    assert 0 <= scores.wer.interval.low <= scores.wer.interval.high <= 1
    rates = [estimate.value for estimate in scores.wer_at_k]
    assert rates == sorted(rates, reverse=True)
    if rates:
        assert rates[0] == scores.wer.value
        assert rates[-1] == pytest.approx(sum(not set(i.predictions) & set(i.references) for i in items) / len(items))
    assert sum(confusion.occurrences for confusion in confusions(items)) == sum(edits)
    assert [row.edits for row in error_rows(items)] == [edit for edit in edits if edit]
    json.dumps([scores.to_dict(), *(row.to_dict() for row in error_rows(items))], allow_nan=False)


def test_level_samples_and_seed_reach_every_interval() -> None:
    items = [item("abcd", *random.Random(k).choices(["abcd", "abxd", "x"], k=2)) for k in range(40)]
    base = score(items, sampled=True).to_dict()
    for options in ({"level": 0.5}, {"samples": 37}, {"seed": 9}):
        changed = score(items, sampled=True, **options)
        for name in ("cer", "mean_error", "cer_over_predictions", "wer_over_predictions"):
            assert changed.to_dict()[name] != base[name]
            assert changed.to_dict()[name]["value"] == base[name]["value"]
    shares = score(items, level=0.5).to_dict()  # these are not resampled
    assert shares["wer"] != base["wer"]
    assert shares["wer_at_k"]["2"] != base["wer_at_k"]["2"]
    assert score(items, sampled=True).to_dict() == base


def test_to_dict_leaves_out_what_does_not_apply() -> None:
    assert set(score(THREE).to_dict()) == {"n_items", "cer", "wer", "mean_error"}
    assert set(score([item("a", "b", "a")]).to_dict()["wer_at_k"]) == {"1", "2"}


def test_confusions_by_hand() -> None:
    items = [
        item("abc", "axc"),
        item("abc", "axcd"),
        item("abc", "ac"),
        item("abc", "abc"),
        item("q", "b", also=("a",)),
    ]
    assert confusions(items) == [("b", "x", 2), ("", "d", 1), ("b", "", 1), ("q", "b", 1)]
    assert confusions([item("a", "a")]) == []


@given(several)
@settings(deadline=None, max_examples=40)
def test_confusions_account_for_the_symbols(items: list[ItemResult]) -> None:
    """Reference symbols minus lost ones plus gained ones are the predicted symbols, symbol by symbol."""
    balance: dict[str, int] = {}
    for result in items:
        for symbol in nearest_reference(result.predictions[0], result.references).reference:
            balance[symbol] = balance.get(symbol, 0) + 1
        for symbol in result.predictions[0]:
            balance[symbol] = balance.get(symbol, 0) - 1
    for meant, written, times in confusions(items):
        assert meant != written
        balance[meant] = balance.get(meant, 0) - times
        balance[written] = balance.get(written, 0) + times
    balance.pop("", None)
    assert not any(balance.values())


def test_by_length_puts_each_item_in_one_bin() -> None:
    items = [
        item("a", "a" if len(source) < 5 else "b", source=source) for source in ("", "abcd", "abcde", "abcdefghijk")
    ]
    bins = by_length(items, (5, 6, 10, 11), samples=10)
    assert [(b.label, b.shortest, b.longest, b.scores.n_items, b.scores.wer.value) for b in bins] == [
        ("0-4", 0, 4, 2, 0.0),
        ("5", 5, 5, 1, 1.0),
        ("11", 11, 11, 1, 1.0),
    ]
    assert bins[0].to_dict()["scores"] == score(items[:2], samples=10).to_dict()
    assert [b.label for b in by_length(items, ())] == ["0-11"]


def test_worst_comes_first_by_rate_then_edits_then_order() -> None:
    items = [item("abcd", "abcx"), item("ab", "xy", source="1"), item("abc", "xyz"), item("a", "a"), item("ab", "yx")]
    assert ["".join(row.prediction) for row in worst(items, 3)] == ["xyz", "xy", "yx"]
    assert [row.edits / row.reference_length for row in worst(items, 99)] == [1, 1, 1, 0.25]
    assert worst(items, 0) == []


def test_error_rows_carry_everything() -> None:
    (row,) = error_rows([item("abc", "abc"), item("abcd", "ab", "abcd", source="xyz", also=("q",))])
    assert row.to_dict() == {
        "source": ("x", "y", "z"),
        "references": (("a", "b", "c", "d"), ("q",)),
        "prediction": ("a", "b"),
        "edits": 2,
        "reference_length": 4,
        "log_probability": -1.0,
        "features": (),
    }


def test_examples_are_distinct_in_order_and_seeded() -> None:
    items = [item(str(number), "b", "a", "b") for number in range(50)]
    chosen = examples(items, 5, seed=1)
    assert [example.predictions for example in chosen] == [(("b",), ("a",))] * 5
    numbers = [int("".join(example.references[0])[:2]) for example in chosen]
    assert numbers == sorted(set(numbers))
    assert chosen == examples(items, 5, seed=1)
    assert chosen != examples(items, 5, seed=2)
    assert len(examples(items, 500)) == 50
    assert chosen[0].to_dict()["source"] == ("x",)


def test_differences_use_each_systems_nearest_reference() -> None:
    a = [item("abcdef", "abcdex", also=("xy",)), item("ab", "ab"), item("ab", "ax")]
    b = [item("abcdef", "xz", also=("xy",)), item("ab", "ax"), item("ab", "ax")]
    compared = differences(errors_of(b), errors_of(a))
    assert list(compared) == ["CER", "WER", "mean error"]
    assert len(errors_of(a).items) == 3
    cer, wer, mean_error = compared.values()
    assert cer.difference == pytest.approx((1 + 0 + 1) / 10 - (1 + 1 + 1) / 6)
    assert wer.difference == pytest.approx(2 / 3 - 3 / 3)
    assert mean_error.difference == pytest.approx((1 / 6 + 0 + 1 / 2 - 3 / 2) / 3)
    assert (cer.wins, cer.losses, cer.ties) == (2, 0, 1)
    assert (wer.wins, wer.losses, wer.ties) == (1, 0, 2)
    assert wer.to_dict()["wins"] == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: score([]), DataError, "there are no items to evaluate."),
        (lambda: by_length([], (5,)), DataError, "there are no items to evaluate."),
        (lambda: errors_of([]), DataError, "there are no items to evaluate."),
        (lambda: item("", "a"), DataError, "references of 'x' is ((),); expected at least one, none empty."),
        (lambda: ItemResult(("a", "b"), (), (("a",),), (0.0,)), DataError, "references of 'a b' is ();"),
        (lambda: item("a"), DataError, "predictions of 'x' is (); expected at least one."),
        (
            lambda: ItemResult(("a",), (("a",),), (("a",),), ()),
            ShapeError,
            "log_probabilities of 'a' has 0 entries; expected 1, one per prediction.",
        ),
        (lambda: by_length(THREE, (5, 5)), TriptychError, "edges is (5, 5); expected rising integers >= 1"),
        (lambda: by_length(THREE, (0, 5)), TriptychError, "edges is (0, 5); expected rising integers >= 1"),
        (lambda: worst(THREE, -1), TriptychError, "n is -1; expected an integer >= 0."),
        (lambda: examples(THREE, -2), TriptychError, "n is -2; expected an integer >= 0."),
        (
            lambda: differences(errors_of(THREE), errors_of(THREE[:2])),
            DataError,
            "the number of items of the other run is 2; expected 3, as in the first run.",
        ),
        (
            lambda: differences(errors_of([item("a", "a", source="pq")]), errors_of([item("a", "a", source="rs")])),
            DataError,
            "item 0 of the other run is ('r s', 'a'); expected ('p q', 'a'), as in the first run.",
        ),
        (
            lambda: differences(errors_of([item("a", "a")]), errors_of([item("b", "a")])),
            DataError,
            "item 0 of the other run is ('x', 'b'); expected ('x', 'a'), as in the first run.",
        ),
    ],
)
def test_errors_name_the_value_and_the_rule(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_a_hundred_thousand_items_take_seconds() -> None:
    generator = random.Random(0)
    pool = [
        item("".join(generator.choices("abcdefgh", k=generator.randint(3, 12))), "abcdef", "bcdefg", "abc")
        for _ in range(1000)
    ]
    begin = time.process_time()
    scores = score(pool * 100)
    assert time.process_time() - begin < 15  # 1.5 on a laptop core; an unbounded bootstrap takes minutes
    assert scores.n_items == 100_000
