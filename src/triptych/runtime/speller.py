"""A trained transducer without PyTorch: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from triptych.errors import DataError, MissingExtraError, RecipeError, RunError
from triptych.runtime.decoding import Batch, Decoding, Hypothesis, decode
from triptych.runtime.folder import Exported
from triptych.runtime.lexicon import Constrained, Lexicon
from triptych.runtime.network import Array, Ensemble, Network, StepModel
from triptych.text.predictions import Candidate, Prediction
from triptych.text.vocabularies import Vocabularies

__all__ = ["Candidate", "Prediction", "Speller", "Vocabularies", "load"]


class Speller:
    """Predicts targets for sources, as the run's own speller does.

    Args:
        model: a network or an ensemble.
        vocabularies: vocabularies and tokenizers of the model.
        decoding: how to decode when a call does not say.
        dictionary: targets of sources that are looked up before the model is asked.
    """

    def __init__(
        self,
        model: StepModel,
        vocabularies: Vocabularies,
        decoding: Decoding,
        *,
        dictionary: Mapping[tuple[str, ...], tuple[tuple[str, ...], ...]] | None = None,
    ) -> None:
        self.model = model
        self.vocabularies = vocabularies
        self.decoding = decoding
        self.dictionary = dictionary or {}

    def predict(
        self,
        sources: str | Sequence[str] | Sequence[Sequence[str]],
        *,
        n_best: int | None = None,
        decoding: Decoding | None = None,
        with_attention: bool = False,
    ) -> list[Prediction[Array]]:
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
        split = self.vocabularies.source_tokenizer.split
        symbols = [split(text) if isinstance(text, str) else tuple(text) for text in texts]
        settings = _with_n_best(decoding or self.decoding, n_best)
        return self._predict(symbols, settings, with_attention=with_attention)

    def with_dictionary(self, entries: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Speller:
        """A speller that looks sources up among (source, target) symbol pairs before it asks the model."""
        found: dict[tuple[str, ...], dict[tuple[str, ...], None]] = {}
        for source, target in entries:
            found.setdefault(tuple(source), {})[tuple(target)] = None
        dictionary = {source: tuple(targets) for source, targets in found.items()}
        return Speller(self.model, self.vocabularies, self.decoding, dictionary=dictionary)

    def with_lexicon(self, words: Iterable[str], *, weight: float | None = None) -> Speller:
        """A speller that keeps to the words of a list, or, with a weight, prefers them.

        Args:
            words: targets as texts; those with symbols that training never showed are left out.
            weight: nats that a target outside the list costs, >= 0; None allows no other.
        Raises:
            RecipeError: no usable words, or a weight out of range.
        """
        split, targets = self.vocabularies.target_tokenizer.split, self.vocabularies.targets
        encoded = (targets.encode(split(word)) for word in words)
        lexicon = Lexicon(word for word in encoded if word and targets.unknown not in word)
        model = Constrained(self.model, lexicon, weight)
        return Speller(model, self.vocabularies, self.decoding, dictionary=self.dictionary)

    def _predict(
        self, sources: Sequence[tuple[str, ...]], settings: Decoding, *, with_attention: bool
    ) -> list[Prediction[Array]]:
        results: dict[int, Prediction[Array]] = {}
        for position, source in enumerate(sources):
            if not source:
                raise DataError(f"source {position} has 0 symbols; expected at least one. Numbers begin at 0.")
            known = self.dictionary.get(source, ())[: settings.candidates]
            if known:
                results[position] = Prediction(source, tuple(self._entry(target) for target in known))
        order = sorted(
            set(range(len(sources))) - results.keys(), key=lambda position: (len(sources[position]), position)
        )
        vocabulary = self.vocabularies.sources
        for begin in range(0, len(order), settings.batch_size):
            positions = order[begin : begin + settings.batch_size]
            batch = Batch.of([vocabulary.encode(sources[position]) for position in positions], positions)
            decoded = decode(self.model, batch, settings, with_attention=with_attention)
            for position, hypotheses in zip(positions, decoded, strict=True):
                candidates = tuple(self._candidate(hypothesis) for hypothesis in hypotheses)
                source = sources[position]
                results[position] = Prediction(source, candidates, vocabulary.unknown_in(source))
        return [results[position] for position in range(len(sources))]

    def _candidate(self, hypothesis: Hypothesis) -> Candidate[Array]:
        symbols = self.vocabularies.targets.decode(hypothesis.symbols)
        text = self.vocabularies.target_tokenizer.join(symbols)
        return Candidate(symbols, text, hypothesis.log_probability, hypothesis.score, hypothesis.attention)

    def _entry(self, target: tuple[str, ...]) -> Candidate[Array]:
        return Candidate(target, self.vocabularies.target_tokenizer.join(target), 0.0, 0.0, origin="lexicon")


def load(exported: Exported, *, threads: int = 1) -> Speller:
    """The speller of an exported folder.

    Raises:
        RunError: its description is damaged.
        MissingExtraError: ONNX Runtime is not installed, or `regex`, which splitting into graphemes needs.
    """
    model = exported.model
    try:
        vocabularies = Vocabularies.read(model)
        decoding = Decoding.from_dict(model["decoding"])
        members = [
            Network(
                exported.session(member["encoder"], threads=threads),
                exported.session(member["step"], threads=threads),
                boundaries=member["boundaries"],
            )
            for member in model["members"]
        ]
    except (KeyError, TypeError, AttributeError, DataError, RecipeError) as error:
        raise RunError(
            f"{exported.manifest} describes no spell model ({error}); expected what `triptych export` wrote. "
            "Export the run again."
        ) from None
    if not members:
        raise RunError(f"{exported.manifest}: members is []; expected one model or more. Export the run again.")
    _check_graphemes(vocabularies)
    return Speller(members[0] if len(members) == 1 else Ensemble(members), vocabularies, decoding)


def _check_graphemes(vocabularies: Vocabularies) -> None:
    """Say at once, not at the first word, when texts cannot be split."""
    if "graphemes" in (vocabularies.source_tokenizer.unit, vocabularies.target_tokenizer.unit):
        try:
            vocabularies.source_tokenizer.split("a")
            vocabularies.target_tokenizer.split("a")
        except ImportError:
            raise MissingExtraError("regex", "onnx") from None


def _with_n_best(settings: Decoding, n_best: int | None) -> Decoding:
    """The settings for `n_best` candidates: so many samples, or a beam at least so wide."""
    if n_best is None:
        return settings
    if settings.method == "sample":
        return replace(settings, samples=n_best)
    method = "beam" if n_best > 1 else settings.method
    return replace(settings, method=method, n_best=n_best, beam_size=max(settings.beam_size, n_best))
