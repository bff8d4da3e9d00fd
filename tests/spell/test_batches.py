"""Batches: everything once per epoch over any number of processes, ordered by seed and epoch, of near lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from triptych.errors import DataError
from triptych.spell.batches import EncodedPairs, by_length, encode_sources, synthetic_first
from triptych.text.pairs import Pair
from triptych.text.symbols import Vocabulary
from triptych.training.batches import loader

LENGTHS = np.random.default_rng(0).integers(1, 30, size=203)


def epoch_of(
    batch_size: int = 16, *, lengths: np.ndarray = LENGTHS, epoch: int = 0, seed: int = 0, rank: int = 0,
    world_size: int = 1, shuffle: bool = True,
) -> list[list[int]]:  # fmt: skip
    buckets = by_length(lengths, batch_size, seed=seed, shuffle=shuffle, rank=rank, world_size=world_size)
    buckets.set_epoch(epoch)
    batches = list(buckets)
    assert len(batches) == len(buckets), "len() must be the number of batches of this process"
    return batches


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 3),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_every_item_comes_exactly_once_over_all_processes(
    count: int, batch_size: int, world_size: int, epoch: int, shuffle: bool
) -> None:
    lengths = np.random.default_rng(count).integers(1, 9, size=count)
    if shuffle and min(count, batch_size) < world_size:
        with pytest.raises(DataError, match="expected at least one for each"):
            by_length(lengths, batch_size, world_size=world_size)
        return
    shares = [
        epoch_of(batch_size, lengths=lengths, epoch=epoch, rank=rank, world_size=world_size, shuffle=shuffle)
        for rank in range(world_size)
    ]
    assert sorted(item for share in shares for batch in share for item in batch) == list(range(count))
    assert all(batch for share in shares for batch in share)
    if shuffle:  # an update waits for every process, so all have as many
        assert len({len(share) for share in shares}) == 1


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_batches_that_one_process_would_see(world_size: int) -> None:
    whole = epoch_of(16, epoch=4)
    shares = [epoch_of(16, epoch=4, rank=rank, world_size=world_size) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert sorted(item for part in parts for item in part) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert epoch_of(epoch=3, seed=1) == epoch_of(epoch=3, seed=1)
    assert epoch_of(epoch=3, seed=1) != epoch_of(epoch=4, seed=1)
    assert epoch_of(epoch=3, seed=1) != epoch_of(epoch=3, seed=2)
    assert sorted(map(sorted, epoch_of(epoch=3))) != sorted(map(sorted, epoch_of(epoch=4))), "batches are drawn anew"


def test_lengths_in_a_batch_are_as_near_as_sorting_makes_them() -> None:
    ideal = sum(int(np.ptp(part)) for part in np.split(np.sort(LENGTHS), np.arange(16, len(LENGTHS), 16)))
    drawn = epoch_of(16, epoch=2)
    assert sum(int(np.ptp(LENGTHS[batch])) for batch in drawn) == ideal
    assert [int(LENGTHS[batch].mean()) for batch in drawn] != sorted(int(LENGTHS[batch].mean()) for batch in drawn)


def test_the_last_batch_is_small_or_joins_the_one_before() -> None:
    lengths = np.ones(33, dtype=int)
    assert sorted(map(len, epoch_of(16, lengths=lengths))) == [1, 16, 16]
    shares = [epoch_of(16, lengths=lengths, rank=rank, world_size=2) for rank in (0, 1)]
    assert [sorted(map(len, share)) for share in shares] == [[8, 9], [8, 8]]


def test_evaluation_goes_by_length_and_then_by_position() -> None:
    batches = epoch_of(16, shuffle=False)
    order = [item for batch in batches for item in batch]
    assert order == sorted(range(len(LENGTHS)), key=lambda item: (LENGTHS[item], item))
    assert epoch_of(16, shuffle=False, epoch=5) == batches


def test_too_few_items_for_the_processes_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        by_length(np.array([3]), 8, world_size=2)
    assert str(caught.value) == "the number of items is 1; expected at least one for each of 2 processes."
    with pytest.raises(
        DataError, match=r"^training\.batch_size is 2; expected at least one for each of 3 processes\.$"
    ):
        by_length(LENGTHS, 2, world_size=3)


def with_synthetic(epoch: int, *, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """An epoch of ten over 203 items, of which the last 150 are synthetic."""
    order = synthetic_first(
        LENGTHS, 16, target_lengths=LENGTHS, synthetic=150, epochs=10, seed=3, rank=rank, world_size=world_size
    )
    order.set_epoch(epoch)
    batches = list(order)
    assert len(batches) == len(order) == 7
    return batches


def test_synthetic_items_come_once_and_end_halfway() -> None:
    epochs = [np.bincount(np.concatenate(with_synthetic(epoch)), minlength=203) for epoch in range(10)]
    assert [int(seen[53:].sum()) for seen in epochs] == [50, 40, 30, 20, 10, 0, 0, 0, 0, 0]
    assert (np.sum(epochs, axis=0)[53:] == 1).all()
    for seen in epochs:
        assert seen[:53].min() >= 1, "every other item, as often as its neighbours but for a last pass that is cut"
        assert np.ptp(seen[:53]) <= 1


def test_batches_with_synthetic_items_are_shared_and_repeatable() -> None:
    assert with_synthetic(2) == with_synthetic(2) != with_synthetic(3)
    for batch, *parts in zip(
        with_synthetic(1), *(with_synthetic(1, rank=r, world_size=3) for r in range(3)), strict=True
    ):
        assert sorted(item for part in parts for item in part) == sorted(batch)
        assert all(parts)


def test_synthetic_items_do_not_stand_in_for_the_others() -> None:
    with pytest.raises(DataError, match="the number of items is 1"):
        synthetic_first(LENGTHS, 16, target_lengths=LENGTHS, synthetic=202, epochs=2, world_size=2)


PAIRS = [Pair(("a", "b", "c"), ("x",), 1), Pair(("a",), ("x", "y", "y"), 2), Pair(("zz", "b"), ("q",), 3)]
SOURCES = Vocabulary(("a", "b", "c"))
TARGETS = Vocabulary(("x", "y"))


def test_a_batch_has_the_target_shifted_and_padded() -> None:
    data = EncodedPairs(PAIRS, SOURCES, TARGETS)
    batch = data[[1, 0, 2]]
    assert batch.items == (1, 0, 2)
    assert batch.source.symbols.tolist() == [[4, 0, 0], [4, 5, 6], [3, 5, 0]]
    assert batch.source.lengths.tolist() == [1, 3, 2]
    assert batch.fed.tolist() == [[1, 4, 5, 5], [1, 4, 0, 0], [1, 3, 0, 0]]
    assert batch.expected.tolist() == [[4, 5, 5, 2], [4, 2, 0, 0], [3, 2, 0, 0]]
    assert (len(data), data.source_lengths.tolist()) == (3, [3, 1, 2])
    assert data[[2]].items == (2,)


def test_a_batch_moves_whole_and_keeps_lengths_on_the_cpu() -> None:
    moved = EncodedPairs(PAIRS, SOURCES, TARGETS)[[0, 1]].to("meta")
    assert {moved.source.symbols.device.type, moved.fed.device.type, moved.expected.device.type} == {"meta"}
    assert moved.source.lengths.device.type == "cpu"


def test_a_loader_hands_out_the_batches_in_order() -> None:
    data = EncodedPairs(PAIRS, SOURCES, TARGETS)
    order = by_length(data.source_lengths, 2, shuffle=False)
    assert [batch.items for batch in loader(data, order)] == [(1, 2), (0,)]
    assert encode_sources(data.sources[:2]).symbols.tolist() == [[4, 5, 6], [4, 0, 0]]
