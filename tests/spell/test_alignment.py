"""Alignments of real networks: the walk against all walks, exported graphs against PyTorch."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ToyRuns
from tests.export.models import network, ship, speller
from tests.spell.test_monotonic import batch, build
from triptych import api
from triptych.decoding import Sources
from triptych.decoding.scoring import force
from triptych.errors import DataError, RecipeError
from triptych.runtime.speller import load as load_exported
from triptych.spell.adapter import TorchModel
from triptych.spell.monotonic import MonotonicTransducer
from triptych.text.alignment import Alignment
from triptych.text.symbols import Vocabulary


def best_walk(transducer: MonotonicTransducer, source: list[int], target: list[int]) -> tuple[float, tuple[int, ...]]:
    """The most probable walk and its probability, by enumerating every walk of one source alone."""
    decoder, viewed = transducer.decoder, transducer._view(batch(source))
    states, _ = decoder.states(torch.tensor([[Vocabulary.start, *target[:-1]]]), None)
    transitions, written = decoder.transitions(states, viewed)[0], decoder.written(states, viewed)[0][0]

    def probability(walk: tuple[int, ...]) -> float:
        total, before = 1.0, 0
        for step, (here, symbol) in enumerate(zip(walk, target, strict=True)):
            total *= transitions[step, before, here].item() * written[step, here, symbol].item()
            before = here
        return total

    walks = itertools.product(range(len(source) + 2), repeat=len(target))
    best = max(walks, key=probability)
    return probability(best), best


def test_the_walk_is_the_most_probable_of_all_walks() -> None:
    transducer = build()
    sources, targets = [[4, 5, 6], [7], [8, 4], [5, 5, 6, 7]], [[4, 7, 5], [6], [], [4, 4]]
    for found, source, target in zip(
        force(TorchModel(transducer), Sources.of(sources), targets, with_alignment=True), sources, targets, strict=True
    ):
        probability, walk = best_walk(transducer, source, [*target, Vocabulary.end])
        assert found.walk is not None
        assert tuple(found.walk + 1) == walk
        assert 0 < probability <= np.exp(found.log_probabilities.sum()) * 1.001


@pytest.mark.parametrize("attention", ["additive", "monotonic"])
def test_an_exported_folder_scores_and_aligns_as_the_run(attention: Any, tmp_path: Path) -> None:
    made = speller(network(attention=attention, hidden=8, embedding=8))
    exported = load_exported(ship(made, tmp_path / "out"))
    letters = made.vocabularies.sources.symbols
    sources = [letters[:3], letters[1:2], letters[2:6]]
    targets = [made.vocabularies.targets.symbols[:4], made.vocabularies.targets.symbols[:1], letters[:0] or ("?",)]
    for wanted, found in zip(made.score(sources, targets), exported.score(sources, targets), strict=True):
        np.testing.assert_allclose(found.log_probabilities, wanted.log_probabilities, atol=1e-4)
    assert exported.align(sources, targets) == made.align(sources, targets)
    assert made.align(sources, targets)[0].kind == {"additive": "attention", "monotonic": "walk"}[attention]


def test_an_ensemble_aligns_by_the_mean_of_its_members_attention() -> None:
    made = speller(network(0, attention="monotonic"), network(1, attention="additive", hidden=12, embedding=12))
    source, target = made.vocabularies.sources.symbols[:4], made.vocabularies.targets.symbols[:3]
    (found,) = made.align([source], [target])
    assert found.kind == "attention"
    assert list(found.places) == sorted(place for place in found.places if place is not None)


def test_a_model_without_attention_does_not_align() -> None:
    made = speller(network(attention="none"))
    with pytest.raises(RecipeError, match="the model has no attention") as caught:
        made.align([made.vocabularies.sources.symbols[:2]], [made.vocabularies.targets.symbols[:2]])
    assert "p2g-best" in caught.value.hint or "p2g-best" in str(caught.value)


def test_predictions_score_as_the_decoder_says_and_come_with_alignments(toy_runs: ToyRuns) -> None:
    made = api.load(toy_runs.folder / "first")
    plain = made.predict(["B IY T", "SH UW", "K AA"], n_best=3)
    for prediction in plain:
        scores = made.score([prediction.source] * 3, [candidate.symbols for candidate in prediction.candidates])
        for candidate, score in zip(prediction.candidates, scores, strict=True):
            assert score.log_probability == pytest.approx(candidate.log_probability, abs=1e-4)
            assert score.per_symbol == pytest.approx(score.log_probability / (len(candidate.symbols) + 1))
            assert candidate.alignment is None
    aligned = made.predict(["B IY T", "SH UW", "K AA"], n_best=3, with_alignment=True)
    for prediction, before in zip(aligned, plain, strict=True):
        assert [candidate.text for candidate in prediction.candidates] == [c.text for c in before.candidates]
        for candidate in prediction.candidates:
            assert candidate.alignment == made.align([prediction.source], [candidate.symbols])[0]


def test_a_model_that_has_learnt_the_language_aligns_it(toy_runs: ToyRuns) -> None:
    (found,) = api.load(toy_runs.folder / "first").align("B IY T", "beet")
    assert found.places[0] == 0
    assert found.places[-1] == 2
    assert found.text.startswith("B:b ")


def test_unknown_symbols_are_named_and_word_lists_have_no_part(toy_runs: ToyRuns) -> None:
    made = api.load(toy_runs.folder / "first")
    (score,) = made.score("B QQ", "b7")
    assert (score.unknown_source, score.unknown_target, score.unknown) == (("QQ",), ("7",), 2)
    assert score.log_probability == -np.inf
    held = made.with_lexicon(["moo"]).with_dictionary([("B IY", "bea")])
    assert held.score("B IY", "bee") == made.score("B IY", "bee")


@pytest.mark.parametrize(
    ("sources", "targets", "part"),
    [
        (["B"], ["b", "c"], "the number of targets is 2; expected 1"),
        (["B", ""], ["b", "c"], "source 1 has 0 symbols"),
        (["B"], [" "], "target 0 has 0 symbols"),
    ],
)
def test_sides_that_do_not_fit_are_refused(
    toy_runs: ToyRuns, sources: list[str], targets: list[str], part: str
) -> None:
    with pytest.raises(DataError, match=part):
        api.load(toy_runs.folder / "first").score(sources, targets)


def test_rescoring_orders_by_the_weighted_mean(toy_runs: ToyRuns) -> None:
    first, second = api.load(toy_runs.folder / "first"), api.load(toy_runs.folder / "second")
    predictions = first.predict(["B IY T", "SH UW"], n_best=4)
    for weight in (0.0, 0.3, 1.0):
        for before, after in zip(predictions, second.rescore(predictions, weight=weight), strict=True):
            new = {c.symbols: second.score([before.source], [c.symbols])[0].log_probability for c in before.candidates}
            expected = {c.symbols: weight * new[c.symbols] + (1 - weight) * c.score for c in before.candidates}
            assert {c.symbols: c.score for c in after.candidates} == pytest.approx(expected)
            scores = [candidate.score for candidate in after.candidates]
            assert scores == sorted(scores, reverse=True)
    assert [p.text for p in second.rescore(predictions, weight=0.0)] == [p.text for p in predictions]


def test_alignments_as_text_and_as_places() -> None:
    found = Alignment(("x", "e", "o", "h"), ("k", "s", "ə", "!"), (0, 0, 2, None), "walk")
    assert found.text == "x:k+s e:_ o:ə _:! h:_"
    assert found.pairs == "0-0 0-1 2-2"
    assert Alignment(("a", "b"), ("1", "2", "3"), (1, 0, 1), "walk").text == "b:1 a:2 b:3"
    assert Alignment(("a",), (), (), "walk").text == "a:_"


def test_a_side_that_is_read_backward_is_shown_as_it_is_written() -> None:
    found = Alignment(("h", "a"), ("3", "2", "1"), (0, None, 1), "walk")
    assert found.turned(False, False) == found
    assert found.turned(True, True).text == "a:1 _:2 h:3"
    assert found.turned(True, False).places == (1, None, 0)
    assert found.turned(False, True).pairs == "1-0 0-2"
