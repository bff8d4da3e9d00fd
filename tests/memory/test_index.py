"""The index recalls what exact retrieval does, and its bound on what is left out holds."""

from __future__ import annotations

import builtins
import sys

import pytest
import torch
from torch import Tensor

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
    found = index.retrieve(cue, k=10, max_steps=1, verify=True)
    assert found.left_out_exact is not None
    weights = torch.softmax(beta * (memory.scaled(cue).double() @ memory.keys().double().T), 1)
    best = weights.topk(10).values.sum(1)
    assert (found.left_out_exact >= 1 - best - 1e-6).all(), "no ten candidates leave less out"
    assert (found.left_out_exact <= found.left_out + 1e-6).all()
    if kind == "flat":
        torch.testing.assert_close(found.left_out_exact, (1 - best).float(), rtol=1e-3, atol=1e-5)
        assert torch.equal(found.left_out, found.left_out_if_exact)


def test_an_index_that_misses_breaks_only_the_bound_that_assumes_it_does_not() -> None:
    x, cue = problem(noise=2.0)
    index = Index(Memory(x, beta=30.0), kind="ivf", lists=200, effort=1)
    found = index.retrieve(cue, k=10, max_steps=1, verify=True)
    assert found.left_out_exact is not None
    assert (found.left_out_exact <= found.left_out + 1e-6).all()
    assert (found.left_out_exact > found.left_out_if_exact + 1e-3).any()


def test_the_bound_is_tight_where_lists_are_compact() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.eye(8)[:1] * torch.tensor([1.0, -1.0]).repeat(200).unsqueeze(1)
    x = x + 0.002 * torch.randn(400, 8, generator=generator)
    found = Index(Memory(x, beta=40.0), kind="ivf", lists=2, effort=1).retrieve(x[:8], k=200)
    assert found.left_out.max() < 1e-12
    assert found.left_out_if_exact.min() > 0.4, "the last candidate is as good as the first"


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
    assert found.left_out_exact is None
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
    few = index.retrieve(cue, k=3, max_steps=1, verify=True)
    assert few.left_out_exact is not None
    assert (few.left_out_exact <= few.left_out + 1e-6).all()


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
        with pytest.raises(DataError, match=r"the memory has changed since its index was built; expected the same"):
            index.retrieve(cue)
        assert Index(memory, kind="flat").retrieve(cue).state.shape == cue.shape


def test_wrong_arguments_are_told() -> None:
    x, cue = problem(100)
    memory = Memory(x, beta=1.0)
    index = Index(memory, kind="ivf", lists=4)
    wrong = [
        (
            lambda: Index(memory, kind="ivff"),  # type: ignore[arg-type]
            "kind is 'ivff'; expected one of flat, ivf, ivf-pq, hnsw. Did you mean 'ivf'?",
        ),
        (lambda: Index(memory, lists=101), "lists is 101; expected an integer from 1 to 100, the patterns stored."),
        (
            lambda: Index(Memory(x[:15], beta=1.0), kind="ivf-pq"),
            "the memory has 15 patterns; expected at least 16 for 'ivf-pq', which learns as many codes. Use 'flat'.",
        ),
        (lambda: index.set_effort(5), "effort is 5; expected an integer from 1 to 4."),
        (lambda: index.retrieve(cue, k=0), "k is 0; expected an integer >= 1."),
        (lambda: index.tune(cue, agreement=1.5), "agreement is 1.5; expected a number above 0 and at most 1."),
    ]
    for call, message in wrong:
        with pytest.raises(TriptychError) as raised:
            call()  # type: ignore[no-untyped-call]
        assert str(raised.value).startswith(message)


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
