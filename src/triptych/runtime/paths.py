"""The decoders that keep one path and never compare: greedy and sampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from triptych.runtime.decoding import Batch, Decoding, Hypothesis
from triptych.runtime.network import END, START, Array, StepModel, log_sum_exp
from triptych.runtime.trace import Trace, check_possible

Choose = Callable[[Array, Array, int], Array]
"""(log-probabilities (live, V), numbers of the paths (live,), symbols so far) -> one symbol per path (live,)."""


def greedy(model: StepModel, batch: Batch, settings: Decoding, *, with_attention: bool) -> list[list[Hypothesis]]:
    """The most probable symbol at each step; ties go to the lowest index."""

    def choose(log_probs: Array, _paths: Array, _length: int) -> Array:
        return np.asarray(np.argmax(log_probs, axis=1))

    return _follow(model, batch, choose, copies=1, settings=settings, with_attention=with_attention)


def sample(model: StepModel, batch: Batch, settings: Decoding, *, with_attention: bool) -> list[list[Hypothesis]]:
    """Draw hypotheses symbol by symbol, from the random numbers that PyTorch's side draws from too.

    Each sample has its own stream, made from the seed, the row's id and the sample's place. So the samples are those of
    `triptych.spell.decoding.sampling`, except where a random number falls between two roundings of a probability.
    """
    limits = settings.limits(batch.lengths)
    draws = np.zeros((len(batch.lengths), settings.samples, 1 + int(limits.max())))
    for row, (row_id, limit) in enumerate(zip(batch.row_ids, limits.tolist(), strict=True)):
        stream = np.random.default_rng([settings.seed, row_id])
        draws[row, :, : limit + 1] = stream.random((settings.samples, limit + 1))
    flat = draws.reshape(-1, draws.shape[-1])

    def choose(log_probs: Array, paths: Array, length: int) -> Array:
        return inverse_distribution(filtered(log_probs, settings), flat[paths, length])

    return _follow(model, batch, choose, copies=settings.samples, settings=settings, with_attention=with_attention)


def filtered(log_probs: Array, settings: Decoding) -> Array:
    """The distribution to draw from: tempered, then cut to top_k, then to the nucleus; normalised. Shape (B, V)."""
    result = _normalised(log_probs / np.float32(settings.temperature))
    if settings.top_k:
        order = np.argsort(-result, axis=1, kind="stable")
        result = _drop(result, order[:, settings.top_k :])
    if settings.top_p < 1:
        order = np.argsort(-result, axis=1, kind="stable")
        mass = np.exp(np.take_along_axis(result, order, axis=1).astype(np.float64)).cumsum(1)
        before = np.concatenate([np.zeros((len(mass), 1)), mass[:, :-1]], axis=1)
        dropped = np.zeros(result.shape, dtype=bool)
        np.put_along_axis(dropped, order, before >= settings.top_p, axis=1)
        result = _normalised(np.where(dropped, np.float32(-np.inf), result))
    return result


def inverse_distribution(log_probs: Array, uniform: Array) -> Array:
    """The symbol at which the cumulative probability first exceeds a uniform number. Shapes (B, V), (B,) -> (B,)."""
    cumulative = np.exp(log_probs.astype(np.float64)).cumsum(1)
    return np.asarray((cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(1))


def _drop(log_probs: Array, symbols: Array) -> Array:
    kept = log_probs.copy()
    np.put_along_axis(kept, symbols, np.float32(-np.inf), axis=1)
    return _normalised(kept)


def _normalised(log_probs: Array) -> Array:
    return log_probs - log_sum_exp(log_probs, axis=1)[:, None]


def _follow(
    model: StepModel, batch: Batch, choose: Choose, *, copies: int, settings: Decoding, with_attention: bool
) -> list[list[Hypothesis]]:
    """Follow `copies` paths per source row, each to its end symbol or its length limit; see `spell.decoding`."""
    paths = np.arange(len(batch.lengths) * copies)
    state = model.start(batch.symbols, batch.lengths)
    if copies > 1:
        state = state.select(paths // copies)
    limits = settings.limits(batch.lengths).repeat(copies)
    trace = Trace(len(paths), with_attention=with_attention)
    symbols = np.full(len(paths), START)
    totals = np.zeros(len(paths), dtype=np.float32)
    while len(paths):
        log_probs, state = model.step(symbols, state)
        trace.observe(state.attention)
        symbols = choose(log_probs, paths, trace.length)
        gained = log_probs[np.arange(len(paths)), symbols]
        check_possible(gained, ~np.isfinite(gained), paths // copies)
        ended = symbols == END
        cut = ~ended & (limits[paths] == trace.length)
        for stopped, sums, finished in ((ended, totals + gained, True), (cut, totals, False)):
            live = np.flatnonzero(stopped)
            trace.end(live, owners=paths[live], totals=sums[live], finished=finished)
        kept = np.flatnonzero(~(ended | cut))
        if len(kept) < len(paths):
            state = state.select(kept)
        symbols, totals, paths = symbols[kept], (totals + gained)[kept], paths[kept]
        trace.extend(kept, symbols)
    done = trace.ended()
    done = done.take(np.argsort(done.owners, kind="stable"))
    return trace.read(done, scores=done.totals, model=model, batch=batch, rows=done.owners // copies)
