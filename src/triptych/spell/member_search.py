"""Which of several spellers to combine: chosen one after the other by their errors on validation data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triptych.config import SpellDecoding
from triptych.decoding import Ensemble, Speller
from triptych.decoding.contract import Array
from triptych.decoding.voting import Voting
from triptych.runs.members import Combination
from triptych.spell.corpus import Item
from triptych.text.predictions import Prediction


@dataclass(frozen=True)
class Selection:
    """A step of the search.

    Attributes:
        members: places of the members so far, in the order in which they were chosen.
        errors: number of items that they get wrong together.
        items: number of items.
        probability: of the right answers, mean over items; it decides among equal numbers of errors.
    """

    members: tuple[int, ...]
    errors: int
    items: int
    probability: float


def search_members(
    spellers: Sequence[Speller], items: Sequence[Item], decoding: SpellDecoding, *, by: Combination, most: int
) -> list[Selection]:
    """Add the member that leaves the fewest errors, as long as errors fall, up to a number of members.

    Args:
        spellers: what to choose from.
        items: to predict, with their references.
        decoding: of every prediction.
        by: how members are combined.
        most: members at the end, >= 1.
    Returns:
        A step for each member; the last one is the choice. At least two members are chosen where `most` allows it.
    Source: Caruana et al. 2004, Ensemble selection from libraries of models, section 2, without replacement.
    """
    predicted = _voted(spellers, items, decoding) if by == "vote" else _averaged(spellers, items, decoding)
    steps: list[Selection] = []
    while len(steps) < min(most, len(spellers)):
        before = steps[-1].members if steps else ()
        tried = [(*before, place) for place in range(len(spellers)) if place not in before]
        found = [_selection(members, predicted(members), items) for members in tried]
        best = min(found, key=lambda step: (step.errors, -step.probability))
        if len(steps) >= 2 and best.errors >= steps[-1].errors:
            break
        steps.append(best)
    return steps


Predict = Callable[[tuple[int, ...]], Sequence[Prediction[Array]]]


def _voted(spellers: Sequence[Speller], items: Sequence[Item], decoding: SpellDecoding) -> Predict:
    """Every speller predicts once; its votes are counted again for each choice."""
    every = Voting(spellers, decoding)
    ballots = every.ballots([item.source for item in items], decoding)

    def predict(members: tuple[int, ...]) -> list[Prediction[Array]]:
        return [
            every.elected(item.source, [ballots[member][place] for member in members], decoding.candidates)
            for place, item in enumerate(items)
        ]

    return predict


def _averaged(spellers: Sequence[Speller], items: Sequence[Item], decoding: SpellDecoding) -> Predict:
    def predict(members: tuple[int, ...]) -> list[Prediction[Array]]:
        model = Ensemble([spellers[member].model for member in members])
        return Speller(model, spellers[0].vocabularies, decoding).predict([item.source for item in items])

    return predict


def _selection(members: tuple[int, ...], predictions: Sequence[Prediction[Array]], items: Sequence[Item]) -> Selection:
    errors, probability = 0, 0.0
    for found, item in zip(predictions, items, strict=True):
        errors += found.symbols not in item.references
        probability += sum(each.probability for each in found.candidates if each.symbols in item.references)
    return Selection(members, errors, len(items), probability / len(items))
