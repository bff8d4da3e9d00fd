"""Retrieval: the update repeated, with energies that fall, rows that stop by themselves, and partial cues."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from tests.oracles.hopfield import softmax_update
from tests.recall.problems import Problem, draw, problems
from triptych.errors import DataError, ShapeError, TriptychError
from triptych.recall import kernels as passes
from triptych.recall.derivatives import energy_gradient
from triptych.recall.energy import energy
from triptych.recall.retrieval import Retrieval, retrieve
from triptych.recall.separation import SPARSEMAX
from triptych.recall.update import update


def everything(problem: Problem, *, max_steps: int = 100, known: Tensor | None = None) -> Retrieval:
    return retrieve(
        problem.patterns,
        problem.state,
        beta=problem.beta,
        max_steps=max_steps,
        known_valid=known,
        extras=("attention", "trajectory", "energies"),
    )


def traced(found: Retrieval) -> tuple[Tensor, Tensor, Tensor]:
    assert found.trajectory is not None
    assert found.energies is not None
    assert found.attention is not None
    return found.trajectory, found.energies, found.attention


@given(problems(low=1e-6, high=1e6))
@settings(deadline=None, max_examples=40)
def test_the_energy_never_rises(problem: Problem) -> None:
    trajectory, energies, _ = traced(everything(problem))
    assert (energies.diff(dim=0) <= problem.rounding()).all()
    again = torch.stack([energy(problem.patterns, state, beta=problem.beta) for state in trajectory])
    torch.testing.assert_close(energies, again, rtol=0, atol=problem.rounding())


@given(problems(low=1e-6, high=1e6, dtype=torch.float32), st.sampled_from([1e-3, 1.0, 1e4]))
@settings(deadline=None, max_examples=40)
def test_nor_in_float32_at_any_scale(problem: Problem, scale: float) -> None:
    scaled = Problem(scale * problem.patterns, scale * problem.state, problem.beta)
    found = everything(scaled, max_steps=20)
    trajectory, energies, _ = traced(found)
    assert torch.isfinite(trajectory).all()
    assert (energies.diff(dim=0) <= scaled.rounding()).all()


@given(problems(low=1e-2, high=1e2))
@settings(deadline=None, max_examples=40)
def test_the_trajectory_is_the_update_repeated(problem: Problem) -> None:
    found = everything(problem, max_steps=15)
    trajectory, _, attention = traced(found)
    assert torch.equal(trajectory[0], problem.state)
    assert len(trajectory) == found.steps.max() + 1
    for row in range(len(problem.state)):
        steps = int(found.steps[row])
        for t in range(steps):
            expected = softmax_update(problem.patterns.tolist(), trajectory[t, row].tolist(), problem.beta)
            torch.testing.assert_close(
                trajectory[t + 1, row], torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-8
            )
        assert (trajectory[steps:, row] == found.state[row]).all()
    torch.testing.assert_close(attention @ problem.patterns, found.state, rtol=1e-9, atol=1e-9)


@given(problems(low=1e-2, high=1e2))
@settings(deadline=None, max_examples=40)
def test_fixed_points_are_fixed_and_have_no_gradient(problem: Problem) -> None:
    first = retrieve(problem.patterns, problem.state, beta=problem.beta, tolerance=1e-10, max_steps=5000)
    rests = first.state[first.converged]
    if not len(rests):
        return
    again = retrieve(problem.patterns, rests, beta=problem.beta, tolerance=1e-8)
    assert again.steps.tolist() == [1] * len(rests)
    torch.testing.assert_close(again.state, rests, rtol=1e-7, atol=1e-7)
    assert energy_gradient(problem.patterns, rests, beta=problem.beta).abs().max() < 1e-8


@given(problems(low=1e-2, high=1e2), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_company_and_order_do_not_matter(problem: Problem, seed: int) -> None:
    together = everything(problem, max_steps=30)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(problem.patterns), generator=generator)
    shuffled = everything(Problem(problem.patterns[order], problem.state, problem.beta), max_steps=30)
    alone = [
        everything(Problem(problem.patterns, row.unsqueeze(0), problem.beta), max_steps=30) for row in problem.state
    ]
    # A row near the tolerance may take a step more or less when sums are taken in another order.
    same = (shuffled.steps - together.steps).abs() <= 1
    assert same.all()
    torch.testing.assert_close(shuffled.state, together.state, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cat([one.state for one in alone]), together.state, rtol=1e-3, atol=1e-3)
    assert (torch.cat([one.steps for one in alone]) - together.steps).abs().max() <= 1
    assert together.attention is not None
    assert shuffled.attention is not None
    torch.testing.assert_close(shuffled.attention, together.attention[:, order], rtol=1e-3, atol=1e-3)


def test_rows_that_rest_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    sound = passes.average

    def counting(keys: Tensor, queries: Tensor, **settings: object) -> Tensor:
        sizes.append(len(queries))
        return sound(keys, queries, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("triptych.recall.retrieval.average", counting)
    problem = draw(1, count=30, width=4, rows=50, beta=1.5)
    found = retrieve(problem.patterns, problem.state, beta=1.5)
    assert sizes == [int((found.steps >= t).sum()) for t in range(1, int(found.steps.max()) + 1)]
    assert sizes[-1] < 50
    assert found.converged.all()


def test_a_single_update_is_the_update() -> None:
    problem = draw(2)
    found = retrieve(problem.patterns, problem.state, beta=0.9, max_steps=1)
    torch.testing.assert_close(found.state, update(problem.patterns, problem.state, beta=0.9))
    assert found.steps.tolist() == [1] * 4
    assert not found.converged.any()
    assert (found.attention, found.trajectory, found.energies) == (None, None, None)


def test_the_cue_is_not_changed_and_no_gradient_flows() -> None:
    problem = draw(3)
    cue = problem.state.clone().requires_grad_()
    found = everything(Problem(problem.patterns, cue, 1.0))
    assert torch.equal(cue, problem.state)
    assert not found.state.requires_grad


def test_tolerance_is_relative_and_decay_to_zero_ends() -> None:
    problem = draw(4, count=20, width=4, rows=30, beta=1.5)
    steps = [
        retrieve(scale * problem.patterns, scale * problem.state, beta=1.5 / scale**2, tolerance=tolerance).steps
        for scale, tolerance in ((1.0, 1e-5), (64.0, 1e-5), (1.0, 1e-2))
    ]
    assert torch.equal(steps[0], steps[1])
    assert (steps[2] < steps[0]).any()
    assert (steps[2] <= steps[0]).all()
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    to_zero = retrieve(opposite, torch.tensor([[0.5, 0.5]]), beta=0.5, tolerance=1e-2)  # halves at each step
    assert to_zero.converged.all()
    assert to_zero.steps.item() < 10
    assert to_zero.state.abs().max() < 1e-2
    exactly_zero = retrieve(opposite, torch.zeros(1, 2), beta=3.0)
    assert exactly_zero.steps.tolist() == [1]


def test_noisy_cues_find_their_patterns() -> None:
    patterns = torch.nn.functional.normalize(draw(5, count=500, width=64, dtype=torch.float32).patterns)
    noise = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    found = retrieve(patterns, patterns + 0.05 * noise, beta=30.0, extras=("attention",))
    assert found.attention is not None
    assert torch.equal(found.attention.argmax(1), torch.arange(500))
    assert (torch.nn.functional.cosine_similarity(found.state, patterns) > 0.99).all()


@given(problems(low=1e-2, high=1e2), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_the_energy_of_known_coordinates_never_rises(problem: Problem, seed: int) -> None:
    known = torch.rand(problem.state.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    found = everything(problem, max_steps=25, known=known)
    trajectory, energies, attention = traced(found)
    assert (energies.diff(dim=0) <= problem.rounding()).all()
    torch.testing.assert_close(attention @ problem.patterns, found.state, rtol=1e-9, atol=1e-9)
    for row, mask in enumerate(known):
        cut = problem.patterns[:, mask]
        if mask.any():
            expected = energy(cut, trajectory[:, row][:, mask], beta=problem.beta)
            torch.testing.assert_close(energies[:, row], expected, rtol=0, atol=problem.rounding())
            plain = retrieve(cut, problem.state[row : row + 1, mask], beta=problem.beta, max_steps=25)
            torch.testing.assert_close(found.state[row : row + 1, mask], plain.state, rtol=1e-7, atol=1e-7)
        else:
            torch.testing.assert_close(found.state[row], problem.patterns.mean(0))


@given(problems(low=1e-2, high=1e2))
@settings(deadline=None, max_examples=30)
def test_with_everything_known_it_is_plain_retrieval(problem: Problem) -> None:
    plain, known = everything(problem), everything(problem, known=torch.ones_like(problem.state, dtype=torch.bool))
    assert torch.equal(plain.state, known.state)
    assert torch.equal(plain.steps, known.steps)
    torch.testing.assert_close(traced(plain)[1], traced(known)[1], rtol=0, atol=problem.rounding())


@pytest.mark.parametrize("filler", [0.0, 1e6, math.nan, -math.inf])
def test_what_the_cue_holds_at_unknown_coordinates_is_not_looked_at(filler: float) -> None:
    problem = draw(6, count=30, width=12)
    known = torch.rand(problem.state.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    found, expected = (
        everything(Problem(problem.patterns, torch.where(known, problem.state, value), 1.0), known=known)
        for value in (filler, 0.0)
    )
    assert torch.equal(found.state, expected.state)
    assert torch.equal(traced(found)[0], traced(expected)[0])


def test_half_of_a_pattern_brings_back_the_other_half() -> None:
    patterns = draw(7, count=100, width=60).patterns
    known = (torch.arange(60) < 30).expand(100, 60)
    found = retrieve(patterns, patterns, beta=3.0, known_valid=known, separation=SPARSEMAX)
    assert torch.equal(found.state, patterns)


def test_no_cues_and_one_pattern() -> None:
    found = retrieve(torch.ones(3, 2), torch.ones(0, 2), beta=1.0, extras=("attention", "trajectory", "energies"))
    trajectory, energies, attention = traced(found)
    assert (found.state.shape, attention.shape, trajectory.shape, energies.shape) == ((0, 2), (0, 3), (1, 0, 2), (1, 0))
    single = retrieve(torch.tensor([[1.0, 2.0]]), torch.tensor([[-5.0, 3.0]]), beta=1.0)
    assert single.state.tolist() == [[1.0, 2.0]]
    assert single.steps.tolist() == [2]


MASK = torch.ones(1, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "error", "field", "value"),
    [
        (lambda x, q: retrieve(x, q, beta=0.0), TriptychError, "beta", 0.0),
        (lambda x, q: retrieve(x, q, beta=1.0, max_steps=0), TriptychError, "max_steps", 0),
        (lambda x, q: retrieve(x, q, beta=1.0, max_steps=2.5), TriptychError, "max_steps", 2.5),  # type: ignore[arg-type]
        (lambda x, q: retrieve(x, q, beta=1.0, tolerance=-1), TriptychError, "tolerance", -1),
        (lambda x, q: retrieve(x, q, beta=1.0, extras=["energy"]), TriptychError, "extras", "energy"),  # type: ignore[list-item]
        (lambda x, q: retrieve(x, q[:, :2], beta=1.0), ShapeError, "cue", (2, 2)),
        (lambda x, q: retrieve(x[:0], q, beta=1.0), ShapeError, "patterns", (0, 3)),
        (lambda x, q: retrieve(x, q * math.inf, beta=1.0), DataError, "cue", math.inf),
        (lambda x, q: retrieve(x * math.inf, q, beta=1.0), DataError, "patterns", math.inf),
        (lambda x, q: retrieve(x, q, beta=1.0, known_valid=torch.ones(2, 3)), ShapeError, "known_valid", (2, 3)),
        (lambda x, q: retrieve(x, q, beta=1.0, known_valid=MASK), ShapeError, "known_valid", (1, 3)),
    ],
)
def test_wrong_arguments_are_refused(
    call: Callable[[Tensor, Tensor], Retrieval], error: type[TriptychError], field: str, value: object
) -> None:
    with pytest.raises(error) as raised:
        call(torch.ones(4, 3), torch.ones(2, 3))
    assert (raised.value.field, raised.value.value) == (field, value)


def test_energies_that_overflow_are_refused() -> None:
    """In float16 the squares of norm 300 are infinite, although every state is finite."""
    x = torch.full((6, 4), 150.0, dtype=torch.float16)
    with pytest.raises(TriptychError) as raised:
        retrieve(x, x[:5], beta=1e-3, extras=("energies",))
    assert "torch.float16" in str(raised.value)
