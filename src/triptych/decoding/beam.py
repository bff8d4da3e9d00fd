"""Beam search: the best few hypotheses of each row, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np

from triptych.config.decoding import SpellDecoding
from triptych.decoding.contract import (
    END,
    IMPOSSIBLE,
    START,
    Array,
    Ended,
    Hypothesis,
    Sources,
    StateT,
    StepModel,
    Trace,
    check_possible,
    length_limits,
)

MAXIMA = 16  # up to this many are found faster one after the other than by sorting


@dataclass(frozen=True)
class _Search(Generic[StateT]):
    """Constants of a search: K = settings.beam_size, limits (B,) in symbols."""

    model: StepModel[StateT]
    settings: SpellDecoding
    limits: Array


@dataclass(frozen=True)
class _Live(Generic[StateT]):
    """The hypotheses that are still growing, and the rows (R of them) that have any.

    `slots` says where in an (R, K) grid each hypothesis is placed, so that all of a row's candidates lie side by side.
    Shapes: symbols, totals, slots (live,); rows (R,) numbers in the batch; finished (R, K) scores of the row's finished
    hypotheses, best first, -inf where there is none.
    """

    state: StateT
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


def beam_search(
    model: StepModel[StateT], sources: Sources, settings: SpellDecoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Keep the `beam_size` most probable hypotheses of each row at every step, and rank those that end.

    A hypothesis that ends keeps its place in the beam, which the others then share without it, as in the beam search of
    Bahdanau et al.: `beam_size=1` is greedy decoding whatever the length penalty. Of equally probable hypotheses the
    one that extends the earlier hypothesis, or by the lower symbol, comes first. Finished ones are ranked by

        score = log-probability / length ** length_penalty        length: symbols, the end symbol counted.

    0 ranks by probability, 1 by the mean log-probability per symbol. It is the length normalisation of Wu et al. 2016
    (eq. 14) without its constants, ((5 + length) / 6) ** alpha, with which no value gives that mean.

    A row is searched until none of its live hypotheses can overtake its n_best-th finished one. Log-probabilities are
    never positive, so a total never rises; the best score that a live hypothesis can reach is thus its present total
    divided by the largest divisor, that of the length limit. So a larger `n_best` never changes the first candidates.

    Args:
        model: what to decode with, in evaluation mode. Rows of log-probabilities need not be normalised, only <= 0.
        sources: B of them.
        settings: beam_size, n_best, length_penalty and the length limits.
        with_attention: fill `Hypothesis.attention`, where the model has any; costs nothing otherwise.
    Returns:
        One list per row, best first, all different. Hypotheses cut by the limit come after all finished ones, their
        length without an end symbol. A list is shorter than `n_best`, never empty, where the beam found no more: when
        the vocabulary, the limit or a lexicon allows no more, or other hypotheses filled the beam and led nowhere.
    Raises:
        TriptychError: nothing can be produced for a row, or a log-probability is nan.
    Source: Wu et al. 2016, arXiv:1609.08144; Bahdanau et al. 2015, arXiv:1409.0473.
        Checked against enumeration of all targets by tests/decoding/test_beam.py.
    """
    if not len(sources):
        return []
    rows = np.arange(len(sources))
    search = _Search(model, settings, length_limits(settings, sources.lengths))
    trace = Trace(len(rows), with_attention=with_attention)
    live = _Live(
        state=model.start(sources),
        symbols=np.full(len(rows), START),
        totals=np.zeros(len(rows), dtype=np.float32),
        slots=rows * settings.beam_size,
        rows=rows,
        finished=np.full((len(rows), settings.beam_size), IMPOSSIBLE),
    )
    while len(live.rows):
        live = _advance(search, live, trace)
    ended, scores = _rank(trace.ended(), search)
    return trace.read(ended, scores=scores, model=model, sources=sources, rows=ended.owners)


def _advance(search: _Search[StateT], live: _Live[StateT], trace: Trace) -> _Live[StateT]:
    """Extend every live hypothesis by one symbol, put aside those that end, and keep the best of the others."""
    beam_size, penalty = search.settings.beam_size, search.settings.length_penalty
    log_probs, state = search.model.step(live.symbols, live.state)
    trace.observe(state)
    best = _best_extensions(beam_size, live, log_probs)
    taken = (live.finished > IMPOSSIBLE).sum(1)
    first = best.totals[:, 0]
    check_possible(first, np.isnan(first) | ((first == IMPOSSIBLE) & (taken == 0)), live.rows)

    chosen = (np.arange(beam_size) < (beam_size - taken)[:, None]) & (best.totals > IMPOSSIBLE)
    ends = chosen & (best.symbols == END)
    limits = search.limits[live.rows]
    finished = _put_aside(live, best, ends, penalty, trace)
    _cut_at_limit(live, best.parents[ends], limits == trace.length, beam_size, trace)

    grows = chosen & ~ends & (limits > trace.length)[:, None]
    best_live = np.where(grows, best.totals, IMPOSSIBLE).max(1)
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


def _best_extensions(beam_size: int, live: _Live[StateT], log_probs: Array) -> _Candidates:
    """The K best of each row's (live hypothesis, symbol) pairs, of equal ones the first. log_probs (live, V)."""
    vocabulary, rows = log_probs.shape[1], len(live.rows)
    grid = np.full((rows * beam_size, vocabulary), IMPOSSIBLE, dtype=log_probs.dtype)
    grid[live.slots] = live.totals[:, None] + log_probs
    totals, places = largest(grid.reshape(rows, -1), beam_size)
    hypothesis_at = np.zeros(rows * beam_size, dtype=np.int64)
    hypothesis_at[live.slots] = np.arange(len(live.slots))
    slots, symbols = np.divmod(places, vocabulary)
    return _Candidates(totals, hypothesis_at[np.arange(0, rows * beam_size, beam_size)[:, None] + slots], symbols)


def largest(values: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest of each row, in falling order, of equal ones the first, and their places; nan comes first.

    Args:
        values: shape (R, N), N >= count >= 1. Overwritten.
    Returns:
        The values and their places, of shape (R, count). A place is that of a value only where it is above -inf.
    """
    if count > MAXIMA:
        # NaN sorts as the largest, so that it is noticed.
        order = np.argsort(np.where(np.isnan(values), IMPOSSIBLE, -values), axis=1, kind="stable")[:, :count]
        return np.take_along_axis(values, order, axis=1), order
    rows = np.arange(len(values))
    found = np.empty((len(values), count), dtype=values.dtype)
    places = np.empty((len(values), count), dtype=np.int64)
    for rank in range(count):
        place = values.argmax(1)
        places[:, rank] = place
        found[:, rank] = values[rows, place]
        values[rows, place] = IMPOSSIBLE
    return found, places


def _put_aside(live: _Live[StateT], best: _Candidates, ends: Array, penalty: float, trace: Trace) -> Array:
    """Record the candidates that `ends` (R, K) marks; returns each row's finished scores with theirs. Shape (R, K)."""
    row, rank = ends.nonzero()
    if not len(row):
        return live.finished
    trace.end(best.parents[row, rank], owners=live.rows[row], totals=best.totals[row, rank], finished=True)
    scores = _score(best.totals, np.full(best.symbols.shape, trace.length + 1), penalty)
    merged = np.concatenate([live.finished, np.where(ends, scores, IMPOSSIBLE)], axis=1)
    return -np.sort(-merged, axis=1)[:, : live.finished.shape[1]]


def _cut_at_limit(live: _Live[StateT], ended: Array, at_limit: Array, beam_size: int, trace: Trace) -> None:
    """Record as cut the live hypotheses of rows `at_limit` (R,) that are not among the `ended` ones (ended,)."""
    if not at_limit.any():
        return
    row = live.slots // beam_size
    cut = at_limit[row]
    cut[ended] = False
    index = np.flatnonzero(cut)
    trace.end(index, owners=live.rows[row[index]], totals=live.totals[index], finished=False)


def _score(totals: Array, lengths: Array, penalty: float) -> Array:
    if penalty == 0:
        return totals
    # From a table: powers of an array differ in the last digit between a processor's wide and narrow instructions, and
    # a row's scores would depend on its place in the batch.
    powers = np.array([float(length) ** penalty for length in range(int(lengths.max()) + 1)], dtype=totals.dtype)
    return np.asarray(totals / powers[lengths])


def _rank(ended: Ended, search: _Search[StateT]) -> tuple[Ended, Array]:
    """The n_best hypotheses of each row and their scores: finished before cut, then by score, then the earlier."""
    scores = _score(ended.totals, ended.lengths + ended.finished, search.settings.length_penalty)
    order = np.lexsort((-scores, ~ended.finished, ended.owners))
    counts = np.bincount(ended.owners, minlength=len(search.limits))
    first = (counts.cumsum() - counts)[ended.owners[order]]
    order = order[np.arange(len(order)) - first < search.settings.n_best]
    return ended.take(order), scores[order]
