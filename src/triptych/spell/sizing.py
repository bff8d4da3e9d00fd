"""Settings that a recipe leaves to the data: length of training, width, depth and dropout from the number of pairs."""

from __future__ import annotations

from typing import Any

from triptych.config import SpellRecipe
from triptych.config.common import AUTO

PASSES = 3600  # epochs over the square root of the number of pairs
MOST_EPOCHS = 150
FEW_PAIRS = 1_000  # below, a shortcut from each symbol and synthetic pairs help; above, validation errors do not fall
SYNTHETIC = 15_000  # pairs, where there are few; about a fifth of them are in the first epoch
SYNTHETIC_EPOCHS = 20  # at least, with them


def sized(recipe: SpellRecipe, pairs: int) -> SpellRecipe:
    """The recipe with a number in place of every "auto".

    Args:
        recipe: as it was written.
        pairs: number of training pairs, >= 1.
    """
    synthetic = recipe.training.synthetic_pairs
    if synthetic == AUTO:
        synthetic = SYNTHETIC if pairs < FEW_PAIRS and not recipe.data.has_features else 0
    chosen = {"model": model_sizes(pairs), "training": training_sizes(pairs, synthetic)}
    tables = {}
    for name, values in chosen.items():
        table = getattr(recipe, name)
        derived = {key: value for key, value in values.items() if getattr(table, key) == AUTO}
        tables[name] = table.model_copy(update=derived)
    return recipe.model_copy(update=tables)


def training_sizes(pairs: int, synthetic: int) -> dict[str, Any]:
    """Epochs and batch size.

    Small data is seen more often, though less in all: the number of pairs seen grows with the square root. Synthetic
    pairs share this number with the others.
    """
    everything = pairs + synthetic // 5
    epochs = min(MOST_EPOCHS, max(8, round(PASSES / pairs**0.5)))
    return {
        "synthetic_pairs": synthetic,
        "epochs": max(SYNTHETIC_EPOCHS, round(epochs * pairs / everything)) if synthetic else epochs,
        "batch_size": 16 if everything < 400 else 32 if everything < 2000 else 64,
    }


def model_sizes(pairs: int) -> dict[str, Any]:
    """Width, depth, shortcut and dropout."""
    width = 192 if pairs >= 50_000 else 128
    return {
        "hidden": width,
        "embedding": width,
        "encoder_hidden": 2 * width,
        "encoder_layers": 2,
        "encoder_shortcut": pairs < FEW_PAIRS,
        "dropout": 0.3,
        "layer_dropout": 0.3,
    }
