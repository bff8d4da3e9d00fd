"""Both vocabularies of a speller, with the tokenizers that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.errors import DataError, RecipeError, RunError
from triptych.text.symbols import Tokenizer, Vocabulary


@dataclass(frozen=True)
class Vocabularies:
    """How texts become indices and back, on both sides of a model.

    Attributes:
        source_tokenizer, target_tokenizer: from text to symbols.
        sources, targets: from symbols to indices.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    sources: Vocabulary
    targets: Vocabulary

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source_tokenizer": self.source_tokenizer.to_dict(),
            "target_tokenizer": self.target_tokenizer.to_dict(),
            "source_symbols": self.sources.to_list(),
            "target_symbols": self.targets.to_list(),
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Vocabularies:
        """What `to_dict` wrote; where that is damaged, a KeyError, TypeError, DataError or RecipeError."""
        return cls(
            Tokenizer.from_dict(values["source_tokenizer"]),
            Tokenizer.from_dict(values["target_tokenizer"]),
            Vocabulary.from_list(values["source_symbols"]),
            Vocabulary.from_list(values["target_symbols"]),
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
