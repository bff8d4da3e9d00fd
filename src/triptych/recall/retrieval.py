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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from triptych.errors import check_choice
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

Move = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""One update of queries (b, D), of all rows or of those rows (b,): states (b, D), energies before it (b,) if wanted."""

Observer = Callable[[Tensor | None, Tensor, Tensor, Tensor | None], None]
"""Called after an update with the rows that moved, their queries (b, D), all states (B, D), and energies (b,)."""


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
    for extra in extras:
        check_choice(extra, get_args(Extra), field="extras")
    if known_valid is not None:
        check_mask(known_valid, tuple(cue.shape), name="known_valid", true="the cue is known")
    patterns = row_major(patterns)  # once, not at every step
    start = known_part(cue, known_valid)
    check_finite(start, name="cue")
    norm = _norm(patterns, cue, known_valid) if "energies" in extras else None
    trace = Recording(start, extras)

    def move(queries: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if norm is None:
            state, energies = average(patterns, queries, beta=beta, separation=separation), None
        else:
            own = norm if rows is None else norm[rows]
            state, paid = average_and_potential(patterns, queries, beta=beta, separation=separation, norm=own)
            energies = convex_energy(queries, own) - paid
        check_result(state, patterns, start, name="cue")
        return state, energies

    rest = come_to_rest(
        move, start, max_steps=max_steps, tolerance=tolerance, known_valid=known_valid, observer=trace.add
    )
    if norm is not None:
        last = known_part(rest.state, known_valid)
        paid = potential_alone(patterns, last, beta=beta, separation=separation, norm=norm)
        trace.finish(rest.steps, convex_energy(last, norm) - paid)
        check_result(torch.stack(trace.energies), patterns, start, name="cue")
    if not extras:
        return rest
    return replace(
        rest,
        attention=None if trace.queries is None else separation.weights(beta * (trace.queries @ patterns.T)),
        trajectory=torch.stack(trace.states) if trace.states else None,
        energies=torch.stack(trace.energies) if trace.energies else None,
    )


def come_to_rest(
    move: Move,
    start: Tensor,
    *,
    max_steps: int,
    tolerance: float,
    known_valid: Tensor | None = None,
    observer: Observer | None = None,
) -> Retrieval:
    """Repeat an update, wherever its patterns are kept, until each row rests; rows that rest are not moved again.

    Args:
        move: the update.
        start: the cue, zeros where it is unknown. Shape (B, D).
        max_steps: updates at most, >= 1.
        tolerance: as in `retrieve`.
        known_valid: True where the cue is known, if not everywhere. Shape (B, D).
        observer: called after every step.
    Returns:
        Retrieval without its extras.
    """
    check_count(max_steps, name="max_steps", hint="Use 1 for a single update.")
    check_tolerance(tolerance)
    state, steps = start, start.new_zeros(len(start), dtype=torch.int64)
    rests: Tensor | None = None
    scale: Tensor | None = None  # the largest norm of each row so far
    rows: Tensor | None = None  # those still on their way; None while they are all of them
    moving, known = start, known_valid
    for taken in range(1, max_steps + 1):
        if not len(moving):
            break
        before = known_part(moving, known)
        moving, energies = move(before, rows)
        after = known_part(moving, known)
        size = torch.linalg.vector_norm(after, dim=1)
        scale = size if scale is None else torch.maximum(scale, size)
        done = torch.linalg.vector_norm(after - before, dim=1) <= tolerance * scale
        state, rests = _placed(state, rows, moving), done if rests is None else _placed(rests, rows, done)
        steps = torch.full_like(steps, taken) if rows is None else steps.index_fill(0, rows, taken)
        if observer is not None:
            observer(rows, before, state, energies)
        if taken < max_steps and bool(done.any()):
            going = ~done
            rows = going.nonzero().squeeze(1) if rows is None else rows[going]
            moving, scale = moving[going], scale[going]
            known = None if known is None else known[going]
    return Retrieval(state, steps, steps > 0 if rests is None else rests)


class Recording:
    """The states and energies of the whole batch after each update, where they are asked for.

    Attributes:
        queries: what each row compared with the patterns in its last update, for "attention". Shape (B, D).
        states: the cue, and the states after each update, for "trajectory". Shape of each (B, D).
        energies: E of those, where updates give it; complete after `finish`. Shape of each (B,).
    """

    def __init__(self, start: Tensor, extras: Iterable[Extra]) -> None:
        self.queries = start if "attention" in extras else None
        self.states = [start] if "trajectory" in extras else []
        self.energies: list[Tensor] = []

    def add(self, rows: Tensor | None, before: Tensor, state: Tensor, energies: Tensor | None) -> None:
        """An `Observer`."""
        if self.queries is not None:
            self.queries = _placed(self.queries, rows, before)
        if self.states:
            self.states.append(state)
        if energies is not None:
            self.energies.append(_placed(energies.new_zeros(state.shape[0]), rows, energies))

    def finish(self, steps: Tensor, last: Tensor) -> None:
        """Add the energies (B,) of the last states; rows that have come to rest keep theirs."""
        self.energies = [torch.where(steps > at, known, last) for at, known in enumerate(self.energies)] + [last]


def _placed(whole: Tensor, rows: Tensor | None, values: Tensor) -> Tensor:
    """The batch with new values in some of its rows; where they are all of them, no copy is made."""
    return values if rows is None else whole.index_copy(0, rows, values)


def known_part(state: Tensor, known: Tensor | None) -> Tensor:
    """The state with zeros where it is unknown, so that inner products see known coordinates only."""
    return state if known is None else torch.where(known, state, 0.0)


def convex_energy(known_part: Tensor, norm: Tensor) -> Tensor:
    """E1, the convex part of the energy. Shapes: (B, D), () or (B,) to (B,)."""
    return 0.5 * known_part.square().sum(1) + 0.5 * norm.square()


def largest_known_norm(keys: Iterable[Tensor], known: Tensor) -> Tensor:
    """The largest norm of the patterns' known coordinates, for each mask. Shapes: of each (n, D), (B, D) to (B,)."""
    largest = None
    for rows in keys:
        mask = known.to(rows.dtype)
        for some in blocks(len(rows), max(1, SCORES_AT_ONCE // max(len(mask), rows.shape[1]))):
            squares = (mask @ rows[some].square().T).amax(1)
            largest = squares if largest is None else torch.maximum(largest, squares)
    assert largest is not None, "there is at least one pattern"
    return largest.sqrt()


def _norm(patterns: Tensor, cue: Tensor, known: Tensor | None) -> Tensor:
    """M, or the largest norm of the patterns' known part, for each row. Shape (B,)."""
    return largest_norm(patterns).expand(len(cue)) if known is None else largest_known_norm([patterns], known)
