"""Several spellers as one: which runs may be combined, and a search for those that are best together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from triptych.config import Combination, SpellDecoding
from triptych.decoding import Ensemble, Speller
from triptych.decoding.voting import MEMBERS, Voting
from triptych.runs.members import joined
from triptych.runs.run import Run
from triptych.spell.corpus import Item
from triptych.spell.evaluating import predictions_of
from triptych.text.pairs import Input
from triptych.text.predictions import Prediction
from triptych.text.symbols import Vocabularies


def join_runs(runs: Sequence[Run], panel: str, by: Combination) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of one model made of several runs' models; see `triptych.runs.members.joined`.

    Raises:
        RunError: vocabularies differ, where members vote in more than their direction, or what `joined` refuses.
    """
    free: dict[str, Any] = {"max_train_pairs": 0}
    if by == "average":
        otherwise = "other symbols or another direction"
        return joined(runs, panel, alike=Vocabularies.from_dict, otherwise=otherwise, free=free)
    free["direction"] = "forward"
    description, tensors = joined(runs, panel, alike=_alike_but_for_direction, otherwise="other symbols", free=free)
    own = [Vocabularies.from_dict(run.model(panel), run.path / "model.json").to_dict() for run in runs]
    return {**description, MEMBERS: own}, tensors


def _alike_but_for_direction(description: Mapping[str, Any], path: Path) -> Any:
    found = Vocabularies.from_dict(description, path)
    tokenizers = (replace(one, backward=False) for one in (found.source_tokenizer, found.target_tokenizer))
    return *tokenizers, set(found.sources.symbols), set(found.targets.symbols)


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


Predict = Callable[[tuple[int, ...]], Sequence[Prediction]]


def _voted(spellers: Sequence[Speller], items: Sequence[Item], decoding: SpellDecoding) -> Predict:
    """Every speller predicts once; its votes are counted again for each choice."""
    every = Voting(spellers, decoding)
    inputs = [Input(item.source, item.features) for item in items]
    ballots = every.ballots(inputs, decoding)

    def predict(members: tuple[int, ...]) -> list[Prediction]:
        return [
            every.elected(given, [ballots[member][place] for member in members], decoding.candidates)
            for place, given in enumerate(inputs)
        ]

    return predict


def _averaged(spellers: Sequence[Speller], items: Sequence[Item], decoding: SpellDecoding) -> Predict:
    def predict(members: tuple[int, ...]) -> list[Prediction]:
        model = Ensemble([spellers[member].model for member in members])
        return predictions_of(Speller(model, spellers[0].vocabularies, decoding), items)

    return predict


def _selection(members: tuple[int, ...], predictions: Sequence[Prediction], items: Sequence[Item]) -> Selection:
    errors, probability = 0, 0.0
    for found, item in zip(predictions, items, strict=True):
        errors += found.symbols not in item.references
        probability += sum(each.probability for each in found.candidates if each.symbols in item.references)
    return Selection(members, errors, len(items), probability / len(items))
