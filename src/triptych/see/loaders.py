"""The batches of a training on images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from triptych.config import SeeRecipe
from triptych.errors import DataError, RecipeError
from triptych.images.sources import Collection
from triptych.see.batches import Shuffled, loader
from triptych.see.images import Images
from triptych.training.prepared import Loaders


def _check_normalisable(network: nn.Module, batch_size: int, count: int, world_size: int) -> None:
    """See that no process trains on a single image where hidden layers are normalised over the batch."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        return
    own = 1 if torch.cuda.is_available() else world_size  # on GPUs they normalise together
    share = f" for each of {own} processes" if own > 1 else ""
    rule = f"expected at least two{share}, since the network normalises over the images of a batch (model.normalised)."
    if batch_size < 2 * own:
        raise RecipeError(f"training.batch_size is {batch_size}; {rule}")
    if count < 2 * own:
        raise DataError(f"the number of training images is {count}; {rule}")


def loaders(recipe: SeeRecipe, collection: Collection[Images], network: nn.Module) -> Loaders:
    """Loaders of training and validation images, for each process its share."""
    train, valid = collection.splits["train"], collection.splits["valid"]
    _check_normalisable(network, recipe.training.items_per_update, len(train.labels), 1)

    def train_loader(rank: int, world_size: int) -> Any:
        size, seed = recipe.training.items_per_update, recipe.training.seed
        _check_normalisable(network, size, len(train.labels), world_size)
        order = Shuffled(len(train.labels), size, seed=seed, rank=rank, world_size=world_size)
        return loader(train, order)

    def valid_loader(rank: int, world_size: int) -> Any:
        size = recipe.decoding.batch_size
        order = Shuffled(len(valid.labels), size, shuffle=False, rank=rank, world_size=world_size)
        return loader(valid, order)

    return Loaders(train_loader, valid_loader)
