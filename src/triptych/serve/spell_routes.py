"""Runs of spell: predict, and show where the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import ValidationError
from torch import Tensor

from triptych.config import SpellDecoding, with_beam_for_n_best
from triptych.errors import DataError, RecipeError
from triptych.report.canvas import figure_bytes
from triptych.report.figures import attention_map
from triptych.serve.catalogue import printable
from triptych.serve.limits import Limits
from triptych.serve.refusals import NotServedError, check_bound
from triptych.serve.schemas import (
    CandidateAnswer,
    PredictionAnswer,
    SpellAnswer,
    SpellExplainAnswer,
    SpellExplainRequest,
    SpellRequest,
    SpellSettings,
)
from triptych.serve.studio import REFUSALS, Here, PngResponse, Studio
from triptych.spell.speller import Speller
from triptych.text.predictions import Prediction

Symbols = tuple[str, ...]
RunName = Annotated[str, Path(description="a run of spell")]
router = APIRouter(prefix="/v1/spell", tags=["spell"], responses=REFUSALS)

_OF_METHOD = {
    "greedy": (),
    "beam": ("n_best", "beam_size", "length_penalty"),
    "sample": ("samples", "temperature", "top_k", "top_p", "seed"),
}
_CHARACTERS_PER_SYMBOL = 32  # beyond it a text is not even split


@router.post("/{run}/predict")
async def predict(run: RunName, asked: SpellRequest, studio: Here) -> SpellAnswer:
    """Predict targets for texts, with scores; n-best by beam search, or samples."""
    speller = studio.catalogue.speller(run)
    check_bound("the number of sources", len(asked.sources), studio.limits.max_sources, "--max-sources")
    settings = settings_of(speller, asked, studio.limits)
    sources = [symbols_of(speller, text, studio.limits) for text in asked.sources]
    found = await _predicted(studio, run, sources, settings, with_attention=False)
    return SpellAnswer(run=run, decoding=settings.model_dump(), predictions=_answers(asked.sources, found))


@router.post("/{run}/explain")
async def explain(run: RunName, asked: SpellExplainRequest, studio: Here) -> SpellExplainAnswer:
    """Predict one target and tell where the model looked for each of its symbols."""
    found, settings = await _explained(studio, run, asked)
    return SpellExplainAnswer(
        run=run,
        decoding=settings.model_dump(),
        predictions=_answers([asked.source], [found]),
        attention=None if found.attention is None else found.attention.tolist(),
    )


@router.post("/{run}/explain.png", response_class=PngResponse)
async def explain_as_picture(run: RunName, asked: SpellExplainRequest, studio: Here) -> Response:
    """The attention of the best candidate as a picture."""
    found, _ = await _explained(studio, run, asked)
    if found.attention is None:
        raise NotServedError(f"run is {run!r}, a model without attention; expected one with. Ask for predict.")
    weights = found.attention.cpu().numpy()
    return await studio.draw(lambda: figure_bytes(attention_map(weights, found.source, found.symbols), "png"))


def settings_of(speller: Speller, asked: SpellSettings, limits: Limits) -> SpellDecoding:
    """The run's settings of decoding with those that were asked for on top.

    Raises:
        TooLargeError: beyond a bound.
        RecipeError: a setting that has no effect with the method, or breaks a rule.
    """
    given: dict[str, Any] = asked.model_dump(include=set(SpellSettings.model_fields), exclude_none=True)
    method = given.get("method") or _implied(speller.decoding.method, given)
    for name, value in given.items():
        if name != "method" and name not in _OF_METHOD[method]:
            owner = next(owner for owner, names in _OF_METHOD.items() if name in names)
            raise RecipeError(f"{name} is {value} and has no effect with {method}; expected method {owner!r}.")
    given = with_beam_for_n_best(given, speller.decoding)
    try:
        settings = SpellDecoding.model_validate({**speller.decoding.model_dump(), **given, "method": method})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # of several settings together
            raise RecipeError(f"{first['msg'].removeprefix('Value error, ')}.") from None
        raise RecipeError(f"{first['loc'][0]} is {printable(str(first['input']))}: {first['msg']}.") from None
    if method == "beam":
        check_bound("beam_size", settings.beam_size, limits.max_n_best, "--max-n-best")
    if method == "sample":
        check_bound("samples", settings.samples, limits.max_samples, "--max-samples")
    return settings


def symbols_of(speller: Speller, text: str, limits: Limits) -> Symbols:
    """A text split into symbols.

    Raises:
        DataError: none are left.
        TooLargeError: it is too long.
    """
    most = limits.max_source_symbols
    check_bound(
        "the number of characters of a source", len(text), _CHARACTERS_PER_SYMBOL * most, "--max-source-symbols * 32"
    )
    symbols = speller.vocabularies.source_tokenizer.split(text)
    if not symbols:
        raise DataError(f"source is {printable(text)}, 0 symbols; expected at least one. Write a word.")
    check_bound("the number of symbols of a source", len(symbols), most, "--max-source-symbols")
    return symbols


async def _predicted(
    studio: Studio, run: str, sources: Sequence[Symbols], settings: SpellDecoding, *, with_attention: bool
) -> list[Prediction[Tensor]]:
    speller = studio.catalogue.speller(run)

    def work(payloads: Sequence[Sequence[Symbols]]) -> list[list[Prediction[Tensor]]]:
        together = [symbols for payload in payloads for symbols in payload]
        found = iter(speller.predict(together, decoding=settings, with_attention=with_attention))
        return [[next(found) for _ in payload] for payload in payloads]

    # What is drawn for a source depends on its place among the sources, so samples are not gathered.
    together = None if settings.method == "sample" else (run, settings.model_dump_json(), with_attention)
    return await studio.compute(sources, work, key=together, size=len(sources))


async def _explained(studio: Studio, run: str, asked: SpellExplainRequest) -> tuple[Prediction[Tensor], SpellDecoding]:
    speller = studio.catalogue.speller(run)
    settings = settings_of(speller, asked, studio.limits)
    source = symbols_of(speller, asked.source, studio.limits)
    return (await _predicted(studio, run, [source], settings, with_attention=True))[0], settings


def _answers(texts: Sequence[str], found: Sequence[Prediction[Tensor]]) -> list[PredictionAnswer]:
    return [
        PredictionAnswer(
            source=text,
            symbols=list(prediction.source),
            unknown=list(prediction.unknown),
            candidates=[
                CandidateAnswer(
                    text=candidate.text,
                    symbols=list(candidate.symbols),
                    score=candidate.score,
                    log_probability=candidate.log_probability,
                    probability=candidate.probability,
                )
                for candidate in prediction.candidates
            ],
        )
        for text, prediction in zip(texts, found, strict=True)
    ]


def _implied(usual: str, given: dict[str, Any]) -> str:
    """The run's method, unless a setting was given that only another one has."""
    others = (method for method, names in _OF_METHOD.items() if given.keys() & set(names))
    return usual if given.keys() <= set(_OF_METHOD[usual]) else next(others, usual)
