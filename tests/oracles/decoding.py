"""Second truths for decoding: a model that is a table, and the decoders' definitions written out with plain floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from triptych.config import SpellDecoding
from triptych.decoding import Sources
from triptych.decoding.contract import Array, length_limits

PADDING, START, END = 0, 1, 2
FIRST_LETTER = 3


@dataclass(frozen=True)
class TableState:
    """A row of the table per hypothesis. Shapes: codes, lengths, seen (B,)."""

    codes: Array
    lengths: Array
    width: int
    seen: Array
    attention: Array | None = None

    def select(self, index: Array) -> TableState:
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

    table: Array
    attention_table: Array | None = None
    rows_stepped: list[int] = field(default_factory=list)

    def start(self, sources: Sources) -> TableState:
        lengths, width = sources.lengths, sources.symbols.shape[1]
        places = np.arange(1, width + 1)
        codes = (sources.symbols * places * (places <= lengths[:, None])).sum(1) + 13 * lengths
        return TableState(codes % len(self.table), lengths, width, np.zeros_like(lengths))

    def step(self, symbols: Array, state: TableState) -> tuple[Array, TableState]:
        self.rows_stepped.append(len(symbols))
        assert bool(((symbols == START) == (state.seen == 0)).all()), "start is the first symbol fed, and only that"
        codes = (state.codes * 31 + symbols * 7 + 1) % len(self.table)
        attention = None
        if self.attention_table is not None:
            valid = np.arange(state.width) < state.lengths[:, None]
            attention = softmax(np.where(valid, self.attention_table[codes, : state.width], -np.inf))
        return self.table[codes], replace(state, codes=codes, attention=attention, seen=state.seen + 1)


def softmax(scores: Array) -> Array:
    """Of the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


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
    random = np.random.default_rng(seed)
    scores = sharpness * random.standard_normal((contexts, FIRST_LETTER + letters))
    scores[:, END] += end_bias
    scores[:, [PADDING, START]] = -math.inf
    weights = random.standard_normal((contexts, 16)).astype(np.float32) if attention else None
    with np.errstate(divide="ignore"):
        return TableModel(np.log(softmax(scores)).astype(np.float32), weights)


def random_batch(seed: int, lengths: Sequence[int]) -> Sources:
    """Random sources of the given lengths, padded with zeros."""
    random = np.random.default_rng(seed)
    return Sources.of([random.integers(3, 50, length).tolist() for length in lengths])


def one_row(sources: Sources, row: int) -> Sources:
    """A row on its own, without the padding that longer rows gave it."""
    length = int(sources.lengths[row])
    return Sources(
        sources.symbols[row : row + 1, :length], sources.lengths[row : row + 1], [list(sources.row_ids)[row]]
    )


def rows_of(sources: Sources, index: Sequence[int]) -> Sources:
    """Some rows, in another order, with their ids."""
    return Sources(sources.symbols[index], sources.lengths[index], [list(sources.row_ids)[row] for row in index])


def length_of(settings: SpellDecoding, source: Sources) -> int:
    """The longest target of one source."""
    return int(length_limits(settings, source.lengths)[0])


@dataclass(frozen=True)
class Scored:
    """A target with the sum of its log-probabilities, and its attention rows."""

    symbols: tuple[int, ...]
    log_probability: float
    finished: bool
    attention: Array | None


def rescore(model: TableModel, source: Sources, symbols: Sequence[int], *, finished: bool) -> Scored:
    """Feed a target symbol by symbol to one source and add up what the model says of it."""
    state = model.start(source)
    fed = np.array([START])
    total, attention = 0.0, []
    for symbol in [*symbols, END] if finished else symbols:
        log_probs, state = model.step(fed, state)
        total += log_probs[0, symbol].item()
        attention.append(state.attention)
        fed = np.array([symbol])
    weights = (
        np.concatenate([row for row in attention if row is not None]) if model.attention_table is not None else None
    )
    return Scored(tuple(symbols), total, finished, weights)


def enumerate_targets(model: TableModel, source: Sources, settings: SpellDecoding) -> list[Scored]:
    """Every finished target of non-zero probability that the limit allows."""
    longest = length_of(settings, source)
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


def greedy_path(model: TableModel, source: Sources, settings: SpellDecoding) -> Scored:
    """The most probable symbol at each step, one row and one symbol at a time."""
    state, fed = model.start(source), START
    symbols: list[int] = []
    while True:
        log_probs, state = model.step(np.array([fed]), state)
        row = log_probs[0].tolist()
        fed = row.index(max(row))
        if fed == END or len(symbols) == length_of(settings, source):
            return rescore(model, source, symbols, finished=fed == END)
        symbols.append(fed)


def narrow_beam(model: TableModel, source: Sources, settings: SpellDecoding) -> list[Scored]:
    """Beam search as its docstring has it, on Python lists and without ever stopping early; best first."""
    beam_size, length_penalty = settings.beam_size, settings.length_penalty
    longest = length_of(settings, source)
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
