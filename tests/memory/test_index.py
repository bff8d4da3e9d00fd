"""The index recalls what exact retrieval does, and its bound on what is left out holds."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.messages import check_message
from triptych.errors import DataError, MissingExtraError, TriptychError
from triptych.memory.index import Index, Kind
from triptych.memory.memory import Memory
from triptych.memory.normalisation import Normalisation

KINDS: list[Kind] = ["flat", "ivf", "ivf-pq", "hnsw"]


def problem(count: int = 2000, width: int = 16, *, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Clustered patterns, and cues near some of them."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, width, generator=generator)
    x = centres[torch.arange(count) % 20] + 0.5 * torch.randn(count, width, generator=generator)
    return x, x[:150] + noise * torch.randn(min(count, 150), width, generator=generator)


@pytest.mark.parametrize("normalisation", ["unit", "none"])
@pytest.mark.parametrize("beta", [2.0, 20.0, 300.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_holds_whatever_the_index_misses(kind: Kind, beta: float, normalisation: Normalisation) -> None:
    x, cue = problem()
    memory = Memory(x, beta=beta, normalisation=normalisation)
    index = Index(memory, kind=kind, lists=40, effort=1 if kind != "hnsw" else 4)
    bound = index.retrieve(cue, k=10, max_steps=1).left_out
    mass = index.retrieve(cue, k=10, max_steps=1, verify=True).left_out
    weights = torch.softmax(beta * (memory.scaled(cue).double() @ memory.keys().double().T), 1)
    best = weights.topk(10).values.sum(1)
    assert (mass >= 1 - best - 1e-6).all(), "no ten candidates leave less out"
    assert (mass <= bound + 1e-6).all()
    if kind == "flat":
        torch.testing.assert_close(mass, (1 - best).float(), rtol=1e-3, atol=1e-5)


def test_the_bound_holds_for_an_index_that_misses_much() -> None:
    x, cue = problem(noise=2.0)
    memory = Memory(x, beta=30.0)
    index = Index(memory, kind="ivf", lists=200, effort=1)
    bound = index.retrieve(cue, k=10, max_steps=1).left_out
    mass = index.retrieve(cue, k=10, max_steps=1, verify=True).left_out
    weights = torch.softmax(30 * (memory.scaled(cue).double() @ memory.keys().double().T), 1)
    assert (mass > 1 - weights.topk(10).values.sum(1) + 1e-3).any(), "it did miss some of the best ten"
    assert (mass <= bound + 1e-6).all()


def test_the_bound_is_tight_where_lists_are_compact() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.eye(8)[:1] * torch.tensor([1.0, -1.0]).repeat(200).unsqueeze(1)
    x = x + 0.002 * torch.randn(400, 8, generator=generator)
    found = Index(Memory(x, beta=40.0), kind="ivf", lists=2, effort=1).retrieve(x[:8], k=200)
    assert found.left_out.max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_candidates_it_is_exact_retrieval(kind: Kind) -> None:
    x, cue = problem(300)
    memory = Memory(x, labels=range(300), values=x[:, :3], beta=10.0, precision="int8")
    index = Index(memory, kind=kind, lists=10, effort={"flat": 1, "hnsw": 300}.get(kind, 10))
    found, exact = index.retrieve(cue, k=300), memory.retrieve(cue)
    torch.testing.assert_close(found.state, exact.state, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.value, exact.value, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.nearest, exact.confidence.nearest)
    assert found.label == exact.confidence.label
    torch.testing.assert_close(found.distance, exact.confidence.distance, rtol=1e-3, atol=1e-3)
    assert found.steps.unique().shape[0] > 1, "rows that stop early keep their own candidates"  # type: ignore[no-untyped-call]
    assert index.retrieve(cue[:0]).value.shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_tuning_reaches_the_agreement_or_says_how_far_it_came(kind: Kind) -> None:
    x, cue = problem()
    memory = Memory(x, beta=300.0)
    memory.remove([3, 4])
    index = Index(memory, kind=kind, lists=40)
    found = index.tune(cue[5:], agreement=0.99)
    exact = memory.retrieve(cue[5:]).confidence.nearest
    share = (index.retrieve(cue[5:]).nearest == exact).double().mean().item()
    assert found.agreement == share >= 0.99
    assert found.effort == index.effort
    if kind in ("ivf", "ivf-pq"):
        assert found.effort < 40
        index.set_effort(1)
        assert index.effort == 1


@pytest.mark.parametrize("width", [3, 7, 16])
def test_codes_take_any_width(width: int) -> None:
    x, cue = problem(500, width)
    memory = Memory(x, beta=5.0)
    index = Index(memory, kind="ivf-pq", lists=5, effort=5)
    found, exact = index.retrieve(cue, k=500), memory.retrieve(cue)
    torch.testing.assert_close(found.state, exact.state, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.nearest, exact.confidence.nearest)
    bound, mass = (index.retrieve(cue, k=3, max_steps=1, verify=verify).left_out for verify in (False, True))
    assert (mass <= bound + 1e-6).all()


def test_candidates_of_codes_are_ranked_by_the_patterns() -> None:
    x, cue = problem(noise=0.5)
    memory = Memory(x, beta=300.0)
    index = Index(memory, kind="ivf-pq", lists=4, effort=4)
    best = (memory.scaled(cue) @ memory.keys().T).argmax(1)
    few, many = ((index.retrieve(cue, k=k, max_steps=1).nearest == best).double().mean() for k in (1, 40))
    assert few < 0.9, "codes alone do not tell patterns of a cluster apart"
    assert many > 0.97


def test_tuning_keeps_less_than_twice_the_least_effort() -> None:
    x, cue = problem(noise=1.5)
    memory = Memory(x, beta=300.0)
    index = Index(memory, kind="ivf", lists=200)
    found = index.tune(cue, agreement=0.95)
    assert found.agreement >= 0.95
    assert found.effort == index.effort > 8
    index.set_effort(found.effort // 2)
    exact = memory.retrieve(cue).confidence.nearest
    assert (index.retrieve(cue).nearest == exact).double().mean() < 0.95


def test_a_changed_memory_needs_a_new_index() -> None:
    x, cue = problem(100)
    for grows in (True, False):
        memory = Memory(x, beta=1.0)
        index = Index(memory, kind="flat")
        if grows:
            memory.add(x[:1])
        else:
            memory.remove([0])
        with pytest.raises(DataError) as caught:
            index.retrieve(cue)
        check_message("memory.index-of-a-changed-memory", caught.value)
        assert Index(memory, kind="flat").retrieve(cue).state.shape == cue.shape


@pytest.mark.parametrize("kind", KINDS)
def test_equal_patterns_agree_whichever_of_them_is_found(kind: Kind) -> None:
    """Two copies of every pattern: the index may find the other copy, which recalls the same."""
    x, cue = problem(500)
    memory = Memory(torch.cat([x, x]), beta=50.0)
    index = Index(memory, kind=kind, lists=10)
    found = index.tune(cue)
    assert found.agreement >= 0.99
    assert found.effort <= {"flat": 1, "hnsw": 64}.get(kind, 5)
    if kind == "flat":
        assert (index.retrieve(cue).nearest < 500).all(), "of equal candidates the lowest id"


def test_saving_a_memory_keeps_its_index(tmp_path: Path) -> None:
    """Saving joins shards and drops removed rows, which moves rows; the patterns and their order stay the same."""
    x, cue = problem(300)
    memory = Memory(x[:200], beta=50.0)
    memory.save(tmp_path / "store")
    memory.add(x[200:])
    memory.remove(range(0, 40, 2))
    index = Index(memory, kind="flat")
    before = index.retrieve(cue)
    memory.save()
    assert len(memory.shards) == 1
    after = index.retrieve(cue)
    assert torch.equal(after.nearest, before.nearest)
    torch.testing.assert_close(after.value, before.value)
    torch.testing.assert_close(after.state, memory.retrieve(cue).state, rtol=1e-3, atol=1e-3)
    memory.reload()
    with pytest.raises(DataError):
        index.retrieve(cue)  # what was read again may be other patterns


def test_wrong_arguments_are_refused() -> None:
    x, cue = problem(100)
    memory = Memory(x, beta=1.0)
    index = Index(memory, kind="ivf", lists=4)
    wrong: list[tuple[Callable[[], object], str, object]] = [
        (lambda: Index(memory, kind="ivff"), "kind", "ivff"),  # type: ignore[arg-type]
        (lambda: Index(memory, lists=101), "lists", 101),
        (lambda: Index(memory, lists=2.5), "lists", 2.5),  # type: ignore[arg-type]
        (lambda: Index(Memory(x[:15], beta=1.0), kind="ivf-pq"), "kind", "ivf-pq"),
        (lambda: index.set_effort(5), "effort", 5),
        (lambda: index.retrieve(cue, k=0), "k", 0),
        (lambda: index.tune(cue, agreement=1.5), "agreement", 1.5),
        (lambda: index.tune(cue[:0]), "cue", 0),
    ]
    for call, field, value in wrong:
        with pytest.raises(TriptychError) as caught:
            call()
        assert (caught.value.field, caught.value.value) == (field, value)


def test_a_missing_faiss_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "faiss":
            raise ImportError(name)
        return plain(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtraError, match=r"faiss-cpu is not installed. Install it with: pip install 'triptych\[index\]'"
    ):
        Index(Memory(torch.eye(3), beta=1.0))
