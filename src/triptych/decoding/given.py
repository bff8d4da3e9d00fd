"""Many given pairs at once, in batches of like length; and what is made of a model's account of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from triptych.decoding.constrained import Constrained
from triptych.decoding.contract import Sources, StepModel, copies
from triptych.decoding.dictionary import Symbols
from triptych.decoding.ensemble import Ensemble
from triptych.decoding.scoring import Forced, force, heaviest_path
from triptych.errors import DataError, RecipeError
from triptych.text.alignment import Alignment, PairScore, places_of
from triptych.text.copying import copy_ids, extended
from triptych.text.pairs import Input
from triptych.text.predictions import Prediction
from triptych.text.symbols import Vocabularies

USUAL_LENGTH = 32  # symbols; a batch of longer sources has fewer rows, so that it needs no more memory


def encoded(
    model: StepModel[Any], vocabularies: Vocabularies, inputs: Sequence[Input], row_ids: Sequence[int] | None = None
) -> Sources:
    """Sources and features as indices, side by side, for a model."""
    features = vocabularies.features
    sources = [given.source for given in inputs]
    return Sources.of(
        [vocabularies.sources.encode(source) for source in sources],
        row_ids,
        features=None if features is None else [features.encode(given.features) for given in inputs],
        copy_ids=[copy_ids(source, vocabularies.targets) for source in sources] if copies(model) else None,
    )


def paired(inputs: Sequence[Input], targets: Sequence[Symbols]) -> list[tuple[Input, Symbols]]:
    """Sources with their targets.

    Raises:
        DataError: another number of targets than of sources, or one without symbols.
    """
    if len(inputs) != len(targets):
        raise DataError(field="the number of targets", value=len(targets), expected=f"{len(inputs)}, as of sources")
    pairs = list(zip(inputs, targets, strict=True))
    for number, (given, target) in enumerate(pairs):
        for side, symbols in (("source", given.source), ("target", target)):
            if not symbols:
                raise DataError(f"{side} {number} has 0 symbols; expected at least one. Numbers begin at 0.")
    return pairs


def accounts(
    model: StepModel[Any],
    vocabularies: Vocabularies,
    pairs: Sequence[tuple[Input, Symbols]],
    batch_size: int,
    *,
    with_alignment: bool = False,
) -> list[Forced]:
    """A model's account of pairs, in their order; see `triptych.decoding.scoring.force`.

    Args:
        model: where it is held to a word list, the model behind it is asked.
        vocabularies: of the model.
        pairs: source (with its features) and target as symbols.
        batch_size: pairs at once; fewer where they are long.
        with_alignment: see `force`.
    """
    model = _own(model)
    lengths = [max(len(given.source), len(target)) for given, target in pairs]
    order = sorted(range(len(pairs)), key=lambda position: (lengths[position], len(pairs[position][1])))
    found: list[Forced | None] = [None] * len(pairs)
    for positions in batches(order, [lengths[position] for position in order], batch_size):
        sources = encoded(model, vocabularies, [pairs[position][0] for position in positions])
        targets = [_target_ids(model, vocabularies, *pairs[position]) for position in positions]
        for position, account in zip(
            positions, force(model, sources, targets, with_alignment=with_alignment), strict=True
        ):
            found[position] = account
    return [account for account in found if account is not None]


def _target_ids(model: StepModel[Any], vocabularies: Vocabularies, given: Input, target: Symbols) -> list[int]:
    return (
        extended(target, given.source, vocabularies.targets) if copies(model) else vocabularies.targets.encode(target)
    )


def scores_of(
    vocabularies: Vocabularies, pairs: Sequence[tuple[Input, Symbols]], found: Sequence[Forced]
) -> list[PairScore]:
    """What a model's accounts of pairs say of them."""
    unknown = vocabularies.sources.unknown_in, vocabularies.targets.unknown_in
    return [
        PairScore(
            given.source, target, tuple(forced.log_probabilities.tolist()), unknown[0](given.source), unknown[1](target)
        )
        for (given, target), forced in zip(pairs, found, strict=True)
    ]


def _own(model: StepModel[Any]) -> StepModel[Any]:
    """The model behind a word list, and the only member of an ensemble of one."""
    if isinstance(model, Constrained):
        return _own(model.model)
    return _own(model.members[0]) if isinstance(model, Ensemble) and len(model.members) == 1 else model


def alignment_of(source: Symbols, target: Symbols, account: Forced) -> Alignment:
    """The alignment of a pair: the walk where there is one, otherwise the heaviest path through the attention.

    Raises:
        RecipeError: the model has neither.
    """
    if account.walk is not None:
        return Alignment(source, target, places_of(account.walk[:-1].tolist(), len(source)), "walk")
    if account.attention is None:
        raise RecipeError(
            "the model has no attention, so that it does not align.",
            hint="Train one that has, for example: triptych train p2g-best",
        )
    return Alignment(source, target, tuple(heaviest_path(account.attention[:-1]).tolist()), "attention")


def reordered(prediction: Prediction, scores: Sequence[PairScore], weight: float) -> Prediction:
    """A prediction with its candidates in the order of new scores; see `Speller.rescore`."""
    mixed = [
        replace(candidate, score=_mixed(score.log_probability, candidate.score, weight))
        for candidate, score in zip(prediction.candidates, scores, strict=True)
    ]
    ranked = sorted(mixed, key=lambda candidate: (candidate.origin != "dictionary", -candidate.score))
    return replace(prediction, candidates=tuple(ranked))


def _mixed(new: float, old: float, weight: float) -> float:
    """The weighted mean; a share of zero counts nothing, not even an infinite score."""
    return (weight * new if weight else 0.0) + ((1 - weight) * old if weight < 1 else 0.0)


def batches(positions: Sequence[int], lengths: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """Cut positions, whose lengths ascend, into batches of at most `most` rows and `most` x 32 symbols, or of one."""
    begin = 0
    for end, length in enumerate(lengths):
        rows = end - begin
        if rows == most or (rows and (rows + 1) * length > most * USUAL_LENGTH):
            yield positions[begin:end]
            begin = end
    if begin < len(positions):
        yield positions[begin:]


def taken(sources: Iterator[Input], count: int) -> tuple[list[Input], DataError | None]:
    """The next sources, at most `count` of them, and what reading them failed with."""
    held: list[Input] = []
    try:
        for source in sources:
            held.append(source)
            if len(held) == count:
                break
    except DataError as error:
        return held, error
    return held, None
