"""The general procedure against its closed forms, and against minima found in other ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.recall.problems import Problem, draw, problems
from triptych.errors import ShapeError, TriptychError
from triptych.recall.cccp import cccp
from triptych.recall.energy import concave_part, convex_part, energy
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import SOFTMAX, SPARSEMAX, Separation
from triptych.recall.update import update


@given(problems(low=0.05, high=5.0))
@settings(deadline=None, max_examples=12)
def test_one_step_gives_the_update(problem: Problem) -> None:
    x, beta = problem.patterns, problem.beta
    found = cccp(lambda q: convex_part(x, q), lambda q: concave_part(x, q, beta=beta), problem.state, max_steps=1)
    torch.testing.assert_close(found.state, update(x, problem.state, beta=beta), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("separation", [SOFTMAX, SPARSEMAX])
def test_the_whole_trajectory_is_that_of_retrieval(separation: Separation) -> None:
    problem = draw(1, count=6)
    x, beta = problem.patterns, 0.6
    found = cccp(
        lambda q: convex_part(x, q),
        lambda q: concave_part(x, q, beta=beta, separation=separation),
        problem.state,
        max_steps=40,
    )
    closed = retrieve(x, problem.state, beta=beta, separation=separation, extras=("trajectory", "energies"))
    assert closed.trajectory is not None
    assert closed.energies is not None
    shared = min(len(found.trajectory), len(closed.trajectory), 4)
    torch.testing.assert_close(found.trajectory[:shared], closed.trajectory[:shared], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.state, closed.state, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.objective[:shared], closed.energies[:shared], rtol=1e-6, atol=1e-6)
    assert found.converged.all()


def quartic(q: Tensor) -> Tensor:
    """A double well per coordinate, q^4/4 - q²/2, is convex + concave; here is its convex part."""
    return q.pow(4).sum(1) / 4


def minus_half_square(q: Tensor) -> Tensor:
    return -q.square().sum(1) / 2


def test_another_problem_with_a_known_iterate_and_minimum() -> None:
    start = torch.tensor([[0.5, -2.0], [3.0, 0.1]], dtype=torch.float64)
    once = cccp(quartic, minus_half_square, start, max_steps=1)
    torch.testing.assert_close(once.state, start.sign() * start.abs().pow(1 / 3), rtol=1e-6, atol=1e-6)
    done = cccp(quartic, minus_half_square, start)
    torch.testing.assert_close(done.state, start.sign(), rtol=0, atol=1e-4)
    assert done.converged.all()
    assert done.steps.max() == len(done.trajectory) - 1 == len(done.objective) - 1
    assert torch.equal(done.trajectory[0], start)
    assert torch.equal(done.trajectory[-1], done.state)


@given(problems(low=0.05, high=20.0))
@settings(deadline=None, max_examples=12)
def test_the_objective_never_rises(problem: Problem) -> None:
    x, beta = problem.patterns, problem.beta
    found = cccp(lambda q: convex_part(x, q), lambda q: concave_part(x, q, beta=beta), problem.state, max_steps=8)
    assert (found.objective.diff(dim=0) <= problem.rounding()).all()
    torch.testing.assert_close(found.objective[-1], energy(x, found.state, beta=beta))


def test_a_solver_that_fails_leaves_the_state_where_it_is() -> None:
    start = torch.tensor([[1.0], [2.0]], dtype=torch.float64)

    def broken(q: Tensor) -> Tensor:
        return torch.where(q[:, 0] == start[:, 0], q[:, 0] ** 2, torch.nan)

    found = cccp(broken, minus_half_square, start, max_steps=3)
    assert torch.equal(found.state, start)


def test_rows_stop_one_by_one_and_tolerance_and_limits_act() -> None:
    start = torch.tensor([[1.0], [1e-3]], dtype=torch.float64)
    fine, coarse = (cccp(quartic, minus_half_square, start, tolerance=t) for t in (1e-7, 1e-2))
    assert fine.steps[0] == 1
    assert fine.steps[1] > coarse.steps[1] > 1
    short = cccp(quartic, minus_half_square, start, max_steps=2)
    assert short.steps.tolist() == [1, 2]
    assert short.converged.tolist() == [True, False]
    rough = cccp(quartic, minus_half_square, 5 * start, max_steps=1, inner_steps=1)
    assert (rough.state - (5 * start).pow(1 / 3)).abs().max() > 1e-2


def test_settings_and_shapes_are_checked() -> None:
    start = torch.ones(2, 3)
    cases: list[tuple[str, Callable[[], object]]] = [
        ("max_steps", lambda: cccp(quartic, quartic, start, max_steps=0)),
        ("inner_steps", lambda: cccp(quartic, quartic, start, inner_steps=0)),
        ("tolerance", lambda: cccp(quartic, quartic, start, tolerance=-1)),
    ]
    for field, call in cases:
        with pytest.raises(TriptychError) as raised:
            call()
        assert raised.value.field == field
    with pytest.raises(ShapeError) as shape:
        cccp(quartic, quartic, start[0])
    assert (shape.value.field, shape.value.value) == ("start", (3,))
    with pytest.raises(ShapeError) as value:
        cccp(lambda q: q.sum(), quartic, start)
    assert (value.value.field, value.value.value) == ("objective", ())


def test_no_starts_give_no_rows() -> None:
    found = cccp(quartic, quartic, torch.ones(0, 3))
    assert (found.state.shape, found.steps.shape, found.objective.shape) == ((0, 3), (0,), (1, 0))
