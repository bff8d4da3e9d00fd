"""Encoded pairs, and batches of them sorted by source length.

Letters in shapes: B batch, S source length, T target length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from triptych.spell.encoder import SourceBatch
from triptych.text.copying import copy_ids, extended
from triptych.text.pairs import Pair
from triptych.text.symbols import Vocabulary
from triptych.training.batches import Batches, Items, cut
from triptych.training.hardware import check_shares

BLUR = 2.0  # symbols by which target lengths may differ from their order
SYNTHETIC_PART = 0.5  # of a training, in which synthetic items become fewer; after it there are none


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


def by_length(
    lengths: np.ndarray[Any, Any],
    batch_size: int,
    *,
    target_lengths: np.ndarray[Any, Any] | None = None,
    seed: int = 0,
    shuffle: bool = True,
    rank: int = 0,
    world_size: int = 1,
) -> Batches:
    """Batches of items of nearly equal source length, in another random order in every epoch.

    Args:
        lengths: source length of every item. Shape (items,).
        batch_size: items per batch over all processes, >= 1.
        target_lengths: the second key, blurred by up to two symbols so that batches differ; None for none. (items,).
        seed: of the order.
        shuffle: False gives items sorted by length, for evaluation.
        rank: this process, from 0.
        world_size: processes in all.
    Raises:
        DataError: a process would have nothing to train on.
    """
    if shuffle:
        check_shares(batch_size, len(lengths), what="items", world_size=world_size)

    def arrange(random: np.random.Generator, _: int) -> list[Items]:
        if not shuffle:
            return cut(np.argsort(lengths, kind="stable"), batch_size, least=0)
        batches = _bucketed(np.arange(len(lengths)), lengths, target_lengths, batch_size, random, least=world_size)
        return [batches[place] for place in random.permutation(len(batches))]

    return Batches(arrange, seed=seed, rank=rank, world_size=world_size)


def synthetic_first(
    lengths: np.ndarray[Any, Any],
    batch_size: int,
    *,
    target_lengths: np.ndarray[Any, Any],
    synthetic: int,
    epochs: int,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Batches:
    """Batches of nearly equal source length, at first mostly of synthetic items and at last of the others alone.

    Each synthetic item comes once in a training, more of them in each epoch than in the next, and none after the first
    half. All epochs have as many batches as the first; the others fill the place of the synthetic ones.

    Args:
        lengths: source length of every item. Shape (items,).
        batch_size: items per batch over all processes, >= 1.
        target_lengths: the second key, as in `by_length`. (items,).
        synthetic: how many items, the last ones, are synthetic; fewer than all.
        epochs: of the whole training.
        seed: of the order.
        rank: this process, from 0.
        world_size: processes in all.
    Raises:
        DataError: a process would have nothing to train on.
    """
    check_shares(batch_size, len(lengths) - synthetic, what="items", world_size=world_size)
    real = np.arange(len(lengths) - synthetic)
    made = len(real) + np.random.default_rng(seed).permutation(synthetic)
    falling = np.maximum(0.0, 1 - np.arange(epochs) / (SYNTHETIC_PART * epochs))
    ends = np.round(np.cumsum(falling) / falling.sum() * synthetic).astype(int)
    count = len(cut(np.arange(len(real) + ends[0]), batch_size, least=world_size))

    def arrange(random: np.random.Generator, epoch: int) -> list[Items]:
        first, end = (0, *ends)[min(epoch, epochs)], ends[min(epoch, epochs - 1)]
        items = np.concatenate([real, made[first:end]])
        batches: list[Items] = []
        while len(batches) < count:
            those = _bucketed(items, lengths, target_lengths, batch_size, random, least=world_size)
            batches += [those[place] for place in random.permutation(len(those))][: count - len(batches)]
            items = real
        return [batches[place] for place in random.permutation(count)]

    return Batches(arrange, seed=seed, rank=rank, world_size=world_size)


def _bucketed(
    items: Items,
    lengths: np.ndarray[Any, Any],
    target_lengths: np.ndarray[Any, Any] | None,
    batch_size: int,
    random: np.random.Generator,
    *,
    least: int,
) -> list[Items]:
    """Batches of some items in the order of their source lengths, then of their blurred target lengths."""
    tie_break = BLUR * random.random(len(items)) + (0 if target_lengths is None else target_lengths[items])
    return cut(items[np.lexsort((tie_break, lengths[items]))], batch_size, least=least)
