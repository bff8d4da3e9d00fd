"""Predictions of a speller for a source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from triptych.text.alignment import Alignment
from triptych.text.languages import language_of


@dataclass(frozen=True)
class Candidate:
    """One predicted target.

    Attributes:
        symbols: the target's symbols.
        text: the symbols joined.
        log_probability: natural logarithm of the model's probability; 0.0 for an entry of a dictionary.
        score: what the decoder ranked by.
        attention: weights over source symbols for each target symbol and the end. Shape (T + 1, S); None without
            attention or where it was not asked for.
        origin: `model` or `dictionary`.
        finished: False where the length limit cut the target before its end symbol, whose probability
            `log_probability` then lacks.
        alignment: which source symbol each of its symbols is written from; None unless asked for.
    """

    symbols: tuple[str, ...]
    text: str
    log_probability: float
    score: float
    attention: NDArray[Any] | None = None
    origin: str = "model"
    finished: bool = True
    alignment: Alignment | None = None

    @property
    def probability(self) -> float:
        """The model's probability, in [0, 1]."""
        return math.exp(self.log_probability)


@dataclass(frozen=True)
class Prediction:
    """The candidates for one source, best first; the properties are the best one's.

    Attributes:
        source: source symbols.
        candidates: at least one.
        unknown: source symbols that training never showed.
        features: of the source, sorted, its language among them; empty for a model without features.
        unknown_features: those of them that training never showed.
    """

    source: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    unknown: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    unknown_features: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        """The source's language; empty for a model of one."""
        return language_of(self.features)

    @property
    def best(self) -> Candidate:
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
    def attention(self) -> NDArray[Any] | None:
        """Attention of the best candidate. Shape (T + 1, S)."""
        return self.best.attention


POOR, ONLY_COPIED = "expect a poor prediction", "the model can only copy such symbols"  # of what training never showed


def cut_warnings(count: int) -> list[str]:
    """A warning with the number of predictions that the length limit cut; empty for 0."""
    if not count:
        return []
    what = "1 prediction was" if count == 1 else f"{count} predictions were"
    return [f"{what} cut at the limit on the length; raise decoding.max_length_factor or decoding.max_length_extra."]
