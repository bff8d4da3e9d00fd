"""The order of batches: a function of seed and epoch alone, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

Items = NDArray[np.integer[Any]]
Arrange = Callable[[np.random.Generator, int], list[Items]]


class Batches(Sampler[list[int]]):
    """Batches of items, arranged again for every epoch; a resumed training sees the batches it would have seen.

    With several processes each takes its share of every batch: an update sees the same items as one process would.

    Args:
        arrange: gives the items of every batch of an epoch, over all processes, from that epoch's random numbers and
            its number, from 0. Every epoch has as many, each with items for all processes or for the same ones.
        seed: of the random numbers.
        rank: this process, from 0.
        world_size: processes in all.
    """

    def __init__(self, arrange: Arrange, *, seed: int, rank: int, world_size: int) -> None:
        self.arrange = arrange
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch; the trainer calls it before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of this process."""
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(len(batch) > self.rank for batch in self.arrange(np.random.default_rng(self.seed), 0))

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.arrange(np.random.default_rng((self.seed, self.epoch)), self.epoch):
            share = batch[self.rank :: self.world_size].tolist()
            if share:
                yield share


def cut(order: Items, batch_size: int, *, least: int) -> list[Items]:
    """Batches of items in a given order; a last one of fewer than `least` items is joined to the one before."""
    batches = np.split(order, np.arange(batch_size, len(order), batch_size))
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def loader(items: Dataset[Any], order: Batches) -> DataLoader[Any]:
    """A loader that hands out what `items` gives for each batch of `order`.

    `order` is its sampler, not its batch sampler: Lightning sets the epoch only of the former.
    """
    return DataLoader(items, sampler=order, batch_size=None)
