"""Targets that are given, not searched for: what a model says of them, symbol by symbol, and where it writes them from.

Letters in shapes: B rows, T target length, S source length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from triptych.decoding.contract import END, START, Array, Sources, StateT, StepModel

LEAST = 1e-20  # a weight of zero counts as this, so that paths through it can still be compared


class Walking(Protocol):
    """What a state offers besides where its model writes each symbol from one hidden position that moves on.

    The source is enclosed by two positions more, its start and its end, so that there are P = S + 2.
    """

    @property
    def walk(self) -> tuple[Array, Array] | None:
        """What the latest step did, asked for before the next `select`; None where it is not known.

        Probability of position j after position i, shape (B, P, P), and of each symbol at each position, (B, P, V).
        """


@dataclass(frozen=True)
class Forced:
    """A model's account of one given target.

    Attributes:
        log_probabilities: of each symbol given those before it, and of the end symbol. Shape (T + 1,), float64.
        attention: weights over source positions for each symbol and the end. Shape (T + 1, S); None unless asked for,
            or without attention.
        walk: the most probable positions, -1 being before the source and S after it. Shape (T + 1,); None unless asked
            for, or where the model has no hidden positions.
    """

    log_probabilities: Array
    attention: Array | None = None
    walk: Array | None = None


def force(
    model: StepModel[StateT], sources: Sources, targets: Sequence[Sequence[int]], *, with_alignment: bool = False
) -> list[Forced]:
    """Feed given targets to a model.

    Args:
        model: in evaluation mode.
        sources: B of them.
        targets: one per source, vocabulary indices without start and end symbols; may be empty.
        with_alignment: fill `attention` and `walk`, where the model has any.
    Returns:
        One account per row. A symbol that the model cannot produce has log-probability -inf.
    Source: Viterbi 1967 for the walk.  Checked by tests/decoding/test_scoring.py against all targets and all walks.
    """
    if not len(sources):
        return []
    lengths = np.array([len(target) for target in targets], dtype=np.int64)
    padded = np.full((len(targets), int(lengths.max()) + 1), END, dtype=np.int64)
    for row, target in enumerate(targets):
        padded[row, : len(target)] = target
    log_probabilities = np.zeros(padded.shape)
    attention: list[Array] = []
    viterbi = _Viterbi(sources.lengths, padded) if with_alignment else None
    rows = np.arange(len(targets))
    state, fed = model.start(sources), np.full(len(targets), START)
    for place in range(padded.shape[1]):
        log_probs, state = model.step(fed, state)
        expected = padded[rows, place]
        log_probabilities[rows, place] = log_probs[np.arange(len(rows)), expected]
        if viterbi is not None:
            _keep_attention(attention, state.attention, rows, len(targets))
            viterbi.step(getattr(state, "walk", None), rows, place)
        kept = np.flatnonzero(lengths[rows] > place)
        if len(kept) < len(rows):
            state = state.select(kept)
        rows, fed = rows[kept], expected[kept]
        if not len(rows):
            break
    walks = viterbi.read(lengths) if viterbi is not None else None
    weights = np.stack(attention, axis=1) if attention else None
    return [
        Forced(
            log_probabilities[row, : length + 1],
            None if weights is None else weights[row, : length + 1, : sources.lengths[row]],
            None if walks is None else walks[row],
        )
        for row, length in enumerate(lengths.tolist())
    ]


def _keep_attention(kept: list[Array], weights: Array | None, rows: Array, count: int) -> None:
    """Keep the weights of a step, zeros for rows that have ended. Shapes: weights (rows, S), kept (count, S) each."""
    if weights is not None:
        whole = np.zeros((count, weights.shape[1]), dtype=weights.dtype)
        whole[rows] = weights
        kept.append(whole)


class _Viterbi:
    """The most probable walk of each row, step by step.

    Args:
        lengths: of the sources. Shape (B,).
        targets: with their end symbols. Shape (B, T + 1).
    """

    def __init__(self, lengths: Array, targets: Array) -> None:
        positions = int(lengths.max()) + 2
        self._targets = targets
        self._best = np.full((len(lengths), positions), -np.inf)
        self._best[:, 0] = 0.0  # before the first symbol every walk is at the start
        self._before: list[Array] = []
        self._known = True

    def step(self, walk: tuple[Array, Array] | None, rows: Array, place: int) -> None:
        """Extend the walks of `rows` by one step, and by what it writes at `place` of the targets."""
        self._known = self._known and walk is not None
        if walk is None or not self._known:
            return
        moves, written = walk
        width = moves.shape[1]
        with np.errstate(divide="ignore"):
            reached = self._best[rows, :width, None] + np.log(moves.astype(np.float64))  # (rows, i, j)
        symbols = self._targets[rows, place][:, None, None]
        likelihood = np.take_along_axis(written, np.broadcast_to(symbols, (len(rows), width, 1)), axis=2)[:, :, 0]
        before = np.zeros(self._best.shape, dtype=np.int64)
        before[rows, :width] = reached.argmax(1)
        self._before.append(before)
        self._best[rows, :width] = reached.max(1) + np.log(np.maximum(likelihood.astype(np.float64), LEAST))

    def read(self, lengths: Array) -> list[Array] | None:
        """The walks, one position per symbol and one for the end; None where the model has none. -1 is the start."""
        if not self._known:
            return None
        walks = []
        for row, length in enumerate(lengths.tolist()):
            position = int(self._best[row].argmax())
            walk = [position]
            for place in range(length, 0, -1):
                position = int(self._before[place][row, position])
                walk.append(position)
            walks.append(np.array(walk[::-1], dtype=np.int64) - 1)
        return walks


def heaviest_path(weights: Array) -> Array:
    """The positions, one per row and none before the one above it, whose weights have the largest product.

    Of equally heavy paths the one whose last differing position is earlier.

    Args:
        weights: >= 0, a row per target symbol. Shape (T, S), S >= 1.
    Returns:
        Positions that never fall. Shape (T,), int64.
    Source: dynamic programming.  Checked against all paths by tests/decoding/test_scoring.py.
    """
    logs = np.log(np.maximum(weights.astype(np.float64), LEAST))
    best = np.zeros(logs.shape[1])
    before = np.zeros(logs.shape, dtype=np.int64)
    for row, log in enumerate(logs):
        before[row] = _first_of_running_maximum(best)
        best = best[before[row]] + log
    path = np.zeros(len(logs), dtype=np.int64)
    position = int(best.argmax()) if len(logs) else 0
    for row in range(len(logs) - 1, -1, -1):
        path[row] = position
        position = int(before[row, position])
    return path


def _first_of_running_maximum(values: Array) -> Array:
    """For each place the first place of the largest value up to there. Shape (S,)."""
    is_new = np.concatenate([[True], values[1:] > np.maximum.accumulate(values)[:-1]])
    return np.asarray(np.maximum.accumulate(np.where(is_new, np.arange(len(values)), 0)))
