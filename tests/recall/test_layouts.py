"""Answers do not depend on how a tensor lies in memory: every layout against a plain formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.memory.memory import Memory
from triptych.recall import kernels
from triptych.recall.energy import energy
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import SOFTMAX
from triptych.recall.temperature import noisy_cues, tune_beta
from triptych.recall.update import read_out, step, update

BETA = 1.5


def _transposed(rows: Tensor) -> Tensor:
    return rows.T.contiguous().T


def _every_second_column(rows: Tensor) -> Tensor:
    wide = torch.full((len(rows), 2 * rows.shape[1]), math.nan, dtype=rows.dtype, device=rows.device)
    wide[:, ::2] = rows
    return wide[:, ::2]


def _fortran(rows: Tensor) -> Tensor:
    return torch.from_numpy(np.asfortranarray(rows.cpu().numpy())).to(rows.device)


def _every_second_row(rows: Tensor) -> Tensor:
    tall = torch.full((2 * len(rows), rows.shape[1]), math.nan, dtype=rows.dtype, device=rows.device)
    tall[::2] = rows
    return tall[::2]


def _expanded_rows(rows: Tensor) -> Tensor:
    return rows[:1].expand(len(rows), -1)


def _expanded_columns(rows: Tensor) -> Tensor:
    return rows[:, :1].expand(-1, rows.shape[1])


def _of_a_complex_one(rows: Tensor) -> Tensor:
    return torch.complex(torch.zeros_like(rows), -rows).conj().imag  # a negative view with steps of two


def _from_the_second_column(rows: Tensor) -> Tensor:
    wide = torch.full((len(rows), rows.shape[1] + 3), math.nan, dtype=rows.dtype, device=rows.device)
    wide[:, 1:-2] = rows
    return wide[:, 1:-2]


LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    _transposed,
    _every_second_column,
    _fortran,
    _every_second_row,
    _expanded_rows,
    _expanded_columns,
    _from_the_second_column,
    _of_a_complex_one,
]


def _drawn(seed: int, count: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _close(found: Tensor, expected: Tensor) -> None:
    tolerance = 1e-4 if found.dtype == torch.float32 else 1e-11
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def _energy(x: Tensor, q: Tensor) -> Tensor:
    free = torch.logsumexp(BETA * q @ x.T, 1) / BETA - math.log(len(x)) / BETA
    return 0.5 * q.square().sum(1) + 0.5 * x.square().sum(1).max() - free


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", range(1, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_changes_an_answer(layout: Callable[[Tensor], Tensor], rows: int, dtype: torch.dtype) -> None:
    for width in (1, 5, 16):
        stored, cue, values = (_drawn(seed, n, width, dtype) for seed, n in ((1, 70), (2, rows), (3, 70)))
        for changed in range(3):
            x, q, v = (layout(t) if place == changed else t for place, t in enumerate((stored, cue, values)))
            exact_x, exact_q, exact_v = x.double(), q.double(), v.double()
            weights = (BETA * exact_q @ exact_x.T).softmax(1)
            _close(update(x, q, beta=BETA), weights @ exact_x)
            _close(read_out(x, v, q, beta=BETA), weights @ exact_v)
            _close(energy(x, q, beta=BETA), _energy(exact_x, exact_q))
            taken = step(x, q, beta=BETA)
            _close(taken.state, weights @ exact_x)
            _close(taken.energy, _energy(exact_x, exact_q))
            followed = retrieve(x, q, beta=BETA, max_steps=3, tolerance=0, extras=("energies", "trajectory"))
            expected, energies = exact_q, [_energy(exact_x, exact_q)]
            for _ in range(3):
                expected = (BETA * expected @ exact_x.T).softmax(1) @ exact_x
                energies.append(_energy(exact_x, expected))
            _close(followed.state, expected)
            assert followed.energies is not None
            reached = len(followed.energies)  # fewer where rows rest exactly
            _close(followed.energies, torch.stack(energies)[:reached])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_do_not_depend_on_the_layout(layout: Callable[[Tensor], Tensor]) -> None:
    stored, cue = _drawn(4, 30, 8, torch.float64), _drawn(5, 6, 8, torch.float64)
    x, q = layout(stored).detach().requires_grad_(), layout(cue).detach().requires_grad_()
    plain_x, plain_q = x.detach().contiguous().requires_grad_(), q.detach().contiguous().requires_grad_()
    found = torch.autograd.grad(update(x, q, beta=BETA).square().sum(), (x, q))
    formula = (BETA * plain_q @ plain_x.T).softmax(1) @ plain_x
    torch.testing.assert_close(found, torch.autograd.grad(formula.square().sum(), (plain_x, plain_q)))


@pytest.mark.parametrize("layout", LAYOUTS[:4])
def test_a_chosen_temperature_does_not_depend_on_the_layout(layout: Callable[[Tensor], Tensor]) -> None:
    stored = _drawn(6, 60, 16, torch.float32)
    cue, target = noisy_cues(stored, noise=0.5, n_cues=20, seed=0)
    expected = tune_beta(stored, cue, target)
    assert tune_beta(layout(stored), cue, target).beta == expected.beta
    assert tune_beta(stored, layout(cue), target).error == pytest.approx(expected.error)


@pytest.mark.parametrize("normalisation", ["unit", "centred-unit", "none"])
@pytest.mark.parametrize("layout", LAYOUTS[:4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_memory_gives_the_same_answers_for_every_layout(
    layout: Callable[[Tensor], Tensor], normalisation: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    stored, values = _drawn(7, 40, 12, dtype), _drawn(8, 40, 12, dtype)
    cue = stored[:7] + 0.1 * _drawn(9, 7, 12, dtype)
    kinds: dict[str, object] = {"normalisation": normalisation}
    plain = Memory(stored, values=values, beta=20.0, **kinds).retrieve(cue)  # type: ignore[arg-type]
    assert normalisation == "none" or plain.confidence.nearest.tolist() == list(range(7))
    for x, v, q in (
        (layout(stored), values, cue),
        (stored, layout(values), cue),
        (stored, values, layout(cue)),
    ):
        memory = Memory(x, values=v, beta=20.0, **kinds)  # type: ignore[arg-type]
        memory.save(tmp_path / f"{normalisation}-{x.stride()}-{v.stride()}-{q.stride()}")
        for found in (memory.retrieve(q), Memory(x, values=v, beta=20.0, **kinds).retrieve(q)):  # type: ignore[arg-type]
            torch.testing.assert_close(found.value, plain.value)
            assert torch.equal(found.confidence.nearest, plain.confidence.nearest)
            torch.testing.assert_close(found.confidence.energy, plain.confidence.energy)


@pytest.mark.parametrize("layout", LAYOUTS[:4])
def test_a_memory_of_any_layout_is_exported(layout: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from triptych.export.memory import export_memory
    from triptych.runtime import load

    stored = _drawn(10, 64, 16, torch.float32)
    exported = export_memory(layout(stored), tmp_path / "exported", beta=2.0)
    cue = _drawn(11, 6, 16, torch.float32)
    found = load(exported.path).update(cue.numpy())
    expected = (2.0 * cue.double() @ stored.double().T).softmax(1) @ stored.double()
    _close(torch.from_numpy(found), expected)


def test_a_memory_keeps_patterns_of_its_own() -> None:
    stored, values = _drawn(12, 20, 6, torch.float32), _drawn(13, 20, 6, torch.float32)
    kept, cue = stored.clone(), stored[:6].clone()
    memory = Memory(stored, values=values, beta=200.0, normalisation="none")
    before = memory.retrieve(cue).value
    stored.zero_()
    values.zero_()
    assert torch.equal(memory.keys(), kept)
    assert torch.equal(memory.retrieve(cue).value, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("layout", LAYOUTS[:-1])
def test_no_layout_changes_an_answer_on_a_gpu(layout: Callable[[Tensor], Tensor]) -> None:
    stored, cue, values = (_drawn(seed, n, 16, torch.float32).cuda() for seed, n in ((1, 70), (2, 9), (3, 70)))
    assert kernels._fused_kernel("cuda", torch.float32, True) is kernels._fused_on_cuda
    for changed in range(3):
        x, q, v = (layout(t) if place == changed else t for place, t in enumerate((stored, cue, values)))
        weights = (BETA * q.double() @ x.double().T).softmax(1)
        _close(kernels.average(x, q, beta=BETA, separation=SOFTMAX, values=v), weights @ v.double())
        _close(step(x, q, beta=BETA).energy, _energy(x.double(), q.double()))
        _close(retrieve(x, q, beta=BETA, max_steps=1).state, weights @ x.double())
