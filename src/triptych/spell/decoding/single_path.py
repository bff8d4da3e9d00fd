"""The loop of the decoders that keep one path and never compare: greedy and sampling differ in how they choose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from triptych.spell.decoding.contract import Hypothesis, LengthLimit, SourceBatch, StateT, StepModel
from triptych.spell.decoding.trace import Trace, check_possible

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""(log-probabilities (live, V), numbers of the paths (live,), symbols so far) -> one symbol per path (live,)."""


def follow(
    model: StepModel[StateT],
    batch: SourceBatch,
    choose: Choose,
    *,
    copies: int = 1,
    limit: LengthLimit,
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
    if not len(batch.lengths):
        return []
    device = batch.symbols.device
    state = model.start(batch)
    paths = torch.arange(len(batch.lengths) * copies, device=device)
    if copies > 1:
        state = state.select(paths // copies)
    limits = limit.of(batch.lengths).to(device).repeat_interleave(copies)
    trace = Trace(len(paths), device=device, with_attention=with_attention)
    symbols = torch.full_like(paths, model.start_symbol)
    totals = torch.zeros(len(paths), device=device)
    while len(paths):
        log_probs, state = model.step(symbols, state)
        trace.observe(state.attention)
        symbols = choose(log_probs, paths, trace.length)
        gained = log_probs.gather(1, symbols[:, None])[:, 0]
        check_possible(gained, ~gained.isfinite(), paths // copies)
        ended = symbols == model.end_symbol
        cut = ~ended & (limits[paths] == trace.length)
        for stopped, sums, finished in ((ended, totals + gained, True), (cut, totals, False)):
            live = stopped.nonzero()[:, 0]
            trace.end(live, owners=paths[live], totals=sums[live], finished=finished)
        kept = (~(ended | cut)).nonzero()[:, 0]
        if len(kept) < len(paths):
            state = state.select(kept)
        symbols, totals, paths = symbols[kept], (totals + gained)[kept], paths[kept]
        trace.extend(kept, symbols)
    hypotheses = trace.ended()
    hypotheses = hypotheses.take(hypotheses.owners.argsort())
    rows = hypotheses.owners // copies
    return trace.read(hypotheses, scores=hypotheses.totals, model=model, batch=batch, rows=rows)
