"""Vocabularies and batches of a recipe's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from triptych.config import SpellRecipe
from triptych.spell.batches import EncodedPairs, by_length, synthetic_first
from triptych.spell.corpus import Corpus, Item
from triptych.text.pairs import Pair
from triptych.text.symbols import Vocabularies, Vocabulary
from triptych.text.synthetic import synthetic_pairs
from triptych.training.batches import loader
from triptych.training.objective import Loaders


def vocabularies_of(recipe: SpellRecipe, corpus: Corpus) -> Vocabularies:
    """The vocabularies of the training pairs."""
    source_tokenizer, target_tokenizer = corpus.tokenizers
    train = corpus.splits["train"]
    return Vocabularies(
        source_tokenizer,
        target_tokenizer,
        Vocabulary.build(pair.source for pair in train),
        Vocabulary.build(pair.target for pair in train),
        Vocabulary.build(pair.features for pair in train) if recipe.data.has_features else None,
        recipe.data.features_separator,
        tuple(recipe.data.languages),
    )


def sizes_of(vocabularies: Vocabularies) -> dict[str, int]:
    """Sizes of the vocabularies as `build_transducer` takes them."""
    sizes = {"source_size": len(vocabularies.sources), "target_size": len(vocabularies.targets)}
    return sizes if vocabularies.features is None else {**sizes, "features_size": len(vocabularies.features)}


def loaders_of(recipe: SpellRecipe, corpus: Corpus, vocabularies: Vocabularies, valid_items: Sequence[Item]) -> Loaders:
    """Batches of the training pairs, with synthetic ones where the recipe has them, and of the validation items."""
    known = (vocabularies.sources, vocabularies.targets, vocabularies.features)
    copies = recipe.model.copy_symbols
    pairs = corpus.splits["train"]

    @cache  # and made when they are asked for: synthetic pairs take seconds, and not all that is built is trained
    def training_items() -> tuple[EncodedPairs, int]:
        synthetic = synthetic_pairs(pairs, recipe.training.synthetic_count, seed=recipe.training.seed)
        return EncodedPairs([*pairs, *synthetic], *known, copies=copies), len(synthetic)

    valid_pairs = [Pair(item.source, item.references[0], 0, item.features) for item in valid_items]
    valid = EncodedPairs(valid_pairs, *known, copies=copies)

    def train_loader(rank: int, world_size: int) -> Any:
        size, seed = recipe.training.items_per_update, recipe.training.seed
        train, synthetic = training_items()
        lengths, target_lengths = train.source_lengths, train.target_lengths
        if not synthetic:
            order = by_length(lengths, size, target_lengths=target_lengths, seed=seed, rank=rank, world_size=world_size)
        else:
            order = synthetic_first(
                lengths,
                size,
                target_lengths=target_lengths,
                synthetic=synthetic,
                epochs=recipe.training.most_epochs,
                seed=seed,
                rank=rank,
                world_size=world_size,
            )
        return loader(train, order)

    def valid_loader(rank: int, world_size: int) -> Any:
        size = recipe.decoding.batch_size
        order = by_length(valid.source_lengths, size, shuffle=False, rank=rank, world_size=world_size)
        return loader(valid, order)

    return Loaders(train_loader, valid_loader)
