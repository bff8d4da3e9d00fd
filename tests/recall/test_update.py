"""The update against plain floats and PyTorch's own attention (R4), with its energy in the same pass."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from tests.oracles.hopfield import softmax_update
from tests.recall.problems import Problem, draw, problems
from triptych.errors import DataError, ShapeError
from triptych.recall.energy import energy, largest_norm
from triptych.recall.separation import SPARSEMAX, Separation, Softmax, TopK
from triptych.recall.update import read_out, step, update


@given(problems(low=1e-6, high=1e6))
@settings(deadline=None, max_examples=60)
def test_update_equals_plain_floats(problem: Problem) -> None:
    rows = problem.patterns.tolist()
    expected = [softmax_update(rows, q, problem.beta) for q in problem.state.tolist()]
    found = update(problem.patterns, problem.state, beta=problem.beta)
    # Scores differ by rounding, and beta magnifies that.
    slack = 1e-13 * (1 + problem.beta) * (1 + problem.patterns.abs().max().item()) ** 3
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=slack)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_one_update_is_attention(dtype: torch.dtype, tolerance: float) -> None:
    problem = draw(1, count=700, width=16, rows=40, dtype=dtype)
    x, q = problem.patterns, problem.state
    found = update(x, q, beta=1 / math.sqrt(16))
    own = nn.functional.scaled_dot_product_attention(q[None], x[None], x[None])[0]
    torch.testing.assert_close(found, own, rtol=0, atol=tolerance)
    layer = nn.MultiheadAttention(16, 1, bias=False, batch_first=True).to(dtype)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(16).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(16))
        layered, weights = layer(q[None], x[None], x[None])
    torch.testing.assert_close(found, layered[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(weights[0] @ x, found, rtol=0, atol=tolerance)


@pytest.mark.parametrize("separation", [Softmax(), SPARSEMAX, TopK(3)])
@pytest.mark.parametrize("beta", [1e-6, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_is_the_update_and_the_energy_before_it(separation: Separation, beta: float, dtype: torch.dtype) -> None:
    problem = draw(2, count=500, width=8, dtype=dtype)
    found = step(problem.patterns, problem.state, beta=beta, separation=separation)
    torch.testing.assert_close(found.state, update(problem.patterns, problem.state, beta=beta, separation=separation))
    expected = energy(problem.patterns.double(), problem.state.double(), beta=beta, separation=separation)
    # The sparse weights of beta = 1e-6 are uniform to rounding, which the energy divides by beta.
    slack = problem.rounding(256) + (0 if separation == Softmax() else 2e-16 / beta)
    assert (found.energy.double() - expected).abs().max() <= slack
    raised = step(problem.patterns, problem.state, beta=beta, separation=separation, norm=torch.tensor(20.0).to(dtype))
    lift = 200 - largest_norm(problem.patterns).double().square() / 2
    torch.testing.assert_close((raised.energy - found.energy).double(), lift.expand(4), rtol=1e-3, atol=0)


def test_steps_have_gradients() -> None:
    problem = draw(3)
    inputs = problem.patterns.requires_grad_(), problem.state.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, q: update(x, q, beta=0.8), inputs)
    assert torch.autograd.gradcheck(lambda x, q: update(x, q, beta=0.8, separation=SPARSEMAX), inputs)
    values = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, v, q: read_out(x, v, q, beta=0.8), (inputs[0], values, inputs[1]))
    assert torch.autograd.gradcheck(lambda x, q: step(x, q, beta=0.8).energy, inputs)
    assert torch.autograd.gradcheck(lambda x, q: step(x, q, beta=0.8).state, inputs)


@pytest.mark.parametrize("separation", [Softmax(), SPARSEMAX])
def test_values_may_differ_from_patterns_in_content_and_width(separation: Separation) -> None:
    problem = draw(4)
    values = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = separation.weights(0.9 * problem.state @ problem.patterns.T)
    found = read_out(problem.patterns, values, problem.state, beta=0.9, separation=separation)
    torch.testing.assert_close(found, weights @ values)
    with pytest.raises(ShapeError) as raised:
        read_out(problem.patterns, values[:6], problem.state, beta=0.9)
    assert (raised.value.field, raised.value.value) == ("values", (6, 3))
    values[2, 1] = math.nan
    with pytest.raises(DataError) as bad:
        read_out(problem.patterns, values, problem.state, beta=0.9)
    assert bad.value.field == "values"


def test_a_pattern_far_from_the_others_is_reached_in_one_update_at_large_beta_and_norm() -> None:
    patterns = 1e4 * torch.nn.functional.normalize(draw(5, count=40, width=30, dtype=torch.float32).patterns)
    found = update(patterns, 0.9 * patterns, beta=1e6)
    assert torch.equal(found, patterns)
    mean = update(patterns, patterns, beta=1e-30)
    torch.testing.assert_close(mean, patterns.mean(0).expand(40, 30), rtol=1e-4, atol=1e-2)


def test_no_states_give_no_states() -> None:
    assert update(torch.ones(3, 8), torch.ones(0, 8), beta=1.0).shape == (0, 8)
    assert step(torch.ones(3, 8), torch.ones(0, 8), beta=1.0, separation=SPARSEMAX).energy.shape == (0,)
