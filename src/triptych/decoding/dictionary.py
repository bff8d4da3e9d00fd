"""A dictionary of a user's own spellings; they replace the model's predictions for their sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from triptych.errors import DataError

Symbols = tuple[str, ...]


class Dictionary:
    """Targets of known sources, the preferred one first.

    Args:
        pairs: (source, target) as symbols; a source may come several times, and repeated pairs count once. Targets may
            have symbols that the model has never seen.
    Raises:
        DataError: a source without symbols.
    """

    def __init__(self, pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> None:
        targets: dict[Symbols, dict[Symbols, None]] = {}
        for number, (source, target) in enumerate(pairs, start=1):
            if not source:
                raise DataError(f"the source of dictionary entry {number} is empty; expected at least one symbol.")
            targets.setdefault(tuple(source), {})[tuple(target)] = None
        self._targets = {source: tuple(listed) for source, listed in targets.items()}

    def lookup(self, source: Sequence[str]) -> tuple[Symbols, ...]:
        """The targets of a source, the preferred one first; empty where it is not in the dictionary."""
        return self._targets.get(tuple(source), ())

    def __contains__(self, source: Sequence[str]) -> bool:
        return tuple(source) in self._targets

    def __len__(self) -> int:
        """Number of sources."""
        return len(self._targets)
