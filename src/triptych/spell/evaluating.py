"""Items predicted and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from triptych.config import SpellDecoding
from triptych.decoding import Speller
from triptych.spell.corpus import Item
from triptych.spell.metrics import ItemResult, Scores, score
from triptych.text.languages import language_of
from triptych.text.predictions import Prediction, cut_warnings
from triptych.text.symbols import Vocabularies


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a model on a split.

    Attributes:
        split: which split.
        decoding: how targets were decoded.
        items: what was predicted for every item, in the order of the data.
        scores: error rates with intervals.
    """

    split: str
    decoding: SpellDecoding
    items: Sequence[ItemResult]
    scores: Scores

    @property
    def warnings(self) -> list[str]:
        """Number of predictions cut at the length limit."""
        return cut_warnings(sum(not item.finished for item in self.items))


def evaluate_items(model: Speller, items: Sequence[Item], *, split: str, decoding: SpellDecoding) -> Evaluation:
    """Predict and score some items, of a model of several languages also by language."""
    results = results_of(items, predictions_of(model, items, decoding), model.vocabularies)
    sampled = decoding.method == "sample"
    scores = score(results, sampled=sampled)
    by_language: dict[str, list[ItemResult]] = {name: [] for name in model.vocabularies.languages}
    for result in results if by_language else ():
        by_language[language_of(result.features)].append(result)
    own = {name: score(each, sampled=sampled) for name, each in by_language.items() if each}
    return Evaluation(split, decoding, results, replace(scores, languages=own))


def predictions_of(model: Speller, items: Sequence[Item], decoding: SpellDecoding | None = None) -> list[Prediction]:
    """What a model predicts for some items."""
    features = None if model.vocabularies.features is None else [item.features for item in items]
    return model.predict([item.source for item in items], features=features, decoding=decoding)


def results_of(
    items: Sequence[Item], predictions: Sequence[Prediction], vocabularies: Vocabularies
) -> list[ItemResult]:
    """Items with what was predicted for them, to be scored in the form that targets are written in."""
    written = vocabularies.target_tokenizer.written
    return [
        ItemResult(
            source=item.source,
            references=tuple(written(reference) for reference in item.references),
            predictions=tuple(written(candidate.symbols) for candidate in prediction.candidates),
            log_probabilities=tuple(candidate.log_probability for candidate in prediction.candidates),
            finished=prediction.best.finished,
            from_dictionary=prediction.best.origin == "dictionary",
            features=item.features,
        )
        for item, prediction in zip(items, predictions, strict=True)
    ]
