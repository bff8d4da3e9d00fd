"""The vocabularies of a speller, with what splits texts into their symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.errors import DataError, RecipeError, RunError
from triptych.text.features import Features, check_separator, join_features, split_features
from triptych.text.symbols import Tokenizer, Vocabulary


@dataclass(frozen=True)
class Vocabularies:
    """How texts become indices and back, on both sides of a model.

    Attributes:
        source_tokenizer, target_tokenizer: from text to symbols.
        sources, targets: from symbols to indices.
        features: from features to indices; None for a model without features.
        features_separator: between the features of a text.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    sources: Vocabulary
    targets: Vocabulary
    features: Vocabulary | None = None
    features_separator: str = ";"

    def split_features(self, text: str) -> Features:
        """The features of a text; see `triptych.text.features.split_features`."""
        return split_features(text, self.features_separator)

    def join_features(self, features: Features) -> str:
        """A text of which `split_features` makes these features."""
        return join_features(features, self.features_separator)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; features are there only if the model has them."""
        values = {
            "source_tokenizer": self.source_tokenizer.to_dict(),
            "target_tokenizer": self.target_tokenizer.to_dict(),
            "source_symbols": self.sources.to_list(),
            "target_symbols": self.targets.to_list(),
        }
        if self.features is None:
            return values
        return {**values, "features": self.features.to_list(), "features_separator": self.features_separator}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Vocabularies:
        """What `to_dict` wrote; where that is damaged, a KeyError, TypeError, DataError or RecipeError."""
        separator = values.get("features_separator", ";")
        check_separator(separator)
        return cls(
            Tokenizer.from_dict(values["source_tokenizer"]),
            Tokenizer.from_dict(values["target_tokenizer"]),
            Vocabulary.from_list(values["source_symbols"]),
            Vocabulary.from_list(values["target_symbols"]),
            Vocabulary.from_list(values["features"]) if "features" in values else None,
            separator,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: Path) -> Vocabularies:
        """What `to_dict` wrote into the file at `path`.

        Raises:
            RunError: an entry is missing or damaged.
        """
        try:
            return cls.read(values)
        except KeyError as error:
            raise RunError(f"the description of the model lacks {error}.", path=path) from None
        except (TypeError, DataError, RecipeError) as error:
            raise RunError(f"the description of the model is damaged ({error}).", path=path) from None
