"""Interface between decoders and models. Everything is NumPy.

Letters in shapes: B batch rows, S source length, T target length, V vocabulary (see docs/notation.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.config.decoding import SpellDecoding
from triptych.text.symbols import Vocabulary

Array = NDArray[Any]

START, END, UNKNOWN = Vocabulary.start, Vocabulary.end, Vocabulary.unknown
IMPOSSIBLE = np.float32(-np.inf)


@dataclass(frozen=True)
class Sources:
    """Encoded source sequences, padded at the end.

    Attributes:
        symbols: source vocabulary indices. Shape (B, S), int64.
        lengths: number of real symbols in each row, >= 1. Shape (B,), int64.
        row_ids: numbers >= 0 that set the rows' random numbers apart, such as their places in the whole data. B.
        features: vocabulary indices of each row's features, padded; None for a model without features. Shape (B, F),
            int64, F >= 1.
        copy_ids: what copying each position writes (`triptych.text.copying`), 0 in padding; None for a model that does
            not copy. Shape (B, S), int64.
    """

    symbols: Array
    lengths: Array
    row_ids: Sequence[int]
    features: Array | None = None
    copy_ids: Array | None = None

    @classmethod
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        row_ids: Sequence[int] | None = None,
        *,
        features: Sequence[Sequence[int]] | None = None,
        copy_ids: Sequence[Sequence[int]] | None = None,
    ) -> Self:
        """Sequences of indices side by side; row_ids count from 0 unless given."""
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        ids = range(len(sequences)) if row_ids is None else row_ids
        return cls(
            padded(sequences),
            lengths,
            ids,
            None if features is None else padded(features, least=1),
            None if copy_ids is None else padded(copy_ids),
        )

    def __len__(self) -> int:
        """B."""
        return len(self.lengths)


def padded(sequences: Sequence[Sequence[int]], *, least: int = 0) -> Array:
    """Sequences of indices side by side, padded at the end to the longest, and to `least`. Shape (B, longest)."""
    longest = max([least, *map(len, sequences)])
    found = np.full((len(sequences), longest), Vocabulary.pad, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        found[row, : len(sequence)] = sequence
    return found


class State(Protocol):
    """Everything a model carries from one step to the next, one row per hypothesis."""

    @property
    def attention(self) -> Array | None:
        """Weights of the latest step over source positions, rows sum to one. Shape (B, S); None without attention.

        Asked for between a step and the next `select`, and only where attention is wanted.
        """

    def select(self, index: Array) -> Self:
        """The state whose row i is this one's row `index[i]`; rows may repeat or be dropped. Index shape (rows,)."""


StateT = TypeVar("StateT", bound=State)


class StepModel(Protocol[StateT]):
    """The only view of a model that decoding has."""

    def start(self, sources: Sources) -> StateT:
        """The state before the first target symbol, one row per source."""

    def step(self, symbols: Array, state: StateT) -> tuple[Array, StateT]:
        """Feed one symbol per row, first of all START. Shapes: symbols (B,), log-probabilities out (B, V), float.

        Symbols that must never be produced (padding, start, unknown) have log-probability -inf. Decoders rely only on
        values <= 0, not on normalised rows: a model held to a lexicon takes more off.

        A model that copies returns V + S log-probabilities, S being the batch's; beyond V are those of `copy_ids`.
        """


def copies(model: Any) -> bool:
    """Whether a step model copies, and is given `copy_ids` with its sources."""
    return bool(getattr(model, "copies", False))


@dataclass(frozen=True)
class Hypothesis:
    """One decoded target.

    Attributes:
        symbols: target vocabulary indices, without start and end symbols.
        log_probability: sum of the model's log-probabilities of the symbols and of the end symbol when finished.
        score: what the decoder ranked by: the log-probability, less the penalty of a lexicon, divided by a power of
            the length where that was asked for.
        finished: False where the maximum length cut the hypothesis before its end symbol.
        attention: weights over source positions per symbol, the end symbol's row included when finished. Shape (T, S),
            S being the source's real length; None unless asked for, or without attention.
    """

    symbols: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool = True
    attention: Array | None = None


def length_limits(settings: SpellDecoding, lengths: Array) -> Array:
    """Longest target of each source, the end symbol not counted, >= 1. Shapes (B,)."""
    longest = (lengths * settings.max_length_factor + settings.max_length_extra).astype(np.int64)
    return np.maximum(longest, 1)
