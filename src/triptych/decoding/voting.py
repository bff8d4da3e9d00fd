"""Several spellers that vote on whole targets, where probabilities of single symbols cannot be averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from triptych.config.decoding import SpellDecoding
from triptych.decoding.contract import StepModel
from triptych.decoding.dictionary import Dictionary, Symbols
from triptych.decoding.ensemble import Ensemble
from triptych.decoding.inputs import Text
from triptych.decoding.speller import Speller
from triptych.errors import RecipeError
from triptych.text.alignment import Alignment, PairScore
from triptych.text.pairs import Input
from triptych.text.predictions import Candidate, Prediction
from triptych.text.symbols import Vocabularies

MEMBERS = "member_vocabularies"  # key of a description whose members vote: the vocabularies of each


class Voting(Speller):
    """Predicts what most of its members predict.

    Every member lists its candidates. A candidate's rank is the number of members that have it first, and among equals
    the mean over members of its probability, where one that does not list it gives it none. Members may read and write
    in unlike directions and be of unlike architectures; they share symbols. `score`, `rescore` and `align` raise
    RecipeError: members that vote give a pair no probability and have no alignment in common.

    Args:
        members: at least one.
        decoding: how each of them decodes when a call does not say.
        dictionary: targets that replace predictions for their sources.
    """

    def __init__(
        self, members: Sequence[Speller], decoding: SpellDecoding, *, dictionary: Dictionary | None = None
    ) -> None:
        model = Ensemble([member.model for member in members])  # for whoever looks for the networks
        super().__init__(model, members[0].vocabularies, decoding, dictionary=dictionary)
        self.members = tuple(members)

    def with_lexicon(self, words: Iterable[Text], *, weight: float | None = None) -> Speller:
        """A speller whose members keep to the words of a list; see `Speller.with_lexicon`."""
        kept = [word if isinstance(word, str) else tuple(word) for word in words]
        texts = [word if isinstance(word, str) else self.vocabularies.target_tokenizer.join(word) for word in kept]
        found = copy(self)
        found.members = tuple(member.with_lexicon(texts, weight=weight) for member in self.members)
        if self.remembered is not None and weight is None:
            split = self.vocabularies.target_tokenizer.split
            found.remembered = self.remembered.within({split(text) for text in texts})
        return found

    def _score(self, pairs: Sequence[tuple[Input, Symbols]]) -> list[PairScore]:
        raise _one_by_one("score")

    def _align(self, pairs: Sequence[tuple[Input, Symbols]]) -> list[Alignment]:
        raise _one_by_one("align")

    def _predict_new(
        self, inputs: Sequence[Input], numbers: Sequence[int], settings: SpellDecoding, *, with_attention: bool
    ) -> list[Prediction]:
        answers = self.ballots(inputs, settings)
        return [
            self.elected(given, [own[place] for own in answers], settings.candidates)
            for place, given in enumerate(inputs)
        ]

    def ballots(self, inputs: Sequence[Input], settings: SpellDecoding) -> list[list[Prediction]]:
        """Every member's predictions, in the direction of the first member.

        Raises:
            RecipeError: candidates would be drawn by chance.
        """
        if settings.method == "sample":
            raise RecipeError(field="decoding.method", value="sample", expected="greedy or beam where members vote")
        found = []
        for member in self.members:
            turned = [self._turned(given.source, member, "source") for given in inputs]
            features = None if member.vocabularies.features is None else [given.features for given in inputs]
            predictions = member.predict(turned, features=features, decoding=settings)
            found.append([self._as_own(prediction, member) for prediction in predictions])
        return found

    def elected(self, given: Input, answers: Sequence[Prediction], most: int) -> Prediction:
        """What comes of the members' predictions for a source: at most that many candidates, best first."""
        first: dict[Symbols, Candidate] = {}
        votes: dict[Symbols, int] = {}
        probability: dict[Symbols, float] = {}
        for answer in answers:
            for place, candidate in enumerate(answer.candidates):
                key = candidate.symbols
                first.setdefault(key, candidate)
                votes[key] = votes.get(key, 0) + (place == 0)
                probability[key] = probability.get(key, 0.0) + candidate.probability / len(answers)
        ranked = sorted(first, key=lambda key: (-votes[key], -probability[key]))
        candidates = tuple(
            replace(
                first[key],
                log_probability=math.log(probability[key]) if probability[key] > 0 else -math.inf,
                score=votes[key] + probability[key],
                attention=None,
            )
            for key in ranked[:most]
        )
        return replace(answers[0], source=given.source, candidates=candidates)

    def _as_own(self, prediction: Prediction, member: Speller) -> Prediction:
        """A member's prediction with symbols in the direction of the first member."""
        candidates = tuple(
            replace(candidate, symbols=self._turned(candidate.symbols, member, "target"))
            for candidate in prediction.candidates
        )
        return replace(prediction, candidates=candidates)

    def _turned(self, symbols: Symbols, member: Speller, side: str) -> Symbols:
        """Symbols in the direction that they do not have, where a member goes in another one than the first."""
        own, other = (getattr(speller.vocabularies, f"{side}_tokenizer").backward for speller in (self, member))
        return symbols if own == other else symbols[::-1]


def speller_of(
    models: Sequence[StepModel[Any]],
    description: Mapping[str, Any],
    vocabularies: Callable[[Mapping[str, Any]], Vocabularies],
    decoding: SpellDecoding,
) -> Speller:
    """The speller of a description: one model, several whose probabilities are averaged, or several that vote.

    Args:
        models: at least one.
        description: of a run or an exported folder.
        vocabularies: reads the vocabularies of such a description, or of one of its members.
        decoding: how to decode when a call does not say.
    """
    if MEMBERS in description:
        members = zip(models, description[MEMBERS], strict=True)
        return Voting([Speller(model, vocabularies(own), decoding) for model, own in members], decoding)
    return Speller(models[0] if len(models) == 1 else Ensemble(models), vocabularies(description), decoding)


def _one_by_one(what: str) -> RecipeError:
    return RecipeError(f"members that vote cannot {what} pairs.", hint="Use one of the members.")
