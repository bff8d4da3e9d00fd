"""From texts of sources, features and languages to what a speller predicts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from triptych.errors import DataError
from triptych.text.pairs import Input
from triptych.text.symbols import Tokenizer, Vocabularies

Each = TypeVar("Each")
Text = str | Sequence[str]
"""A text, to be split as in training, or its symbols; of features likewise, `V;PST` or ("V", "PST")."""


def symbols_of(text: Text, tokenizer: Tokenizer) -> tuple[str, ...]:
    """The symbols of a text."""
    return tokenizer.split(text) if isinstance(text, str) else tuple(text)


def features_of(given: Text, vocabularies: Vocabularies, language: str | None = None) -> tuple[str, ...]:
    """Features, with a language among them where the model has several.

    Raises:
        DataError: brackets that do not pair, or a language that is unknown, missing or not the only one.
    """
    own = vocabularies.split_features(given) if isinstance(given, str) else tuple(sorted(set(given)))
    return vocabularies.with_language(own, language)


def inputs_of(
    vocabularies: Vocabularies,
    sources: str | Sequence[Text],
    features: str | Sequence[Text] | None,
    language: str | Sequence[str] | None,
) -> list[Input]:
    """Sources, features and languages, split as in training; see `triptych.decoding.speller.Speller.predict`.

    Raises:
        DataError: features or a language where the model has none, or none where it has them, or another number of
            them than of sources.
    """
    texts = [sources] if isinstance(sources, str) else sources
    symbols = [symbols_of(text, vocabularies.source_tokenizer) for text in texts]
    languages = _one_each("languages", language, len(symbols))
    if vocabularies.features is None:
        if features:
            raise DataError(field="features", value=features, expected="none: this model was trained without them")
        listed: Sequence[Text | None] = [None] * len(symbols)
    elif features is None and vocabularies.takes_features:
        raise DataError(
            field="features",
            value=features,
            expected="those of each source: this model was trained with them",
            hint='Write features=["V;PST"], or "" for a source without any.',
        )
    else:
        listed = _one_each("features", features, len(symbols))
    return [
        Input(source, features_of(given or "", vocabularies, own))
        for source, given, own in zip(symbols, listed, languages, strict=True)
    ]


def _one_each(what: str, given: str | Sequence[Each] | None, count: int) -> Sequence[Each | str | None]:
    """One for each source; a single text, or None, is that of every source."""
    listed = [given] * count if given is None or isinstance(given, str) else given
    if len(listed) != count:
        raise DataError(field=f"the number of {what}", value=len(listed), expected=f"{count}, as sources")
    return listed
