"""One step towards a memory: the concave-convex procedure's closed form for the energy of `triptych.recall.energy`.

Linearising E2 at q and minimising the convex rest, E1(r) + grad E2(q)·r = r·r/2 - (X'p)·r + constant, gives

    q <- X' softmax(beta X q).

With beta = 1/sqrt(D) that is single-head attention with the states as queries and the patterns as keys and values.
Arguments and errors are those of `triptych.recall`.  Checked by tests/recall/test_update.py.
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
    `triptych.recall.derivatives`. Shapes: (N, D), (B, D) to (B, D), within the patterns' convex hull.

    Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 3.
    """
    return read_out(patterns, patterns, state, beta=beta, separation=separation)


def read_out(
    patterns: Tensor, values: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX
) -> Tensor:
    """The average of values, with the weights that a state gives to the patterns: V' softmax(beta X q).

    Shapes: patterns (N, D), values (N, V), state (B, D), result (B, V).

    Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 10, without its projections.
    """
    check_beta(beta)
    check_states(patterns, state, name="state")
    check_values(patterns, values)
    found = average(patterns, state, beta=beta, separation=separation, values=values)
    check_result(found, patterns, state, name="state", values=values)
    return found


def step(
    patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX, norm: Tensor | None = None
) -> Step:
    """An update and the energy of the state it starts from, both from one pass over the patterns."""
    check_beta(beta)
    check_states(patterns, state, name="state")
    norm = largest_norm(patterns) if norm is None else norm
    averaged, potential = average_and_potential(patterns, state, beta=beta, separation=separation, norm=norm)
    check_result(averaged, patterns, state, name="state")
    return Step(averaged, convex_part(patterns, state, norm=norm) - potential)
