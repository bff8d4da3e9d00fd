"""Beam search in NumPy; what it does and why is told in `triptych.spell.decoding.beam`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.runtime.decoding import Batch, Decoding, Hypothesis
from triptych.runtime.network import END, START, Array, StepModel
from triptych.runtime.trace import Ended, Trace, check_possible

LOST = np.float32(-np.inf)


@dataclass(frozen=True)
class _Search:
    """What stays the same during a search; limits (B,) in symbols."""

    model: StepModel
    settings: Decoding
    limits: Array


@dataclass(frozen=True)
class _Live:
    """The hypotheses that are still growing, and the rows (R of them) that have any.

    Shapes: symbols, totals, slots (live,), a slot being a place in an (R, K) grid; rows (R,) numbers in the batch;
    finished (R, K) scores of the row's finished hypotheses, best first, -inf where there is none.
    """

    state: Any
    symbols: Array
    totals: Array
    slots: Array
    rows: Array
    finished: Array


@dataclass(frozen=True)
class _Candidates:
    """The K best extensions of each row, best first: totals, who is extended (live,), by what. Shapes (R, K)."""

    totals: Array
    parents: Array
    symbols: Array


def beam_search(model: StepModel, batch: Batch, settings: Decoding, *, with_attention: bool) -> list[list[Hypothesis]]:
    """The `n_best` hypotheses of each row, best first; finished ones come before those cut by the limit."""
    rows = np.arange(len(batch.lengths))
    search = _Search(model, settings, settings.limits(batch.lengths))
    trace = Trace(len(rows), with_attention=with_attention)
    live = _Live(
        state=model.start(batch.symbols, batch.lengths),
        symbols=np.full(len(rows), START),
        totals=np.zeros(len(rows), dtype=np.float32),
        slots=rows * settings.beam_size,
        rows=rows,
        finished=np.full((len(rows), settings.beam_size), LOST),
    )
    while len(live.rows):
        live = _advance(search, live, trace)
    ended, scores = _rank(trace.ended(), search)
    return trace.read(ended, scores=scores, model=model, batch=batch, rows=ended.owners)


def _advance(search: _Search, live: _Live, trace: Trace) -> _Live:
    """Extend every live hypothesis by one symbol, put aside those that end, and keep the best of the others."""
    beam_size, penalty = search.settings.beam_size, search.settings.length_penalty
    log_probs, state = search.model.step(live.symbols, live.state)
    trace.observe(state.attention)
    best = _best_extensions(beam_size, live, log_probs)
    taken = (live.finished > LOST).sum(1)
    first = best.totals[:, 0]
    check_possible(first, np.isnan(first) | ((first == LOST) & (taken == 0)), live.rows)

    rank = np.arange(beam_size)
    chosen = (rank < (beam_size - taken)[:, None]) & (best.totals > LOST)
    ends = chosen & (best.symbols == END)
    limits = search.limits[live.rows]
    finished = _put_aside(live, best, ends, penalty, trace)
    _cut_at_limit(live, best.parents[ends], limits == trace.length, beam_size, trace)

    grows = chosen & ~ends & (limits > trace.length)[:, None]
    best_live = np.where(grows, best.totals, LOST).max(1)
    reachable = _score(best_live, limits + 1, penalty)
    grows &= (finished[:, search.settings.n_best - 1] < reachable)[:, None]

    row, rank = grows.nonzero()
    parents, symbols = best.parents[row, rank], best.symbols[row, rank]
    trace.extend(parents, symbols)
    kept = grows.any(1)
    new_row = kept.cumsum() - 1
    return _Live(
        state=state.select(parents),
        symbols=symbols,
        totals=best.totals[row, rank],
        slots=new_row[row] * beam_size + rank,
        rows=live.rows[kept],
        finished=finished[kept],
    )


def _best_extensions(beam_size: int, live: _Live, log_probs: Array) -> _Candidates:
    """The K best of each row's (live hypothesis, symbol) pairs. log_probs (live, V)."""
    vocabulary = log_probs.shape[1]
    rows = len(live.rows)
    grid = np.full((rows * beam_size, vocabulary), LOST)
    grid[live.slots] = live.totals[:, None] + log_probs
    flat = grid.reshape(rows, -1)
    # NaN sorts first, as the largest, so that it is found out.
    order = np.argsort(np.where(np.isnan(flat), LOST, -flat), axis=1, kind="stable")[:, :beam_size]
    hypothesis_at = np.zeros(rows * beam_size, dtype=np.int64)
    hypothesis_at[live.slots] = np.arange(len(live.slots))
    first_slot = np.arange(0, rows * beam_size, beam_size)
    parents = hypothesis_at[first_slot[:, None] + order // vocabulary]
    return _Candidates(np.take_along_axis(flat, order, axis=1), parents, order % vocabulary)


def _put_aside(live: _Live, best: _Candidates, ends: Array, penalty: float, trace: Trace) -> Array:
    """Record the candidates that `ends` (R, K) marks; returns each row's finished scores with theirs. Shape (R, K)."""
    row, rank = ends.nonzero()
    trace.end(best.parents[row, rank], owners=live.rows[row], totals=best.totals[row, rank], finished=True)
    scores = _score(best.totals, np.full(best.symbols.shape, trace.length + 1), penalty)
    scores = np.where(ends, scores, LOST)
    merged = np.concatenate([live.finished, scores], axis=1)
    return -np.sort(-merged, axis=1)[:, : live.finished.shape[1]]


def _cut_at_limit(live: _Live, ended: Array, at_limit: Array, beam_size: int, trace: Trace) -> None:
    """Record as cut the live hypotheses of rows `at_limit` (R,) that are not among the `ended` ones (ended,)."""
    row = live.slots // beam_size
    cut = at_limit[row]
    cut[ended] = False
    index = np.flatnonzero(cut)
    trace.end(index, owners=live.rows[row[index]], totals=live.totals[index], finished=False)


def _score(totals: Array, lengths: Array, penalty: float) -> Array:
    return np.asarray(totals / lengths.astype(np.float32) ** np.float32(penalty))


def _rank(ended: Ended, search: _Search) -> tuple[Ended, Array]:
    """The n_best hypotheses of each row and their scores: finished before cut, then by score, then the earlier."""
    scores = _score(ended.totals, ended.lengths + ended.finished, search.settings.length_penalty)
    order = np.lexsort((-scores, ~ended.finished, ended.owners))
    counts = np.bincount(ended.owners, minlength=len(search.limits))
    first = (counts.cumsum() - counts)[ended.owners[order]]
    order = order[np.arange(len(order)) - first < search.settings.n_best]
    return ended.take(order), scores[order]
