"""Decoding a batch by any method, and a model with its vocabularies: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from triptych.config.decoding import SpellDecoding
from triptych.decoding.beam import beam_search
from triptych.decoding.constrained import Constrained
from triptych.decoding.contract import Hypothesis, Sources, StateT, StepModel, copies
from triptych.decoding.dictionary import Dictionary, Symbols, first_known
from triptych.decoding.given import accounts, alignment_of, batches, encoded, paired, reordered, scores_of, taken
from triptych.decoding.greedy import greedy
from triptych.decoding.inputs import Text, features_of, inputs_of, symbols_of
from triptych.decoding.sampling import sample
from triptych.decoding.trie import Lexicon
from triptych.errors import DataError
from triptych.text.alignment import Alignment, PairScore
from triptych.text.copying import written
from triptych.text.pairs import Input
from triptych.text.predictions import Candidate, Prediction
from triptych.text.symbols import Vocabularies

CHUNK = 4096  # sources held at once while streaming; sorted by length within


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

    `remembered`, from `with_remembered`, has targets of training, which come after the dictionary and before the model.
    `language`, from `in_language`, is that of all sources.
    """

    remembered: Dictionary | None = None
    language: str | None = None

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
        features: str | Sequence[Text] | None = None,
        language: str | Sequence[str] | None = None,
        n_best: int | None = None,
        decoding: SpellDecoding | None = None,
        with_attention: bool = False,
        with_alignment: bool = False,
    ) -> list[Prediction]:
        """Predict a target for every source.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            features: of each source, for a model that was trained with features; one text alone is that of every
                source.
            language: of each source, for a model of several languages; one text alone is that of every source.
                Features that name it, as `language=ady`, need no other.
            n_best: candidates per source; more than one decodes with a beam at least as wide, unless samples are drawn.
                None takes what `decoding` says.
            decoding: how to decode; None takes the model's own.
            with_attention: keep attention weights with every candidate.
            with_alignment: keep with every candidate which source symbol each of its symbols is written from.
        Raises:
            DataError: a source without symbols; features or a language where the model has none, or none where it has
                them; an unknown language.
            RecipeError: settings that break their rule; an alignment of a model without attention.
        """
        settings = (decoding or self.decoding).for_candidates(n_best)
        found = self._predict(self.inputs(sources, features, language), settings, with_attention=with_attention)
        return self._with_alignments(found) if with_alignment else found

    @property
    def copies(self) -> bool:
        """Whether source symbols that training never showed can be written as they are."""
        return copies(self.model)

    def inputs(
        self,
        sources: str | Sequence[Text],
        features: str | Sequence[Text] | None = None,
        language: str | Sequence[str] | None = None,
    ) -> list[Input]:
        """Sources with their features and languages, split as in training; see `predict`.

        Raises:
            DataError: as `predict` does.
        """
        return inputs_of(self.vocabularies, sources, features, self.language if language is None else language)

    def score(
        self,
        sources: str | Sequence[Text],
        targets: str | Sequence[Text],
        *,
        features: str | Sequence[Text] | None = None,
        language: str | Sequence[str] | None = None,
    ) -> list[PairScore]:
        """What the model says of given targets. Word lists and dictionary have no part in it.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            targets: one for each source, alike.
            features, language: of each source, as for `predict`.
        Raises:
            DataError: a source or target without symbols, or another number of targets than of sources; of features
                as `predict` does.
        """
        return self._score(self._pairs(self.inputs(sources, features, language), targets))

    def _score(self, pairs: Sequence[tuple[Input, Symbols]]) -> list[PairScore]:
        found = accounts(self.model, self.vocabularies, pairs, self.decoding.batch_size)
        return scores_of(self.vocabularies, pairs, found)

    def align(
        self,
        sources: str | Sequence[Text],
        targets: str | Sequence[Text],
        *,
        features: str | Sequence[Text] | None = None,
        language: str | Sequence[str] | None = None,
    ) -> list[Alignment]:
        """Which source symbol each symbol of given targets is written from.

        Hard monotonic attention: the most probable walk given the whole target (Viterbi). Soft attention, and several
        models in one: the heaviest path through the weights that never goes back.

        Args:
            sources: texts, or sequences of symbols; one text alone is taken as a list of one.
            targets: one for each source, alike.
            features, language: of each source, as for `predict`.
        Raises:
            DataError: as `score` does.
            RecipeError: the model has no attention.
        """
        return self._align(self._pairs(self.inputs(sources, features, language), targets))

    def rescore(
        self, predictions: Sequence[Prediction], *, weight: float = 0.5, reverse: bool = False
    ) -> list[Prediction]:
        """Candidates of another speller, in the order of a score that this one has a part in.

        A candidate's score becomes weight * this model's log-probability + (1 - weight) * the score that it had.

        Args:
            predictions: with candidates, and with features where this model has any; entries of a dictionary stay in
                front.
            weight: in [0, 1]. Of equal candidates the one that came first before comes first.
            reverse: this model rewrites candidates as sources, as P2G does for candidates that G2P made.
        Returns:
            The same predictions; a candidate's `score` is what it is ordered by now.
        """
        listed = [(found, candidate.symbols) for found in predictions for candidate in found.candidates]
        has_features = self.vocabularies.features is not None
        sources = [symbols if reverse else found.source for found, symbols in listed]
        targets = [found.source if reverse else symbols for found, symbols in listed]
        inputs = self.inputs(sources, [found.features for found, _ in listed] if has_features else None)
        scores = iter(self._score(self._pairs(inputs, targets)))
        return [reordered(found, [next(scores) for _ in found.candidates], weight) for found in predictions]

    def stream(
        self,
        sources: Iterable[Symbols | Input],
        *,
        decoding: SpellDecoding | None = None,
        chunk: int | None = None,
        with_attention: bool = False,
        with_alignment: bool = False,
    ) -> Iterator[Prediction]:
        """Predict for any number of sources, given as symbols, in order and in bounded memory.

        Args:
            sources: what to predict from, an `Input` where there are features. Where reading them fails, those before
                are still predicted.
            decoding: how to decode; None takes the model's own.
            chunk: sources read before the first of them is answered, >= 1; by default 4,096.
            with_attention, with_alignment: see `predict`.
        Raises:
            DataError: a source without symbols, or without its language where there are several.
        """
        rest = map(self._input, sources)
        done = 0
        failure: DataError | None = None
        while failure is None:
            held, failure = taken(rest, chunk or CHUNK)
            if not held and failure is None:
                return
            found = self._predict(held, decoding or self.decoding, with_attention=with_attention, first=done)
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
        listed = {symbols_of(word, self.vocabularies.target_tokenizer): None for word in words}
        encoded = map(targets.encode, listed)
        lexicon = Lexicon.from_words(word for word in encoded if word and targets.unknown not in word)
        found = copy(self)
        found.model = Constrained(self.model, lexicon, weight)
        if self.remembered is not None and weight is None:
            found.remembered = self.remembered.within(listed)
        return found

    def with_dictionary(self, pairs: Iterable[Sequence[Text]]) -> Speller:
        """A speller whose dictionary replaces predictions for its sources.

        Args:
            pairs: (source, target), or (source, target, features) for a model with features, each as text or symbols;
                of several targets of a source the preferred one first.
        Raises:
            DataError: an entry that is not a pair, or whose source has no symbols.
        """
        found = copy(self)
        found.dictionary = Dictionary(self._split_pairs(pairs))
        return found

    def in_language(self, language: str) -> Speller:
        """A speller for sources of one language, of a model of several: they need not name it.

        Raises:
            DataError: the model has no such language.
        """
        self.vocabularies.with_language((), language)
        found = copy(self)
        found.language = language
        return found

    def with_remembered(self, entries: Iterable[Sequence[Symbols]]) -> Speller:
        """A speller that answers with the targets of training: entries of a `Dictionary`, the most frequent first."""
        found = copy(self)
        found.remembered = Dictionary(entries)
        return found

    def _input(self, given: Symbols | Input) -> Input:
        found = given if isinstance(given, Input) else Input(given)
        return found._replace(features=self.vocabularies.with_language(found.features, self.language))

    def _pairs(self, inputs: Sequence[Input], targets: str | Sequence[Text]) -> list[tuple[Input, Symbols]]:
        texts = [targets] if isinstance(targets, str) else targets
        return paired(inputs, [symbols_of(text, self.vocabularies.target_tokenizer) for text in texts])

    def _align(self, pairs: Sequence[tuple[Input, Symbols]]) -> list[Alignment]:
        found = accounts(self.model, self.vocabularies, pairs, self.decoding.batch_size, with_alignment=True)
        tokenizers = self.vocabularies.source_tokenizer, self.vocabularies.target_tokenizer
        return [
            alignment_of(given.source, target, forced).turned(*(tokenizer.backward for tokenizer in tokenizers))
            for (given, target), forced in zip(pairs, found, strict=True)
        ]

    def _with_alignments(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        pairs = [
            (Input(found.source, found.features), candidate.symbols)
            for found in predictions
            for candidate in found.candidates
        ]
        alignments = iter(self._align(pairs))
        return [
            replace(
                found,
                candidates=tuple(replace(candidate, alignment=next(alignments)) for candidate in found.candidates),
            )
            for found in predictions
        ]

    def _split_pairs(self, pairs: Iterable[Sequence[Text]]) -> Iterator[tuple[Symbols, ...]]:
        has_features = self.vocabularies.features is not None
        for number, pair in enumerate(pairs, start=1):
            if isinstance(pair, str) or len(pair) not in (2, 3) or (len(pair) == 3 and pair[2] and not has_features):
                raise DataError(
                    field=f"dictionary entry {number}",
                    value=pair,
                    expected="a pair of source and target",
                    hint='Write a list of pairs, such as [("K AE T", "cat")].',
                )
            source, target, *features = pair
            yield (
                symbols_of(source, self.vocabularies.source_tokenizer),
                symbols_of(target, self.vocabularies.target_tokenizer),
                features_of(features[0] if features else (), self.vocabularies, self.language),
            )

    def _predict(
        self, inputs: Sequence[Input], settings: SpellDecoding, *, with_attention: bool = False, first: int = 0
    ) -> list[Prediction]:
        """Predictions in the order of the inputs; `first` is the number of the first one, which samples depend on."""
        results: list[Prediction | None] = [None] * len(inputs)
        unknown_to_dictionary = []
        for position, given in enumerate(inputs):
            if not given.source:
                raise DataError(f"source {first + position} has 0 symbols; expected at least one. Numbers begin at 0.")
            known = first_known(given, (self.dictionary, self.remembered if settings.remembered else None))
            if known:
                candidates = tuple(self._entry(target) for target in known[: settings.candidates])
                results[position] = Prediction(given.source, candidates, features=given.features)
            else:
                unknown_to_dictionary.append(position)
        new = [inputs[position] for position in unknown_to_dictionary]
        numbers = [first + position for position in unknown_to_dictionary]
        found = self._predict_new(new, numbers, settings, with_attention=with_attention)
        for position, prediction in zip(unknown_to_dictionary, found, strict=True):
            results[position] = prediction
        return [result for result in results if result is not None]

    def _predict_new(
        self, inputs: Sequence[Input], numbers: Sequence[int], settings: SpellDecoding, *, with_attention: bool
    ) -> list[Prediction]:
        """The model's predictions for what no dictionary has; `numbers` set their samples apart."""
        results: list[Prediction | None] = [None] * len(inputs)
        order = sorted(range(len(inputs)), key=lambda position: len(inputs[position].source))
        lengths = [len(inputs[position].source) for position in order]
        for positions in batches(order, lengths, settings.batch_size):
            chosen = [inputs[position] for position in positions]
            batch = encoded(self.model, self.vocabularies, chosen, [numbers[position] for position in positions])
            decoded = decode(self.model, batch, settings, with_attention=with_attention)
            for position, hypotheses in zip(positions, decoded, strict=True):
                results[position] = self._prediction(inputs[position], hypotheses)
        return [result for result in results if result is not None]

    def _prediction(self, given: Input, hypotheses: Sequence[Hypothesis]) -> Prediction:
        features = self.vocabularies.features
        return Prediction(
            given.source,
            tuple(self._candidate(hypothesis, given.source) for hypothesis in hypotheses),
            self.vocabularies.sources.unknown_in(given.source),
            given.features,
            () if features is None else features.unknown_in(given.features),
        )

    def _candidate(self, hypothesis: Hypothesis, source: Symbols) -> Candidate:
        symbols = written(hypothesis.symbols, source, self.vocabularies.targets)
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
