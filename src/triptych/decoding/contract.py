"""What decoders and models share: the step contract, hypotheses and the trace they come from. Everything is NumPy.

Letters in shapes: B batch rows, S source length, T target length, V vocabulary, H hypotheses that have ended (see
docs/notation.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from triptych.config.decoding import SpellDecoding
from triptych.errors import TriptychError
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


def log_sum_exp(values: Array, *, axis: int) -> Array:
    """log(sum(exp(values))) without overflow; -inf where all are."""
    largest = np.max(values, axis=axis, keepdims=True)
    safe = np.where(np.isfinite(largest), largest, values.dtype.type(0))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - safe).sum(axis=axis)) + np.squeeze(safe, axis=axis))


def log_softmax(values: Array) -> Array:
    """Normalised logarithms of the last axis. Shape (B, V)."""
    return values - log_sum_exp(values, axis=1)[:, None]


@runtime_checkable
class Penalised(Protocol):
    """A step model that takes costs of its own off another model's log-probabilities."""

    def penalty(self, symbols: Array, lengths: Array, finished: Array) -> Array:
        """Nats taken off each hypothesis in all, >= 0. Shapes: symbols (H, T), the others and the result (H,)."""


@dataclass(frozen=True)
class Ended:
    """Hypotheses that have ended, in the order in which they ended unless reordered; every attribute has shape (H,).

    Attributes:
        nodes: where the back-trace begins.
        owners: what each belongs to: a source row, or a path of a decoder that keeps one.
        totals: sums of the log-probabilities that the decoder saw.
        lengths: number of symbols, the end symbol not counted.
        finished: whether the end symbol was produced.
    """

    nodes: Array
    owners: Array
    totals: Array
    lengths: Array
    finished: Array

    def take(self, index: Array) -> Ended:
        """The hypotheses at these positions, in this order."""
        return Ended(*(getattr(self, field.name)[index] for field in fields(self)))


class Trace:
    """Where hypotheses came from: back-pointers kept while decoding, read back once at the end.

    Every decoder works on *live* hypotheses, the rows of the model's state, and replaces all of them at each step by a
    new generation. A generation is two flat arrays (which hypothesis each one extends, and by which symbol), so a step
    costs the same however long the hypotheses are, and attention is put together only for those that are returned.

    Args:
        roots: number of hypotheses before the first symbol; the first generation.
        with_attention: keep the attention of the states that `observe` is given.
    """

    def __init__(self, roots: int, *, with_attention: bool) -> None:
        self._with_attention = with_attention
        self._parents = [np.full(roots, -1)]
        self._symbols = [np.full(roots, -1)]
        self._attention: list[Array] = []
        self._ended: list[Ended] = []
        self._base = 0

    @property
    def length(self) -> int:
        """Symbols in each live hypothesis."""
        return len(self._parents) - 1

    def observe(self, state: State) -> None:
        """Note the attention of the step that led to a state, one row per live hypothesis."""
        if self._with_attention:
            attention = state.attention
            if attention is not None:
                self._attention.append(attention)

    def end(self, live: Array, *, owners: Array, totals: Array, finished: bool) -> None:
        """Note that live hypotheses ended. All shapes (ended,); `live` indexes the current generation."""
        if len(live):
            lengths, flags = np.full(len(live), self.length), np.full(len(live), finished)
            self._ended.append(Ended(self._base + live, owners, totals, lengths, flags))

    def extend(self, live: Array, symbols: Array) -> None:
        """Begin the next generation: hypothesis i extends `live[i]` of the current one. Shapes (new,)."""
        base = self._base + len(self._parents[-1])
        self._parents.append(self._base + live)
        self._symbols.append(symbols)
        self._base = base

    def ended(self) -> Ended:
        """All hypotheses that ended, in that order; there is at least one."""
        return Ended(*(np.concatenate([getattr(part, field.name) for part in self._ended]) for field in fields(Ended)))

    def read(self, ended: Ended, *, scores: Array, model: Any, sources: Sources, rows: Array) -> list[list[Hypothesis]]:
        """Follow the back-pointers and build the hypotheses.

        Args:
            ended: what to return, in the order wanted within each source row.
            scores: what ranked them. Shape (H,).
            model: asked for its penalties where it has any, so that log-probabilities are the bare model's.
            sources: what was decoded; attention is cut to their lengths.
            rows: the source row of each hypothesis. Shape (H,).
        Returns:
            One list per source row.
        """
        path = self._back_trace(ended)
        symbols = np.concatenate(self._symbols)[path[:, 1:]]
        log_probabilities = ended.totals
        if isinstance(model, Penalised):
            log_probabilities = log_probabilities + model.penalty(symbols, ended.lengths, ended.finished)
        row_list = rows.tolist()
        attention = self._read_attention(ended, path, sources, row_list)
        result: list[list[Hypothesis]] = [[] for _ in range(len(sources))]
        columns = (symbols, ended.lengths, log_probabilities, scores, ended.finished)
        for i, (spelling, length, log_probability, score, finished) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            weights = attention[i] if attention else None
            result[row_list[i]].append(Hypothesis(tuple(spelling[:length]), log_probability, score, finished, weights))
        return result

    def _back_trace(self, ended: Ended) -> Array:
        """Nodes from the root to each hypothesis's last symbol, padded with that last node. Shape (H, T + 1)."""
        parents = np.concatenate(self._parents)
        longest = int(ended.lengths.max())
        path = np.tile(ended.nodes, (longest + 1, 1))
        for position in range(longest - 1, -1, -1):
            later = path[position + 1]
            path[position] = np.where(position < ended.lengths, parents[later], later)
        return path.T

    def _read_attention(self, ended: Ended, path: Array, sources: Sources, rows: Sequence[int]) -> list[Array] | None:
        if not self._attention:
            return None
        # A node's weights are those with which its successor was chosen, so the last node's belong to the end symbol.
        weights = np.concatenate(self._attention)[path]
        lengths = sources.lengths.tolist()
        counts = (ended.lengths + ended.finished).tolist()
        return [
            weights[i, :count, : lengths[row]].copy() for i, (count, row) in enumerate(zip(counts, rows, strict=True))
        ]


def check_possible(best: Array, lost: Array, owners: Array) -> None:
    """Fail where a row has nothing to continue with.

    Args:
        best: the largest log-probability that each row could choose from; shown in the message. Shape (rows,).
        lost: True where the row cannot continue. Shape (rows,), bool.
        owners: the rows' numbers in the batch. Shape (rows,).
    Raises:
        TriptychError: some row is lost.
    """
    if lost.any():
        at = int(lost.argmax())
        raise TriptychError(
            field=f"the largest log-probability of batch row {int(owners[at])}",
            value=float(best[at]),
            expected="a finite number",
            hint="Check that the training loss was finite, and that the model can produce every symbol of a lexicon.",
        )
