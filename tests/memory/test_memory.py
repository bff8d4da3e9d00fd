"""A memory recalls what the plain functions recall, however its rows are kept, cut into shards and changed."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError, TriptychError
from triptych.memory import blockwise as looks
from triptych.memory import shards
from triptych.memory.memory import Memory
from triptych.memory.normalisation import Normalisation
from triptych.memory.novelty import Score
from triptych.memory.shards import Precision
from triptych.recall import kernels as passes
from triptych.recall.energy import energy
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import SOFTMAX, SPARSEMAX, Separation


def rows(count: int, width: int = 6, *, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 0.3


def scaled(x: Tensor, kind: Normalisation, like: Tensor) -> Tensor:
    moved = x - like.mean(0) if kind == "centred-unit" else x
    return moved if kind == "none" else moved / moved.norm(dim=1, keepdim=True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding in blocks of two rows of six numbers, and no joining of shards."""
    monkeypatch.setattr(shards, "NUMBERS_AT_ONCE", 12)
    monkeypatch.setattr("triptych.memory.entries._SMALL", 0)


def in_pieces(patterns: Tensor, *, beta: float, normalisation: Normalisation = "none") -> Memory:
    """Shards of different sizes, of which some rows do not count; those that do are the patterns."""
    memory = Memory(patterns[:5], beta=beta, normalisation=normalisation)
    junk = memory.add(5 * rows(3, seed=9))
    memory.add(patterns[5:6])
    memory.add(patterns[6:])
    memory.remove(junk.tolist())
    return memory


@pytest.mark.parametrize("separation", [SOFTMAX, SPARSEMAX])
@pytest.mark.parametrize("beta", [1e-3, 1.0, 30.0])
def test_retrieval_over_shards_is_retrieval(small_blocks: None, separation: Separation, beta: float) -> None:
    x, cue = rows(17), rows(5, seed=1)
    memory = in_pieces(x, beta=beta)
    assert len(memory.shards) == 4
    found = memory.retrieve(cue, separation=separation, tolerance=1e-6)
    expected = retrieve(x, cue, beta=beta, max_steps=20, tolerance=1e-6, separation=separation)
    torch.testing.assert_close(found.state, expected.state, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(memory.keys(), x)
    torch.testing.assert_close(
        found.confidence.energy,
        energy(x, found.state, beta=beta, separation=separation),
        rtol=1e-5,
        atol=1e-5 * x.square().sum(1).max().item(),
    )
    weights = separation.weights(beta * (found.state @ x.T))
    torch.testing.assert_close(found.value, weights @ x, rtol=1e-4, atol=1e-4)
    entropy = -torch.xlogy(weights, weights).sum(1)
    torch.testing.assert_close(found.confidence.entropy, entropy, rtol=1e-3, atol=1e-4)
    gaps = torch.cdist(found.state, x)
    assert found.confidence.nearest.tolist() == memory.ids[gaps.argmin(1)].tolist()
    torch.testing.assert_close(found.confidence.distance, gaps.amin(1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["none", "unit", "centred-unit"])
def test_patterns_come_back_on_the_scale_they_were_given(kind: Normalisation) -> None:
    x = rows(9) * torch.linspace(0.5, 4, 9).unsqueeze(1)
    memory = Memory(x, beta=500.0, normalisation=kind)
    torch.testing.assert_close(memory.keys(), scaled(x, kind, x))
    torch.testing.assert_close(memory.contents.values_at(torch.arange(9)), x)
    if kind == "none":
        return  # the longest patterns win every comparison
    found = memory.retrieve(x + 0.01)
    assert found.confidence.nearest.tolist() == list(range(9))
    torch.testing.assert_close(found.value, x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-7), ("float16", 1e-3), ("bfloat16", 8e-3), ("int8", 1 / 250)]
)
def test_precisions_keep_what_they_promise(small_blocks: None, precision: Precision, tolerance: float) -> None:
    x, values = rows(12), rows(12, 3, seed=2)
    memory = Memory(x, values=values, beta=1.0, normalisation="none", precision=precision)
    most = x.abs().amax(1, keepdim=True)
    assert ((memory.keys() - x).abs() <= tolerance * most).all()
    kept = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[precision]
    assert memory.shards[0].keys.rows.element_size() == kept
    found = memory.retrieve(x[:4], max_steps=1)
    expected = retrieve(memory.keys(), x[:4], beta=1.0, max_steps=1)
    torch.testing.assert_close(found.state, expected.state, rtol=1e-4, atol=1e-5)
    stored = memory.contents.values_at(torch.arange(12))
    torch.testing.assert_close(found.value, torch.softmax(found.state @ memory.keys().T, 1) @ stored)


def test_int8_keeps_a_zero_row() -> None:
    memory = Memory(torch.cat([torch.zeros(1, 4), torch.ones(1, 4)]), beta=1.0, normalisation="none", precision="int8")
    assert memory.keys().tolist() == [[0.0] * 4, [1.0] * 4]


def test_values_are_what_is_recalled() -> None:
    x, values = torch.eye(4), torch.tensor([[0.0, 10], [20, 30], [40, 50], [60, 70]])
    found = Memory(x, values=values, beta=200.0).retrieve(x[[2, 0]])
    torch.testing.assert_close(found.value, values[[2, 0]])


def test_a_partial_cue_is_filled_in() -> None:
    x = rows(20, 64)
    known = torch.zeros(20, 64, dtype=torch.bool)
    known[:, :32] = True
    cue = x.masked_fill(~known, math.nan)
    memory = Memory(x, beta=60.0, normalisation="centred-unit")
    found = memory.retrieve(cue, known_valid=known)
    torch.testing.assert_close(found.value, x, rtol=1e-2, atol=1e-2)
    plain = Memory(x, beta=2.0, normalisation="none").retrieve(cue, known_valid=known, tolerance=1e-6)
    expected = retrieve(x, cue, beta=2.0, known_valid=known, tolerance=1e-6, max_steps=20)
    torch.testing.assert_close(plain.state, expected.state, rtol=1e-4, atol=1e-4)


def test_nearest_is_a_brute_force_search(small_blocks: None) -> None:
    x, cue = rows(17), rows(300, seed=1)
    memory = in_pieces(x, beta=1.0)
    found = memory.nearest(cue, k=4)
    gaps, places = torch.cdist(cue, x).topk(4, largest=False)
    torch.testing.assert_close(found.distance, gaps, rtol=1e-4, atol=1e-5)
    assert torch.equal(found.ids, memory.ids[places])
    assert memory.nearest(cue, k=99).ids.shape == (300, 17)
    assert memory.nearest(x[3:4] * 1.0001).ids.tolist() == [[3]]


def test_labels_follow_their_patterns_through_changes() -> None:
    memory = Memory(torch.eye(6)[:3], labels=["a", None, "b"], beta=50.0)
    memory.add(torch.eye(6)[3:5], labels=[7, "a"])
    memory.add(torch.eye(6)[5:], ids=[90])
    assert memory.nearest(torch.eye(6)).label == (("a",), (None,), ("b",), ("7",), ("a",), (None,))
    memory.remove([0, 3])
    assert memory.ids.tolist() == [1, 2, 4, 90]
    assert memory.add(torch.eye(6)[:1], labels=["back"], ids=[0]).tolist() == [0]
    assert memory.add(-torch.eye(6)[:1]).tolist() == [91]
    found = memory.retrieve(torch.eye(6)[[0, 4]])
    assert found.confidence.label == ("back", "a")
    assert found.confidence.nearest.tolist() == [0, 4]


def test_small_additions_are_joined() -> None:
    memory = Memory(rows(2), labels=["x", "y"], values=rows(2, 2), beta=1.0, precision="int8")
    for number in range(5):
        memory.add(rows(1, seed=number), labels=["z"], values=rows(1, 2, seed=number))
    assert len(memory.shards) == 1
    one = Memory(torch.cat([rows(2), *(rows(1, seed=number) for number in range(5))]), beta=1.0, precision="int8")
    torch.testing.assert_close(memory.keys(), one.keys())
    assert memory.shards[0].largest_norm == one.shards[0].largest_norm
    assert memory.contents.named(torch.tensor([[1, 6]]))[1] == (("y", "z"),)


def test_the_largest_norm_follows_removals() -> None:
    memory = Memory(torch.diag(torch.tensor([1.0, 5.0, 2.0])), beta=1.0, normalisation="none")
    before = memory.confidence(torch.zeros(1, 3)).energy
    memory.remove([1])
    torch.testing.assert_close(before - memory.confidence(torch.zeros(1, 3)).energy, torch.tensor([(25.0 - 4.0) / 2]))


def test_looks_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    plain = passes.softmax_pass

    def watched(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        nonlocal largest
        largest = max(largest, keys.numel())
        return plain(keys, values, queries, beta)

    monkeypatch.setattr(looks, "softmax_pass", watched)
    monkeypatch.setattr(shards, "NUMBERS_AT_ONCE", 600)
    Memory(rows(1000), beta=1.0, precision="int8").retrieve(rows(8, seed=3), max_steps=2)
    assert 0 < largest <= 600


def test_no_cues_give_no_rows() -> None:
    memory = Memory(rows(5), beta=1.0)
    found = memory.retrieve(torch.empty(0, 6))
    assert (found.value.shape, found.confidence.label, memory.nearest(torch.empty(0, 6)).label) == ((0, 6), (), ())


BAD = {
    "no pattern": (lambda: Memory(torch.empty(0, 3)), ShapeError, "patterns has shape (0, 3); expected at least one"),
    "a vector": (lambda: Memory(torch.ones(3)), ShapeError, "patterns has shape (3,); expected (rows, columns)"),
    "NaN": (
        lambda: Memory(torch.tensor([[1.0, 2], [3, math.nan]])),
        DataError,
        "patterns is nan in row 1, column 1; expected finite numbers.",
    ),
    "zero row": (
        lambda: Memory(torch.tensor([[1.0, 2], [0, 0]])),
        DataError,
        "patterns is zeros only in row 1; expected a row with a direction",
    ),
    "the mean": (
        lambda: Memory(torch.tensor([[1.0], [3.0], [2.0]]), normalisation="centred-unit"),
        DataError,
        "patterns is equal to the patterns' mean in row 2",
    ),
    "float16": (
        lambda: Memory(torch.tensor([[7e4]]), normalisation="none", precision="float16"),
        DataError,
        "patterns is 70000 in row 0, column 0; expected at most 65504 in size for float16.",
    ),
    "precision": (
        lambda: Memory(rows(2), precision="int4"),  # type: ignore[arg-type]
        TriptychError,
        "precision is 'int4'; expected one of float32, float16, bfloat16, int8. Did you mean 'int8'?",
    ),
    "normalisation": (
        lambda: Memory(rows(2), normalisation="units"),  # type: ignore[arg-type]
        TriptychError,
        "normalisation is 'units'; expected one of none, unit, centred-unit. Did you mean 'unit'?",
    ),
    "beta": (lambda: Memory(rows(2), beta=0.0), TriptychError, "beta is 0.0; expected a finite number > 0."),
    "labels": (lambda: Memory(rows(3), labels=["a"]), ShapeError, "labels has 1 entries; expected 3, one per pattern."),
    "ids twice": (lambda: Memory(rows(3), ids=[4, 1, 4]), DataError, "id 4 is given twice; expected different ones."),
    "negative id": (lambda: Memory(rows(2), ids=[1, -2]), DataError, "ids has -2; expected different integers >= 0"),
    "float id": (lambda: Memory(rows(1), ids=[1.5]), DataError, "ids has 1.5; expected different integers"),  # type: ignore[list-item]
}


@pytest.mark.parametrize(("make", "kind", "message"), BAD.values(), ids=BAD)
def test_wrong_patterns_are_told(make: object, kind: type[Exception], message: str) -> None:
    assert callable(make)
    with pytest.raises(kind) as raised:
        make()
    assert str(raised.value).startswith(message)


def test_wrong_calls_are_told_and_change_nothing() -> None:
    memory, misspelt = Memory(rows(4), beta=1.0), cast(Score, "enrgy")
    wrong = [
        (lambda: memory.add(rows(1, 5)), "patterns has shape (1, 5); expected (rows, 6)."),
        (lambda: memory.add(rows(1), ids=[2]), "id 2 is stored already; expected different ones."),
        (lambda: memory.add(rows(1), values=rows(1)), "values is given; expected it to be as the memory, which has no"),
        (lambda: memory.remove([1, 17]), "id is 17; expected one that is stored."),
        (lambda: memory.remove([1, 1]), "id 1 is given twice; expected different ones."),
        (lambda: memory.remove([0, 1, 2, 3]), "the ids are all 4 that are stored; expected some to stay."),
        (lambda: memory.nearest(rows(1), k=0), "k is 0; expected an integer >= 1."),
        (lambda: memory.retrieve(rows(1, 3)), "cue has shape (1, 3); expected (rows, 6)."),
        (lambda: memory.retrieve(rows(1) / 0), "cue is inf in row 0, column 0; expected finite numbers."),
        (lambda: memory.retrieve(rows(1), max_steps=0), "max_steps is 0; expected an integer >= 1."),
        (lambda: memory.retrieve(rows(1), known_valid=torch.ones(6)), "known_valid has shape (6,) and dtype torch.flo"),
        (
            lambda: memory.novelty(rows(1), score=misspelt),
            "score is 'enrgy'; expected energy or distance. Did you mean",
        ),
        (lambda: memory.is_novel(rows(1)), "the memory's threshold is None; expected a calibrated one."),
        (lambda: memory.tune_beta(noise=0), "noise is 0 and n_cues is 256; expected a number > 0"),
    ]
    for call, message in wrong:
        with pytest.raises(TriptychError) as raised:
            call()  # type: ignore[no-untyped-call]
        assert str(raised.value).startswith(message)
    assert memory.ids.tolist() == [0, 1, 2, 3]
    assert memory.shards[0].removed == ()
