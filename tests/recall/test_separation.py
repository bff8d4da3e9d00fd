"""Separation functions: optimal by their own conditions, with energies that fall and patterns retrieved exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import entmax
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from tests.oracles.hopfield import optimality_gap, top_k_conjugate
from tests.recall.problems import Problem, draw, problems
from triptych.errors import DataError, TriptychError
from triptych.recall.energy import energy, energy_bounds
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import SPARSEMAX, Entmax, Separation, Softmax, TopK, potential
from triptych.recall.update import update

ALL: list[Separation] = [Softmax(), SPARSEMAX, Entmax(1.5), Entmax(1.25), Entmax(3.0)]
ALL_AND_TOP_K: list[Separation] = [*ALL, TopK(1), TopK(2), TopK(5)]
EXACT: list[Separation] = [SPARSEMAX, Entmax(1.5), Entmax(3.0), TopK(1)]


def slope(separation: Separation) -> Callable[[Tensor], Tensor]:
    """grad Omega up to a constant, by hand."""
    match separation:
        case Softmax():
            return torch.log
        case Entmax(alpha=alpha):
            return lambda p: p ** (alpha - 1) / (alpha - 1)
    raise AssertionError(separation)


@pytest.mark.parametrize("separation", ALL, ids=str)
@given(scores=st.lists(st.floats(-8, 8), min_size=1, max_size=9))
@settings(deadline=None, max_examples=20)
def test_weights_satisfy_the_conditions_of_their_problem(separation: Separation, scores: list[float]) -> None:
    theta = torch.tensor(scores, dtype=torch.float64)
    weights = separation.weights(theta.unsqueeze(0))[0]
    assert optimality_gap(theta, weights, slope(separation)) < 2e-5


@pytest.mark.parametrize("separation", ALL_AND_TOP_K, ids=str)
@given(scores=st.lists(st.floats(-8, 8), min_size=1, max_size=9))
@settings(deadline=None, max_examples=20)
def test_potential_is_the_maximum_that_defines_it(separation: Separation, scores: list[float]) -> None:
    """theta·p - Omega(p) + Omega(u) at the weights; at u and at each corner it is no larger."""
    theta = torch.tensor([scores], dtype=torch.float64)
    count = len(scores)
    found = potential(separation, theta)
    uniform = separation.uniform_negentropy(count)
    at_weights = (theta * separation.weights(theta)).sum() - separation.negentropy(separation.weights(theta))
    assert found.item() == pytest.approx(at_weights.item() + uniform, abs=1e-9)
    corners = theta[0] - separation.negentropy(torch.eye(count, dtype=torch.float64)) + uniform
    assert (corners <= found + 1e-9).all()
    assert theta.mean() - 1e-9 <= found.item() <= theta.max() + 1e-9
    assert potential(separation, torch.full((1, count), 0.7, dtype=torch.float64)).item() == pytest.approx(0.7)


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=7), st.integers(1, 8))
@settings(deadline=None, max_examples=20)
def test_the_conjugate_of_top_k_is_the_largest_sum_of_k(scores: list[float], k: int) -> None:
    found = potential(TopK(k), torch.tensor([scores], dtype=torch.float64)).item()
    least = min(k, len(scores))
    assert found == pytest.approx(top_k_conjugate(scores, least) - math.log(least), abs=1e-9)


@pytest.mark.parametrize("separation", ALL_AND_TOP_K, ids=str)
def test_weights_are_the_gradient_of_the_potential(separation: Separation) -> None:
    theta = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (found,) = torch.autograd.grad(potential(separation, theta).sum(), theta)
    torch.testing.assert_close(found, separation.weights(theta.detach()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_sorting_the_largest_first_changes_nothing(spread: float) -> None:
    """With the first spread all 500 weights are positive, far more than are sorted first."""
    scores = spread * torch.randn(20, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(SPARSEMAX.weights(scores), entmax.sparsemax(scores, dim=-1))
    torch.testing.assert_close(Entmax(1.5).weights(scores), entmax.entmax15(scores, dim=-1))
    torch.testing.assert_close(Entmax(1.3).weights(scores), entmax.entmax_bisect(scores, alpha=1.3, dim=-1))


def test_bisection_and_exact_solutions_agree() -> None:
    scores = 3 * torch.randn(20, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for alpha in (1.5, 2.0):
        torch.testing.assert_close(
            Entmax(alpha).weights(scores), Entmax(alpha + 1e-9).weights(scores), rtol=1e-5, atol=1e-7
        )
    torch.testing.assert_close(Entmax(1 + 1e-4).weights(scores), Softmax().weights(scores), rtol=0.1, atol=1e-3)
    torch.testing.assert_close(TopK(50).weights(scores), Softmax().weights(scores))
    torch.testing.assert_close(TopK(99).weights(scores), Softmax().weights(scores))
    assert ((TopK(3).weights(scores) > 0).sum(1) == 3).all()


@pytest.mark.parametrize("separation", ALL_AND_TOP_K, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_of_any_size_give_weights(separation: Separation, dtype: torch.dtype) -> None:
    drawn = torch.randn(4, 30, generator=torch.Generator().manual_seed(3)).to(dtype)
    for scale in (1e-9, 1.0, 1e14):
        weights = separation.weights(scale * drawn)
        torch.testing.assert_close(weights.sum(1), torch.ones(4, dtype=dtype), rtol=1e-5, atol=0)
        assert (weights >= 0).all()
        assert torch.isfinite(potential(separation, scale * drawn)).all()
    assert torch.equal(weights.argmax(1), drawn.argmax(1))


@pytest.mark.parametrize("separation", ALL_AND_TOP_K, ids=str)
@given(problem=problems(low=1e-2, high=1e2))
@settings(deadline=None, max_examples=10)
def test_every_energy_falls_and_keeps_its_bounds(separation: Separation, problem: Problem) -> None:
    found = retrieve(
        problem.patterns, problem.state, beta=problem.beta, separation=separation, max_steps=12, extras=("energies",)
    )
    assert found.energies is not None
    slack = problem.rounding() + 1e-9  # bisection stops at about 1e-9
    assert (found.energies.diff(dim=0) <= slack).all()
    assert (found.energies >= -slack).all()
    assert (found.energies[1:] <= energy_bounds(problem.patterns).high + slack).all()
    one_more = update(problem.patterns, found.state, beta=problem.beta, separation=separation)
    assert (
        energy(problem.patterns, one_more, beta=problem.beta, separation=separation) <= found.energies[-1] + slack
    ).all()


@pytest.mark.parametrize("separation", EXACT, ids=str)
def test_a_lead_of_the_margin_retrieves_the_pattern_itself(separation: Separation) -> None:
    """q·x_i - q·x_j > margin / beta for all j is enough for one update; a little less is not, for two patterns."""
    patterns = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    beta = 0.8
    lead = separation.margin / beta
    just, less = (torch.tensor([[0.25 + (lead + more) / 2, 0.25]], dtype=torch.float64) for more in (1e-6, -1e-2))
    assert torch.equal(update(patterns, just, beta=beta, separation=separation), patterns[:1])
    if separation.margin:
        assert (update(patterns, less, beta=beta, separation=separation) - patterns[:1]).abs().max() > 1e-8


@pytest.mark.parametrize("separation", EXACT, ids=str)
def test_sparse_functions_retrieve_exactly_where_softmax_only_comes_near(separation: Separation) -> None:
    patterns = torch.nn.functional.normalize(draw(4, count=200, width=64).patterns)
    noise = torch.randn(200, 64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    cue = patterns + 0.02 * noise
    exact = retrieve(patterns, cue, beta=12.0, separation=separation)
    near = retrieve(patterns, cue, beta=12.0)
    assert torch.equal(exact.state, patterns)
    assert exact.steps.tolist() == [2] * 200  # the second sees that nothing moves
    assert (near.state - patterns).abs().max() > 1e-4


def test_margins_are_as_published() -> None:
    assert [s.margin for s in (SPARSEMAX, Entmax(1.5), Entmax(3.0))] == [1, 2, 0.5]
    assert [s.margin for s in (Softmax(), TopK(1), TopK(2))] == [math.inf, 0, math.inf]


@pytest.mark.parametrize(
    ("build", "field", "value"),
    [
        (lambda: Entmax(1.0), "alpha", 1.0),
        (lambda: Entmax(math.inf), "alpha", math.inf),
        (lambda: Entmax("2"), "alpha", "2"),  # type: ignore[arg-type]
        (lambda: TopK(0), "k", 0),
        (lambda: TopK(2.5), "k", 2.5),  # type: ignore[arg-type]
    ],
)
def test_settings_are_checked(build: Callable[[], object], field: str, value: object) -> None:
    with pytest.raises(TriptychError) as caught:
        build()
    assert (caught.value.field, caught.value.value) == (field, value)


@pytest.mark.parametrize("separation", ALL_AND_TOP_K, ids=str)
def test_patterns_that_are_not_finite_are_refused(separation: Separation) -> None:
    problem = draw(3, dtype=torch.float32)
    for bad in (math.inf, -math.inf, math.nan):
        patterns = problem.patterns.clone()
        patterns[2, 1] = bad
        with pytest.raises(DataError) as caught:
            retrieve(patterns, problem.state, beta=1.0, separation=separation)
        assert caught.value.field == "patterns"
        with pytest.raises(DataError) as caught:
            update(problem.patterns, torch.full_like(problem.state, bad), beta=1.0, separation=separation)
        assert caught.value.field == "state"


@pytest.mark.parametrize("separation", ALL_AND_TOP_K, ids=str)
def test_no_states_give_no_rows_of_the_right_width(separation: Separation) -> None:
    problem = draw(3)
    assert update(problem.patterns, problem.state[:0], beta=1.0, separation=separation).shape == (0, 5)
    assert retrieve(problem.patterns, problem.state[:0], beta=1.0, separation=separation).state.shape == (0, 5)
