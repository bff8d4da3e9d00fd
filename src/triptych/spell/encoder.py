"""The bidirectional encoder, and the sizes it shares with every decoder.

Letters in shapes: B batch, S source length, E embedding, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from triptych.nn.dropout import Dropout
from triptych.spell.features import FeatureEncoder
from triptych.text.symbols import Vocabulary

Cell = Literal["lstm", "gru"]
Dropped = Literal["states", "final", "none"]
SPARSE = 0.5  # share of a grid that must be taken for it to be worth its empty places
CELLS: dict[Cell, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


@dataclass
class SourceBatch:
    """Encoded source sequences, padded at the end. It is not frozen, since Lightning writes into batches.

    Attributes:
        symbols: source vocabulary indices. Shape (B, S), int64.
        lengths: number of real symbols in each row, >= 1. Shape (B,), int64, on the CPU.
        features: indices of each row's features, padded; None for a network without features. Shape (B, F), int64.
        copy_ids: what copying each position writes, see `triptych.text.copying`, 0 where nothing is copied; None for a
            network that does not copy. Shape (B, S), int64.
    """

    symbols: Tensor
    lengths: Tensor
    features: Tensor | None = None
    copy_ids: Tensor | None = None

    def to(self, device: Any) -> SourceBatch:
        """The same batch with its indices on another device."""
        features, copy_ids = (None if part is None else part.to(device) for part in (self.features, self.copy_ids))
        return replace(self, symbols=self.symbols.to(device), features=features, copy_ids=copy_ids)


@dataclass(frozen=True)
class Sizes:
    """Settings that encoder and decoder share.

    Attributes:
        cell: `lstm` or `gru`.
        embedding: E, >= 1.
        hidden: H, even: the decoder's width, and the encoder's two directions together.
        dropout: on embeddings and on final outputs, in [0, 1).
        layer_dropout: between recurrent layers, in [0, 1).
    """

    cell: Cell = "lstm"
    embedding: int = 128
    hidden: int = 128
    dropout: float = 0.0
    layer_dropout: float = 0.0


@dataclass(frozen=True)
class EncodedSources:
    """R encoded sources, each for one hypothesis or several: what is read from a source is stored once.

    The hypotheses of a source lie side by side in an (R, K) grid, so that all that is computed for a source and a
    query is computed as for K queries at once. Rows of hypotheses are spread over the grid and gathered from it.

    Attributes:
        states: what is read from a position: encoder states, or a view of them. Shape (R, S, width).
        keys: what attention compares queries with; empty without attention. Shape (R, S, width).
        valid: True where the source is real. Shape (R, S).
        source: which source each hypothesis belongs to. Shape (B,).
        copy_ids: what copying each position writes, 0 where nothing is copied; None without copying. Shape (R, S).
        places: position of each hypothesis in the grid; None where there is one for each source. Shape (B,).
        columns: K.
    """

    states: Tensor
    keys: Tensor
    valid: Tensor
    source: Tensor
    places: Tensor | None = None
    columns: int = 1
    copy_ids: Tensor | None = None

    @property
    def row_valid(self) -> Tensor:
        """True where the source of each hypothesis is real. Shape (B, S)."""
        return self.valid if self.places is None else self.valid.index_select(0, self.source)

    @property
    def row_copy_ids(self) -> Tensor | None:
        """What copying writes, for each hypothesis. Shape (B, S)."""
        if self.copy_ids is None or self.places is None:
            return self.copy_ids
        return self.copy_ids.index_select(0, self.source)

    def spread(self, rows: Tensor) -> Tensor:
        """Rows of hypotheses over the grid, zeros in empty places. Shape (B, ...) to (R, K, ...)."""
        if self.places is None:
            return rows.unsqueeze(1)
        places = len(self.states) * self.columns
        if len(rows) < places:
            rows = rows.new_zeros(places, *rows.shape[1:]).index_copy(0, self.places, rows)
        return rows.view(len(self.states), self.columns, *rows.shape[1:])

    def gather(self, grid: Tensor) -> Tensor:
        """Rows of hypotheses from the grid. Shape (R, K, ...) to (B, ...)."""
        rows = grid.flatten(0, 1)
        return rows if self.places is None or len(self.places) == len(rows) else rows.index_select(0, self.places)

    def select(self, index: Tensor) -> EncodedSources:
        """Hypotheses by index. Where they only change places within their source, nothing is copied."""
        source = self.source.index_select(0, index)
        if torch.equal(source, self.source):
            return self
        if bool((source[1:] < source[:-1]).any()):  # in no order of sources
            return self._copied(source)
        counts = torch.bincount(source, minlength=len(self.states))
        kept = counts.nonzero()[:, 0]
        counts = counts[kept]
        columns = int(counts.max()) if len(kept) else 1
        if len(source) < SPARSE * len(kept) * columns:
            return self._copied(source)
        number = torch.repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        places = number * columns + torch.arange(len(number), device=number.device) - first[number]
        fewer = self if len(kept) == len(self.states) else self._copied(kept)
        return replace(fewer, source=number, places=None if columns == 1 else places, columns=columns)

    def _copied(self, source: Tensor) -> EncodedSources:
        """Each of these sources for a hypothesis of its own."""
        return EncodedSources(
            self.states.index_select(0, source),
            self.keys.index_select(0, source),
            self.valid.index_select(0, source),
            torch.arange(len(source), device=source.device),
            copy_ids=None if self.copy_ids is None else self.copy_ids.index_select(0, source),
        )


class Encoder(nn.Module):
    """Bidirectional recurrent encoder; dropout on embeddings and on final outputs.

    Args:
        vocabulary_size: V of the source.
        sizes: widths, cell and dropout.
        layers: recurrent layers, >= 1.
        residual: add each layer's input to its output, from the second layer on.
        dropped: which final outputs have dropout: the `states` that attention reads, every part of the `final` state
            that the decoder starts from, or `none`.
        shortcut: add a linear map of each symbol's embedding to its state, so that what is local needs no recurrence.
        features: encodes the features of a row, whose vector is added to each of its embeddings; None without.
    """

    def __init__(
        self,
        vocabulary_size: int,
        sizes: Sizes,
        *,
        layers: int = 1,
        residual: bool = False,
        dropped: Dropped = "states",
        shortcut: bool = False,
        features: FeatureEncoder | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, sizes.embedding, padding_idx=Vocabulary.pad)
        self.dropout = Dropout(sizes.dropout)
        self.layer_dropout = Dropout(sizes.layer_dropout)
        widths = [sizes.embedding] + [sizes.hidden] * (layers - 1)
        self.recurrent = nn.ModuleList(
            CELLS[sizes.cell](width, sizes.hidden // 2, batch_first=True, bidirectional=True) for width in widths
        )
        self.residual = residual
        self.dropped = dropped
        self.shortcut = nn.Linear(sizes.embedding, sizes.hidden, bias=False) if shortcut else None
        self.features = features

    def forward(self, batch: SourceBatch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """States (B, S, H), and each part of the final recurrent state, both directions joined: (layers, B, H)."""
        embedded = self.embedding(batch.symbols)
        if self.features is not None:
            embedded = embedded + self.features(batch.features).unsqueeze(1)
        states = embedded = self.dropout(embedded)
        finals: list[tuple[Tensor, ...]] = []
        for number, layer in enumerate(self.recurrent):
            outputs, final = _run(layer, states, batch.lengths)
            last = number == len(self.recurrent) - 1
            if last and self.dropped == "states":
                outputs = self.dropout(outputs)
            elif not last:
                outputs = self.layer_dropout(outputs)
            if self.dropped == "final":
                final = tuple(self.dropout(part) for part in final)
            states = outputs + states if self.residual and number > 0 else outputs
            finals.append(final)
        if self.shortcut is not None:
            states = states + self.shortcut(embedded)
        return states, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def _run(layer: nn.Module, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One bidirectional layer: outputs (B, S, H), and each part of its final state, both directions joined (B, H)."""
    if bool((lengths == inputs.shape[1]).all()):  # batches are bucketed, so packing is rarely needed
        outputs, final = layer(inputs)
    else:
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        packed_outputs, final = layer(packed)
        outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=inputs.shape[1])
    parts = final if isinstance(final, tuple) else (final,)
    return outputs, tuple(torch.cat((part[0], part[1]), dim=-1) for part in parts)


def source_valid(source: SourceBatch, device: Any) -> Tensor:
    """True where a padded source is real. Shape (B, S)."""
    positions = torch.arange(source.symbols.shape[1], device=device)
    return positions < source.lengths.to(device).unsqueeze(1)


def hide_symbols(symbols: Tensor, share: float) -> Tensor:
    """Replace a random share of real symbols with the unknown symbol; padding and start stay."""
    if share == 0:
        return symbols
    hidden = (torch.rand(symbols.shape, device=symbols.device) < share) & (symbols > Vocabulary.unknown)
    return symbols.masked_fill(hidden, Vocabulary.unknown)


def with_boundaries(source: SourceBatch) -> SourceBatch:
    """The same sources between a start and an end symbol, so two longer each."""
    rows, length = source.symbols.shape
    longer = source.symbols.new_full((rows, length + 2), Vocabulary.pad)
    longer[:, 0] = Vocabulary.start
    longer[:, 1:-1] = source.symbols
    ends = (source.lengths + 1).to(longer.device).unsqueeze(1)
    copy_ids = None if source.copy_ids is None else F.pad(source.copy_ids, (1, 1))  # boundaries are not copied
    symbols = longer.scatter(1, ends, Vocabulary.end)
    return replace(source, symbols=symbols, lengths=source.lengths + 2, copy_ids=copy_ids)
