"""The energy and its parts against 80-digit arithmetic, autograd and the inequalities they must obey."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings, strategies as st
from torch import Tensor

from tests.messages import check_message
from tests.oracles.hopfield import exact_energy, exact_lse
from tests.recall.problems import Problem, draw, problems
from triptych.errors import DataError, ShapeError, TriptychError
from triptych.recall.energy import (
    concave_part,
    convex_part,
    energy,
    energy_bounds,
    largest_norm,
    lse,
    lse_bounds,
)
from triptych.recall.kernels import log_mean_exp
from triptych.recall.separation import SPARSEMAX

BETAS = [1e-6, 1e-3, 0.3, 1.0, 40.0, 1e6]


def exact(problem: Problem) -> Tensor:
    rows = problem.patterns.double().tolist()
    return torch.tensor(
        [exact_energy(rows, q, problem.beta) for q in problem.state.double().tolist()], dtype=torch.float64
    )


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [1e-2, 1.0, 1e4])
def test_energy_equals_its_definition_in_eighty_digits(beta: float, dtype: torch.dtype, norm: float) -> None:
    drawn = draw(3, dtype=dtype)
    problem = Problem(norm / largest_norm(drawn.patterns) * drawn.patterns, norm * drawn.state, beta)
    found = energy(problem.patterns, problem.state, beta=beta)
    assert found.dtype == dtype
    assert (found.double() - exact(problem)).abs().max() <= problem.rounding()


@pytest.mark.parametrize("beta", BETAS)
def test_streamed_and_differentiable_energies_are_the_same(beta: float) -> None:
    problem = draw(4, count=300)
    with_gradient = energy(problem.patterns, problem.state.clone().requires_grad_(), beta=beta)
    streamed = energy(problem.patterns, problem.state, beta=beta)
    torch.testing.assert_close(with_gradient.detach(), streamed, rtol=1e-12, atol=1e-12)


def test_the_half_of_the_quadratic_term_is_kept() -> None:
    """A formula in circulation has q·q in its place; with it neither the bounds nor the fixed points would hold."""
    problem = draw(5)
    without_half = energy(problem.patterns, problem.state, beta=1.3) + problem.state.square().sum(1) / 2
    assert (without_half - exact(problem)).abs().min() > 0.1
    assert (energy(problem.patterns, problem.state, beta=1.3) - exact(problem)).abs().max() < 1e-12


@given(problems(low=1e-6, high=1e6))
@settings(deadline=None, max_examples=60)
def test_energy_is_the_sum_of_its_parts(problem: Problem) -> None:
    parts = convex_part(problem.patterns, problem.state) + concave_part(
        problem.patterns, problem.state, beta=problem.beta
    )
    assert torch.equal(parts, energy(problem.patterns, problem.state, beta=problem.beta))


@given(problems(low=1e-6, high=1e6), st.integers(0, 10**6), st.sampled_from([1e-4, 1.0, 1e4]))
@settings(deadline=None, max_examples=60)
def test_energy_lies_between_its_bounds_on_the_hull(problem: Problem, seed: int, scale: float) -> None:
    patterns = scale * problem.patterns
    mixture = torch.rand(6, len(patterns), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mixture = mixture.pow(8) / mixture.pow(8).sum(1, keepdim=True)  # some near a pattern, some in the middle
    inside = torch.cat([mixture @ patterns, patterns])
    bounds = energy_bounds(patterns)
    found = energy(patterns, inside, beta=problem.beta)
    slack = 64 * torch.finfo(torch.float64).eps * bounds.high
    assert (found >= bounds.low - slack).all()
    assert (found <= bounds.high + slack).all()


def test_the_upper_bound_is_the_best_possible_and_the_lower_one_is_reached() -> None:
    patterns = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], dtype=torch.float64)
    found = energy(patterns, patterns, beta=1e6)
    assert found.abs().max() < 1e-5
    single = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    assert energy(single, -single, beta=1.0).item() == pytest.approx(energy_bounds(single).high.item())


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20),
    st.floats(-6, 6),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None, max_examples=60)
def test_lse_lies_between_its_bounds_and_equals_eighty_digits(
    values: list[float], exponent: float, dtype: torch.dtype
) -> None:
    beta, scores = 10**exponent, torch.tensor([values], dtype=dtype)
    found, bounds = lse(scores, beta=beta), lse_bounds(scores, beta=beta)
    eps = torch.finfo(dtype).eps
    rounding = 8 * eps * (scores.abs().max() + math.log(len(values)) / beta)
    assert (found >= bounds.low).all()
    assert (found <= bounds.high + rounding).all()
    assert (found - exact_lse(scores[0].tolist(), beta)).abs().max() <= rounding + 1e-60


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20),
    st.floats(-6, 6),
    st.sampled_from([torch.float32, torch.float64]),
)
@example([1.2e-112], 0.0, torch.float64)
@example([5e-324, 1e-200], -6.0, torch.float64)
@settings(deadline=None, max_examples=60)
def test_log_mean_exp_loses_no_digits_for_small_beta(values: list[float], exponent: float, dtype: torch.dtype) -> None:
    beta, scores = 10**exponent, torch.tensor(values, dtype=dtype)
    expected = exact_lse(scores.tolist(), beta, mean=True)
    allowed = 32 * torch.finfo(dtype).eps * (1 + math.log(len(values))) * scores.abs().max().item()
    assert abs(log_mean_exp(scores, beta=beta).item() - expected) <= allowed + torch.finfo(dtype).tiny


def test_the_constant_log_n_is_in_the_energy() -> None:
    problem = draw(6)
    twice = torch.cat([problem.patterns, problem.patterns])
    torch.testing.assert_close(
        energy(twice, problem.state, beta=0.7), energy(problem.patterns, problem.state, beta=0.7)
    )


def test_gradients_of_the_energy_pass_the_float64_check() -> None:
    problem = draw(7)
    inputs = problem.patterns.requires_grad_(), problem.state.requires_grad_()
    for beta in (1e-3, 0.3, 5.0):
        assert torch.autograd.gradcheck(lambda x, q, b=beta: energy(x, q, beta=b), inputs)
        assert torch.autograd.gradgradcheck(lambda x, q, b=beta: energy(x, q, beta=b), inputs)


@given(problems(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_order_of_patterns_and_the_company_of_states_do_not_matter(problem: Problem, random: object) -> None:
    order = torch.randperm(len(problem.patterns), generator=torch.Generator().manual_seed(1))
    together = energy(problem.patterns, problem.state, beta=problem.beta)
    shuffled = energy(problem.patterns[order], problem.state, beta=problem.beta)
    alone = torch.cat([energy(problem.patterns, q.unsqueeze(0), beta=problem.beta) for q in problem.state])
    torch.testing.assert_close(shuffled, together, rtol=1e-9, atol=problem.rounding())
    torch.testing.assert_close(alone, together, rtol=1e-9, atol=problem.rounding())


def test_a_known_norm_takes_the_place_of_the_largest() -> None:
    problem = draw(8)
    plain, raised = (
        energy(problem.patterns, problem.state, beta=1.0, norm=norm) for norm in (None, torch.tensor(10.0).double())
    )
    expected = 50 - largest_norm(problem.patterns).square() / 2
    torch.testing.assert_close(raised - plain, expected.expand(4))


def test_another_separation_function_has_another_energy() -> None:
    problem = draw(9)
    plain, sparse = (
        energy(problem.patterns, problem.state, beta=1.0),
        energy(problem.patterns, problem.state, beta=1.0, separation=SPARSEMAX),
    )
    assert (plain - sparse).abs().min() > 1e-3


@pytest.mark.parametrize(
    ("patterns", "state", "field", "value"),
    [
        (torch.ones(3, 5), torch.ones(2, 4), "state", (2, 4)),
        (torch.ones(3, 5), torch.ones(5), "state", (5,)),
        (torch.ones(0, 5), torch.ones(2, 5), "patterns", (0, 5)),
        (torch.ones(3, 0), torch.ones(2, 0), "patterns", (3, 0)),
        (torch.ones(5), torch.ones(2, 5), "patterns", (5,)),
        (torch.ones(3, 5).long(), torch.ones(2, 5), "patterns", torch.int64),
        (torch.ones(3, 5), torch.ones(2, 5).double(), "state", torch.float64),
        (torch.ones(3, 5).numpy(), torch.ones(2, 5), "patterns", None),
        (torch.ones(3, 5), [[1.0] * 5], "state", None),
    ],
)
def test_arguments_that_do_not_fit_are_named(patterns: Any, state: Any, field: str, value: object) -> None:
    with pytest.raises(ShapeError) as raised:
        energy(patterns, state, beta=1.0)
    assert (raised.value.field, raised.value.value) == (field, value)


@pytest.mark.parametrize("beta", [1e-3, 1.0, 1e6])
def test_infinite_scores_have_their_limit(beta: float) -> None:
    infinite = torch.tensor([[math.inf, 1.0], [-math.inf, 1.0], [-math.inf, -math.inf], [math.inf, -math.inf]])
    expected = torch.tensor([math.inf, 1.0, -math.inf, math.inf])
    assert torch.equal(lse(infinite, beta=beta), expected)
    halved = expected - torch.tensor([0.0, math.log(2) / beta, 0.0, 0.0])
    torch.testing.assert_close(log_mean_exp(infinite, beta=beta), halved)


@pytest.mark.parametrize("beta", [0.0, -2.0, math.inf, math.nan, None, "1", True, torch.ones(2)])
def test_beta_must_be_positive_and_finite(beta: Any) -> None:
    for function in (
        lambda: energy(torch.ones(1, 1), torch.ones(1, 1), beta=beta),
        lambda: lse(torch.ones(2), beta=beta),
        lambda: lse_bounds(torch.ones(2), beta=beta),
    ):
        with pytest.raises(TriptychError) as raised:
            function()
        assert (raised.value.field, str(raised.value.value)) == ("beta", str(beta))


def test_values_that_are_not_numbers_are_found() -> None:
    patterns, state = torch.ones(3, 2), torch.ones(2, 2)
    bad = patterns.clone()
    bad[1, 1] = math.nan
    with pytest.raises(DataError) as raised:
        energy(bad, state, beta=1.0)
    assert (raised.value.field, raised.value.expected) == ("patterns", "finite numbers")
    check_message("recall.not-finite", raised.value)
    state[0, 1] = -math.inf
    with pytest.raises(DataError) as raised:
        energy(patterns, state, beta=1.0)
    assert (raised.value.field, raised.value.value) == ("state", -math.inf)
    with pytest.raises(TriptychError) as overflow:
        energy(torch.full((1, 1), 1e25), torch.full((1, 1), 1e25), beta=1.0)
    check_message("recall.overflow", overflow.value)
