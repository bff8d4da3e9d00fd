"""Synthetic pairs for small data: pieces of aligned training pairs, put together in new orders.

Pairs are cut into pieces of a few source symbols and what is written for them, by expectation maximisation over all
ways of cutting (Jiampojamarn et al. 2007, "Applying many-to-many alignments and hidden Markov models to
letter-to-phoneme conversion"). New pairs are drawn from a trigram model over these pieces (the joint units of Bisani
and Ney 2008). Data of this kind ("hallucinated", Anastasopoulos and Neubig 2019) teach a network from few pairs what is
written for what.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from triptych.text.pairs import Pair

Piece = tuple[tuple[str, ...], tuple[str, ...]]
Weights = Mapping[Piece, float]

ROUNDS = 8  # of expectation maximisation
LONGEST = 40  # symbols on a side of a pair that is cut into pieces, since the ways of cutting grow with the square
ORDER = 3  # pieces that belong together in drawing, the drawn one included
DISCOUNT = 0.75  # taken from each count and given to what follows a shorter history (absolute discounting)
TRIES = 20  # drawn pairs for each one asked for, before the pieces are taken as used up
# Lengths of a piece's two sides, and its weight before and (as a factor) in estimation: pieces of one symbol each come
# first, so that a word is not kept whole.
KINDS = {
    (1, 1): (1.0, 1.0),
    (1, 2): (0.1, 0.5),
    (2, 1): (0.1, 0.5),
    (1, 0): (0.1, 0.5),
    (1, 3): (0.01, 0.1),
    (2, 2): (0.01, 0.1),
    (3, 1): (0.01, 0.1),
}
_EDGE: Piece = ((), ())  # before the first and after the last piece


def synthetic_pairs(pairs: Sequence[Pair], count: int, *, seed: int) -> list[Pair]:
    """Draw new pairs from the pieces of training pairs.

    Each is no shorter and no longer, in pieces, than the training pairs are, and has a source that none of them has.
    The same arguments give the same pairs. Pairs that cannot be cut (too long, or one side more than three times the
    other) lend no pieces.

    Args:
        pairs: training pairs.
        count: how many to draw, >= 0.
        seed: of the drawing.
    Returns:
        At most `count` different pairs, without features; fewer where there are not so many.
    """
    cuts = cut_into_pieces(pairs) if count else []
    if not cuts:
        return []
    draw, following = random.Random(seed), _followers(cuts)
    lengths = sorted(len(cut) for cut in cuts)
    known = {pair.source for pair in pairs}
    drawn: dict[tuple[tuple[str, ...], tuple[str, ...]], None] = {}
    for _ in range(count * TRIES):
        pieces = _drawn(following, draw, lengths[-1])
        source, target = (tuple(symbol for piece in pieces for symbol in piece[side]) for side in (0, 1))
        if len(pieces) >= lengths[0] and source and target and source not in known:
            drawn[source, target] = None
            if len(drawn) == count:
                break
    return [Pair(source, target, 0) for source, target in drawn]


def cut_into_pieces(pairs: Sequence[Pair]) -> list[list[Piece]]:
    """The most probable pieces of each pair that can be cut, in order.

    Args:
        pairs: any number.
    Returns:
        For each pair that can be cut a list of pieces, whose sides joined are the pair's.
    """
    whole = [pair for pair in pairs if max(len(pair.source), len(pair.target)) <= LONGEST]
    lattices = [lattice for lattice in map(_lattice, whole) if lattice]
    weights: Weights = {piece: KINDS[_kind(piece)][0] for lattice in lattices for _, _, piece in lattice}
    for _ in range(ROUNDS):
        weights = _estimated(lattices, weights)
    return [_best(lattice, weights) for lattice in lattices]


# A way of cutting is a path through (place in the source, place in the target); an edge is (from, to, piece).
_Edge = tuple[tuple[int, int], tuple[int, int], Piece]


def _lattice(pair: Pair) -> list[_Edge]:
    """All edges on some path from the beginning to the end, in an order in which paths go; none where there is none."""
    source, target = pair.source, pair.target
    end = len(source), len(target)
    reached, edges = {(0, 0)}, []
    for i in range(end[0]):
        for j in range(end[1] + 1):
            for taken, written in KINDS if (i, j) in reached else ():
                to = i + taken, j + written
                if to[0] <= end[0] and to[1] <= end[1]:
                    reached.add(to)
                    edges.append(((i, j), to, (source[i : to[0]], target[j : to[1]])))
    leading, kept = {end}, []
    for edge in reversed(edges):
        if edge[1] in leading:
            leading.add(edge[0])
            kept.append(edge)
    return kept[::-1]


def _estimated(lattices: Sequence[Sequence[_Edge]], weights: Weights) -> Weights:
    """One round of expectation maximisation: each piece's share of the expected counts, times its kind's factor."""
    counts: dict[Piece, float] = defaultdict(float)
    for lattice in lattices:
        into = [weights[piece] for _, _, piece in lattice]
        forward: dict[tuple[int, int], float] = defaultdict(float, {lattice[0][0]: 1.0})
        backward: dict[tuple[int, int], float] = defaultdict(float, {lattice[-1][1]: 1.0})
        for (start, to, _), weight in zip(lattice, into, strict=True):
            forward[to] += forward[start] * weight
        for (start, to, _), weight in zip(reversed(lattice), reversed(into), strict=True):
            backward[start] += weight * backward[to]
        total = forward[lattice[-1][1]]
        if total == 0:  # too improbable for a floating-point number
            continue
        for (start, to, piece), weight in zip(lattice, into, strict=True):
            counts[piece] += forward[start] * weight * backward[to] / total
    everything = sum(counts.values())
    return {piece: count / everything * KINDS[_kind(piece)][1] for piece, count in counts.items()}


def _best(lattice: Sequence[_Edge], weights: Weights) -> list[Piece]:
    """The pieces of the most probable path."""
    best: dict[tuple[int, int], float] = {lattice[0][0]: 1.0}
    last: dict[tuple[int, int], _Edge] = {}
    for edge in lattice:
        start, to, piece = edge
        value = best.get(start, 0.0) * weights[piece]
        if value > best.get(to, -1.0):
            best[to], last[to] = value, edge
    place, pieces = lattice[-1][1], []
    while place in last:
        place, _, piece = last[place]
        pieces.append(piece)
    return pieces[::-1]


def _followers(cuts: Sequence[Sequence[Piece]]) -> dict[tuple[Piece, ...], Counter[Piece]]:
    """How often each piece follows those before it, for none to `ORDER` - 1 of them; edges are around the pieces."""
    following: dict[tuple[Piece, ...], Counter[Piece]] = defaultdict(Counter)
    for cut in cuts:
        padded = [*[_EDGE] * (ORDER - 1), *cut, _EDGE]
        for place in range(ORDER - 1, len(padded)):
            for before in range(ORDER):
                following[tuple(padded[place - before : place])][padded[place]] += 1
    return following


def _drawn(following: Mapping[tuple[Piece, ...], Counter[Piece]], draw: random.Random, most: int) -> list[Piece]:
    """Pieces from the first to the edge, or none where they would be more than `most`."""
    pieces = [_EDGE] * (ORDER - 1)
    while len(pieces) - (ORDER - 1) <= most:
        before = tuple(pieces[1 - ORDER :])
        after = following.get(before, Counter())
        while before and draw.random() * after.total() <= DISCOUNT * len(after):
            before = before[1:]
            after = following.get(before, Counter())
        discount = DISCOUNT if before else 0.0
        piece = draw.choices(list(after), [count - discount for count in after.values()])[0]
        if piece == _EDGE:
            return pieces[ORDER - 1 :]
        pieces.append(piece)
    return []


def _kind(piece: Piece) -> tuple[int, int]:
    return len(piece[0]), len(piece[1])
