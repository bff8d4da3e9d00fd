"""Where hypotheses came from: back-pointers kept while decoding, read back once at the end.

Every decoder works on *live* hypotheses, the rows of the model's state, and replaces all of them at each step by a new
generation. A generation is two flat tensors (whom each one extends, and by which symbol), so a step costs the same
however long the hypotheses have become, and attention is looked up only for the hypotheses that are returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.spell.decoding.contract import Hypothesis, SourceBatch, StepModel


@runtime_checkable
class Penalised(Protocol):
    """A step model that takes costs of its own off another model's log-probabilities."""

    def penalty(self, symbols: Tensor, lengths: Tensor, finished: Tensor) -> Tensor:
        """Nats taken off each hypothesis in all, >= 0. Shapes: symbols (H, T), the others and the result (H,)."""


@dataclass(frozen=True)
class Ended:
    """Hypotheses that have ended, H of them, in the order in which they ended unless reordered.

    Attributes:
        nodes: where the back-trace begins. Shape (H,).
        owners: what each belongs to: a source row, or a path of a decoder that keeps one. Shape (H,).
        totals: sums of the log-probabilities that the decoder saw. Shape (H,).
        lengths: number of symbols, the end symbol not counted. Shape (H,).
        finished: whether the end symbol was produced. Shape (H,), bool.
    """

    nodes: Tensor
    owners: Tensor
    totals: Tensor
    lengths: Tensor
    finished: Tensor

    def take(self, index: Tensor) -> Ended:
        """The hypotheses at these positions, in this order."""
        return Ended(*(getattr(self, field.name)[index] for field in fields(self)))


class Trace:
    """The generations of one decoding and the hypotheses that ended in each.

    Args:
        roots: number of hypotheses before the first symbol; the first generation.
        device: where the decoder's tensors are.
        with_attention: keep what `observe` is given.
    """

    def __init__(self, roots: int, *, device: torch.device, with_attention: bool) -> None:
        self._with_attention = with_attention
        self._parents = [torch.full((roots,), -1, device=device)]
        self._symbols = [torch.full((roots,), -1, device=device)]
        self._attention: list[Tensor] = []
        self._ended: list[Ended] = []
        self._base = 0

    @property
    def length(self) -> int:
        """Symbols in each live hypothesis."""
        return len(self._parents) - 1

    def observe(self, attention: Tensor | None) -> None:
        """Note the attention of the step just taken, one row per live hypothesis. Shape (live, S)."""
        if self._with_attention and attention is not None:
            self._attention.append(attention)

    def end(self, live: Tensor, *, owners: Tensor, totals: Tensor, finished: bool) -> None:
        """Note that live hypotheses ended. All shapes (ended,); `live` indexes the current generation."""
        lengths = torch.full_like(live, self.length)
        flags = torch.full_like(live, finished, dtype=torch.bool)
        self._ended.append(Ended(self._base + live, owners, totals, lengths, flags))

    def extend(self, live: Tensor, symbols: Tensor) -> None:
        """Begin the next generation: hypothesis i extends `live[i]` of the current one. Shapes (new,)."""
        base = self._base + len(self._parents[-1])
        self._parents.append(self._base + live)
        self._symbols.append(symbols)
        self._base = base

    def ended(self) -> Ended:
        """All hypotheses that ended, in that order."""
        return Ended(*(torch.cat([getattr(part, field.name) for part in self._ended]) for field in fields(Ended)))

    def read(
        self, ended: Ended, *, scores: Tensor, model: StepModel[Any], batch: SourceBatch, rows: Tensor
    ) -> list[list[Hypothesis]]:
        """Follow the back-pointers and build the hypotheses.

        Args:
            ended: what to return, grouped by source row in ascending order, best first in each.
            scores: what ranked them. Shape (H,).
            model: asked for its penalties where it has any, so that log-probabilities are the bare model's.
            batch: the sources; attention is cut to their lengths.
            rows: the source row of each hypothesis. Shape (H,).
        Returns:
            One list per source row, attention on the CPU.
        """
        path = self._back_trace(ended)
        symbols = torch.cat(self._symbols)[path[:, 1:]]
        log_probabilities = ended.totals
        if isinstance(model, Penalised):
            log_probabilities = log_probabilities + model.penalty(symbols, ended.lengths, ended.finished)
        row_list = rows.tolist()
        attention = self._read_attention(ended, path, batch, row_list)
        result: list[list[Hypothesis]] = [[] for _ in range(len(batch.lengths))]
        columns = (symbols, ended.lengths, log_probabilities, scores, ended.finished)
        for i, (spelling, length, log_probability, score, finished) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            weights = attention[i] if attention else None
            result[row_list[i]].append(
                Hypothesis(tuple(spelling[:length]), log_probability, score, finished=finished, attention=weights)
            )
        return result

    def _back_trace(self, ended: Ended) -> Tensor:
        """Nodes from the root to each hypothesis's last symbol, padded with that last node. Shape (H, T + 1)."""
        parents = torch.cat(self._parents)
        longest = int(ended.lengths.max())
        path = ended.nodes.repeat(longest + 1, 1)
        for position in range(longest - 1, -1, -1):
            later = path[position + 1]
            path[position] = torch.where(position < ended.lengths, parents[later], later)
        return path.T

    def _read_attention(
        self, ended: Ended, path: Tensor, batch: SourceBatch, rows: Sequence[int]
    ) -> list[Tensor] | None:
        if not self._attention:
            return None
        # A node's weights are those with which its successor was chosen, so the last node's belong to the end symbol.
        weights = torch.cat(self._attention)[path].cpu()
        source_lengths = batch.lengths.tolist()
        counts = (ended.lengths + ended.finished).tolist()
        return [
            weights[i, :count, : source_lengths[row]].clone()
            for i, (count, row) in enumerate(zip(counts, rows, strict=True))
        ]


def check_possible(best: Tensor, lost: Tensor, owners: Tensor) -> None:
    """Fail where a row has nothing to continue with.

    Args:
        best: the largest log-probability that each row could choose from; shown in the message. Shape (rows,).
        lost: True where the row cannot go on. Shape (rows,), bool.
        owners: the rows' numbers in the batch. Shape (rows,).
    Raises:
        TriptychError: some row is lost.
    """
    if bool(lost.any()):
        row = int(owners[lost][0])
        raise TriptychError(
            f"the largest log-probability of batch row {row} is {float(best[lost][0])}; expected a finite number. "
            "Check that the training loss was finite, and that a lexicon has only symbols that the model can produce."
        )
