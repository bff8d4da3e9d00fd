"""Second truths for decoding: a model that is a table, and the decoders' definitions written out with plain floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from triptych.spell.decoding.contract import LengthLimit, SourceBatch

PADDING, START, END = 0, 1, 2
FIRST_LETTER = 3


@dataclass(frozen=True)
class TableState:
    """A row of the table per hypothesis. Shapes: codes, lengths, seen (B,)."""

    codes: Tensor
    lengths: Tensor
    width: int
    seen: Tensor
    attention: Tensor | None = None

    def select(self, index: Tensor) -> TableState:
        attention = None if self.attention is None else self.attention[index]
        return replace(
            self, codes=self.codes[index], lengths=self.lengths[index], seen=self.seen[index], attention=attention
        )


@dataclass
class TableModel:
    """Next-symbol log-probabilities looked up by a number that depends on the source and on every symbol so far.

    Attributes:
        table: log-probabilities, -inf for padding and start. Shape (contexts, V).
        attention_table: unnormalised weights over source positions, or None. Shape (contexts, longest source).
        rows_stepped: how many rows each step had.
    """

    table: Tensor
    attention_table: Tensor | None = None
    end_symbol: int = END
    start_symbol: int = START
    rows_stepped: list[int] = field(default_factory=list)

    def start(self, batch: SourceBatch) -> TableState:
        lengths, width = batch.lengths.to(batch.symbols.device), batch.symbols.shape[1]
        places = torch.arange(1, width + 1, device=lengths.device)
        codes = (batch.symbols * places * (places <= lengths[:, None])).sum(1) + 13 * lengths
        return TableState(codes % len(self.table), lengths, width, torch.zeros_like(lengths))

    def step(self, symbols: Tensor, state: TableState) -> tuple[Tensor, TableState]:
        self.rows_stepped.append(len(symbols))
        assert bool(((symbols == START) == (state.seen == 0)).all()), "start is the first symbol fed, and only that"
        codes = (state.codes * 31 + symbols * 7 + 1) % len(self.table)
        attention = None
        if self.attention_table is not None:
            valid = torch.arange(state.width, device=codes.device) < state.lengths[:, None]
            weights = self.attention_table[codes, : state.width]
            attention = weights.masked_fill(~valid, -math.inf).softmax(1)
        return self.table[codes], replace(state, codes=codes, attention=attention, seen=state.seen + 1)


def random_model(
    seed: int,
    *,
    letters: int = 3,
    contexts: int = 97,
    attention: bool = False,
    end_bias: float = 0.0,
    sharpness: float = 1.5,
) -> TableModel:
    """A model with random rows; every letter and the end symbol have some probability."""
    generator = torch.Generator().manual_seed(seed)
    scores = sharpness * torch.randn(contexts, FIRST_LETTER + letters, generator=generator)
    scores[:, END] += end_bias
    scores[:, [PADDING, START]] = -math.inf
    weights = torch.randn(contexts, 16, generator=generator) if attention else None
    return TableModel(scores.log_softmax(1), weights)


def random_batch(seed: int, lengths: Sequence[int]) -> SourceBatch:
    """Random sources of the given lengths, padded with zeros."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(list(lengths), dtype=torch.long)
    width = max(lengths, default=0)
    symbols = torch.randint(3, 50, (len(lengths), width), generator=generator)
    return SourceBatch(symbols * (torch.arange(width) < sizes[:, None]), sizes)


def one_row(batch: SourceBatch, row: int) -> SourceBatch:
    """A row on its own, without the padding that longer rows gave it."""
    length = int(batch.lengths[row])
    return SourceBatch(batch.symbols[row : row + 1, :length], batch.lengths[row : row + 1])


@dataclass(frozen=True)
class Scored:
    """A target with the sum of its log-probabilities, and its attention rows."""

    symbols: tuple[int, ...]
    log_probability: float
    finished: bool
    attention: Tensor | None


def rescore(model: TableModel, source: SourceBatch, symbols: Sequence[int], *, finished: bool) -> Scored:
    """Feed a target symbol by symbol to one source and add up what the model says of it."""
    state = model.start(source)
    fed = torch.tensor([model.start_symbol])
    total, attention = 0.0, []
    for symbol in [*symbols, model.end_symbol] if finished else symbols:
        log_probs, state = model.step(fed, state)
        total += log_probs[0, symbol].item()
        attention.append(state.attention)
        fed = torch.tensor([symbol])
    weights = torch.cat([row for row in attention if row is not None]) if model.attention_table is not None else None
    return Scored(tuple(symbols), total, finished, weights)


def enumerate_targets(model: TableModel, source: SourceBatch, limit: LengthLimit) -> list[Scored]:
    """Every finished target of non-zero probability that the limit allows."""
    longest = int(limit.of(source.lengths))
    found: list[Scored] = []
    pending: list[tuple[int, ...]] = [()]
    while pending:
        prefix = pending.pop()
        ended = rescore(model, source, prefix, finished=True)
        if ended.log_probability > -math.inf:
            found.append(ended)
        if len(prefix) < longest:
            pending.extend((*prefix, symbol) for symbol in range(FIRST_LETTER, model.table.shape[1]))
    return found


def greedy_path(model: TableModel, source: SourceBatch, limit: LengthLimit) -> Scored:
    """The most probable symbol at each step, one row and one symbol at a time."""
    state, fed = model.start(source), model.start_symbol
    symbols: list[int] = []
    while True:
        log_probs, state = model.step(torch.tensor([fed]), state)
        row = log_probs[0].tolist()
        fed = row.index(max(row))
        if fed == model.end_symbol or len(symbols) == int(limit.of(source.lengths)):
            return rescore(model, source, symbols, finished=fed == model.end_symbol)
        symbols.append(fed)


def narrow_beam(
    model: TableModel, source: SourceBatch, limit: LengthLimit, beam_size: int, length_penalty: float
) -> list[Scored]:
    """Beam search as its docstring tells it, on Python lists and without ever stopping early; best first."""
    longest = int(limit.of(source.lengths))
    live: list[tuple[int, ...]] = [()]
    finished: list[Scored] = []
    cut: list[Scored] = []
    for length in range(longest + 1):
        grown = [
            rescore(model, source, prefix if symbol == END else (*prefix, symbol), finished=symbol == END)
            for prefix in live
            for symbol in range(END, model.table.shape[1])
        ]
        grown.sort(key=lambda target: -target.log_probability)
        best = grown[: beam_size - len(finished)]
        ended = [target for target in best if target.finished]
        finished += ended
        if length == longest:
            left = set(live) - {target.symbols for target in ended}
            cut = [rescore(model, source, prefix, finished=False) for prefix in left]
        live = [target.symbols for target in best if not target.finished]

    def rank(target: Scored) -> tuple[bool, float]:
        length = len(target.symbols) + target.finished
        return not target.finished, -target.log_probability / length**length_penalty

    return sorted(finished + cut, key=rank)


def nucleus_directly(probabilities: Sequence[float], p: float) -> list[float]:
    """The definition: add the most probable symbols one by one until their mass is at least p."""
    kept: list[int] = []
    for symbol in sorted(range(len(probabilities)), key=lambda i: (-probabilities[i], i)):
        if kept and sum(probabilities[i] for i in kept) >= p:
            break
        kept.append(symbol)
    mass = sum(probabilities[i] for i in kept)
    return [probability / mass if i in kept else 0.0 for i, probability in enumerate(probabilities)]
