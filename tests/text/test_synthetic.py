"""Synthetic pairs, made of pieces of training pairs."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from triptych.text import synthetic
from triptych.text.pairs import Pair
from triptych.text.synthetic import KINDS, Piece, cut_into_pieces, synthetic_pairs

WRITTEN = {"sh": "ʃ", "ee": "i", "x": "k s", "a": "a", "b": "b", "d": "d", "k": "k", "l": "l", "m": "m", "t": "t"}


def words(count: int, *, seed: int = 0) -> list[Pair]:
    """Pairs of a language with three digraphs, whose pronunciation follows from their spelling."""
    draw = random.Random(seed)
    pairs = []
    for line in range(count):
        letters = draw.choices(list(WRITTEN), k=draw.randint(2, 6))
        pairs.append(Pair(tuple("".join(letters)), tuple(" ".join(map(WRITTEN.get, letters)).split()), line + 1))  # type: ignore[arg-type]
    return pairs


def pronounced(source: Sequence[str]) -> tuple[str, ...]:
    """What the language's rules make of a spelling."""
    text = "".join(source)
    for spelling in sorted(WRITTEN, key=len, reverse=True):
        text = text.replace(spelling, f" {WRITTEN[spelling].upper()} ")
    return tuple(text.lower().split())


def every_cut(source: tuple[str, ...], target: tuple[str, ...]) -> list[list[Piece]]:
    """All ways of cutting a pair, one by one."""
    if not source:
        return [] if target else [[]]
    return [
        [(source[:taken], target[:written]), *rest]
        for taken, written in KINDS
        if taken <= len(source) and written <= len(target)
        for rest in every_cut(source[taken:], target[written:])
    ]


def estimated_one_by_one(pairs: Sequence[Pair]) -> list[list[Piece]]:
    """Expectation maximisation over lists of all cuts."""
    cuts = [every_cut(pair.source, pair.target) for pair in pairs]

    def kind(piece: Piece) -> tuple[int, int]:
        return len(piece[0]), len(piece[1])

    weights = {piece: KINDS[kind(piece)][0] for each in cuts for cut in each for piece in cut}
    for _ in range(synthetic.ROUNDS):
        counts: dict[Piece, float] = defaultdict(float)
        for each in cuts:
            shares = [math.prod(weights[piece] for piece in cut) for cut in each]
            for cut, share in zip(each, shares, strict=True):
                for piece in cut:
                    counts[piece] += share / sum(shares)
        total = sum(counts.values())
        weights = {piece: count / total * KINDS[kind(piece)][1] for piece, count in counts.items()}
    return [max(each, key=lambda cut: math.prod(weights[piece] for piece in cut)) for each in cuts]


def test_pieces_are_those_of_all_ways_of_cutting_listed_one_by_one() -> None:
    pairs = [pair for pair in words(60) if len(pair.source) <= 5][:12]
    assert cut_into_pieces(pairs) == estimated_one_by_one(pairs)


def test_pieces_are_the_digraphs_of_the_language() -> None:
    found = Counter(piece for cut in cut_into_pieces(words(150)) for piece in cut)
    expected = {(tuple(spelling), tuple(written.split())) for spelling, written in WRITTEN.items()}
    assert {piece for piece, _ in found.most_common(len(expected))} == expected
    assert sum(found[piece] for piece in expected) > 0.97 * found.total()


def test_joined_pieces_are_the_pair() -> None:
    pairs = words(40)
    for pair, cut in zip(pairs, cut_into_pieces(pairs), strict=True):
        assert tuple(s for source, _ in cut for s in source) == pair.source
        assert tuple(t for _, target in cut for t in target) == pair.target


def test_synthetic_pairs_follow_the_rules_of_the_language() -> None:
    pairs = words(150)
    made = synthetic_pairs(pairs, 400, seed=1)
    assert len({(pair.source, pair.target) for pair in made}) == 400
    right = sum(pair.target == pronounced(pair.source) for pair in made)
    assert right > 0.95 * len(made)
    known = {pair.source for pair in pairs}
    assert not any(pair.source in known for pair in made)
    assert max(len(pair.source) for pair in made) <= 2 * max(len(pair.source) for pair in pairs)


def test_the_seed_decides() -> None:
    pairs = words(60)
    assert synthetic_pairs(pairs, 50, seed=1) == synthetic_pairs(pairs, 50, seed=1)
    assert synthetic_pairs(pairs, 50, seed=1) != synthetic_pairs(pairs, 50, seed=2)


def test_pieces_run_out() -> None:
    pairs = [Pair(("a", "b"), ("A", "B"), 1), Pair(("b", "a"), ("B", "A"), 2)]
    made = synthetic_pairs(pairs, 1000, seed=1)
    assert {pair.source for pair in made} <= {("a", "a"), ("b", "b")}


@pytest.mark.parametrize(
    "pair",
    [
        Pair(("a",), tuple("ABCDEFGH"), 1),  # more than three target symbols for each
        Pair(("a",) * 41, ("A",) * 41, 1),  # too long to be cut in reasonable time
        Pair(("a",) * 5, ("A",), 1),  # can be cut, and its pieces give nothing new: the rest is left out
    ],
)
def test_pairs_that_cannot_be_cut_lend_no_pieces(pair: Pair) -> None:
    others = words(30)
    cuttable = len(cut_into_pieces([pair]))
    assert len(cut_into_pieces([*others, pair])) == len(others) + cuttable
    assert all("A" not in made.target for made in synthetic_pairs([*others, pair], 50, seed=1)) or cuttable


def test_nothing_comes_of_nothing() -> None:
    assert synthetic_pairs([], 10, seed=1) == []
    assert synthetic_pairs(words(10), 0, seed=1) == []
    assert synthetic_pairs([Pair(("a",), tuple("ABCDEFGH"), 1)], 10, seed=1) == []
