"""A memory recalls what the plain functions recall, however its rows are kept, cut into shards and changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.messages import check_message
from triptych.errors import DataError, ShapeError, TriptychError
from triptych.memory import blockwise, shards
from triptych.memory.memory import Memory
from triptych.memory.normalisation import Normalisation
from triptych.memory.novelty import Score
from triptych.memory.shards import Precision
from triptych.recall import kernels
from triptych.recall.energy import energy
from triptych.recall.retrieval import Extra, retrieve
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
    monkeypatch.setattr("triptych.memory.entries._SMALL_BYTES", 0)


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
    torch.testing.assert_close(memory.entries.values_at(torch.arange(9)), x)
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
    stored = memory.entries.values_at(torch.arange(12))
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
    assert torch.equal(memory.retrieve(cue.numpy(), known_valid=known.numpy()).value, found.value)
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


@pytest.mark.parametrize("copies", [2, 6, 40])
def test_of_equal_patterns_the_lowest_id_is_nearest(small_blocks: None, copies: int) -> None:
    """Whatever k is, in whichever shard and block the copies are, and whatever ids they have."""
    x, cue = rows(9), rows(9) + 0.01 * rows(9, seed=1)
    ids = torch.randperm(9 * copies, generator=torch.Generator().manual_seed(0))
    memory = Memory(x, beta=50.0, ids=ids[:9].tolist())
    for copy in range(1, copies):
        memory.add(x, ids=ids[9 * copy : 9 * copy + 9])
    memory.remove(ids[:3].tolist())
    for row in range(9):
        same = sorted(set(ids[row::9].tolist()) - set(ids[:3].tolist()))
        for k in (1, 2, copies):
            found = memory.nearest(cue[row : row + 1], k=k).ids[0].tolist()
            assert found[: len(same)] == same[:k]
        assert memory.retrieve(cue[row : row + 1]).confidence.nearest.tolist() == same[:1]


def test_equal_distances_are_ordered_by_id() -> None:
    memory = Memory(torch.eye(4), beta=1.0, ids=[7, 3, 9, 1])
    found = memory.nearest(torch.full((1, 4), 0.5), k=4)
    assert found.ids.tolist() == [[1, 3, 7, 9]]
    assert len(found.distance.unique()) == 1  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("normalisation", ["none", "unit", "centred-unit"])
@pytest.mark.parametrize("partial", [False, True])
def test_a_trace_is_the_way_from_the_cue_to_the_recalled_state(
    small_blocks: None, normalisation: Normalisation, partial: bool
) -> None:
    """Against retrieval in float64 over all patterns at once."""
    x, cue = rows(17), rows(5, seed=1)
    memory = in_pieces(x, beta=3.0, normalisation=normalisation)
    known = torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) < 0.7 if partial else None
    found = memory.retrieve(cue, known_valid=known, trace=True, max_steps=9, tolerance=0)
    plain = memory.retrieve(cue, known_valid=known, max_steps=9, tolerance=0)
    assert torch.equal(found.value, plain.value)
    assert plain.trace is None
    assert found.trace is not None
    start = memory.scaled(cue, known_valid=known).double()
    extras: tuple[Extra, ...] = ("trajectory", "energies")
    exact = retrieve(
        memory.keys().double(), start, beta=3.0, max_steps=9, tolerance=0, known_valid=known, extras=extras
    )
    assert exact.energies is not None
    assert exact.trajectory is not None
    steps = min(len(exact.energies), len(found.trace.energies))
    torch.testing.assert_close(found.trace.energies[:steps].double(), exact.energies[:steps], rtol=1e-4, atol=1e-4)
    assert (found.trace.energies.diff(dim=0) <= 1e-5).all(), "it never rises"
    states = exact.trajectory[:steps].float()
    for row in range(5):
        place = memory.ids.tolist().index(int(found.confidence.nearest[row]))
        length = memory.entries.lengths_at(memory.entries.places()[place : place + 1])
        moved = memory.entries.scaling.undo(states[:, row], None if length is None else length.expand(steps))
        torch.testing.assert_close(found.trace.states[:steps, row], moved, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("normalisation", ["unit", "centred-unit"])
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-15, 1.0, 1e15, 1e25, 1e36])
def test_rows_of_any_size_are_right(normalisation: Normalisation, scale: float) -> None:
    """Their lengths, or the squares of their values, leave the range of float32."""
    x = scale * torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    memory = Memory(x, beta=2000.0, normalisation=normalisation)
    found = memory.retrieve(x)
    assert found.confidence.nearest.tolist() == list(range(50))
    precision = 1e-3 if scale > 1e-40 else 0.05  # the smallest numbers of float32 have few digits
    torch.testing.assert_close(found.value.double() / scale, x / scale, rtol=precision, atol=precision)
    rows_of_one = memory.keys().double().norm(dim=1)
    torch.testing.assert_close(rows_of_one, torch.ones(50).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("patterns", "normalisation"),
    [
        (torch.full((3, 4), 1e25), "none"),
        (torch.full((3, 4), 1e-25), "none"),
        (torch.full((3, 4), 3e38), "unit"),
        (torch.tensor([[3e38], [3e38], [-3e38]]), "centred-unit"),
    ],
)
def test_rows_whose_squares_float32_cannot_hold_are_refused(patterns: Tensor, normalisation: Normalisation) -> None:
    with pytest.raises(DataError) as caught:
        Memory(patterns, beta=1.0, normalisation=normalisation)
    assert caught.value.field == "patterns"
    assert caught.value.expected == "a length whose square float32 can hold"


def test_zeros_may_be_stored_as_they_are_but_give_no_temperature() -> None:
    assert Memory(torch.zeros(3, 4), beta=1.0, normalisation="none").retrieve(torch.ones(1, 4)).value.tolist() == [
        [0.0] * 4
    ]
    with pytest.raises(DataError) as caught:
        Memory(torch.zeros(3, 4), normalisation="none")
    check_message("recall.no-temperature", caught.value)


def test_arrays_and_lists_are_taken_too() -> None:
    x = rows(9).numpy()
    for given in (x, x.tolist(), np.asfortranarray(x), x[::-1][::-1], x.astype("f8")):
        memory = Memory(given, beta=50.0, labels=np.arange(9), ids=np.arange(9, dtype=np.uint64))
        found = memory.retrieve(given)
        assert found.confidence.nearest.tolist() == list(range(9))
        assert found.confidence.label == tuple(map(str, range(9)))
    assert Memory(torch.eye(3), beta=1.0, labels=torch.tensor([4, 5, 6])).pattern(1).label == "5"


def test_one_pattern_and_a_list_of_them() -> None:
    x = rows(6)
    memory = Memory(x, beta=1.0, labels=[None, "b", *"cdef"], values=rows(6, 2, seed=1), normalisation="centred-unit")
    memory.remove([2])
    found = memory.pattern(3)
    assert (found.id, found.label) == (3, "d")
    torch.testing.assert_close(found.pattern, x[3])
    torch.testing.assert_close(found.value, rows(6, 2, seed=1)[3])
    assert memory.list_patterns(offset=1, limit=2) == [(1, "b"), (3, "d")]
    for number in (2, 99, -1, 2**70):
        with pytest.raises(DataError) as caught:
            memory.pattern(number)
        assert (caught.value.field, caught.value.value) == ("id", number)


def test_the_largest_id_leaves_no_free_one() -> None:
    memory = Memory(rows(2), beta=1.0, ids=[4, 2**63 - 2])
    with pytest.raises(DataError) as caught:
        memory.add(rows(1))
    check_message("memory.no-free-id", caught.value)
    assert memory.add(rows(1), ids=[5]).tolist() == [5]


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
    assert memory.entries.named(torch.tensor([[1, 6]]))[1] == (("y", "z"),)


def test_the_largest_norm_follows_removals() -> None:
    memory = Memory(torch.diag(torch.tensor([1.0, 5.0, 2.0])), beta=1.0, normalisation="none")
    before = memory.confidence(torch.zeros(1, 3)).energy
    memory.remove([1])
    torch.testing.assert_close(before - memory.confidence(torch.zeros(1, 3)).energy, torch.tensor([(25.0 - 4.0) / 2]))


def test_attention_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    plain = kernels.softmax_pass

    def watched(keys: Tensor, values: Tensor, queries: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        nonlocal largest
        largest = max(largest, keys.numel())
        return plain(keys, values, queries, beta)

    monkeypatch.setattr(blockwise, "softmax_pass", watched)
    monkeypatch.setattr(shards, "NUMBERS_AT_ONCE", 600)
    Memory(rows(1000), beta=1.0, precision="int8").retrieve(rows(8, seed=3), max_steps=2)
    assert 0 < largest <= 600


def test_no_cues_give_no_rows() -> None:
    memory = Memory(rows(5), beta=1.0)
    found = memory.retrieve(torch.empty(0, 6))
    assert (found.value.shape, found.confidence.label, memory.nearest(torch.empty(0, 6)).label) == ((0, 6), (), ())


BAD: dict[str, tuple[Callable[[], object], type[Exception], str, object]] = {
    "no pattern": (lambda: Memory(torch.empty(0, 3)), ShapeError, "patterns", (0, 3)),
    "a vector": (lambda: Memory(torch.ones(3)), ShapeError, "patterns", (3,)),
    "text": (lambda: Memory("abc"), ShapeError, "patterns", "str"),
    "nothing": (lambda: Memory(None), ShapeError, "patterns", "NoneType"),
    "infinite": (lambda: Memory(torch.tensor([[1.0, 2], [3, math.inf]])), DataError, "patterns", math.inf),
    "zero row": (lambda: Memory(torch.tensor([[1.0, 2], [0, 0]])), DataError, "patterns", 1),
    "the mean": (
        lambda: Memory(torch.tensor([[1.0], [3.0], [2.0]]), normalisation="centred-unit"), DataError, "patterns", 2
    ),
    "float16": (
        lambda: Memory(torch.tensor([[7e4]]), normalisation="none", precision="float16"), DataError, "patterns", 7e4
    ),
    "precision": (
        lambda: Memory(rows(2), precision="int4"),  # type: ignore[arg-type]
        TriptychError, "precision", "int4",
    ),
    "normalisation": (
        lambda: Memory(rows(2), normalisation="units"),  # type: ignore[arg-type]
        TriptychError, "normalisation", "units",
    ),
    "beta": (lambda: Memory(rows(2), beta=0.0), TriptychError, "beta", 0.0),
    "labels": (lambda: Memory(rows(3), labels=["a"]), ShapeError, "labels", 1),
    "surrogate": (lambda: Memory(rows(1), labels=["\ud800"]), DataError, "labels", None),
    "ids twice": (lambda: Memory(rows(3), ids=[4, 1, 4]), DataError, "ids", 4),
    "negative id": (lambda: Memory(rows(2), ids=[1, -2]), DataError, "ids", -2),
    "float id": (lambda: Memory(rows(1), ids=[1.5]), DataError, "ids", 1.5),  # type: ignore[list-item]
    "large id": (lambda: Memory(rows(1), ids=[2**63]), DataError, "ids", 2**63),
    "values": (lambda: Memory(rows(5), values=torch.ones(5)), ShapeError, "values", (5,)),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "field", "value"), BAD.values(), ids=BAD)
def test_wrong_patterns_are_refused(
    make: Callable[[], object], kind: type[TriptychError], field: str, value: object
) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert (caught.value.field, caught.value.value) == (field, value)
    assert caught.value.path is None


def test_messages_of_wrong_patterns() -> None:
    for name in ("a vector", "zero row", "the mean", "float16", "values", "labels", "ids twice"):
        with pytest.raises(TriptychError) as caught:
            BAD[name][0]()
        check_message(f"memory.{name.replace(' ', '-')}", caught.value)


def test_wrong_calls_are_refused_and_change_nothing() -> None:
    memory, misspelt = Memory(rows(4), beta=1.0), cast(Score, "enrgy")
    wrong: list[tuple[Callable[[], object], str, object]] = [
        (lambda: memory.add(rows(1, 5)), "patterns", (1, 5)),
        (lambda: memory.add(rows(1), ids=[2]), "ids", 2),
        (lambda: memory.add(rows(1), values=rows(1)), "values", None),
        (lambda: memory.remove([1, 17]), "id", 17),
        (lambda: memory.remove([1, 1]), "ids", 1),
        (lambda: memory.remove([10**20]), "ids", 10**20),
        (lambda: memory.remove([0, 1, 2, 3]), "ids", 4),
        (lambda: memory.nearest(rows(1), k=0), "k", 0),
        (lambda: memory.nearest(rows(1), k=1.5), "k", 1.5),  # type: ignore[arg-type]
        (lambda: memory.retrieve(rows(1, 3)), "cue", (1, 3)),
        (lambda: memory.retrieve(rows(1).abs() / 0), "cue", math.inf),
        (lambda: memory.retrieve(rows(1), max_steps=0), "max_steps", 0),
        (lambda: memory.retrieve(rows(1), known_valid=torch.ones(6)), "known_valid", (6,)),
        (lambda: memory.novelty(rows(1), score=misspelt), "score", "enrgy"),
        (lambda: memory.is_novel(rows(1)), "threshold", None),
        (lambda: memory.tune_beta(noise=0), "noise", 0),
        (lambda: memory.tune_beta(n_cues=0), "n_cues", 0),
        (lambda: setattr(memory, "beta", math.nan), "beta", None),
    ]
    for call, field, value in wrong:
        with pytest.raises(TriptychError) as caught:
            call()
        assert caught.value.field == field
        assert value in (caught.value.value, None)
    assert memory.ids.tolist() == [0, 1, 2, 3]
    assert memory.shards[0].removed == ()
    assert memory.beta == 1.0
