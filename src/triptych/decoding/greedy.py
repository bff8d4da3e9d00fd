"""Greedy decoding, and the loop of the decoders that keep one path and never compare: sampling chooses differently."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from triptych.config.decoding import SpellDecoding
from triptych.decoding.contract import (
    END,
    START,
    Array,
    Hypothesis,
    Sources,
    StateT,
    StepModel,
    Trace,
    check_possible,
    length_limits,
)

Choose = Callable[[Array, Array, int], Array]
"""(log-probabilities (live, V), numbers of the paths (live,), symbols so far) -> one symbol per path (live,)."""


def greedy(
    model: StepModel[StateT], sources: Sources, settings: SpellDecoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Take the most probable symbol at each step until the end symbol; ties go to the lowest index.

    Args:
        model: what to decode with, in evaluation mode.
        sources: B of them.
        settings: the length limits; a hypothesis that reaches its limit and does not end there is `finished=False`.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row with its only hypothesis; score = log-probability, less the penalty of a lexicon.
    Raises:
        TriptychError: a row's log-probabilities are all -inf, or nan.
    """
    return follow(model, sources, _most_probable, settings, with_attention=with_attention)


def _most_probable(log_probs: Array, _paths: Array, _length: int) -> Array:
    return np.asarray(log_probs.argmax(1))


def follow(
    model: StepModel[StateT],
    sources: Sources,
    choose: Choose,
    settings: SpellDecoding,
    *,
    copies: int = 1,
    with_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Follow `copies` paths per source row, each to its end symbol or its length limit.

    Path number `row * copies + copy` leaves the state as soon as it ends. A path whose length limit is reached is asked
    for one symbol more: it is finished when that is the end symbol, and cut before it otherwise.

    Returns:
        One list per row with its `copies` hypotheses in order; score = sum of the log-probabilities seen.
    Raises:
        TriptychError: a path's chosen symbol has log-probability -inf or nan.
    """
    if not len(sources):
        return []
    state = model.start(sources)
    paths = np.arange(len(sources) * copies)
    if copies > 1:
        state = state.select(paths // copies)
    limits = length_limits(settings, sources.lengths).repeat(copies)
    trace = Trace(len(paths), with_attention=with_attention)
    symbols = np.full(len(paths), START)
    totals = np.zeros(len(paths), dtype=np.float32)
    while len(paths):
        log_probs, state = model.step(symbols, state)
        trace.observe(state)
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
    found = trace.ended()
    found = found.take(found.owners.argsort(kind="stable"))
    return trace.read(found, scores=found.totals, model=model, sources=sources, rows=found.owners // copies)
