"""Batches straight from images held as tensors: one gather per batch, nothing decoded, nothing stacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from triptych.config import SeeRecipe
from triptych.errors import DataError, RecipeError
from triptych.images.sources import Collection
from triptych.see.images import Images
from triptych.training.hardware import check_shares
from triptych.training.objective import Loaders


@dataclass
class ImageBatch:
    """Some images. It is not frozen, since Lightning writes into batches to change their precision.

    Attributes:
        pixels: bytes. Shape (B, C, height, width).
        labels: class numbers. Shape (B,).
    """

    pixels: Tensor
    labels: Tensor

    def to(self, *arguments: Any, **options: Any) -> ImageBatch:
        """A copy elsewhere, as `Tensor.to`; the trainer calls it."""
        return replace(self, pixels=self.pixels.to(*arguments, **options), labels=self.labels.to(*arguments, **options))

    def __len__(self) -> int:
        return len(self.labels)


class _Gathered(Dataset[ImageBatch]):
    """Gives whole batches."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, indices: Sequence[int]) -> ImageBatch:
        chosen = torch.as_tensor(indices)
        return ImageBatch(self.images.pixels[chosen], self.images.labels[chosen])


class Shuffled(Sampler[list[int]]):
    """Batches of items in a new order for every epoch, a function of seed and epoch alone.

    With several processes each takes its share of every batch: an update sees the same items as one process would.

    Args:
        count: items, >= 1.
        batch_size: items per batch over all processes, >= 1.
        seed: of the order.
        shuffle: False keeps the items' own order, for evaluation.
        rank: this process, from 0.
        world_size: processes in all.
    Raises:
        DataError: a process would have nothing to train on.
    """

    def __init__(
        self, count: int, batch_size: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world_size: int = 1
    ) -> None:
        if shuffle:
            check_shares(batch_size, count, what="images", world_size=world_size)
        self.count = count
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
        return sum(1 for first, last in self._bounds() if last - first > self.rank)

    def _bounds(self) -> list[tuple[int, int]]:
        """First and last item of every batch. In training the last is joined to the one before where it is too small.

        Too small is fewer than two items per process, since batch normalisation cannot train on one.
        """
        bounds = [(first, min(first + self.batch_size, self.count)) for first in range(0, self.count, self.batch_size)]
        least = min(2 * self.world_size, self.batch_size)
        if self.shuffle and len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] < least:
            bounds[-2:] = [(bounds[-2][0], bounds[-1][1])]
        return bounds

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        for first, last in self._bounds():
            share = order[first:last][self.rank :: self.world_size].tolist()
            if share:
                yield share


def loader(images: Images, order: Shuffled) -> DataLoader[ImageBatch]:
    """A loader that hands out one `ImageBatch` per batch of `order`.

    `order` is its sampler, not its batch sampler: Lightning sets the epoch only of the former.
    """
    return DataLoader(_Gathered(images), sampler=order, batch_size=None)


def loaders(recipe: SeeRecipe, collection: Collection[Images], network: nn.Module) -> Loaders:
    """Loaders of training and validation images, for each process its share.

    Raises:
        RecipeError, DataError: a process would normalise over a single image.
    """
    train, valid = collection.splits["train"], collection.splits.get("valid")
    count, size = len(train.labels), recipe.training.items_per_update

    def train_loader(rank: int, world_size: int) -> Any:
        _check_normalisable(network, size, count, world_size)
        return loader(train, Shuffled(count, size, seed=recipe.training.seed, rank=rank, world_size=world_size))

    def valid_loader(rank: int, world_size: int) -> Any:
        assert valid is not None  # only a recipe without epochs may go without
        rows, at_once = len(valid.labels), recipe.decoding.batch_size
        return loader(valid, Shuffled(rows, at_once, shuffle=False, rank=rank, world_size=world_size))

    _check_normalisable(network, size, count, 1)
    return Loaders(train_loader, valid_loader)


def _check_normalisable(network: nn.Module, batch_size: int, count: int, world_size: int) -> None:
    """Check that no process trains on a single image where hidden layers are normalised over the batch."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        return
    own = 1 if torch.cuda.is_available() else world_size  # on GPUs they normalise together
    share = f" for each of {own} processes" if own > 1 else ""
    rule = f"expected at least two{share}, since the network normalises over the images of a batch (model.normalised)."
    if batch_size < 2 * own:
        raise RecipeError(f"training.batch_size is {batch_size}; {rule}")
    if count < 2 * own:
        raise DataError(f"the number of training images is {count}; {rule}")
