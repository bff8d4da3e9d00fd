"""A trained transducer with its vocabularies: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from triptych.config import SpellDecoding
from triptych.errors import DataError, RunError
from triptych.spell.batches import encode_sources
from triptych.spell.build import Architecture, Network, build_transducer
from triptych.spell.decoding import Decoding, decode
from triptych.spell.decoding.constrained import Constrained
from triptych.spell.decoding.contract import Hypothesis, StepModel
from triptych.spell.lexicon import ExactLexicon, Lexicon
from triptych.text.predictions import Candidate, Prediction
from triptych.text.vocabularies import Vocabularies

__all__ = [
    "Candidate",
    "Prediction",
    "Speller",
    "Vocabularies",
    "as_decoding",
    "build_from_description",
    "with_n_best",
]

CHUNK = 4096  # sources held at once while streaming; sorted by length within
USUAL_LENGTH = 32  # symbols; a batch of longer sources has fewer rows, so that it needs no more memory


class Speller:
    """Predicts targets for sources.

    Args:
        model: anything with the decoding contract: a transducer, an ensemble.
        vocabularies: vocabularies and tokenizers of the model.
        decoding: how to decode when a call does not say.
        device: where the model is.
        exact: targets of sources that are looked up before the model is asked.
    """

    def __init__(
        self,
        model: StepModel[Any],
        vocabularies: Vocabularies,
        decoding: SpellDecoding,
        *,
        device: str = "cpu",
        exact: ExactLexicon[str] | None = None,
    ) -> None:
        self.model = model
        self.vocabularies = vocabularies
        self.decoding = decoding
        self.device = device
        self.exact = exact

    def predict(
        self,
        sources: str | Sequence[str] | Sequence[Sequence[str]],
        *,
        n_best: int | None = None,
        decoding: SpellDecoding | None = None,
        with_attention: bool = False,
    ) -> list[Prediction[Tensor]]:
        """Predict a target for every source.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            n_best: candidates per source; more than one decodes with a beam at least so wide, unless samples are
                drawn. None takes what `decoding` says.
            decoding: how to decode; None takes the model's own.
            with_attention: keep attention weights with every candidate.
        Raises:
            DataError: a source without symbols.
            RecipeError: settings that break their rule.
        """
        texts = [sources] if isinstance(sources, str) else list(sources)
        symbols = [
            self.vocabularies.source_tokenizer.split(text) if isinstance(text, str) else tuple(text) for text in texts
        ]
        settings = with_n_best(decoding or self.decoding, n_best)
        return self._predict(symbols, settings, with_attention=with_attention)

    def stream(
        self, sources: Iterable[tuple[str, ...]], *, decoding: SpellDecoding | None = None, chunk: int | None = None
    ) -> Iterator[Prediction[Tensor]]:
        """Predict for any number of sources, given as symbols, in order and in bounded memory.

        Args:
            sources: what to predict from. Where reading them fails, those before are still predicted.
            decoding: how to decode; None takes the model's own.
            chunk: sources read before the first of them is answered, >= 1; by default 4,096.
        Raises:
            DataError: a source without symbols.
        """
        rest = iter(sources)
        done = 0
        failure: Exception | None = None
        while failure is None:
            held: list[tuple[str, ...]] = []
            try:
                held.extend(islice(rest, chunk or CHUNK))
            except DataError as error:
                failure = error
            if not held and failure is None:
                return
            yield from self._predict(held, decoding or self.decoding, first=done)
            done += len(held)
        raise failure

    def with_lexicon(self, words: Iterable[str], *, weight: float | None = None) -> Speller:
        """A speller that keeps to the words of a list, or, with a weight, prefers them.

        Words with symbols that training never showed cannot be produced and are left out.

        Args:
            words: targets as texts.
            weight: nats that a target outside the list costs, >= 0; None allows no other.
        Raises:
            RecipeError: no usable words, or a weight out of range.
        """
        split, targets = self.vocabularies.target_tokenizer.split, self.vocabularies.targets
        encoded = (targets.encode(split(word)) for word in words)
        lexicon = Lexicon.from_words(word for word in encoded if word and targets.unknown not in word)
        model = Constrained(self.model, lexicon.to(self.device), "hard" if weight is None else "open", weight)
        return Speller(model, self.vocabularies, self.decoding, device=self.device, exact=self.exact)

    def with_dictionary(self, entries: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Speller:
        """A speller that looks sources up among (source, target) symbol pairs before it asks the model."""
        return Speller(
            self.model, self.vocabularies, self.decoding, device=self.device, exact=ExactLexicon.from_pairs(entries)
        )

    def _predict(
        self,
        sources: Sequence[tuple[str, ...]],
        settings: SpellDecoding,
        *,
        with_attention: bool = False,
        first: int = 0,
    ) -> list[Prediction[Tensor]]:
        """Predictions in the order of the sources; `first` is the number of the first one, which samples depend on."""
        results: list[Prediction[Tensor] | None] = [None] * len(sources)
        open_sources = []
        wanted = {"greedy": 1, "beam": settings.n_best, "sample": settings.samples}[settings.method]
        for position, source in enumerate(sources):
            known = () if self.exact is None else self.exact.lookup(source)
            if not source:
                raise DataError(f"source {first + position} has 0 symbols; expected at least one. Numbers begin at 0.")
            if known:
                results[position] = Prediction(source, tuple(self._entry(target) for target in known[:wanted]))
            else:
                open_sources.append(position)
        order = sorted(open_sources, key=lambda position: len(sources[position]))
        for positions in _batches(order, [len(sources[position]) for position in order], settings.batch_size):
            encoded = [torch.tensor(self.vocabularies.sources.encode(sources[position])) for position in positions]
            decoded = decode(
                self.model,
                encode_sources(encoded).to(self.device),
                as_decoding(settings),
                row_ids=[first + position for position in positions],
                with_attention=with_attention,
            )
            for position, hypotheses in zip(positions, decoded, strict=True):
                source = sources[position]
                candidates = tuple(self._candidate(hypothesis) for hypothesis in hypotheses)
                results[position] = Prediction(source, candidates, self.vocabularies.sources.unknown_in(source))
        return [result for result in results if result is not None]

    def _candidate(self, hypothesis: Hypothesis) -> Candidate[Tensor]:
        symbols = self.vocabularies.targets.decode(hypothesis.symbols)
        text = self.vocabularies.target_tokenizer.join(symbols)
        return Candidate(symbols, text, hypothesis.log_probability, hypothesis.score, hypothesis.attention)

    def _entry(self, target: tuple[str, ...]) -> Candidate[Tensor]:
        return Candidate(target, self.vocabularies.target_tokenizer.join(target), 0.0, 0.0, origin="lexicon")


def _batches(positions: Sequence[int], lengths: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """Cut positions, whose lengths ascend, into batches of at most `most` rows and `most` x 32 symbols, or of one."""
    begin = 0
    for end, length in enumerate(lengths):
        rows = end - begin
        if rows == most or (rows and (rows + 1) * length > most * USUAL_LENGTH):
            yield positions[begin:end]
            begin = end
    if begin < len(positions):
        yield positions[begin:]


def with_n_best(settings: SpellDecoding, n_best: int | None) -> SpellDecoding:
    """The settings for `n_best` candidates: so many samples, or a beam at least so wide."""
    if n_best is None:
        return settings
    if settings.method == "sample":
        return settings.model_copy(update={"samples": n_best})
    method = "beam" if n_best > 1 else settings.method
    beam_size = max(settings.beam_size, n_best)
    return settings.model_copy(update={"method": method, "n_best": n_best, "beam_size": beam_size})


def as_decoding(settings: SpellDecoding) -> Decoding:
    """The recipe's `[decoding]` as the decoders take it, where 0 and 1.0 stand for none."""
    return Decoding(
        method=settings.method,
        beam_size=settings.beam_size,
        n_best=settings.n_best,
        length_penalty=settings.length_penalty,
        samples=settings.samples,
        temperature=settings.temperature,
        top_k=settings.top_k or None,
        top_p=settings.top_p if settings.top_p < 1 else None,
        seed=settings.seed,
        max_length_factor=settings.max_length_factor,
        max_length_extra=settings.max_length_extra,
    )


def build_from_description(architecture: Any, path: Path) -> Network:
    """The network that a `model.json` describes, untrained.

    Raises:
        RunError: the description does not fit the builder.
    """
    try:
        return build_transducer(Architecture(**architecture))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{path} describes no spell model ({error}); expected what training wrote.") from None
