"""What a speller says of a source, and the language it says it in, with PyTorch or without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from triptych.errors import DataError, RecipeError, RunError
from triptych.text.symbols import Tokenizer, Vocabulary

Weights = TypeVar("Weights")  # of attention: a tensor, or an array where there is no PyTorch


@dataclass(frozen=True)
class Candidate(Generic[Weights]):
    """One predicted target.

    Attributes:
        symbols: the target's symbols.
        text: the symbols joined.
        log_probability: natural logarithm of the model's probability; 0.0 for an entry of a dictionary.
        score: what the decoder ranked by.
        attention: weights over source symbols for each target symbol and the end. Shape (T + 1, S); None without
            attention or where it was not asked for.
        origin: `model`, or `lexicon` for an entry of a dictionary.
    """

    symbols: tuple[str, ...]
    text: str
    log_probability: float
    score: float
    attention: Weights | None = None
    origin: str = "model"

    @property
    def probability(self) -> float:
        """The model's probability, in [0, 1]."""
        return math.exp(self.log_probability)


@dataclass(frozen=True)
class Prediction(Generic[Weights]):
    """The candidates for one source, best first; the properties are the best one's.

    Attributes:
        source: source symbols.
        candidates: at least one.
        unknown: source symbols that training never showed.
    """

    source: tuple[str, ...]
    candidates: tuple[Candidate[Weights], ...]
    unknown: tuple[str, ...] = ()

    @property
    def best(self) -> Candidate[Weights]:
        """The first candidate."""
        return self.candidates[0]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of the best candidate."""
        return self.best.symbols

    @property
    def text(self) -> str:
        """Text of the best candidate."""
        return self.best.text

    @property
    def log_probability(self) -> float:
        """Log-probability of the best candidate."""
        return self.best.log_probability

    @property
    def attention(self) -> Weights | None:
        """Attention of the best candidate. Shape (T + 1, S)."""
        return self.best.attention


@dataclass(frozen=True)
class Language:
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
    def read(cls, values: Mapping[str, Any]) -> Language:
        """What `to_dict` wrote; where that is damaged, a KeyError, TypeError, DataError or RecipeError."""
        return cls(
            Tokenizer.from_dict(values["source_tokenizer"]),
            Tokenizer.from_dict(values["target_tokenizer"]),
            Vocabulary.from_list(values["source_symbols"]),
            Vocabulary.from_list(values["target_symbols"]),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: Path) -> Language:
        """What `to_dict` wrote into the file at `path`.

        Raises:
            RunError: an entry is missing or damaged.
        """
        try:
            return cls.read(values)
        except KeyError as error:
            raise RunError(f"{path} lacks {error}; expected a complete description of a spell model.") from None
        except (TypeError, DataError, RecipeError) as error:
            raise RunError(f"{path} is damaged ({error}); expected a description of a spell model.") from None
