"""Sentences on what a model meets that its training never showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from triptych.spell.corpus import Item
from triptych.text.symbols import Vocabulary, some_of


def unseen_features(items: Sequence[Item], features: Vocabulary | None) -> str:
    """A sentence on features that training never showed, which a model ignores; else ''."""
    unseen = Counter(name for item in items for name in (features.unknown_in(item.features) if features else ()))
    if features is None or not unseen:
        return ""
    affected = sum(bool(features.unknown_in(item.features)) for item in items)
    return (
        f"{affected} of {len(items)} items have features that training never showed ({some_of(unseen)}), which are "
        "ignored; expect poor predictions for them."
    )


def unseen_symbols(items: Sequence[Item], sources: Vocabulary, *, copies: bool = False) -> str:
    """A sentence on source symbols that training never showed, which a model takes for one and the same; else ''.

    A model that copies writes them as they are.
    """
    unseen = Counter(symbol for item in items for symbol in sources.unknown_in(item.source))
    if not unseen:
        return ""
    affected = sum(bool(sources.unknown_in(item.source)) for item in items)
    return (
        f"{affected} of {len(items)} sources have symbols that training never showed ({some_of(unseen)}); "
        f"{'they can only be copied' if copies else 'expect poor predictions for them'}."
    )
