"""One look from states at all patterns of a memory, shard by shard in bounded memory.

The softmax averages a_s of the shards, with log-sums l_s, make the average of all: sum_s exp(l_s - l) a_s with
l = log sum_s exp(l_s). The entropy of the weights comes with it, since sum_i p_i beta x_i·q = beta q·a.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.memory.normalisation import Scaling
from triptych.memory.shards import Shard
from triptych.recall.kernels import SCORES_AT_ONCE, blocks, log_mean_exp, softmax_pass
from triptych.recall.separation import Separation, Softmax, potential


@dataclass(frozen=True)
class Look:
    """What states see among the patterns.

    Attributes:
        average: of the keys, or of the values where they were asked for. Shape (B, D) or (B, V).
        potential: (Omega*(beta X q) + Omega(1/N)) / beta, the part of the energy that scores pay for. Shape (B,).
        entropy: of the weights, in nats. Shape (B,).
    """

    average: Tensor
    potential: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class Neighbours:
    """The patterns nearest to each state by Euclidean distance, nearest first.

    Attributes:
        places: counted over all shards, removed rows included. Shape (B, k), int64.
        distance: Shape (B, k).
    """

    places: Tensor
    distance: Tensor


def look(shards: Sequence[Shard], queries: Tensor, *, beta: float, separation: Separation) -> Look:
    """One update from each state, with its potential and entropy.

    Args:
        shards: with at least one row that counts.
        queries: Shape (B, D).
        beta: inverse temperature, > 0.
        separation: gives the weights.
    """
    if not isinstance(separation, Softmax):
        return _general(shards, queries, beta, separation, None)
    average, log_sum = _softmax(shards, queries, beta, None)
    count = sum(len(shard) - len(shard.removed) for shard in shards)
    entropy = log_sum - beta * (queries * average).sum(1)
    found = (log_sum - math.log(count)) / beta
    flat = (log_sum - math.log(count)).abs() <= 0.25  # where that difference would lose digits
    if bool(flat.any()):
        found[flat] = _flat_potential(shards, queries[flat], beta)
    return Look(average, found, entropy.clamp(0, math.log(count)))


def read_values(
    shards: Sequence[Shard], queries: Tensor, scaling: Scaling, *, beta: float, separation: Separation
) -> Tensor:
    """The average of what is recalled, with the weights that states give to the patterns. Shapes: (B, D) to (B, V)."""
    if not isinstance(separation, Softmax):
        return _general(shards, queries, beta, separation, scaling).average
    return _softmax(shards, queries, beta, scaling)[0]


def neighbours(shards: Sequence[Shard], queries: Tensor, *, k: int) -> Neighbours:
    """The k nearest patterns of each state, or all where there are fewer, by one streamed product."""
    found = [_nearest(shards, queries[rows], k) for rows in blocks(queries.shape[0], 256)]
    if not found:
        empty = queries.new_empty(0, k)
        return Neighbours(empty.long(), empty)
    places = torch.cat([some.places for some in found])
    return Neighbours(places, torch.cat([some.distance for some in found]))


def rows_at(shards: Sequence[Shard], places: Tensor) -> Tensor:
    """Keys as float32 by their places over all shards. Shapes: (...) to (..., D)."""
    flat = places.reshape(-1)
    found = torch.empty(flat.shape[0], shards[0].keys.rows.shape[1])
    start = 0
    for shard in shards:
        here = ((flat >= start) & (flat < start + len(shard))).nonzero().squeeze(1)
        if here.shape[0]:
            found[here] = shard.keys.rows_at(flat[here] - start)
        start += len(shard)
    return found.reshape(*places.shape, found.shape[1])


def _keys(shards: Sequence[Shard]) -> Iterator[tuple[Shard, slice | Tensor, Tensor]]:
    for shard in shards:
        for place in shard.places(whole=True):
            yield shard, place, shard.keys.rows_at(place)


def _softmax(shards: Sequence[Shard], queries: Tensor, beta: float, scaling: Scaling | None) -> tuple[Tensor, Tensor]:
    """Average of keys, or of values where a scaling is given, and log sum exp(beta X q)."""
    average: Tensor | None = None
    total = queries.new_full((queries.shape[0],), -math.inf)
    for shard, place, keys in _keys(shards):
        values = keys if scaling is None else shard.value_rows(place, scaling)
        some, log_sum = softmax_pass(keys, values, queries, beta)
        if average is None:
            average, total = some, log_sum
            continue
        merged = torch.logaddexp(total, log_sum)
        average = average * (total - merged).exp().unsqueeze(1) + some * (log_sum - merged).exp().unsqueeze(1)
        total = merged
    assert average is not None, "a memory holds at least one pattern"
    return average, total


def _general(
    shards: Sequence[Shard], queries: Tensor, beta: float, separation: Separation, scaling: Scaling | None
) -> Look:
    """Any separation function: all scores of some states at a time."""
    count = sum(len(shard) - len(shard.removed) for shard in shards)
    found = []
    for rows in blocks(queries.shape[0], max(1, SCORES_AT_ONCE // (4 * count))):
        scores = torch.cat([beta * (queries[rows] @ keys.T) for _, _, keys in _keys(shards)], dim=1)
        weights = separation.weights(scores)
        average, start = None, 0
        for shard, place, keys in _keys(shards):
            values = keys if scaling is None else shard.value_rows(place, scaling)
            some = weights[:, start : start + keys.shape[0]] @ values
            average = some if average is None else average + some
            start += keys.shape[0]
        assert average is not None, "a memory holds at least one pattern"
        entropy = -torch.xlogy(weights, weights).sum(1)
        found.append(Look(average, potential(separation, scores, weights) / beta, entropy))
    width = found[0].average.shape[1] if found else 0
    return Look(
        torch.cat([queries.new_empty(0, width), *(some.average for some in found)]),
        torch.cat([queries.new_empty(0), *(some.potential for some in found)]),
        torch.cat([queries.new_empty(0), *(some.entropy for some in found)]),
    )


def _flat_potential(shards: Sequence[Shard], queries: Tensor, beta: float) -> Tensor:
    """log(mean exp(beta X q)) / beta for scores whose exponentials average to about one. Shape (B,)."""
    total, count = queries.new_zeros(queries.shape[0], dtype=torch.float64), 0
    for _, _, keys in _keys(shards):
        for rows in blocks(keys.shape[0], max(1, SCORES_AT_ONCE // max(1, queries.shape[0]))):
            some = log_mean_exp(queries @ keys[rows].T, beta=beta).double()
            total += torch.expm1(beta * some) * (rows.stop - rows.start)
        count += keys.shape[0]
    return (torch.log1p(total / count) / beta).to(queries.dtype)


def _nearest(shards: Sequence[Shard], queries: Tensor, k: int) -> Neighbours:
    """|x - q|² = |x|² - 2 x·q + |q|²: the last term orders nothing; distances are taken from the rows found."""
    best, places = queries.new_empty(queries.shape[0], 0), torch.empty(queries.shape[0], 0, dtype=torch.int64)
    start = 0
    for shard in shards:
        for place in shard.places():
            keys = shard.keys.rows_at(place)
            gaps = torch.addmm(keys.square().sum(1), queries, keys.T, alpha=-2)
            numbers = torch.arange(place.start, place.stop) if isinstance(place, slice) else place
            least, where = gaps.topk(min(k, gaps.shape[1]), dim=1, largest=False)
            best, places = torch.cat([best, least], 1), torch.cat([places, numbers[where] + start], 1)
            best, order = best.topk(min(k, best.shape[1]), dim=1, largest=False)
            places = places.gather(1, order)
        start += len(shard)
    distance = torch.linalg.vector_norm(rows_at(shards, places) - queries.unsqueeze(1), dim=2)
    distance, order = distance.sort(dim=1, stable=True)
    return Neighbours(places.gather(1, order), distance)
