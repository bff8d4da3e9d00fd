"""Attention of states over all stored patterns, shard by shard in bounded memory, and their nearest patterns.

The softmax averages a_s of the shards, with log-sums l_s, make the average of all: sum_s exp(l_s - l) a_s with
l = log sum_s exp(l_s). The entropy of the weights comes with it, since sum_i p_i beta x_i·q = beta q·a.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.memory.normalisation import Scaling
from triptych.memory.shards import Shard
from triptych.recall.kernels import SCORES_AT_ONCE, blocks, finite_weights, flat_potential, softmax_pass
from triptych.recall.separation import Separation, Softmax, potential

_SPARE = 8  # candidates beyond the k nearest, so that equal distances are seen
_QUERIES_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 24  # of candidates, in float64: 128 MiB


@dataclass(frozen=True)
class AttentionStep:
    """One attention step of states over the patterns.

    Attributes:
        average: of the keys, or of the values where they were asked for. Shape (B, D) or (B, V).
        potential: (Omega*(beta X q) + Omega(1/N)) / beta, the part of the energy that the scores give. Shape (B,).
        entropy: of the weights, in nats. Shape (B,).
    """

    average: Tensor
    potential: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class Neighbours:
    """The patterns nearest to each state by Euclidean distance, nearest first; of equal ones the lowest id.

    Attributes:
        places: counted over all shards, removed rows included. Shape (B, k), int64.
        distance: Shape (B, k).
    """

    places: Tensor
    distance: Tensor


def attend(shards: Sequence[Shard], queries: Tensor, *, beta: float, separation: Separation) -> AttentionStep:
    """One update from each state, with its potential and entropy.

    Shards have at least one row that counts; queries have shape (B, D).
    """
    if not isinstance(separation, Softmax):
        return _general(shards, queries, beta, separation, None)
    average, log_sum = _softmax(shards, queries, beta, None)
    count = sum(shard.count for shard in shards)
    entropy = log_sum - beta * (queries * average).sum(1)
    found = (log_sum - math.log(count)) / beta
    flat = (log_sum - math.log(count)).abs() <= 0.25  # where that difference would lose digits
    if bool(flat.any()):
        found[flat] = flat_potential((keys for _, _, keys in keys_of(shards)), queries[flat], beta)
    return AttentionStep(average, found, entropy.clamp(0, math.log(count)))


def read_values(
    shards: Sequence[Shard], queries: Tensor, scaling: Scaling, *, beta: float, separation: Separation
) -> Tensor:
    """The average of what is recalled, with the weights that states give to the patterns. Shapes: (B, D) to (B, V)."""
    if not isinstance(separation, Softmax):
        return _general(shards, queries, beta, separation, scaling).average
    return _softmax(shards, queries, beta, scaling)[0]


def nearest_rows(shards: Sequence[Shard], queries: Tensor, *, k: int) -> Neighbours:
    """The k nearest patterns of each state, or all where there are fewer, by one streamed product.

    Of equally near ones those of the lowest ids are taken, whatever k is.
    """
    k = min(k, sum(shard.count for shard in shards))
    at_once = max(1, min(_QUERIES_AT_ONCE, _NUMBERS_AT_ONCE // ((k + _SPARE) * queries.shape[1])))
    empty = queries.new_empty(0, k)
    found = [_nearest(shards, queries[rows], k) for rows in blocks(queries.shape[0], at_once)]
    places = torch.cat([empty.long(), *(some.places for some in found)])
    return Neighbours(places, torch.cat([empty, *(some.distance for some in found)]))


def rows_at(shards: Sequence[Shard], places: Tensor) -> Tensor:
    """Keys as float32 by their places over all shards. Shapes: (...) to (..., D)."""
    width = shards[0].keys.rows.shape[1]
    return gathered(shards, places, torch.empty(places.numel(), width), lambda shard, rows: shard.keys.rows_at(rows))


def ids_at(shards: Sequence[Shard], places: Tensor) -> Tensor:
    """Ids by places over all shards. Shapes alike, int64."""
    return gathered(shards, places, torch.empty(places.numel(), dtype=torch.int64), lambda shard, rows: shard.ids[rows])


def gathered(shards: Sequence[Shard], places: Tensor, out: Tensor, read: Callable[[Shard, Tensor], Tensor]) -> Tensor:
    """Rows by their places (...) over all shards, as `read` gives those (m,) of a shard; `out` holds them, (n, ...)."""
    for shard, inside, rows in located(shards, places.reshape(-1)):
        out[inside] = read(shard, rows)
    return out.reshape(*places.shape, *out.shape[1:])


def located(shards: Sequence[Shard], places: Tensor) -> Iterator[tuple[Shard, Tensor, Tensor]]:
    """Each shard that holds some of the places (n,): which of them, and their rows in it. Shapes (m,), (m,)."""
    if len(shards) == 1:
        yield shards[0], torch.arange(len(places)), places
        return
    start = 0
    for shard in shards:
        inside = ((places >= start) & (places < start + len(shard))).nonzero().squeeze(1)
        if len(inside):
            yield shard, inside, places[inside] - start
        start += len(shard)


def in_order(shards: Sequence[Shard], queries: Tensor, places: Tensor) -> Neighbours:
    """Patterns sorted by their distance to a query, equal ones by id. Shapes: (B, D) and (B, m) to (B, m).

    Places below 0 mean none, and come last with an infinite distance.
    """
    missing = places < 0
    rows = rows_at(shards, places.clamp_min(0)).double()
    distance = torch.linalg.vector_norm(rows - queries.double().unsqueeze(1), dim=2).float()
    distance = distance.masked_fill(missing, math.inf)
    ordered, order = distance.sort(dim=1)
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        by_id = ids_at(shards, places.clamp_min(0)).sort(dim=1).indices
        ordered, then = distance.gather(1, by_id).sort(dim=1, stable=True)
        order = by_id.gather(1, then)
    return Neighbours(places.gather(1, order), ordered)


def keys_of(shards: Sequence[Shard]) -> Iterator[tuple[Shard, slice | Tensor, Tensor]]:
    """The keys that count, block by block, with the shard and the rows they are of."""
    for shard in shards:
        for place in shard.places(whole=True):
            yield shard, place, shard.keys.rows_at(place)


def _softmax(shards: Sequence[Shard], queries: Tensor, beta: float, scaling: Scaling | None) -> tuple[Tensor, Tensor]:
    """Average of keys, or of values where a scaling is given, and log sum exp(beta X q)."""
    average: Tensor | None = None
    total = queries.new_full((queries.shape[0],), -math.inf)
    for shard, place, keys in keys_of(shards):
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
) -> AttentionStep:
    """Any separation function: all scores of some states at a time."""
    count = sum(shard.count for shard in shards)
    width = shards[0].keys.rows.shape[1] if scaling is None else shards[0].value_width
    averages, potentials, entropies = [queries.new_empty(0, width)], [queries.new_empty(0)], [queries.new_empty(0)]
    for rows in blocks(queries.shape[0], max(1, SCORES_AT_ONCE // (4 * count))):
        scores = torch.cat([beta * (queries[rows] @ keys.T) for _, _, keys in keys_of(shards)], dim=1)
        weights = finite_weights(separation, scores)
        average, start = queries.new_zeros(len(weights), width), 0
        for shard, place, keys in keys_of(shards):
            values = keys if scaling is None else shard.value_rows(place, scaling)
            average = average + weights[:, start : start + keys.shape[0]] @ values
            start += keys.shape[0]
        averages.append(average)
        potentials.append(potential(separation, scores, weights) / beta)
        entropies.append(-torch.xlogy(weights, weights).sum(1))
    return AttentionStep(torch.cat(averages), torch.cat(potentials), torch.cat(entropies))


def _gaps(shards: Sequence[Shard], queries: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """|x|² - 2 x·q, which orders patterns as distances do, with places (n,) and |x|² (n,). Shape (B, n)."""
    start = 0
    for shard in shards:
        for place in shard.places():
            keys = shard.keys.rows_at(place)
            squares = keys.square().sum(1)
            numbers = torch.arange(place.start, place.stop) if isinstance(place, slice) else place
            yield torch.addmm(squares, queries, keys.T, alpha=-2), numbers + start, squares
        start += len(shard)


def _nearest(shards: Sequence[Shard], queries: Tensor, k: int) -> Neighbours:
    """The k best of one pass with some to spare; rounding and equal patterns are settled among those."""
    best, places = queries.new_empty(queries.shape[0], 0), torch.empty(queries.shape[0], 0, dtype=torch.int64)
    largest = 0.0
    for gaps, numbers, squares in _gaps(shards, queries):
        largest = max(largest, squares.amax().item())
        least, where = gaps.topk(min(k + _SPARE, gaps.shape[1]), dim=1, largest=False)
        best, places = torch.cat([best, least], 1), torch.cat([places, numbers[where]], 1)
        best, order = best.topk(min(k + _SPARE, best.shape[1]), dim=1, largest=False)
        places = places.gather(1, order)
    found = in_order(shards, queries, places)
    found = Neighbours(found.places[:, :k], found.distance[:, :k])
    # Rounding of the gaps: patterns within this of the k-th may be as near as it is.
    room = 5e-7 * queries.shape[1] ** 0.5 * (largest + queries.square().sum(1)) + 1e-37
    limit = best[:, k - 1] + room
    if best.shape[1] == k + _SPARE:
        unsure = (best[:, -1] <= limit).nonzero().squeeze(1)
        for row, every in zip(unsure.tolist(), _within(shards, queries[unsure], limit[unsure]), strict=True):
            near = in_order(shards, queries[row : row + 1], every.unsqueeze(0))
            found.places[row], found.distance[row] = near.places[0, :k], near.distance[0, :k]
    return found


def _within(shards: Sequence[Shard], queries: Tensor, limit: Tensor) -> list[Tensor]:
    """Places of all patterns whose gap to a query is at most its limit, (B,): one tensor for each query."""
    found: list[list[Tensor]] = [[] for _ in range(len(queries))]
    if not found:
        return []
    for gaps, numbers, _ in _gaps(shards, queries):
        close = gaps <= limit.unsqueeze(1)
        for row in close.any(1).nonzero().squeeze(1).tolist():
            found[row].append(numbers[close[row]])
    return [torch.cat(places) for places in found]
