"""Closed-form gradients and Hessians against autograd, and the signs of their eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.recall.problems import Problem, draw, problems
from triptych.errors import ShapeError
from triptych.recall.derivatives import (
    attention,
    concave_gradient,
    convex_gradient,
    convex_hessian,
    energy_gradient,
    energy_hessian,
    energy_hessian_product,
    lse_hessian,
    lse_hessian_product,
)
from triptych.recall.energy import concave_part, convex_part, energy
from triptych.recall.separation import SPARSEMAX

BETAS = [1e-6, 0.2, 1.0, 30.0]


def gradient(function: Callable[[Tensor], Tensor], state: Tensor) -> Tensor:
    point = state.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(point).sum(), point)
    return found


def hessian(function: Callable[[Tensor], Tensor], row: Tensor) -> Tensor:
    """Of a function of rows, at one row. Shapes: (D,) to (D, D)."""
    found: Tensor = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        lambda point: function(point.unsqueeze(0))[0], row
    )
    return found


@pytest.mark.parametrize("beta", BETAS)
def test_gradients_equal_autograd(beta: float) -> None:
    problem = draw(1)
    x, q = problem.patterns, problem.state
    torch.testing.assert_close(convex_gradient(q), gradient(lambda s: convex_part(x, s), q))
    torch.testing.assert_close(concave_gradient(x, q, beta=beta), gradient(lambda s: concave_part(x, s, beta=beta), q))
    torch.testing.assert_close(energy_gradient(x, q, beta=beta), gradient(lambda s: energy(x, s, beta=beta), q))


def test_gradients_of_a_sparse_energy_equal_autograd() -> None:
    problem = draw(2)
    x, q = problem.patterns, problem.state
    expected = gradient(lambda s: energy(x, s, beta=0.4, separation=SPARSEMAX), q)
    torch.testing.assert_close(energy_gradient(x, q, beta=0.4, separation=SPARSEMAX), expected)


@pytest.mark.parametrize("beta", BETAS)
def test_hessians_equal_autograd(beta: float) -> None:
    problem = draw(3)
    x, q = problem.patterns, problem.state
    for row in range(len(q)):
        one = q[row]
        full = hessian(lambda s: energy(x, s, beta=beta), one)
        convex = hessian(lambda s: convex_part(x, s), one)
        concave = hessian(lambda s: concave_part(x, s, beta=beta), one)
        torch.testing.assert_close(energy_hessian(x, q, beta=beta)[row], full, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(convex_hessian(q)[row], convex)
        torch.testing.assert_close(-lse_hessian(x, q, beta=beta)[row], concave, rtol=1e-8, atol=1e-10)


@given(problems(low=1e-6, high=1e6))
@settings(deadline=None, max_examples=60)
def test_both_hessians_are_positive_semidefinite(problem: Problem) -> None:
    found = lse_hessian(problem.patterns, problem.state, beta=problem.beta)
    values = torch.linalg.eigvalsh(found)
    assert (values >= -1e-13 * values.abs().amax().clamp_min(1e-300)).all()
    torch.testing.assert_close(found, found.mT, rtol=1e-12, atol=1e-300)
    assert (torch.linalg.eigvalsh(convex_hessian(problem.state)) == 1).all()


@given(problems())
@settings(deadline=None, max_examples=60)
def test_products_equal_the_matrices(problem: Problem) -> None:
    x, q, beta = problem.patterns, problem.state, problem.beta
    vectors = torch.randn(q.shape, generator=torch.Generator().manual_seed(0), dtype=q.dtype)
    for matrix, product in ((lse_hessian, lse_hessian_product), (energy_hessian, energy_hessian_product)):
        expected = (matrix(x, q, beta=beta) @ vectors.unsqueeze(2)).squeeze(2)
        torch.testing.assert_close(product(x, q, vectors, beta=beta), expected, rtol=1e-8, atol=1e-9 * beta)


def test_attention_is_softmax_of_the_scores() -> None:
    problem = draw(4)
    expected = torch.softmax(0.7 * problem.state @ problem.patterns.T, dim=1)
    torch.testing.assert_close(attention(problem.patterns, problem.state, beta=0.7), expected)
    sparse = attention(problem.patterns, problem.state, beta=3.0, separation=SPARSEMAX)
    assert (sparse == 0).any()


def test_vectors_must_be_one_per_state() -> None:
    with pytest.raises(ShapeError) as raised:
        lse_hessian_product(torch.ones(3, 2), torch.ones(4, 2), torch.ones(3, 2), beta=1.0)
    assert (raised.value.field, raised.value.value) == ("vectors", (3, 2))
