"""Graphs as the decoders see them: a state before the first symbol, and one symbol at a time.

Letters in shapes: B rows, S source length, V target vocabulary.

A model is two graphs that share names. The encoder turns `symbols` (B, S) and `lengths` (B,) into tensors with one row
per source. The step takes those tensors and the latest `symbols` (B,), and returns `log_probabilities` (B, V), perhaps
`attention` (B, S), and for each tensor X that changes, `next_X`. The others stay as the encoder made them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

START, END, PAD = 1, 2, 0
NEXT = "next_"


class State(Protocol):
    """What a model carries from one step to the next, one row per hypothesis."""

    @property
    def attention(self) -> Array | None:
        """Weights of the latest step over source positions. Shape (B, S); None without attention."""

    def select(self, index: Array) -> Self:
        """The state whose row i is this one's row `index[i]`."""


class StepModel(Protocol):
    """The only view of a model that decoders have."""

    def start(self, symbols: Array, lengths: Array) -> Any:
        """The state before the first target symbol. Shapes: symbols (B, S), lengths (B,)."""

    def step(self, symbols: Array, state: Any) -> tuple[Array, Any]:
        """Feed one symbol per row (B,); log-probabilities (B, V), at most 0, and the state after."""


@dataclass(frozen=True)
class GraphState:
    """Tensors by the names that the graphs give them, rows first.

    Attributes:
        changing: what every step replaces.
        fixed: what the encoder made of the source.
        source: which source each row belongs to. Shape (B,).
        attention: weights of the latest step. Shape (B, S).
    """

    changing: Mapping[str, Array]
    fixed: Mapping[str, Array]
    source: Array
    attention: Array | None = None

    def select(self, index: Array) -> GraphState:
        """Rows by index. Where hypotheses only change places within their source, the fixed part is not copied."""
        source = self.source[index]
        same = np.array_equal(source, self.source)
        return GraphState(
            {name: value[index] for name, value in self.changing.items()},
            self.fixed if same else {name: value[index] for name, value in self.fixed.items()},
            source,
            None if self.attention is None else self.attention[index],
        )


class Network:
    """An encoder graph and a step graph.

    Args:
        encoder, step: sessions of the two graphs.
        boundaries: put a start and an end symbol around every source.
    """

    def __init__(self, encoder: Any, step: Any, *, boundaries: bool = False) -> None:
        self._encoder = encoder
        self._step = step
        self._boundaries = boundaries
        self._encoded = [output.name for output in encoder.get_outputs()]
        self._after = [output.name for output in step.get_outputs()]
        self._wanted = {entry.name for entry in step.get_inputs()}
        self._changing = [name for name in self._encoded if NEXT + name in self._after]

    def start(self, symbols: Array, lengths: Array) -> GraphState:
        """The state before the first target symbol, one row per source."""
        if self._boundaries:
            symbols, lengths = with_boundaries(symbols, lengths)
        values = self._encoder.run(self._encoded, {"symbols": symbols, "lengths": lengths})
        made = dict(zip(self._encoded, values, strict=True))
        changing = {name: made.pop(name) for name in self._changing}
        fixed = {name: value for name, value in made.items() if name in self._wanted}
        return GraphState(changing, fixed, np.arange(len(lengths)))

    def step(self, symbols: Array, state: GraphState) -> tuple[Array, GraphState]:
        """Feed one symbol per row (B,); get log-probabilities (B, V), -inf for padding, start and unknown."""
        values = self._step.run(self._after, {"symbols": symbols, **state.changing, **state.fixed})
        made = dict(zip(self._after, values, strict=True))
        changing = {name: made[NEXT + name] for name in self._changing}
        return made["log_probabilities"], GraphState(changing, state.fixed, state.source, made.get("attention"))


def with_boundaries(symbols: Array, lengths: Array) -> tuple[Array, Array]:
    """The same sources between a start and an end symbol, so two longer each. Shapes (B, S), (B,)."""
    longer = np.full((symbols.shape[0], symbols.shape[1] + 2), PAD, dtype=symbols.dtype)
    longer[:, 0] = START
    longer[:, 1:-1] = symbols
    longer[np.arange(len(lengths)), lengths + 1] = END
    return longer, lengths + 2


@dataclass(frozen=True)
class EnsembleState:
    """The members' states, row by row the same hypotheses."""

    members: tuple[GraphState, ...]

    @property
    def attention(self) -> Array | None:
        """Mean of the members' weights; None when one of them has none. Shape (B, S)."""
        weights = [member.attention for member in self.members]
        return None if any(weight is None for weight in weights) else np.mean(np.stack(weights), axis=0)  # type: ignore[arg-type]

    def select(self, index: Array) -> EnsembleState:
        """Rows by index, in every member."""
        return EnsembleState(tuple(member.select(index) for member in self.members))


class Ensemble:
    """A model whose next-symbol probabilities are the mean of its members'."""

    def __init__(self, members: Sequence[Network]) -> None:
        self.members = tuple(members)

    def start(self, symbols: Array, lengths: Array) -> EnsembleState:
        """All members' states before the first symbol."""
        return EnsembleState(tuple(member.start(symbols, lengths) for member in self.members))

    def step(self, symbols: Array, state: EnsembleState) -> tuple[Array, EnsembleState]:
        """Feed one symbol per row to every member. Shapes: symbols (B,), log-probabilities (B, V)."""
        steps = [member.step(symbols, inner) for member, inner in zip(self.members, state.members, strict=True)]
        stacked = np.stack([log_probs for log_probs, _ in steps])
        mean = log_sum_exp(stacked, axis=0) - np.float32(math.log(len(self.members)))
        return mean, EnsembleState(tuple(after for _, after in steps))


def log_sum_exp(values: Array, *, axis: int) -> Array:
    """log(sum(exp(values))) without overflow; -inf where all are."""
    largest = np.max(values, axis=axis, keepdims=True)
    safe = np.where(np.isfinite(largest), largest, values.dtype.type(0))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - safe).sum(axis=axis)) + np.squeeze(safe, axis=axis))
