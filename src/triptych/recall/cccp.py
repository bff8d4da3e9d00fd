"""The concave-convex procedure in general: minimise a sum of a convex and a concave function without a step size.

At each state the concave part is replaced by its tangent, and the convex rest is minimised:

    q_{t+1} = argmin_r convex(r) + grad concave(q_t)·r.

Then convex(q_{t+1}) + grad·q_{t+1} <= convex(q_t) + grad·q_t, and the tangent lies above the concave part, so the sum
never rises. `triptych.recall.update` is the closed form for the energy of this package. Errors are those of
`triptych.recall`.

Source: Yuille and Rangarajan 2003, Neural Computation 15(4), 915-936, theorem 2.  Checked by tests/recall/test_cccp.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.errors import ShapeError
from triptych.recall.checks import check_count, check_tensor, check_tolerance

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Minimisation:
    """Final states of the procedure, row by row, with its trace.

    Attributes:
        state: the last iterates. Shape (B, D).
        trajectory: the iterates, the start first; rows that converged stay put. Shape (steps + 1, B, D).
        objective: convex + concave at each; never rises. Shape (steps + 1, B).
        steps: outer steps each row took. Shape (B,), int64.
        converged: True where the last step moved the row by no more than the tolerance. Shape (B,).
    """

    state: Tensor
    trajectory: Tensor
    objective: Tensor
    steps: Tensor
    converged: Tensor


def cccp(
    convex: Objective,
    concave: Objective,
    start: Tensor,
    *,
    max_steps: int = 100,
    tolerance: float = 1e-6,
    inner_steps: int = 200,
) -> Minimisation:
    """Minimise convex + concave from each start, with a numerical solver (L-BFGS) for each convex problem.

    A row that the solver does not bring below the state it is at, to rounding, stays there.

    Args:
        convex: a differentiable convex function of each row by itself. Shapes: (B, D) to (B,), which is checked.
        concave: a differentiable concave function, likewise.
        start: Shape (B, D), floating.
        max_steps: outer steps at most, >= 1.
        tolerance: a row has converged when a step moves it by at most this times its norm, or 1 where that is smaller.
        inner_steps: iterations of the inner solver at most, >= 1.
    """
    check_tensor(start, name="start")
    if start.ndim != 2 or not start.is_floating_point():
        found = tuple(start.shape)
        message, expected = f"start has shape {found} and dtype {start.dtype}", "a floating-point (B, D)"
        raise ShapeError(message, field="start", value=found, expected=expected)
    check_count(max_steps, name="max_steps")
    check_count(inner_steps, name="inner_steps")
    check_tolerance(tolerance)
    state = start.detach().clone()
    steps = torch.zeros(len(state), dtype=torch.int64, device=state.device)
    active = torch.ones(len(state), dtype=torch.bool, device=state.device)
    trajectory, objective = [state], [_rows(convex, state) + _rows(concave, state)]
    for _ in range(max_steps):
        if not bool(active.any()):
            break
        moved = torch.where(active.unsqueeze(1), _outer_step(convex, concave, state, inner_steps), state)
        steps += active
        distance = torch.linalg.vector_norm(moved - state, dim=1)
        active = distance > tolerance * torch.linalg.vector_norm(moved, dim=1).clamp_min(1)
        state = moved
        trajectory.append(state)
        objective.append(_rows(convex, state) + _rows(concave, state))
    return Minimisation(state, torch.stack(trajectory), torch.stack(objective), steps, ~active)


def _outer_step(convex: Objective, concave: Objective, state: Tensor, inner_steps: int) -> Tensor:
    """argmin_r convex(r) + grad concave(q)·r for every row, searched from q."""
    slope = _gradient(concave, state)

    def surrogate(point: Tensor) -> Tensor:
        return convex(point) + (slope * point).sum(1)

    found = _minimise(surrogate, state, inner_steps)
    with torch.no_grad():
        better = surrogate(found) <= surrogate(state)  # False for NaN too
    return torch.where(better.unsqueeze(1), found, state)


def _minimise(objective: Objective, start: Tensor, inner_steps: int) -> Tensor:
    """The minimum of a convex function of each row; rows are independent, so their sum has the same one."""
    point = start.detach().clone().requires_grad_()
    precision = torch.finfo(point.dtype).eps
    solver = torch.optim.LBFGS(
        [point],
        max_iter=inner_steps,
        max_eval=4 * inner_steps,
        tolerance_grad=precision,
        tolerance_change=precision,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = objective(point).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    return point.detach()


def _gradient(function: Objective, state: Tensor) -> Tensor:
    with torch.enable_grad():
        point = state.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(function(point).sum(), point)
    return found


def _rows(function: Objective, state: Tensor) -> Tensor:
    """The function's values, one per row."""
    with torch.no_grad():
        values = function(state)
    if values.shape != (len(state),):
        message, shape = f"The objective's value has shape {tuple(values.shape)}", tuple(values.shape)
        raise ShapeError(message, field="objective", value=shape, expected=f"({len(state)},), one number per row")
    return values
