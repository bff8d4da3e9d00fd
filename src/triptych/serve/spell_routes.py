"""Spell runs: predictions, and the attention behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path

from triptych.api.serving import (
    Alignment,
    Cut,
    DataError,
    Input,
    PairScore,
    Prediction,
    RecipeError,
    ServedSpeller,
    ServeLimits,
    SpellDecoding,
    without_language,
)
from triptych.serve.refusals import check_limit, printable
from triptych.serve.schemas import (
    AlignmentAnswer,
    CandidateAnswer,
    PairAnswer,
    PredictionAnswer,
    ScoreAnswer,
    ScoreRequest,
    SpellAnswer,
    SpellExplainAnswer,
    SpellExplainRequest,
    SpellRequest,
    SpellSettings,
    TextAnswer,
)
from triptych.serve.state import REFUSALS, AppState, State

Symbols = tuple[str, ...]
RunName = Annotated[str, Path(description="a spell run")]
router = APIRouter(prefix="/v1/spell", tags=["spell"], responses=REFUSALS)

_CHARACTERS_PER_SYMBOL = 32  # beyond it a text is not even split


@router.post("/{run}/predict")
async def predict(run: RunName, asked: SpellRequest, state: State) -> SpellAnswer:
    """Predict targets for sources, with scores, or the words of a text; n-best by beam search, or samples."""
    speller = state.speller(run)
    settings = checked_settings(speller, asked, state.limits)
    if asked.sources is None and asked.text is None:
        raise RecipeError(field="sources", expected="sources, or a text")
    if asked.sources is not None and asked.text is not None:
        raise RecipeError("sources and text are both given; expected one of them.", field="sources")
    made = None if asked.text is None else _cut(speller, asked.text, settings, state.limits)
    sources = list(made.words) if made is not None else asked.sources or []
    check_limit("the number of sources", len(sources), state.limits.max_sources, "max_sources")
    inputs = inputs_of(speller, sources, asked, state.limits)
    found = await _predicted(state, run, inputs, settings, with_alignment=asked.alignment)
    return SpellAnswer(
        run=run,
        decoding=settings.model_dump(),
        predictions=_answers(sources, found),
        text=None if made is None else TextAnswer.model_validate(made.joined(found)[0]),
    )


@router.post("/{run}/explain")
async def explain(run: RunName, asked: SpellExplainRequest, state: State) -> SpellExplainAnswer:
    """Predict one target and give the attention over source symbols for each of its symbols."""
    speller = state.speller(run)
    settings = checked_settings(speller, asked, state.limits)
    inputs = inputs_of(speller, [asked.source], asked, state.limits)
    found = (await _predicted(state, run, inputs, settings, with_attention=True))[0]
    return SpellExplainAnswer(
        run=run,
        decoding=settings.model_dump(),
        predictions=_answers([asked.source], [found]),
        attention=None if found.attention is None else found.attention.tolist(),
    )


@router.post("/{run}/score")
async def score(run: RunName, asked: ScoreRequest, state: State) -> ScoreAnswer:
    """Score given pairs of source and target, and align them where that is asked for."""
    speller = state.speller(run)
    check_limit("the number of pairs", len(asked.pairs), state.limits.max_sources, "max_sources")
    inputs = inputs_of(speller, [source for source, _ in asked.pairs], asked, state.limits)
    targets = [symbols_of(speller.split_target, target, state.limits, "target") for _, target in asked.pairs]
    pairs = list(zip(inputs, targets, strict=True))

    def work(payloads: Sequence[Sequence[Any]]) -> list[list[Any]]:
        found = iter(speller.score([pair for payload in payloads for pair in payload], with_alignment=asked.alignment))
        return [[next(found) for _ in payload] for payload in payloads]

    found = await state.compute(pairs, work, key=(run, "score", asked.alignment), size=len(pairs))
    answers = [_pair(*texts, *each) for texts, each in zip(asked.pairs, found, strict=True)]
    return ScoreAnswer(run=run, pairs=answers)


def checked_settings(speller: ServedSpeller, asked: Any, limits: ServeLimits) -> SpellDecoding:
    """The run's decoding settings with those of a request on top.

    Raises:
        TooLargeError: one is beyond a limit.
        RecipeError: one has no effect on the method, or breaks a rule.
    """
    given: Mapping[str, Any] = asked.model_dump(include=set(SpellSettings.model_fields), exclude_none=True)
    for name, limit in (("n_best", "max_n_best"), ("beam_size", "max_n_best"), ("samples", "max_samples")):
        check_limit(name, given.get(name, 0), getattr(limits, limit), limit)
    return speller.settings(given)


def inputs_of(
    speller: ServedSpeller,
    sources: Sequence[str],
    asked: SpellRequest | SpellExplainRequest | ScoreRequest,
    limits: ServeLimits,
) -> list[Input]:
    """Sources split into symbols, with the features of each and the language of a request.

    Raises:
        DataError: a source without symbols, or features or a language that the run does not have, or lacks.
        TooLargeError: a source or its features are too long.
    """
    features = [asked.features] if isinstance(asked.features, str) else asked.features
    if getattr(asked, "text", None) is not None and features is not None and len(features) == 1:
        features = features * len(sources)  # of every word
    most = _CHARACTERS_PER_SYMBOL * limits.max_source_symbols
    for text in features or ():
        check_limit("the number of characters of the features", len(text), most, "max_source_symbols")
    symbols = [symbols_of(speller.split, text, limits) for text in sources]
    return speller.speller.inputs(symbols, features, asked.language)


def symbols_of(split: Callable[[str], Symbols], text: str, limits: ServeLimits, side: str = "source") -> Symbols:
    """A source, or a target, split into symbols.

    Raises:
        DataError: there are none.
        TooLargeError: it is too long.
    """
    most = limits.max_source_symbols
    check_limit(f"the number of characters of a {side}", len(text), _CHARACTERS_PER_SYMBOL * most, "max_source_symbols")
    symbols = split(text)
    if not symbols:
        raise DataError(f"{side} is {printable(text)}; expected at least one symbol.", field=side)
    check_limit(f"the number of symbols of a {side}", len(symbols), most, "max_source_symbols")
    return symbols


def _cut(speller: ServedSpeller, text: str, settings: SpellDecoding, limits: ServeLimits) -> Cut:
    """The words of a text, after a check of its length.

    Raises:
        RecipeError: the run's sources are not words, or samples are asked for.
        TooLargeError: the text is too long.
    """
    most = limits.max_sources * limits.max_source_symbols
    check_limit("the number of characters of the text", len(text), most, "max_source_symbols")
    return speller.cut(text, settings, limits)


async def _predicted(
    state: AppState,
    run: str,
    inputs: Sequence[Input],
    settings: SpellDecoding,
    *,
    with_attention: bool = False,
    with_alignment: bool = False,
) -> list[Prediction]:
    speller = state.speller(run).speller

    def work(payloads: Sequence[Sequence[Input]]) -> list[list[Prediction]]:
        together = [given for payload in payloads for given in payload]
        found = speller.stream(
            together, decoding=settings, with_attention=with_attention, with_alignment=with_alignment
        )
        return [[next(found) for _ in payload] for payload in payloads]

    # Samples depend on a source's place among the sources, so requests for them are not computed together.
    wanted = (run, settings.model_dump_json(), with_attention, with_alignment)
    together = None if settings.method == "sample" else wanted
    return await state.compute(inputs, work, key=together, size=len(inputs))


def _answers(texts: Sequence[str], found: Sequence[Prediction]) -> list[PredictionAnswer]:
    return [
        PredictionAnswer(
            source=text,
            symbols=list(prediction.source),
            unknown=list(prediction.unknown),
            features=list(without_language(prediction.features)),
            language=prediction.language,
            unknown_features=list(prediction.unknown_features),
            candidates=[CandidateAnswer.model_validate(candidate) for candidate in prediction.candidates],
        )
        for text, prediction in zip(texts, found, strict=True)
    ]


def _pair(source: str, target: str, score: PairScore, alignment: Alignment | None) -> PairAnswer:
    return PairAnswer(
        source=source,
        target=target,
        log_probability=_finite(score.log_probability),
        per_symbol=_finite(score.per_symbol),
        log_probabilities=[_finite(value) for value in score.log_probabilities],
        unknown_source=list(score.unknown_source),
        unknown_target=list(score.unknown_target),
        alignment=None if alignment is None else AlignmentAnswer.model_validate(alignment),
    )


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None
