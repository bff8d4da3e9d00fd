"""Which pairs belong together: the right answers of a source, what a split keeps together, and what a sample does."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Literal

from triptych.data.splits import connected_groups
from triptych.errors import RecipeError
from triptych.text.pairs import Input, Pair


def group_references(pairs: Iterable[Pair]) -> dict[Input, tuple[tuple[str, ...], ...]]:
    """All different targets of each source with its features, in order of appearance: any of them is a right output."""
    groups: dict[Input, dict[tuple[str, ...], None]] = {}
    for pair in pairs:
        groups.setdefault(pair.input, {})[pair.target] = None
    return {given: tuple(targets) for given, targets in groups.items()}


def split_keys(pairs: Iterable[Pair], *, by: Literal["target", "source", "both"] = "target") -> list[Hashable]:
    """One key per pair for `split_by_fraction`; pairs with equal keys stay in one split.

    Args:
        pairs: the pairs.
        by: "target" keeps all pronunciations of a word together in phoneme-to-spelling data; "source" keeps all
            targets of a source together; "both" joins pairs that share either, through any chain of pairs.
    Raises:
        RecipeError: `by` is none of these.
    """
    if by == "target":
        return [pair.target for pair in pairs]
    if by == "source":
        return [pair.source for pair in pairs]
    if by == "both":
        return connected_groups([(("source", *pair.source), ("target", *pair.target)) for pair in pairs])
    raise RecipeError(field="group_by", value=by, expected="one of target, source, both")


def sample_pairs(pairs: Sequence[Pair], most: int, seed: int, *, by_source: bool = False) -> Sequence[Pair]:
    """At most that many pairs, drawn at random, in their order; 0 takes all.

    With `by_source` a source (with its features) comes with all its targets or not at all: an evaluation must know
    every right answer.
    """
    if most == 0 or len(pairs) <= most:
        return pairs
    groups: dict[Any, list[int]] = {}
    for place, pair in enumerate(pairs):
        groups.setdefault(pair.input if by_source else place, []).append(place)
    drawn = random.Random(seed).sample(list(groups.values()), len(groups))
    counts = list(accumulate(map(len, drawn)))
    chosen = [place for group, count in zip(drawn, counts, strict=True) if count <= most for place in group]
    return [pairs[place] for place in sorted(chosen or drawn[0])]
