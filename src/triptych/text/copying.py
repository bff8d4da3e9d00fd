"""Copying: source symbols as a target may have them, also such that no target of training has.

A model that copies writes indices of the target vocabulary, of size V, and beyond it V + p: the symbol at position p of
the row's source, for one that the target vocabulary lacks. A symbol that comes several times is that of its first
position, so that equal symbols have equal indices and different ones have different indices, within a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from triptych.text.symbols import Vocabulary

Symbols = Sequence[str]


def copy_ids(source: Symbols, targets: Vocabulary) -> list[int]:
    """What copying each symbol of a source writes."""
    return extended(source, source, targets)


def extended(target: Symbols, source: Symbols, targets: Vocabulary) -> list[int]:
    """The indices of a target over the vocabulary and the source's symbols; `unknown` for what neither has."""
    size = len(targets)
    first: dict[str, int] = {}
    for position, symbol in enumerate(source):
        first.setdefault(symbol, size + position)
    return [
        first.get(symbol, index) if index == targets.unknown else index
        for symbol, index in zip(target, targets.encode(target), strict=True)
    ]


def written(indices: Iterable[int], source: Symbols, targets: Vocabulary) -> tuple[str, ...]:
    """The symbols of some indices over the vocabulary and the source's symbols."""
    size = len(targets)
    symbols: list[str] = []
    for index in indices:
        symbols += [source[index - size]] if index >= size else targets.decode([index])
    return tuple(symbols)
