"""What decoders remember: the symbols of every step with back-pointers, and the hypotheses that have ended.

Letters in shapes: H ended hypotheses, T target length.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np

from triptych.errors import TriptychError
from triptych.runtime.decoding import Batch, Hypothesis
from triptych.runtime.network import Array


@runtime_checkable
class Penalised(Protocol):
    """A model that takes costs of its own off another model's log-probabilities."""

    def penalty(self, symbols: tuple[int, ...], finished: bool) -> float:
        """Nats taken off a hypothesis in all, >= 0."""


@dataclass(frozen=True)
class Ended:
    """Hypotheses that have ended; all attributes have the shape (H,).

    Attributes:
        nodes: where the back-trace begins.
        owners: what each belongs to: a source row, or a path of a decoder that keeps one.
        totals: sums of log-probabilities.
        lengths: symbols, the end symbol not counted.
        finished: whether the end symbol was produced.
    """

    nodes: Array
    owners: Array
    totals: Array
    lengths: Array
    finished: Array

    def take(self, index: Array) -> Ended:
        """The hypotheses at these positions, in this order."""
        return Ended(*(getattr(self, entry.name)[index] for entry in fields(self)))


class Trace:
    """The generations of one decoding and the hypotheses that ended in each.

    Args:
        roots: hypotheses before the first symbol.
        with_attention: keep what `observe` is given.
    """

    def __init__(self, roots: int, *, with_attention: bool) -> None:
        self._with_attention = with_attention
        self._parents: list[Array] = [np.full(roots, -1)]
        self._symbols: list[Array] = [np.full(roots, -1)]
        self._attention: list[Array] = []
        self._ended: list[Ended] = []
        self._base = 0

    @property
    def length(self) -> int:
        """Symbols in each live hypothesis."""
        return len(self._parents) - 1

    def observe(self, attention: Array | None) -> None:
        """Note the attention of the step just taken. Shape (live, S)."""
        if self._with_attention and attention is not None:
            self._attention.append(attention)

    def end(self, live: Array, *, owners: Array, totals: Array, finished: bool) -> None:
        """Note that live hypotheses ended. Shapes (ended,); `live` indexes the current generation."""
        lengths, flags = np.full(len(live), self.length), np.full(len(live), finished)
        self._ended.append(Ended(self._base + live, owners, totals, lengths, flags))

    def extend(self, live: Array, symbols: Array) -> None:
        """Begin the next generation: hypothesis i extends `live[i]` of the current one. Shapes (new,)."""
        base = self._base + len(self._parents[-1])
        self._parents.append(self._base + live)
        self._symbols.append(symbols)
        self._base = base

    def ended(self) -> Ended:
        """All hypotheses that ended, in that order."""
        return Ended(*(np.concatenate([getattr(part, entry.name) for part in self._ended]) for entry in fields(Ended)))

    def read(self, ended: Ended, *, scores: Array, model: object, batch: Batch, rows: Array) -> list[list[Hypothesis]]:
        """Follow the back-pointers and build the hypotheses, one list per source row.

        Args:
            ended: what to return, in the order wanted within each row.
            scores: what ranked them. Shape (H,).
            model: asked for its penalties where it has any.
            batch: the sources; attention is cut to their lengths.
            rows: the source row of each hypothesis. Shape (H,).
        """
        path = self._back_trace(ended)
        symbols = np.concatenate(self._symbols)[path[:, 1:]]
        weights = np.concatenate(self._attention)[path] if self._attention else None
        result: list[list[Hypothesis]] = [[] for _ in batch.lengths]
        for i, row in enumerate(rows.tolist()):
            length, finished = int(ended.lengths[i]), bool(ended.finished[i])
            spelling = tuple(symbols[i, :length].tolist())
            total = float(ended.totals[i])
            if isinstance(model, Penalised):
                total += model.penalty(spelling, finished)
            # A node's weights are those with which its successor was chosen, so the last node's belong to the end.
            looked = None if weights is None else weights[i, : length + finished, : batch.lengths[row]].copy()
            result[row].append(Hypothesis(spelling, total, float(scores[i]), finished, looked))
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


def check_possible(best: Array, lost: Array, owners: Array) -> None:
    """Fail where a row has nothing to continue with. Shapes (rows,).

    Raises:
        TriptychError: some row is lost.
    """
    if lost.any():
        at = int(np.flatnonzero(lost)[0])
        raise TriptychError(
            f"the largest log-probability of batch row {int(owners[at])} is {float(best[at])}; expected a finite "
            "number. Check that the training loss was finite, and that a lexicon has only symbols that the model can "
            "produce."
        )
