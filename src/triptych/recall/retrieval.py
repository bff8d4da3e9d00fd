"""Recall: follow the update from each cue until it no longer moves.

Every step is one pass over the patterns in bounded memory; states that have come to rest leave the batch.

**Partial cues.** With a mask of known coordinates K, only those are compared with the patterns, and the others are
filled in. The energy is that of the patterns cut down to K,

    E_K(q) = -log(mean exp(beta X_K q_K))/beta + q_K·q_K/2 + M_K²/2,    M_K = max |x_K|,

its update is q_K <- X_K' softmax(beta X_K q_K), and the unknown coordinates take the same weights' average,
q_U <- X_U' softmax(beta X_K q_K). So what the cue holds at unknown coordinates has no effect, E_K never rises, and with
everything known this is plain retrieval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from triptych.errors import TriptychError, did_you_mean
from triptych.recall.checks import (
    check_beta,
    check_count,
    check_finite,
    check_mask,
    check_result,
    check_states,
    check_tolerance,
)
from triptych.recall.energy import largest_norm
from triptych.recall.kernels import SCORES_AT_ONCE, average, average_and_potential, blocks, potential_alone, row_major
from triptych.recall.separation import SOFTMAX, Separation

Extra = Literal["attention", "trajectory", "energies"]


@dataclass(frozen=True)
class Retrieval:
    """The state recalled from each cue.

    Attributes:
        state: where each row ended. Shape (B, D).
        steps: updates each row took, >= 1. Shape (B,), int64.
        converged: True where the last update moved the row by no more than the tolerance. Shape (B,).
        attention: weights of each row's last update, `state = attention @ patterns`. Shape (B, N); on request.
        trajectory: the states, the cue first; a row that has come to rest repeats. Shape (steps + 1, B, D); on request.
        energies: E, or E_K, of those states; it never rises. Shape (steps + 1, B); on request.
    """

    state: Tensor
    steps: Tensor
    converged: Tensor
    attention: Tensor | None = None
    trajectory: Tensor | None = None
    energies: Tensor | None = None


@torch.no_grad()
def retrieve(
    patterns: Tensor,
    cue: Tensor,
    *,
    beta: float,
    max_steps: int = 100,
    tolerance: float = 1e-5,
    separation: Separation = SOFTMAX,
    known_valid: Tensor | None = None,
    extras: Sequence[Extra] = (),
) -> Retrieval:
    """Follow q <- X' softmax(beta X q) from each cue to a fixed point, the energy falling on the way.

    Args:
        patterns: X, one stored pattern per row. Shape (N, D).
        cue: where to start. Shape (B, D).
        beta: inverse temperature, > 0; larger means closer to one pattern.
        max_steps: updates at most, >= 1.
        tolerance: a row rests when an update moves it by at most this times the largest norm it has had since its first
            update, >= 0. Known coordinates only, for a partial cue.
        separation: what takes softmax's place; sparse ones retrieve patterns exactly.
        known_valid: True where the cue's coordinate is known; what the cue holds elsewhere, NaN too, is ignored.
            A row with nothing known gets the patterns' mean. Shape (B, D).
        extras: what to return besides: "attention" takes N x B numbers, "trajectory" all states, "energies" one more
            pass over the patterns.
    Returns:
        Retrieval. No gradients flow through it: use `update` for those.
    Raises:
        ShapeError: the widths differ, or there are no patterns.
        TriptychError: a number breaks its rule, an extra is unknown, or numbers overflow.
        DataError: a pattern, or a known coordinate of a cue, is not finite.
    Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 3 and theorem 1.  Checked by tests/recall/test_retrieval.py.
    """
    check_beta(beta)
    check_states(patterns, cue, name="cue")
    _check_extras(extras)
    patterns = row_major(patterns)  # once, not at every step
    start = cue if known_valid is None else known_part(cue, _checked_mask(known_valid, cue))
    check_finite(start, name="cue")
    norm = _norm(patterns, known_valid) if "energies" in extras else None
    trace = Recording(start, states="trajectory" in extras, queries="attention" in extras)

    def move(queries: Tensor, norm: Tensor | None) -> Moved:
        if norm is None:
            moved = Moved(average(patterns, queries, beta=beta, separation=separation))
        else:
            moved = Moved(*average_and_potential(patterns, queries, beta=beta, separation=separation, norm=norm))
        check_result(moved.state, patterns, start, name="cue")
        return moved

    rest = come_to_rest(
        move, start, max_steps=max_steps, tolerance=tolerance, known_valid=known_valid, norm=norm, observer=trace
    )
    if norm is not None:
        last = known_part(rest.state, known_valid)
        paid = potential_alone(patterns, last, beta=beta, separation=separation, norm=norm)
        trace.finish(rest.steps, convex_energy(last, norm) - paid)
    energies = trace.energies()
    if energies is not None:
        check_result(energies, patterns, start, name="cue")
    weights = None if trace.queries is None else separation.weights(beta * (trace.queries @ patterns.T))
    return Retrieval(rest.state, rest.steps, rest.converged, weights, trace.trajectory(), energies)


@dataclass(frozen=True)
class Moved:
    """One update of some rows.

    Attributes:
        state: the states after it. Shape (b, D).
        potential: of the states before it, where a norm was given. Shape (b,).
    """

    state: Tensor
    potential: Tensor | None = None


Move = Callable[[Tensor, Tensor | None], Moved]
"""One update from states, shape (b, D), with the norm of each row's energy where energies are wanted, () or (b,)."""


class StepObserver(Protocol):
    """Called after every step."""

    def add(self, rows: Tensor | None, before: Tensor, state: Tensor, energies: Tensor | None) -> None:
        """Rows that moved (b,), or None for all, their queries (b, D), all states after it (B, D), energies (b,)."""


@dataclass(frozen=True)
class Rest:
    """Final states of `come_to_rest`: as `Retrieval`, without its extras."""

    state: Tensor
    steps: Tensor
    converged: Tensor


def come_to_rest(
    move: Move,
    start: Tensor,
    *,
    max_steps: int,
    tolerance: float,
    known_valid: Tensor | None = None,
    norm: Tensor | None = None,
    observer: StepObserver | None = None,
) -> Rest:
    """Repeat an update, wherever its patterns are kept, until each row rests; rows that rest are not moved again.

    Args:
        move: the update.
        start: the cue, zeros where it is unknown. Shape (B, D).
        max_steps: updates at most, >= 1.
        tolerance: as in `retrieve`.
        known_valid: True where the cue is known, if not everywhere. Shape (B, D).
        norm: M, or M_K of each row, where energies are wanted. Shape () or (B,).
        observer: called after every step.
    Raises:
        TriptychError: a number breaks its rule.
    """
    _check_settings(max_steps, tolerance)
    found = _Rows(start, known_valid, norm)
    state, steps, rests = start, start.new_zeros(start.shape[0], dtype=torch.int64), None
    for taken in range(1, max_steps + 1):
        if not found.state.shape[0]:
            break
        before = found.state
        done, energies = found.move(move, tolerance)
        state = _placed(state, found.rows, found.state)
        steps = torch.full_like(steps, taken) if found.rows is None else steps.index_fill(0, found.rows, taken)
        rests = done if rests is None else _placed(rests, found.rows, done)
        if observer is not None:
            observer.add(found.rows, known_part(before, found.known), state, energies)
        if taken < max_steps and bool(done.any()):
            found.drop(done)
    return Rest(state, steps, steps > 0 if rests is None else rests)


class _Rows:
    """The rows still on their way.

    Attributes:
        rows: which rows of the batch they are, or None while they are all of them. Shape (b,).
        state: their states. Shape (b, D).
        known: True where their cues' coordinates are known, if not everywhere. Shape (b, D).
    """

    def __init__(self, start: Tensor, known: Tensor | None, norm: Tensor | None) -> None:
        self.rows: Tensor | None = None
        self.state = start
        self.known = known
        self._norm = norm
        self._scale: Tensor | None = None

    def move(self, move: Move, tolerance: float) -> tuple[Tensor, Tensor | None]:
        """Update every row; which rest now (b,), and the energies (b,) of the states before, where there is a norm."""
        before = known_part(self.state, self.known)
        moved = move(before, self._norm)
        self.state = moved.state
        after = known_part(self.state, self.known)
        size = torch.linalg.vector_norm(after, dim=1)
        self._scale = size if self._scale is None else torch.maximum(self._scale, size)
        done = torch.linalg.vector_norm(after - before, dim=1) <= tolerance * self._scale
        if self._norm is None or moved.potential is None:
            return done, None
        return done, convex_energy(before, self._norm) - moved.potential

    def drop(self, done: Tensor) -> None:
        """Stop updating some rows. Shape (b,)."""
        going = ~done
        self.rows = going.nonzero().squeeze(1) if self.rows is None else self.rows[going]
        self.state = self.state[going]
        self._scale = None if self._scale is None else self._scale[going]
        self.known = None if self.known is None else self.known[going]
        if self._norm is not None and self._norm.ndim:
            self._norm = self._norm[going]


class Recording:
    """The states and energies of the whole batch after each update, where they are asked for.

    Attributes:
        queries: what each row compared with the patterns in its last update, where that is wanted. Shape (B, D).

    Args:
        start: the cue. Shape (B, D).
        states: keep the states.
        queries: keep the queries.
    """

    def __init__(self, start: Tensor, *, states: bool, queries: bool = False) -> None:
        self.queries = start if queries else None
        self._wants_states = states
        self._states: list[Tensor] = [start]
        self._energies: list[Tensor] = []

    def add(self, rows: Tensor | None, before: Tensor, state: Tensor, energies: Tensor | None) -> None:
        """Queries of the rows that moved (b, D), all states after it (B, D), energies of those queries (b,)."""
        if self.queries is not None:
            self.queries = _placed(self.queries, rows, before)
        if self._wants_states:
            self._states.append(state)
        if energies is not None:
            self._energies.append(_placed(energies.new_zeros(state.shape[0]), rows, energies))

    def finish(self, steps: Tensor, last: Tensor) -> None:
        """Add the energies (B,) of the last states; rows that have come to rest keep theirs."""
        self._energies = [torch.where(steps > at, known, last) for at, known in enumerate(self._energies)] + [last]

    def trajectory(self) -> Tensor | None:
        """All states, the cue first. Shape (steps + 1, B, D)."""
        return torch.stack(self._states) if self._wants_states else None

    def energies(self) -> Tensor | None:
        """Energies of those states, where `finish` was called. Shape (steps + 1, B)."""
        return torch.stack(self._energies) if self._energies else None


def _placed(whole: Tensor, rows: Tensor | None, values: Tensor) -> Tensor:
    """The batch with new values in some of its rows; where they are all of them, no copy is made."""
    return values if rows is None else whole.index_copy(0, rows, values)


def known_part(state: Tensor, known: Tensor | None) -> Tensor:
    """The state with zeros where it is unknown, so that inner products see known coordinates only."""
    return state if known is None else torch.where(known, state, 0.0)


def convex_energy(known_part: Tensor, norm: Tensor) -> Tensor:
    """E1, the convex part of the energy. Shapes: (B, D), () or (B,) to (B,)."""
    return 0.5 * known_part.square().sum(1) + 0.5 * norm.square()


def _norm(patterns: Tensor, known: Tensor | None) -> Tensor:
    """M, shape (), or the largest norm of the patterns' known parts for each row, shape (B,)."""
    if known is None:
        return largest_norm(patterns)
    mask = known.to(patterns.dtype)
    largest = mask.new_zeros(len(mask))
    for some in blocks(len(patterns), max(1, SCORES_AT_ONCE // max(len(mask), patterns.shape[1]))):
        largest = torch.maximum(largest, (mask @ patterns[some].square().T).amax(1))
    return largest.sqrt()


def _checked_mask(known: Tensor, cue: Tensor) -> Tensor:
    check_mask(known, tuple(cue.shape), name="known_valid", true="the cue is known")
    return known


def _check_settings(max_steps: int, tolerance: float) -> None:
    check_count(max_steps, name="max_steps", hint="Use 1 for a single update.")
    check_tolerance(tolerance)


def _check_extras(extras: Sequence[Extra]) -> None:
    known = get_args(Extra)
    for extra in extras:
        if extra not in known:
            raise TriptychError(
                field="extras", value=extra, expected=f"one of {', '.join(known)}", hint=did_you_mean(str(extra), known)
            )
