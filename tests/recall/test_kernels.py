"""One pass over the patterns: fused kernels and blocks give the plain formula, in bounded memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.recall.problems import draw
from triptych.recall import kernels as passes
from triptych.recall.separation import SPARSEMAX, Softmax

SHAPES = [(1, 1, 1), (1, 5, 3), (600, 5, 8), (1500, 33, 7), (64, 1, 16), (513, 1, 64)]


@pytest.mark.parametrize(("count", "rows", "width"), SHAPES)
@pytest.mark.parametrize("beta", [0.1, 20.0])
def test_blocks_fused_kernel_and_all_at_once_equal_the_plain_formula(
    count: int, rows: int, width: int, beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "SCORES_AT_ONCE", 700)
    monkeypatch.setattr(passes, "_ROWS_AT_ONCE", 10)
    problem = draw(count + rows, count=count, rows=rows, width=width)
    x, q = problem.patterns, problem.state
    scores = beta * q @ x.T
    expected = scores.softmax(1) @ x, scores.logsumexp(1)
    blocked = passes._in_blocks_of_patterns(x, x, q, beta)
    fused = passes._fused_on_cpu(x, x, q, beta)
    at_once = passes._all_at_once(x, x, q, beta)
    for found in (blocked, fused, at_once):
        torch.testing.assert_close(found[0], expected[0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=1e-12)
    nothing, alone = passes._in_blocks_of_patterns(x, None, q, beta)
    assert nothing.shape == (rows, 0)
    assert torch.equal(alone, blocked[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fused_kernel_is_found_on_this_machine(dtype: torch.dtype) -> None:
    assert passes._fused_kernel("cpu", dtype, True) is passes._fused_on_cpu
    assert passes._fused_kernel("cpu", dtype, False) is passes._fused_on_cpu
    assert passes._fused_kernel("meta", dtype, True) is None


@pytest.mark.parametrize("fault", ["missing", "wrong average", "wrong sum", "wrong shape"])
def test_a_kernel_that_is_missing_or_wrong_is_not_used(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = passes._fused_on_cpu

    def faulty(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        averaged, log_sum = sound(keys, values, queries, beta)
        if fault == "missing":
            raise AttributeError("no such operator")
        if fault == "wrong average":
            averaged = averaged + 1e-3
        return averaged, log_sum + 1e-3 if fault == "wrong sum" else log_sum[
            None
        ] if fault == "wrong shape" else log_sum

    monkeypatch.setattr(passes, "_fused_on_cpu", faulty)
    passes._fused_kernel.cache_clear()
    try:
        assert passes._fused_kernel("cpu", torch.float32, True) is None
        problem = draw(3, count=50, width=8, rows=9)
        found = passes.average(problem.patterns, problem.state, beta=0.5, separation=Softmax())
        expected = (0.5 * problem.state @ problem.patterns.T).softmax(1) @ problem.patterns
        torch.testing.assert_close(found, expected)
    finally:
        passes._fused_kernel.cache_clear()


@pytest.mark.parametrize("beta", [1e-6, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_potentials_are_accurate_however_small_beta_is(
    beta: float, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "SCORES_AT_ONCE", 300)
    problem = draw(4, count=400, width=8, rows=6, dtype=torch.float32)
    x, q = scale * problem.patterns, problem.state * torch.tensor([0.0, 1e-4, 1.0, 1.0, 10.0, 1.0]).unsqueeze(1)
    norm = x.norm(dim=1).max()
    expected = passes.log_mean_exp(q.double() @ x.double().T, beta=beta)
    _, together = passes.average_and_potential(x, q, beta=beta, separation=Softmax(), norm=norm)
    alone = passes.potential_alone(x, q, beta=beta, separation=Softmax(), norm=norm)
    allowed = 32 * torch.finfo(torch.float32).eps * (q.double().square().sum(1) + norm.double().square())
    for found in (together, alone):
        assert ((found.double() - expected).abs() <= allowed).all()


def test_scores_are_never_all_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SCORES_AT_ONCE", 1000)
    monkeypatch.setattr(passes, "_ROWS_AT_ONCE", 16)
    seen: list[int] = []
    problem = draw(5, count=900, rows=50, width=4)

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                seen.append(result.numel())
            return result

    with Watching():
        passes._in_blocks_of_patterns(problem.patterns, problem.patterns, problem.state, 1.0)
        passes.flat_potential([problem.patterns], problem.state, 1e-3)
        passes._in_blocks_of_states(
            problem.patterns, problem.patterns, problem.state, 1.0, SPARSEMAX, with_potential=True
        )
    assert max(seen) <= max(1000, problem.patterns.numel())
    assert max(seen) < 900 * 50 / 4


def test_blocks_cover_everything_once() -> None:
    assert [list(range(10))[piece] for piece in passes.blocks(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(passes.blocks(0, 4)) == []


def test_nan_in_a_pattern_reaches_every_result() -> None:
    problem = draw(6, count=2000, width=8, dtype=torch.float32)
    bad = problem.patterns.clone()
    bad[700, 3] = math.nan
    for found in (
        passes.average(bad, problem.state, beta=1.0, separation=Softmax()),
        passes._in_blocks_of_patterns(bad, bad, problem.state, 1.0)[0],
        passes.potential_alone(bad, problem.state, beta=1.0, separation=Softmax(), norm=torch.tensor(1.0)),
    ):
        assert found.isnan().flatten(1).any(1).all() if found.ndim > 1 else found.isnan().all()
