"""Decoding a batch by any method, and a model with its vocabularies: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from triptych.config.decoding import SpellDecoding
from triptych.decoding.beam import beam_search
from triptych.decoding.constrained import Constrained
from triptych.decoding.contract import Hypothesis, Sources, StateT, StepModel
from triptych.decoding.dictionary import Dictionary, Symbols
from triptych.decoding.given import accounts, alignment_of, batches, reordered
from triptych.decoding.greedy import greedy
from triptych.decoding.sampling import sample
from triptych.decoding.trie import Lexicon
from triptych.errors import DataError
from triptych.text.alignment import Alignment, PairScore
from triptych.text.predictions import Candidate, Prediction
from triptych.text.symbols import Tokenizer, Vocabularies

CHUNK = 4096  # sources held at once while streaming; sorted by length within

Text = str | Sequence[str]
"""A text, to be split as in training, or its symbols."""


def decode(
    model: StepModel[StateT], sources: Sources, settings: SpellDecoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Decode a batch by the method that the settings name.

    Args:
        model: what to decode with, in evaluation mode.
        sources: B of them; their row_ids set the random numbers of the method "sample" apart.
        settings: the method and its parameters.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row: its only hypothesis (greedy), the n_best, best first (beam), or the samples as drawn (sample).
    Raises:
        ShapeError: the number of row_ids is not B.
        TriptychError: nothing can be produced for a row, or a log-probability is nan.
    """
    match settings.method:
        case "greedy":
            return greedy(model, sources, settings, with_attention=with_attention)
        case "beam":
            return beam_search(model, sources, settings, with_attention=with_attention)
        case "sample":
            return sample(model, sources, settings, with_attention=with_attention)


class Speller:
    """Predicts targets for sources.

    Args:
        model: anything with the decoding contract: a network, exported graphs, an ensemble.
        vocabularies: vocabularies and tokenizers of the model.
        decoding: how to decode when a call does not say.
        dictionary: targets that replace the model's predictions for their sources.

    Attributes:
        remembered: targets that training had, the most frequent of a source first, which come after the dictionary and
            before the model; None where the run keeps none.
    """

    remembered: Dictionary | None = None

    def __init__(
        self,
        model: StepModel[Any],
        vocabularies: Vocabularies,
        decoding: SpellDecoding,
        *,
        dictionary: Dictionary | None = None,
    ) -> None:
        self.model = model
        self.vocabularies = vocabularies
        self.decoding = decoding
        self.dictionary = dictionary

    def predict(
        self,
        sources: str | Sequence[Text],
        *,
        n_best: int | None = None,
        decoding: SpellDecoding | None = None,
        with_attention: bool = False,
        with_alignment: bool = False,
    ) -> list[Prediction]:
        """Predict a target for every source.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            n_best: candidates per source; more than one decodes with a beam at least as wide, unless samples are drawn.
                None takes what `decoding` says.
            decoding: how to decode; None takes the model's own.
            with_attention: keep attention weights with every candidate.
            with_alignment: keep with every candidate which source symbol each of its symbols is written from.
        Raises:
            DataError: a source without symbols.
            RecipeError: settings that break their rule; an alignment of a model without attention.
        """
        texts = [sources] if isinstance(sources, str) else sources
        symbols = [_symbols(text, self.vocabularies.source_tokenizer) for text in texts]
        settings = (decoding or self.decoding).for_candidates(n_best)
        found = self._predict(symbols, settings, with_attention=with_attention)
        return self._with_alignments(found) if with_alignment else found

    def score(self, sources: str | Sequence[Text], targets: str | Sequence[Text]) -> list[PairScore]:
        """What the model says of given targets. Word lists and dictionary have no part in it.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            targets: one for each source, alike.
        Raises:
            DataError: a source or target without symbols, or another number of targets than of sources.
        """
        pairs = self._pairs(sources, targets)
        found = accounts(self.model, self.vocabularies, pairs, self.decoding.batch_size)
        unknown = self.vocabularies.sources.unknown_in, self.vocabularies.targets.unknown_in
        return [
            PairScore(source, target, tuple(forced.log_probabilities.tolist()), unknown[0](source), unknown[1](target))
            for (source, target), forced in zip(pairs, found, strict=True)
        ]

    def align(self, sources: str | Sequence[Text], targets: str | Sequence[Text]) -> list[Alignment]:
        """Which source symbol each symbol of given targets is written from.

        Hard monotonic attention: the most probable walk given the whole target (Viterbi). Soft attention, and several
        models in one: the heaviest path through the weights that never goes back.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            targets: one for each source, alike.
        Raises:
            DataError: as `score` does.
            RecipeError: the model has no attention.
        """
        return self._align(self._pairs(sources, targets))

    def rescore(
        self, predictions: Sequence[Prediction], *, weight: float = 0.5, reverse: bool = False
    ) -> list[Prediction]:
        """Candidates of another speller, in the order of a score that this one has a part in.

        A candidate's score becomes weight * this model's log-probability + (1 - weight) * the score that it had.

        Args:
            predictions: with candidates; entries of a dictionary stay in front.
            weight: in [0, 1]. Of equal candidates the one that came first before comes first.
            reverse: this model rewrites candidates as sources, as P2G does for candidates that G2P made.
        Returns:
            The same predictions; a candidate's `score` is what it is ordered by now.
        """
        pairs = [(found.source, candidate.symbols) for found in predictions for candidate in found.candidates]
        sides = [source for source, _ in pairs], [target for _, target in pairs]
        scores = iter(self.score(*reversed(sides)) if reverse else self.score(*sides))
        return [reordered(found, [next(scores) for _ in found.candidates], weight) for found in predictions]

    def stream(
        self,
        sources: Iterable[Symbols],
        *,
        decoding: SpellDecoding | None = None,
        chunk: int | None = None,
        with_alignment: bool = False,
    ) -> Iterator[Prediction]:
        """Predict for any number of sources, given as symbols, in order and in bounded memory.

        Args:
            sources: what to predict from. Where reading them fails, those before are still predicted.
            decoding: how to decode; None takes the model's own.
            chunk: sources read before the first of them is answered, >= 1; by default 4,096.
            with_alignment: see `predict`.
        Raises:
            DataError: a source without symbols.
        """
        rest = iter(sources)
        done = 0
        failure: DataError | None = None
        while failure is None:
            held, failure = _take(rest, chunk or CHUNK)
            if not held and failure is None:
                return
            found = self._predict(held, decoding or self.decoding, first=done)
            yield from self._with_alignments(found) if with_alignment else found
            done += len(held)
        raise failure

    def with_lexicon(self, words: Iterable[Text], *, weight: float | None = None) -> Speller:
        """A speller that keeps to the words of a list, or, with a weight, prefers them.

        Words with symbols that training never showed cannot be produced and are skipped.

        Args:
            words: targets as texts or symbols.
            weight: nats that a target outside the list costs, >= 0; None allows no other.
        Raises:
            DataError: one text where a list belongs.
            RecipeError: no usable words, or a weight out of range.
        """
        if isinstance(words, str):
            raise DataError(field="words", value=words, expected="a list of texts", hint=f"Write [{words!r}].")
        targets = self.vocabularies.targets
        listed = {_symbols(word, self.vocabularies.target_tokenizer): None for word in words}
        encoded = map(targets.encode, listed)
        lexicon = Lexicon.from_words(word for word in encoded if word and targets.unknown not in word)
        found = copy(self)
        found.model = Constrained(self.model, lexicon, weight)
        found.remembered = self._remembered_within(listed) if weight is None else self.remembered
        return found

    def with_dictionary(self, pairs: Iterable[tuple[Text, Text]]) -> Speller:
        """A speller whose dictionary replaces predictions for its sources.

        Args:
            pairs: (source, target), each as text or symbols; of several targets of a source the preferred one first.
        Raises:
            DataError: an entry that is not a pair, or whose source has no symbols.
        """
        found = copy(self)
        found.dictionary = Dictionary(self._split_pairs(pairs))
        return found

    def with_remembered(self, pairs: Iterable[tuple[Symbols, Symbols]]) -> Speller:
        """A speller that answers with the targets of training; see `remembered`.

        Args:
            pairs: (source, target) as symbols; of several targets of a source the most frequent one first.
        """
        found = copy(self)
        found.remembered = Dictionary(pairs)
        return found

    def _remembered_within(self, words: Collection[Symbols]) -> Dictionary | None:
        """What is remembered of the words of a list alone."""
        if self.remembered is None:
            return None
        return Dictionary(pair for pair in self.remembered.entries() if pair[1] in words)

    def _pairs(self, sources: str | Sequence[Text], targets: str | Sequence[Text]) -> list[tuple[Symbols, Symbols]]:
        firsts = [sources] if isinstance(sources, str) else sources
        seconds = [targets] if isinstance(targets, str) else targets
        if len(firsts) != len(seconds):
            raise DataError(field="the number of targets", value=len(seconds), expected=f"{len(firsts)}, as of sources")
        pairs = list(self._split_pairs(zip(firsts, seconds, strict=True)))
        for number, sides in enumerate(pairs):
            for side, symbols in zip(("source", "target"), sides, strict=True):
                if not symbols:
                    raise DataError(f"{side} {number} has 0 symbols; expected at least one. Numbers begin at 0.")
        return pairs

    def _align(self, pairs: Sequence[tuple[Symbols, Symbols]]) -> list[Alignment]:
        found = accounts(self.model, self.vocabularies, pairs, self.decoding.batch_size, with_alignment=True)
        tokenizers = self.vocabularies.source_tokenizer, self.vocabularies.target_tokenizer
        return [
            alignment_of(source, target, forced).turned(*(tokenizer.backward for tokenizer in tokenizers))
            for (source, target), forced in zip(pairs, found, strict=True)
        ]

    def _with_alignments(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        pairs = [(found.source, candidate.symbols) for found in predictions for candidate in found.candidates]
        alignments = iter(self._align(pairs))
        return [
            replace(
                found,
                candidates=tuple(replace(candidate, alignment=next(alignments)) for candidate in found.candidates),
            )
            for found in predictions
        ]

    def _split_pairs(self, pairs: Iterable[tuple[Text, Text]]) -> Iterator[tuple[Symbols, Symbols]]:
        for number, pair in enumerate(pairs, start=1):
            if isinstance(pair, str) or len(pair) != 2:
                raise DataError(
                    field=f"dictionary entry {number}",
                    value=pair,
                    expected="a pair of source and target",
                    hint='Write a list of pairs, such as [("K AE T", "cat")].',
                )
            source, target = pair
            yield (
                _symbols(source, self.vocabularies.source_tokenizer),
                _symbols(target, self.vocabularies.target_tokenizer),
            )

    def _predict(
        self, sources: Sequence[Symbols], settings: SpellDecoding, *, with_attention: bool = False, first: int = 0
    ) -> list[Prediction]:
        """Predictions in the order of the sources; `first` is the number of the first one, which samples depend on."""
        results: list[Prediction | None] = [None] * len(sources)
        unknown_to_dictionary = []
        for position, source in enumerate(sources):
            if not source:
                raise DataError(f"source {first + position} has 0 symbols; expected at least one. Numbers begin at 0.")
            known = self._known(source, settings)
            if known:
                candidates = tuple(self._entry(target) for target in known[: settings.candidates])
                results[position] = Prediction(source, candidates)
            else:
                unknown_to_dictionary.append(position)
        new = [sources[position] for position in unknown_to_dictionary]
        numbers = [first + position for position in unknown_to_dictionary]
        found = self._predict_new(new, numbers, settings, with_attention=with_attention)
        for position, prediction in zip(unknown_to_dictionary, found, strict=True):
            results[position] = prediction
        return [result for result in results if result is not None]

    def _known(self, source: Symbols, settings: SpellDecoding) -> Sequence[Symbols]:
        """The targets of a source in the dictionary, or else in what is remembered."""
        for dictionary in (self.dictionary, self.remembered if settings.remembered else None):
            known = () if dictionary is None else dictionary.lookup(source)
            if known:
                return known
        return ()

    def _predict_new(
        self, sources: Sequence[Symbols], numbers: Sequence[int], settings: SpellDecoding, *, with_attention: bool
    ) -> list[Prediction]:
        """The model's predictions for sources that no dictionary has; `numbers` set their samples apart."""
        results: list[Prediction | None] = [None] * len(sources)
        order = sorted(range(len(sources)), key=lambda position: len(sources[position]))
        vocabulary = self.vocabularies.sources
        for positions in batches(order, [len(sources[position]) for position in order], settings.batch_size):
            batch = Sources.of(
                [vocabulary.encode(sources[position]) for position in positions],
                [numbers[position] for position in positions],
            )
            decoded = decode(self.model, batch, settings, with_attention=with_attention)
            for position, hypotheses in zip(positions, decoded, strict=True):
                source = sources[position]
                candidates = tuple(self._candidate(hypothesis) for hypothesis in hypotheses)
                results[position] = Prediction(source, candidates, vocabulary.unknown_in(source))
        return [result for result in results if result is not None]

    def _candidate(self, hypothesis: Hypothesis) -> Candidate:
        symbols = self.vocabularies.targets.decode(hypothesis.symbols)
        return Candidate(
            symbols,
            self.vocabularies.target_tokenizer.join(symbols),
            hypothesis.log_probability,
            hypothesis.score,
            hypothesis.attention,
            finished=hypothesis.finished,
        )

    def _entry(self, target: Symbols) -> Candidate:
        return Candidate(target, self.vocabularies.target_tokenizer.join(target), 0.0, 0.0, origin="dictionary")


def _symbols(text: Text, tokenizer: Tokenizer) -> Symbols:
    return tokenizer.split(text) if isinstance(text, str) else tuple(text)


def _take(sources: Iterator[Symbols], count: int) -> tuple[list[Symbols], DataError | None]:
    """The next sources, at most `count` of them, and what reading them failed with."""
    held: list[Symbols] = []
    try:
        for source in sources:
            held.append(source)
            if len(held) == count:
                break
    except DataError as error:
        return held, error
    return held, None
