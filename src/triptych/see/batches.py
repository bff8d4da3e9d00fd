"""Batches straight from images held as tensors: one gather per batch, nothing decoded, nothing stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from triptych.config import SeeRecipe
from triptych.errors import DataError, RecipeError
from triptych.images.sources import Collection
from triptych.see.images import Images
from triptych.training.batches import Batches, Items, cut, loader
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


class Gathered(Dataset[ImageBatch]):
    """Gives whole batches."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, indices: Sequence[int]) -> ImageBatch:
        chosen = torch.as_tensor(indices)
        return ImageBatch(self.images.pixels[chosen], self.images.labels[chosen])


def shuffled(
    count: int, batch_size: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world_size: int = 1
) -> Batches:
    """Batches of items in a new order for every epoch.

    In training the last batch is joined to the one before where it has fewer than two items per process, since batch
    normalisation cannot train on one.

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
    if shuffle:
        check_shares(batch_size, count, what="images", world_size=world_size)
    least = min(2 * world_size, batch_size) if shuffle else 0

    def arrange(random: np.random.Generator, _: int) -> list[Items]:
        return cut(random.permutation(count) if shuffle else np.arange(count), batch_size, least=least)

    return Batches(arrange, seed=seed, rank=rank, world_size=world_size)


def loaders(recipe: SeeRecipe, collection: Collection[Images], network: nn.Module) -> Loaders:
    """Loaders of training and validation images, for each process its share.

    Raises:
        RecipeError, DataError: a process would normalise over a single image.
    """
    train, valid = collection.splits["train"], collection.splits.get("valid")
    count, size = len(train.labels), recipe.training.items_per_update

    def train_loader(rank: int, world_size: int) -> Any:
        _check_normalisable(network, size, count, world_size)
        return loader(
            Gathered(train), shuffled(count, size, seed=recipe.training.seed, rank=rank, world_size=world_size)
        )

    def valid_loader(rank: int, world_size: int) -> Any:
        assert valid is not None  # only a recipe without epochs may go without
        rows, at_once = len(valid.labels), recipe.decoding.batch_size
        return loader(Gathered(valid), shuffled(rows, at_once, shuffle=False, rank=rank, world_size=world_size))

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
