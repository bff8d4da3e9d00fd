"""What a decoder needs from a model, and what it gives back.

Letters in shapes: B batch rows, S source length, T target length, V vocabulary (see docs/notation.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor


@dataclass
class SourceBatch:
    """Encoded source sequences, padded at the end. It is not frozen, since Lightning writes into batches.

    Attributes:
        symbols: source vocabulary indices. Shape (B, S), int64.
        lengths: number of real symbols in each row, >= 1. Shape (B,), int64, on the CPU.
    """

    symbols: Tensor
    lengths: Tensor

    def to(self, device: Any) -> SourceBatch:
        """The same batch with its symbols on another device."""
        return SourceBatch(self.symbols.to(device), self.lengths)


class State(Protocol):
    """Everything a model carries from one step to the next, one row per hypothesis."""

    @property
    def attention(self) -> Tensor | None:
        """Weights of the latest step over source positions, rows sum to one. Shape (B, S); None without attention."""

    def select(self, index: Tensor) -> Self:
        """The state whose row i is this one's row `index[i]`; rows may repeat or be left out. Index shape (rows,)."""


StateT = TypeVar("StateT", bound=State)


class StepModel(Protocol[StateT]):
    """The only view of a model that decoding has."""

    @property
    def end_symbol(self) -> int:
        """Index of the symbol that ends a target."""

    @property
    def start_symbol(self) -> int:
        """Index of the symbol that is fed first."""

    def start(self, batch: SourceBatch) -> StateT:
        """The state before the first target symbol, one row per source."""

    def step(self, symbols: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """Feed one symbol per row. Shapes: symbols (B,), log-probabilities out (B, V), float, rows normalised.

        Symbols that must never be produced (padding, start, unknown) have log-probability -inf.
        A model held to a lexicon takes more off without normalising again; decoders rely only on values <= 0.
        """


@dataclass(frozen=True)
class Hypothesis:
    """One decoded target.

    Attributes:
        symbols: target vocabulary indices, without start and end symbols.
        log_probability: sum of the model's log-probabilities of the symbols and of the end symbol when finished.
        score: what the decoder ranked by: the log-probability, less the penalty of a lexicon, length-normalised where
            that was asked for.
        finished: False where the maximum length cut the hypothesis before its end symbol.
        attention: weights over source positions per emitted symbol, the end symbol's row included when finished.
            Shape (T, S) cut to the source's real length; None unless asked for, or without attention.
    """

    symbols: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool = True
    attention: Tensor | None = None


@dataclass(frozen=True)
class LengthLimit:
    """Longest target allowed for a source: `factor * source length + extra` symbols, the end symbol not counted."""

    factor: float = 3.0
    extra: int = 10

    def of(self, lengths: Tensor) -> Tensor:
        """Limits for source lengths (B,), int64, each >= 1."""
        return (lengths.double() * self.factor + self.extra).long().clamp_min(1)
