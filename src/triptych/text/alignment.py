"""Which source symbol each target symbol is written from, and what a model says of a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["walk", "attention"]

NOTHING = "_"  # stands for no symbol in the readable form
BETWEEN, TOGETHER = ":", "+"  # of source and target, of several target symbols


@dataclass(frozen=True)
class Alignment:
    """One place in the source for each symbol of the target.

    Attributes:
        source: source symbols.
        target: target symbols.
        places: for each target symbol the place of the source symbol, from 0; None for one that is written before the
            first or after the last source symbol.
        kind: `walk`, the most probable positions of a hard monotonic model, or `attention`, the heaviest path of soft
            weights that never goes back.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    places: tuple[int | None, ...]
    kind: Kind

    @property
    def pairs(self) -> str:
        """Places as `source-target`, from 0, in the order of the target: `0-0 1-1 1-2`."""
        return " ".join(f"{place}-{number}" for number, place in enumerate(self.places) if place is not None)

    @property
    def text(self) -> str:
        """Symbols as a person reads them, in the order of the target: `x:k+s e:_`.

        Target symbols in a row from one source symbol are joined by `+`; `_` is no symbol: a source symbol from which
        nothing is written, or a target symbol that is written at a boundary.
        """
        groups: list[tuple[int | None, list[str]]] = []
        unwritten = [place for place in range(len(self.source)) if place not in self.places]
        for symbol, place in zip(self.target, self.places, strict=True):
            if groups and groups[-1][0] == place and groups[-1][1]:
                groups[-1][1].append(symbol)
                continue
            while place is not None and unwritten and unwritten[0] < place:
                groups.append((unwritten.pop(0), []))
            groups.append((place, [symbol]))
        groups += [(place, []) for place in unwritten]
        return " ".join(
            f"{NOTHING if place is None else self.source[place]}{BETWEEN}{TOGETHER.join(symbols) or NOTHING}"
            for place, symbols in groups
        )

    def turned(self, source: bool, target: bool) -> Alignment:
        """The same with symbols in the order of writing, where a model reads a side backward."""
        places = tuple(None if place is None else len(self.source) - 1 - place for place in self.places)
        places = places if source else self.places
        return Alignment(
            self.source[::-1] if source else self.source,
            self.target[::-1] if target else self.target,
            places[::-1] if target else places,
            self.kind,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "places": list(self.places),
            "text": self.text,
            "kind": self.kind,
        }


@dataclass(frozen=True)
class PairScore:
    """What a model says of a given pair.

    Attributes:
        source: source symbols.
        target: target symbols.
        log_probabilities: natural logarithm of each target symbol's probability given those before it, and of the
            end's; -inf for a symbol that the model cannot write.
        unknown_source: source symbols that training never showed.
        unknown_target: target symbols that training never showed; with one of them that the model cannot copy from the
            source either, the pair has probability 0.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    log_probabilities: tuple[float, ...]
    unknown_source: tuple[str, ...] = ()
    unknown_target: tuple[str, ...] = ()

    @property
    def log_probability(self) -> float:
        """Of the whole target, its end included; -inf where it cannot be written."""
        return math.fsum(self.log_probabilities)

    @property
    def per_symbol(self) -> float:
        """The mean of the log-probabilities, the end's included."""
        return self.log_probability / len(self.log_probabilities)

    @property
    def unknown(self) -> int:
        """Number of different symbols on both sides that training never showed."""
        return len(self.unknown_source) + len(self.unknown_target)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "log_probability": self.log_probability,
            "per_symbol": self.per_symbol,
            "log_probabilities": list(self.log_probabilities),
            "unknown_source": list(self.unknown_source),
            "unknown_target": list(self.unknown_target),
        }


def places_of(positions: Sequence[int], source_length: int) -> tuple[int | None, ...]:
    """Positions with those outside the source as None."""
    return tuple(position if 0 <= position < source_length else None for position in positions)
