"""The classic binary Hopfield network: patterns of -1 and 1 as minima of a quadratic energy.

    W = X'X, its diagonal zero,    E(s) = -s'W s / 2,    s_i <- sign(sum_j W_ij s_j)

Random patterns can be recalled up to about N = 0.14 D. Errors are those of `triptych.recall`; other values than -1 and
1 are a ShapeError.

Source: Hopfield 1982, PNAS 79(8), 2554-2558; capacity: Amit, Gutfreund and Sompolinsky 1985, Phys. Rev. Lett. 55, 1530.
Checked by tests/recall/test_classic.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from triptych.errors import ShapeError, check_choice
from triptych.recall.checks import check_count, check_patterns, check_states, check_tensor, shape_error

Order = Literal["asynchronous", "synchronous"]


@dataclass(frozen=True)
class BinaryRetrieval:
    """Recalled states of a binary network.

    Attributes:
        state: of -1 and 1. Shape (B, D).
        sweeps: sweeps over all coordinates until none changed, that last one included. Shape (B,), int64.
        converged: True where a sweep changed nothing. Shape (B,).
        energies: of the cue and after each sweep. Shape (sweeps + 1, B).
    """

    state: Tensor
    sweeps: Tensor
    converged: Tensor
    energies: Tensor


def hebbian_weights(patterns: Tensor, *, zero_diagonal: bool = True) -> Tensor:
    """W = X'X, by default with zeros on its diagonal. Shapes: (N, D), of -1 and 1, to (D, D), symmetric.

    Args:
        patterns: X.
        zero_diagonal: without it every coordinate also votes for itself, with weight N.
    """
    check_binary(patterns, name="patterns")
    weights = patterns.T @ patterns
    return weights.fill_diagonal_(0) if zero_diagonal else weights


def classic_energy(weights: Tensor, state: Tensor) -> Tensor:
    """E(s) = -s'W s / 2. Shapes: weights (D, D), state (B, D), result (B,)."""
    return -0.5 * ((state @ weights) * state).sum(1)


def classic_retrieve(
    weights: Tensor,
    cue: Tensor,
    *,
    order: Order = "asynchronous",
    max_sweeps: int = 100,
    generator: torch.Generator | None = None,
) -> BinaryRetrieval:
    """Sign updates until nothing changes; a coordinate whose field is zero keeps its value.

    One coordinate after the other (asynchronous) the energy never rises, whatever the order, where the diagonal is
    >= 0. All at once (synchronous) it may, and states can alternate between two for ever.

    Args:
        weights: W, symmetric. Shape (D, D).
        cue: of -1 and 1. Shape (B, D).
        order: "asynchronous" or "synchronous".
        max_sweeps: sweeps over all coordinates at most, >= 1.
        generator: draws a new order of coordinates for each asynchronous sweep, the same for all rows; from the first
            to the last when None.
    """
    check_tensor(weights, name="weights")
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise shape_error("weights", weights, "(D, D)", hint="Use hebbian_weights(patterns).")
    check_states(weights, cue, name="cue")
    check_binary(cue, name="cue")
    check_choice(order, get_args(Order), field="order")

    def sweep(state: Tensor) -> Tensor:
        if order == "synchronous":
            return signs(state @ weights, state)
        return _sweep(weights, state, coordinate_order(state, generator))

    return sweep_to_rest(sweep, lambda state: classic_energy(weights, state), cue, max_sweeps=max_sweeps)


def sweep_to_rest(
    sweep: Callable[[Tensor], Tensor], energy: Callable[[Tensor], Tensor], cue: Tensor, *, max_sweeps: int
) -> BinaryRetrieval:
    """Sweep over the coordinates of each row until one changes nothing; rows at rest are not moved again."""
    check_count(max_sweeps, name="max_sweeps")
    state, energies = cue, [energy(cue)]
    sweeps = torch.zeros(len(cue), dtype=torch.int64, device=cue.device)
    moving = torch.ones(len(cue), dtype=torch.bool, device=cue.device)
    for _ in range(max_sweeps):
        if not bool(moving.any()):
            break
        before, state = state, state.clone()
        state[moving] = sweep(before[moving])
        sweeps += moving
        moving = (state != before).any(1)
        energies.append(energy(state))
    return BinaryRetrieval(state, sweeps, ~moving, torch.stack(energies))


def signs(fields: Tensor, state: Tensor) -> Tensor:
    """sign(field), or the state's own value where the field is zero. Shapes alike."""
    return torch.where(fields == 0, state, fields.sign())


def coordinate_order(state: Tensor, generator: torch.Generator | None) -> list[int]:
    """In what order to visit the coordinates of states (B, D)."""
    width = state.shape[1]
    return list(range(width)) if generator is None else torch.randperm(width, generator=generator).tolist()


def check_binary(rows: Tensor, *, name: str) -> None:
    """Rows hold -1 and 1 only; patterns have at least one row."""
    if name == "patterns":
        check_patterns(rows)
    other = (rows.abs() != 1).nonzero()
    if len(other):
        row, column = other[0].tolist()
        value = rows[row, column].item()
        message = f"{name} is {value:g} in row {row}, column {column}"
        hint = "Use torch.where(x > threshold, 1.0, -1.0)."
        raise ShapeError(message, field=name, value=value, expected="-1 or 1", hint=hint)


def _sweep(weights: Tensor, state: Tensor, order: list[int]) -> Tensor:
    """Every coordinate once, each seeing the new values of those before it. Shapes: (D, D), (B, D) to (B, D)."""
    state = state.clone()
    fields = state @ weights  # kept up to date, so that a coordinate costs B and a change B x D
    for i in order:
        change = signs(fields[:, i], state[:, i]) - state[:, i]
        if bool(change.any()):
            state[:, i] += change
            fields.addr_(change, weights[i])
    return state
