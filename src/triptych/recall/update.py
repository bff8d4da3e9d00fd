"""One step towards a memory: the concave-convex procedure's closed form for the energy of `triptych.recall.energy`.

Linearising E2 at q and minimising the convex rest, E1(r) + grad E2(q)·r = r·r/2 - (X'p)·r + constant, gives

    q <- X' softmax(beta X q).

With beta = 1/sqrt(D) that is single-head attention with the states as queries and the patterns as keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from triptych.recall.checks import check_beta, check_result, check_states, check_values
from triptych.recall.energy import convex_part, largest_norm
from triptych.recall.kernels import average, average_and_potential
from triptych.recall.separation import SOFTMAX, Separation


@dataclass(frozen=True)
class Step:
    """One update with the energy of the state it started from.

    Attributes:
        state: the state after the update. Shape (B, D).
        energy: E of the state before it. Shape (B,).
    """

    state: Tensor
    energy: Tensor


def update(patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX) -> Tensor:
    """q <- X' softmax(beta X q), or X' y(beta X q) with another separation function; the energy never rises.

    One pass over the patterns in bounded memory, and differentiable once; for second derivatives of the energy see
    `triptych.recall.derivatives`.

    Args:
        patterns: X, one pattern per row. Shape (N, D).
        state: q. Shape (B, D).
        beta: inverse temperature, > 0; larger means closer to one pattern.
        separation: what takes softmax's place.
    Returns:
        Shape (B, D), within the patterns' convex hull.
    Raises:
        ShapeError: the widths differ, or there are no patterns.
        TriptychError: beta breaks its rule, or numbers overflow.
        DataError: a pattern or state is not finite.
    Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 3.  Checked by tests/recall/test_update.py.
    """
    return read_out(patterns, patterns, state, beta=beta, separation=separation)


def read_out(
    patterns: Tensor, values: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX
) -> Tensor:
    """The average of values, with the weights that a state gives to the patterns: V' softmax(beta X q).

    Args:
        patterns: X, the keys. Shape (N, D).
        values: one per pattern. Shape (N, V).
        state: q. Shape (B, D).
        beta: inverse temperature, > 0.
        separation: what takes softmax's place.
    Returns:
        Shape (B, V).
    Raises:
        ShapeError: shapes do not fit, or there are no patterns.
        TriptychError: beta breaks its rule, or numbers overflow.
        DataError: a pattern, value or state is not finite.
    Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 10, without its projections.
    """
    check_beta(beta)
    check_states(patterns, state, name="state")
    check_values(patterns, values)
    found = average(patterns, state, beta=beta, separation=separation, values=values)
    check_result(found, patterns, state, name="state", values=values)
    return found


def step(
    patterns: Tensor,
    state: Tensor,
    *,
    beta: float,
    separation: Separation = SOFTMAX,
    norm: Tensor | None = None,
) -> Step:
    """An update and the energy of the state it starts from, both from one pass over the patterns.

    Args:
        patterns: X. Shape (N, D).
        state: q. Shape (B, D).
        beta: inverse temperature, > 0.
        separation: what takes softmax's place.
        norm: M where it is known already, which saves one pass over the patterns. Shape ().
    Raises:
        ShapeError: the widths differ, or there are no patterns.
        TriptychError: beta breaks its rule, or numbers overflow.
        DataError: a pattern or state is not finite.
    Checked by tests/recall/test_update.py.
    """
    check_beta(beta)
    check_states(patterns, state, name="state")
    norm = largest_norm(patterns) if norm is None else norm
    averaged, potential = average_and_potential(patterns, state, beta=beta, separation=separation, norm=norm)
    check_result(averaged, patterns, state, name="state")
    return Step(averaged, convex_part(patterns, state, norm=norm) - potential)
