"""Beam search: the best few hypotheses of each row, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from triptych.errors import RecipeError
from triptych.spell.decoding.contract import Hypothesis, LengthLimit, SourceBatch, StateT, StepModel
from triptych.spell.decoding.trace import Ended, Trace, check_possible


def check_beam(*, beam_size: int, n_best: int, length_penalty: float) -> None:
    """Raise RecipeError for settings that beam search cannot use."""
    if beam_size < 1:
        raise RecipeError(
            f"decoding.beam_size is {beam_size}; expected an integer >= 1. Use --decode greedy for no beam."
        )
    if not 1 <= n_best <= beam_size:
        raise RecipeError(
            f"decoding.n_best is {n_best}; expected an integer from 1 to decoding.beam_size = {beam_size}. "
            "Raise decoding.beam_size to see more hypotheses."
        )
    if not 0 <= length_penalty < math.inf:
        raise RecipeError(
            f"decoding.length_penalty is {length_penalty}; expected a number >= 0. "
            "Use 0 for none, 1 for the mean log-probability per symbol."
        )


@dataclass(frozen=True)
class _Search(Generic[StateT]):
    """What stays the same during a search: K = beam size, limits (B,) in symbols."""

    model: StepModel[StateT]
    beam_size: int
    n_best: int
    length_penalty: float
    limits: Tensor


@dataclass(frozen=True)
class _Live(Generic[StateT]):
    """The hypotheses that are still growing, and the rows (R of them) that have any.

    `slots` says where in an (R, K) grid each hypothesis stands, so that all of a row's candidates lie side by side.
    Shapes: symbols, totals, slots (live,); rows (R,) numbers in the batch; finished (R, K) scores of the row's finished
    hypotheses, best first, -inf where there is none.
    """

    state: StateT
    symbols: Tensor
    totals: Tensor
    slots: Tensor
    rows: Tensor
    finished: Tensor


@dataclass(frozen=True)
class _Candidates:
    """The K best extensions of each row, best first: totals, who is extended (live,), by what. Shapes (R, K)."""

    totals: Tensor
    parents: Tensor
    symbols: Tensor


@torch.inference_mode()
def beam_search(
    model: StepModel[StateT],
    batch: SourceBatch,
    *,
    beam_size: int,
    n_best: int = 1,
    length_penalty: float = 0.0,
    limit: LengthLimit,
    with_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Keep the `beam_size` most probable hypotheses of each row at every step, and rank those that end.

    A hypothesis that ends keeps its place in the beam, which the others then share without it, as in the beam search of
    Bahdanau et al.: `beam_size=1` is greedy decoding whatever the length penalty. Finished hypotheses are ranked by

        score = log-probability / length ** length_penalty        length: symbols, the end symbol counted.

    0 ranks by probability, 1 by the mean log-probability per symbol. It is the length normalisation of Wu et al. 2016
    (eq. 14) without its constants, ((5 + length) / 6) ** alpha, with which no value gives that mean.

    A row is searched until none of its live hypotheses can overtake its n_best-th finished one. Log-probabilities are
    never positive, so a total never rises; the best score that a live hypothesis can reach is thus its present total
    divided by the largest divisor, that of the length limit. Hence `n_best` never changes what stands before.

    Args:
        model: what to decode with, in evaluation mode. Rows of log-probabilities need not be normalised, only <= 0.
        batch: B sources, on the model's device.
        beam_size: K >= 1, hypotheses kept per row.
        n_best: hypotheses returned per row, at most `beam_size`.
        length_penalty: exponent >= 0.
        limit: longest target.
        with_attention: fill `Hypothesis.attention`, where the model has any; costs nothing otherwise.
    Returns:
        One list per row, best first, all different. Hypotheses cut by the limit come after all finished ones, their
        length without an end symbol. A list is shorter than `n_best`, never empty, where the beam found no more: when
        the vocabulary, the limit or a lexicon allows no more, or other hypotheses filled the beam and led nowhere.
    Raises:
        RecipeError: beam_size, n_best or length_penalty out of range.
        TriptychError: nothing can be produced for a row, or a log-probability is nan.
    Source: Wu et al. 2016, arXiv:1609.08144; Bahdanau et al. 2015, arXiv:1409.0473.
        Checked against enumeration of all targets by tests/spell/decoding/test_beam.py.
    """
    check_beam(beam_size=beam_size, n_best=n_best, length_penalty=length_penalty)
    if not len(batch.lengths):
        return []
    device = batch.symbols.device
    rows = torch.arange(len(batch.lengths), device=device)
    search = _Search(model, beam_size, n_best, length_penalty, limit.of(batch.lengths).to(device))
    trace = Trace(len(rows), device=device, with_attention=with_attention)
    live = _Live(
        state=model.start(batch),
        symbols=torch.full_like(rows, model.start_symbol),
        totals=torch.zeros(len(rows), device=device),
        slots=rows * beam_size,
        rows=rows,
        finished=torch.full((len(rows), beam_size), -math.inf, device=device),
    )
    while len(live.rows):
        live = _advance(search, live, trace)
    ended, scores = _rank(trace.ended(), search)
    return trace.read(ended, scores=scores, model=model, batch=batch, rows=ended.owners)


def _advance(search: _Search[StateT], live: _Live[StateT], trace: Trace) -> _Live[StateT]:
    """Extend every live hypothesis by one symbol, put aside those that end, and keep the best of the others."""
    log_probs, state = search.model.step(live.symbols, live.state)
    trace.observe(state.attention)
    best = _best_extensions(search, live, log_probs)
    taken = (live.finished > -math.inf).sum(1)
    first = best.totals[:, 0]
    check_possible(first, first.isnan() | ((first == -math.inf) & (taken == 0)), live.rows)

    rank = torch.arange(search.beam_size, device=first.device)
    chosen = (rank < (search.beam_size - taken)[:, None]) & (best.totals > -math.inf)
    ends = chosen & (best.symbols == search.model.end_symbol)
    limits = search.limits[live.rows]
    finished = _put_aside(search, live, best, ends, trace)
    _cut_at_limit(live, best.parents[ends], limits == trace.length, search.beam_size, trace)

    grows = chosen & ~ends & (limits > trace.length)[:, None]
    best_live = best.totals.masked_fill(~grows, -math.inf).amax(1)
    reachable = _score(best_live, limits + 1, search.length_penalty)
    grows &= (finished[:, search.n_best - 1] < reachable)[:, None]

    row, rank = grows.nonzero(as_tuple=True)
    parents, symbols = best.parents[row, rank], best.symbols[row, rank]
    trace.extend(parents, symbols)
    kept = grows.any(1)
    new_row = kept.cumsum(0) - 1
    return _Live(
        state=state.select(parents),
        symbols=symbols,
        totals=best.totals[row, rank],
        slots=new_row[row] * search.beam_size + rank,
        rows=live.rows[kept],
        finished=finished[kept],
    )


def _best_extensions(search: _Search[StateT], live: _Live[StateT], log_probs: Tensor) -> _Candidates:
    """The K best of each row's (live hypothesis, symbol) pairs. log_probs (live, V)."""
    vocabulary = log_probs.shape[1]
    shape = (len(live.rows) * search.beam_size, vocabulary)
    grid = torch.full(shape, -math.inf, device=log_probs.device)
    grid[live.slots] = live.totals[:, None] + log_probs
    totals, flat = grid.view(len(live.rows), -1).topk(search.beam_size)
    hypothesis_at = torch.zeros(shape[0], dtype=torch.long, device=log_probs.device)
    hypothesis_at[live.slots] = torch.arange(len(live.slots), device=log_probs.device)
    first_slot = torch.arange(0, shape[0], search.beam_size, device=log_probs.device)
    return _Candidates(totals, hypothesis_at[first_slot[:, None] + flat // vocabulary], flat % vocabulary)


def _put_aside(search: _Search[StateT], live: _Live[StateT], best: _Candidates, ends: Tensor, trace: Trace) -> Tensor:
    """Record the candidates that `ends` (R, K) marks; returns each row's finished scores with theirs. Shape (R, K)."""
    row, rank = ends.nonzero(as_tuple=True)
    trace.end(best.parents[row, rank], owners=live.rows[row], totals=best.totals[row, rank], finished=True)
    scores = _score(best.totals, torch.full_like(best.symbols, trace.length + 1), search.length_penalty)
    scores = scores.masked_fill(~ends, -math.inf)
    return torch.cat([live.finished, scores], 1).topk(search.beam_size).values


def _cut_at_limit(live: _Live[StateT], ended: Tensor, at_limit: Tensor, beam_size: int, trace: Trace) -> None:
    """Record as cut the live hypotheses of rows `at_limit` (R,) that are not among the `ended` ones (ended,)."""
    row = live.slots // beam_size
    cut = at_limit[row]
    cut[ended] = False
    index = cut.nonzero()[:, 0]
    trace.end(index, owners=live.rows[row[index]], totals=live.totals[index], finished=False)


def _score(totals: Tensor, lengths: Tensor, length_penalty: float) -> Tensor:
    if length_penalty == 0:
        return totals
    # From a table: a tensor's powers differ in the last digit between processors' wide and narrow instructions, and a
    # row's scores would depend on its place in the batch.
    powers = [float(length) ** length_penalty for length in range(int(lengths.max()) + 1)]
    return totals / totals.new_tensor(powers)[lengths.long()]


def _rank(ended: Ended, search: _Search[StateT]) -> tuple[Ended, Tensor]:
    """The n_best hypotheses of each row and their scores: finished before cut, then by score, then the earlier."""
    scores = _score(ended.totals, ended.lengths + ended.finished, search.length_penalty)
    order = scores.argsort(descending=True, stable=True)
    order = order[ended.finished[order].long().argsort(descending=True, stable=True)]
    order = order[ended.owners[order].argsort(stable=True)]
    counts = ended.owners.bincount(minlength=len(search.limits))
    first = (counts.cumsum(0) - counts)[ended.owners[order]]
    order = order[torch.arange(len(order), device=order.device) - first < search.n_best]
    return ended.take(order), scores[order]
