"""A dictionary of a user's own spellings; they replace the model's predictions for their sources and features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from triptych.errors import DataError
from triptych.text.pairs import Input

Symbols = tuple[str, ...]


class Dictionary:
    """Targets of known sources with their features, the preferred one first.

    Args:
        entries: (source, target) or (source, target, features), each as symbols; a source may come several times, and
            repeated entries count once. Targets may have symbols that the model has never seen.
    Raises:
        DataError: a source without symbols.
    """

    def __init__(self, entries: Iterable[Sequence[Sequence[str]]]) -> None:
        targets: dict[Input, dict[Symbols, None]] = {}
        for number, (source, target, *features) in enumerate(entries, start=1):
            if not source:
                raise DataError(f"the source of dictionary entry {number} is empty; expected at least one symbol.")
            targets.setdefault(_key(source, *features), {})[tuple(target)] = None
        self._targets = {given: tuple(listed) for given, listed in targets.items()}

    def lookup(self, source: Sequence[str], features: Sequence[str] = ()) -> tuple[Symbols, ...]:
        """The targets of a source with these features, the preferred one first; empty where there is none."""
        return self._targets.get(_key(source, features), ())

    def entries(self) -> Iterator[tuple[Symbols, Symbols, Symbols]]:
        """Source, target and features of every entry, of a source the preferred one first."""
        for given, targets in self._targets.items():
            for target in targets:
                yield given.source, target, given.features

    def within(self, words: Collection[Symbols]) -> Dictionary:
        """The entries whose targets are among the words of a list."""
        return Dictionary(entry for entry in self.entries() if entry[1] in words)

    def __contains__(self, source: Sequence[str]) -> bool:
        return _key(source) in self._targets

    def __len__(self) -> int:
        """Number of sources, each counted once with each set of features."""
        return len(self._targets)


def first_known(given: Input, dictionaries: Iterable[Dictionary | None]) -> tuple[Symbols, ...]:
    """The targets of a source with its features in the first dictionary that has it; empty where none has."""
    found = (dictionary.lookup(*given) for dictionary in dictionaries if dictionary is not None)
    return next((targets for targets in found if targets), ())


def _key(source: Sequence[str], features: Sequence[str] = ()) -> Input:
    return Input(tuple(source), tuple(sorted(set(features))))
