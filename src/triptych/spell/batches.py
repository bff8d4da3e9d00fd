"""Encoded pairs, and batches of them bucketed by source length.

Letters in shapes: B batch, S source length, T target length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from triptych.spell.encoder import SourceBatch
from triptych.text.copying import copy_ids, extended
from triptych.text.pairs import Pair
from triptych.text.symbols import Vocabulary
from triptych.training.hardware import check_shares

BLUR = 2.0  # symbols by which target lengths may differ from their order


@dataclass
class PairBatch:
    """A batch for teacher forcing. It is not frozen, since Lightning writes into batches to change their precision.

    Attributes:
        source: the encoded sources.
        fed: start symbol and target, what the decoder is fed. Shape (B, T).
        expected: target and end symbol, padded with the padding symbol. Shape (B, T).
        items: positions of the rows in the data set.
    """

    source: SourceBatch
    fed: Tensor
    expected: Tensor
    items: tuple[int, ...]

    def to(self, device: Any, **_: Any) -> PairBatch:
        """The same batch on another device; extra arguments are those of `Tensor.to`."""
        return PairBatch(self.source.to(device), self.fed.to(device), self.expected.to(device), self.items)


class EncodedPairs(Dataset[PairBatch]):
    """Pairs as indices, fetched by whole batches."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        sources: Vocabulary,
        targets: Vocabulary,
        features: Vocabulary | None = None,
        *,
        copies: bool = False,
    ) -> None:
        def target_ids(pair: Pair) -> list[int]:
            return extended(pair.target, pair.source, targets) if copies else targets.encode(pair.target)

        self.sources = [torch.tensor(sources.encode(pair.source)) for pair in pairs]
        self.copy_ids = [torch.tensor(copy_ids(pair.source, targets)) for pair in pairs] if copies else None
        self.features = (
            None if features is None else [torch.tensor(features.encode(pair.features)).long() for pair in pairs]
        )
        self.targets = [torch.tensor([Vocabulary.start, *target_ids(pair), Vocabulary.end]) for pair in pairs]
        self.target_lengths = np.array([len(target) for target in self.targets])
        self.source_lengths = np.array([len(source) for source in self.sources])

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, indices: Sequence[int]) -> PairBatch:
        """The batch of these items, in this order."""
        targets = _pad([self.targets[i] for i in indices])
        expected = targets[:, 1:]
        fed = targets[:, :-1].masked_fill(expected == Vocabulary.pad, Vocabulary.pad)
        features = None if self.features is None else [self.features[i] for i in indices]
        source = encode_sources([self.sources[i] for i in indices], features)
        if self.copy_ids is not None:
            source = replace(source, copy_ids=_pad([self.copy_ids[i] for i in indices]))
        return PairBatch(source, fed, expected, tuple(indices))


def hide_copied(batch: PairBatch, share: float, vocabulary: int) -> PairBatch:
    """Hide a random share of each source's symbols, so that the target can have them by copying alone.

    Every occurrence of a chosen symbol becomes unknown in the source, and a symbol beyond the vocabulary in the target,
    as are symbols that training never shows.

    Args:
        batch: of a network that copies.
        share: of the different symbols of a source, in [0, 1).
        vocabulary: size of the target vocabulary.
    """
    ids, symbols = batch.source.copy_ids, batch.source.symbols
    if share == 0 or ids is None:
        return batch
    real = symbols != Vocabulary.pad
    first = (symbols.unsqueeze(1) == symbols.unsqueeze(2)).int().argmax(2)  # (B, S), of the same symbol
    hidden = (torch.rand(symbols.shape, device=symbols.device) < share).gather(1, first) & real

    def hide(targets: Tensor) -> Tensor:
        found = (targets.unsqueeze(2) == ids.unsqueeze(1)) & hidden.unsqueeze(1)  # (B, T, S)
        return torch.where(found.any(2), vocabulary + found.int().argmax(2), targets)

    source = replace(
        batch.source,
        symbols=symbols.masked_fill(hidden, Vocabulary.unknown),
        copy_ids=torch.where(hidden, vocabulary + first, ids),
    )
    return PairBatch(source, hide(batch.fed), hide(batch.expected), batch.items)


def encode_sources(sources: Sequence[Tensor], features: Sequence[Tensor] | None = None) -> SourceBatch:
    """A padded batch from index sequences, each of shape (length,) with length >= 1; of features also 0."""
    lengths = torch.tensor([len(source) for source in sources])
    return SourceBatch(_pad(sources), lengths, None if features is None else _pad(features))


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=Vocabulary.pad)


class LengthBuckets(Sampler[list[int]]):
    """Batches of items of nearly equal source length, in another random order in every epoch.

    The order is a function of seed and epoch alone, so a resumed training sees the batches it would have seen. With
    several processes each takes its share of every batch: an update sees the same items as one process would.

    Args:
        lengths: source length of every item. Shape (items,).
        target_lengths: the second key, blurred by up to two symbols so that batches differ; None for none. (items,).
        batch_size: items per batch over all processes, >= 1.
        seed: of the order.
        shuffle: False gives items sorted by length, for evaluation.
        rank: this process, from 0.
        world_size: processes in all.
    Raises:
        DataError: a process would have nothing to train on.
    """

    def __init__(
        self,
        lengths: np.ndarray[Any, Any],
        batch_size: int,
        *,
        target_lengths: np.ndarray[Any, Any] | None = None,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if shuffle:
            check_shares(batch_size, len(lengths), what="items", world_size=world_size)
        self.lengths = lengths
        self.target_lengths = target_lengths
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch; the trainer calls it before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of this process."""
        count = self._batches()
        if self.shuffle:
            return count
        last = len(self.lengths) - (count - 1) * self.batch_size
        return (count - 1) * (self.rank < self.batch_size) + (self.rank < last)

    def _batches(self) -> int:
        """Batches over all processes; in training, every process has a part of each."""
        count = -(-len(self.lengths) // self.batch_size)
        last = len(self.lengths) - (count - 1) * self.batch_size
        return count - 1 if self.shuffle and last < self.world_size else count

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        tie_break = BLUR * random.random(len(self.lengths)) if self.shuffle else np.arange(len(self.lengths))
        if self.shuffle and self.target_lengths is not None:
            tie_break = tie_break + self.target_lengths
        order = np.lexsort((tie_break, self.lengths))
        batches = np.split(order, np.arange(self.batch_size, len(order), self.batch_size))
        if len(batches) > self._batches():  # too few items left for every process to have one
            batches[-2:] = [np.concatenate(batches[-2:])]
        if self.shuffle:
            batches = [batches[i] for i in random.permutation(len(batches))]
        for batch in batches:
            share = batch[self.rank :: self.world_size].tolist()
            if share:
                yield share


def loader(items: EncodedPairs, buckets: LengthBuckets) -> DataLoader[PairBatch]:
    """A loader that hands out one `PairBatch` per bucket.

    The buckets are its sampler, not its batch sampler: Lightning calls `set_epoch` of the former alone.
    """
    return DataLoader(items, sampler=buckets, batch_size=None)
