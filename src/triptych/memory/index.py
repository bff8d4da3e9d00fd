"""Recall from a large memory through a faiss index: softmax over the best candidates, with a bound on the rest.

`searchers` builds what searches, `index_store` keeps an index on disk.

With candidates C of scores s_i = beta x_i·q, T = sum over C of exp(s_i), and R the same sum over all other patterns,
the softmax mass outside the candidates is R / (R + T). R is never computed; it is bounded, list by list:

* A pattern of a list that was searched and is not a candidate scores at most the last candidate's s_k.
* A pattern of a list that was not searched, with centroid m and radius r = max |x - m|, has
  x·q <= min(m·q + |q| r, |q| M), by Cauchy and Schwarz.

"ivf-pq" knows the patterns of a searched list only by codes, so there the second bound is taken for those too.

For "flat", which searches everything, every pattern that is not a candidate scores at most s_k. So `left_out` holds
whatever the index missed. It is tight where beta is large or lists are compact, and near 1 where they are neither.
`verify=True` reads all patterns once and gives the mass itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError, TriptychError, check_choice
from triptych.memory.blockwise import Neighbours, ids_at, in_order, rows_at
from triptych.memory.memory import Memory
from triptych.memory.query import describe
from triptych.memory.searchers import KINDS, ROOM, Built, Kind, build, padded
from triptych.memory.shards import NUMBERS_AT_ONCE, Shard
from triptych.recall.checks import check_count, number
from triptych.recall.kernels import blocks
from triptych.recall.retrieval import come_to_rest

__all__ = ["Agreement", "Index", "IndexedRecall", "Kind"]

_LARGEST_EFFORT = 4096  # of "hnsw"
_MORE = 4  # candidates per wanted one, where codes choose them and patterns rank them


@dataclass(frozen=True)
class IndexedRecall:
    """What was recalled from each cue over the candidates.

    Attributes:
        value: the last update's average of values, or of patterns as they were given. Shape (B, V) or (B, D).
        state: where the cue came to rest. Shape (B, D).
        steps: updates each row took. Shape (B,), int64.
        converged: True where the last update moved the row by no more than the tolerance. Shape (B,).
        nearest: id of the candidate nearest to that state. Shape (B,), int64.
        label: of that pattern, or None. One per row.
        distance: to that pattern. Shape (B,).
        left_out: the softmax mass, in the last update, of patterns that are not candidates: an upper bound, or the
            mass itself where `verify` asked for it. Shape (B,).
    """

    value: Tensor
    state: Tensor
    steps: Tensor
    converged: Tensor
    nearest: Tensor
    label: tuple[str | None, ...]
    distance: Tensor
    left_out: Tensor


@dataclass(frozen=True)
class Agreement:
    """How often an index recalls the pattern that exact retrieval does.

    Attributes:
        effort: lists searched per query (ivf), or candidates kept on the way (hnsw).
        agreement: share of cues whose nearest pattern after retrieval is the same, or equal to it.
    """

    effort: int
    agreement: float


@dataclass(frozen=True)
class _Candidates:
    """Places and scores x·q of the best found, best first; -1 and -inf where there were fewer. Shapes (B, k).

    Attributes:
        searched: the lists that were searched. Shape (B, P); empty without lists.
    """

    places: Tensor
    scores: Tensor
    searched: Tensor

    def with_rows(self, rows: Tensor, some: _Candidates) -> _Candidates:
        """The same with other candidates for some rows (b,)."""
        pairs = zip(vars(self).values(), vars(some).values(), strict=True)
        return _Candidates(*(whole.index_copy(0, rows, part) for whole, part in pairs))


class Index:
    """A faiss index of a memory's patterns by inner product; it must be built again when the memory changes.

    Args:
        memory: whose patterns are indexed. They are copied, as float32.
        kind: "flat" searches everything, "ivf" some of the lists that k-means sorted the patterns into, "ivf-pq" lists
            of codes a sixteenth of the patterns' size, whose best are ranked by the memory's own patterns, "hnsw" a
            graph. For a million patterns and more "ivf-pq" is the quickest to search and the smallest.
        lists: of "ivf" (by default 4 sqrt(N)) and "ivf-pq" (sqrt(N)), at most N / 40.
        effort: lists searched ("ivf" and "ivf-pq", default 8) or candidates kept on the way ("hnsw", default 64).
        seed: of k-means.
        built: what was built over the same patterns before; then lists and seed have no effect.
    Raises:
        MissingExtraError: faiss is not installed.
        ShapeError, DataError, TriptychError: an argument, here or of a method, breaks its rule.
    Checked by tests/memory/test_index.py.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        kind: Kind = "ivf",
        lists: int | None = None,
        effort: int | None = None,
        seed: int = 0,
        built: Built | None = None,
    ) -> None:
        check_choice(kind, KINDS, field="kind")
        many = (4 if kind == "ivf" else 1) * math.sqrt(len(memory))
        wanted = lists if lists is not None else max(1, min(round(many), len(memory) // 40))
        self.memory, self.kind = memory, kind
        self.built = build(memory, kind, lists=wanted, seed=seed) if built is None else built
        self.effort = 0
        self._entries, self._changes = memory.entries, memory.entries.changes
        self._shards: Sequence[Shard] = ()
        self._arrange()
        self.set_effort(effort if effort is not None else {"flat": 1, "hnsw": 64}.get(kind, min(8, wanted)))

    def _arrange(self) -> None:
        """Find the rows' places again where saving has joined shards: patterns and their order stay the same."""
        if self._shards is not self.memory.shards:
            self._shards, self._places = self.memory.shards, self.memory.entries.places()

    @property
    def lists(self) -> int:
        """Lists of "ivf" and "ivf-pq"; 0 for others."""
        return 0 if self.built.lists is None else self.built.lists.sizes.shape[0]

    def set_effort(self, effort: int) -> None:
        """Lists searched per query, or candidates kept on the way, from 1 to all; more is slower and finds more."""
        most = self.lists or _LARGEST_EFFORT
        check_count(effort, name="effort")
        if effort > most:
            raise TriptychError(field="effort", value=effort, expected=f"an integer from 1 to {most}")
        self.effort = effort
        if self.kind == "hnsw":
            self.built.faiss_index.hnsw.efSearch = effort
        elif self.lists:
            self.built.faiss_index.nprobe = effort

    def check_memory(self) -> None:
        """DataError where the memory has other patterns than were indexed."""
        if self._entries is not self.memory.entries or self._changes != self._entries.changes:
            raise DataError("The memory has changed since its index was built.", hint="Build the index again.")
        self._arrange()

    @torch.no_grad()
    def retrieve(
        self, cue: Tensor, *, k: int = 32, max_steps: int = 20, tolerance: float = 1e-4, verify: bool = False
    ) -> IndexedRecall:
        """As `Memory.retrieve` with softmax, over the k best candidates of every update.

        Args:
            cue: as patterns were given. Shape (B, D).
            k: candidates, >= 1.
            max_steps: updates at most, >= 1.
            tolerance: a row rests when an update moves it by at most this times the largest norm it has had, >= 0.
            verify: read all patterns once, and give the exact mass outside the candidates instead of a bound.
        Raises:
            DataError: the memory has changed since the index was built.
            TriptychError: lists that were searched were all empty.
        """
        self.check_memory()
        check_count(k, name="k")
        start = self.memory.scaled(cue)
        asked, last = start, self._search(start[:0], k)  # of each row in its last update

        def move(queries: Tensor, rows: Tensor | None) -> tuple[Tensor, None]:
            nonlocal asked, last
            found = self._search(queries, k)
            asked = queries if rows is None else asked.index_copy(0, rows, queries)
            last = found if rows is None else last.with_rows(rows, found)
            return torch.einsum("bk,bkd->bd", self._weights(found), self._rows(found)), None

        rest = come_to_rest(move, start, max_steps=max_steps, tolerance=tolerance)
        found = self._rescored(asked, last)
        near = describe(self.memory.entries, self._nearest(found, rest.state))
        return IndexedRecall(
            value=self._value(found),
            state=rest.state,
            steps=rest.steps,
            converged=rest.converged,
            nearest=near.ids[:, 0],
            label=tuple(row[0] for row in near.label),
            distance=near.distance[:, 0],
            left_out=self._left_out_exactly(asked, found) if verify else self._left_out(asked, found),
        )

    def tune(self, cue: Tensor, *, agreement: float = 0.99, k: int = 32, max_steps: int = 20) -> Agreement:
        """Double the effort until the index recalls what exact retrieval does, then try less again, and keep the least.

        Args:
            cue: a few hundred cues of the kind to come. Shape (B, D), B >= 1.
            agreement: the share of cues that must recall the same pattern, in (0, 1].
            k: candidates.
            max_steps: updates at most.
        Returns:
            The effort and the agreement it reaches: where even the largest effort falls short, its own.
        """
        if not 0 < number(agreement) <= 1:
            raise TriptychError(field="agreement", value=agreement, expected="a number above 0 and at most 1")
        exact = self.memory.retrieve(cue, max_steps=max_steps)
        if not len(exact.steps):
            raise ShapeError(
                "cue has 0 rows; expected at least one.", field="cue", value=0, expected="at least one row"
            )
        nearest = self._rows_of(exact.confidence.nearest)
        most = {"flat": 1, "hnsw": _LARGEST_EFFORT}.get(self.kind, self.lists)

        def reached(effort: int) -> float:
            self.set_effort(effort)
            found = self._rows_of(self.retrieve(cue, k=k, max_steps=max_steps).nearest)
            return (found == nearest).all(1).double().mean().item()  # equal patterns are the same one

        effort = 1 if self.kind != "hnsw" else 16
        while (share := reached(effort)) < agreement and effort < most:
            effort = min(2 * effort, most)
        if share >= agreement:  # the least lies above half of it, if above the first
            for tried in sorted({round(effort * part / 8) for part in range(5, 8)} - {effort // 2, effort}):
                if (less := reached(tried)) >= agreement:
                    return Agreement(tried, less)
        self.set_effort(effort)
        return Agreement(effort, share)

    def _rows_of(self, ids: Tensor) -> Tensor:
        """Patterns by their ids. Shapes: (B,) to (B, D)."""
        numbers = ids_at(self.memory.shards, self._places)
        order = numbers.argsort()
        found = order[torch.searchsorted(numbers[order], ids)]
        return rows_at(self.memory.shards, self._places[found])

    def _search(self, queries: Tensor, k: int) -> _Candidates:
        asked = padded(queries, self.kind)
        k = min(k, self._places.shape[0])
        if self.kind == "ivf-pq":
            return self._ranked(queries, self._among_lists(asked, min(_MORE * k, self._places.shape[0])), k)
        if self.built.lists is not None:
            return self._among_lists(asked, k)
        scores, numbers = self.built.faiss_index.search(asked, k)
        return self._candidates(scores, numbers, torch.empty(queries.shape[0], 0, dtype=torch.int64))

    def _among_lists(self, asked: Any, k: int) -> _Candidates:
        closeness, lists = self.built.faiss_index.quantizer.search(asked, self.effort)
        scores, numbers = self.built.faiss_index.search_preassigned(asked, k, lists, closeness)
        return self._candidates(scores, numbers, torch.from_numpy(lists))

    def _candidates(self, scores: Any, numbers: Any, searched: Tensor) -> _Candidates:
        found = torch.from_numpy(numbers)
        if bool((found[:, 0] < 0).any()):
            row = int((found[:, 0] < 0).nonzero()[0])
            message = f"The lists that were searched for row {row} are empty."
            hint = "Search more lists with set_effort, or build fewer."
            raise TriptychError(message, field="effort", value=self.effort, hint=hint)
        missing = found < 0
        places = self._places[found.clamp_min(0)].masked_fill(missing, -1)
        return _Candidates(places, torch.from_numpy(scores).masked_fill(missing, -math.inf), searched)

    def _ranked(self, queries: Tensor, found: _Candidates, k: int) -> _Candidates:
        """The best k of candidates that codes chose, by the patterns themselves."""
        scores = torch.einsum("bkd,bd->bk", self._rows(found), queries)
        best = scores.masked_fill(found.places < 0, -math.inf).topk(k, dim=1)
        return _Candidates(found.places.gather(1, best.indices), best.values, found.searched)

    def _weights(self, found: _Candidates) -> Tensor:
        return torch.softmax(self.memory.beta * found.scores, dim=1).float()

    def _rows(self, found: _Candidates) -> Tensor:
        """Keys of the candidates, any row where there is none: its weight is zero. Shape (B, k, D)."""
        return rows_at(self.memory.shards, found.places.clamp_min(0))

    def _rescored(self, state: Tensor, found: _Candidates) -> _Candidates:
        """The same candidates, with scores in float64."""
        scores = torch.einsum("bkd,bd->bk", self._rows(found).double(), state.double())
        return replace(found, scores=scores.masked_fill(found.places < 0, -math.inf))

    def _value(self, found: _Candidates) -> Tensor:
        """What is recalled, averaged over the candidates. Shape (B, V)."""
        values = self.memory.entries.values_at(found.places.clamp_min(0))
        return torch.einsum("bk,bkv->bv", self._weights(found), values)

    def _nearest(self, found: _Candidates, state: Tensor) -> Neighbours:
        near = in_order(self.memory.shards, state, found.places)
        return Neighbours(near.places[:, :1], near.distance[:, :1])

    def _log_mass(self, found: _Candidates) -> Tensor:
        """log T. Shape (B,), float64."""
        return torch.logsumexp(self.memory.beta * found.scores.double(), dim=1)

    def _ceiling(self, state: Tensor) -> Tensor:
        """|q| M, which no score exceeds. Shape (B,), float64."""
        length: Tensor = torch.linalg.vector_norm(state.double(), dim=1)
        return length * max(shard.largest_norm for shard in self.memory.shards) * (1 + ROOM)

    def _last(self, state: Tensor, found: _Candidates) -> Tensor:
        """The last candidate's score, with room for the rounding of the search. Shape (B,), float64."""
        least = found.scores.masked_fill(found.places < 0, math.inf).amin(1)
        return least + ROOM * self._ceiling(state)

    def _left_out(self, state: Tensor, found: _Candidates) -> Tensor:
        n_found = (found.places >= 0).sum(1)
        beta, ceiling = self.memory.beta, self._ceiling(state)
        if self.built.lists is None:
            highest = self._last(state, found) if self.kind == "flat" else ceiling
            return self._share((self._places.shape[0] - n_found).double().log() + beta * highest, found)
        sizes = self.built.lists.sizes.expand(state.shape[0], -1)
        scores = (state.double() @ self.built.lists.centroids.double().T) + torch.outer(
            torch.linalg.vector_norm(state.double(), dim=1), self.built.lists.radii
        )
        highest = beta * scores.minimum(ceiling.unsqueeze(1))
        if self.kind == "ivf-pq":
            return self._share(torch.logsumexp(sizes.log() + highest, dim=1), found)
        n_searched = sizes.gather(1, found.searched).sum(1)
        searched = (n_searched - n_found).clamp_min(0).log() + beta * self._last(state, found)
        unsearched = sizes.log().scatter(1, found.searched, -math.inf) + highest
        return self._share(torch.logaddexp(searched, torch.logsumexp(unsearched, dim=1)), found)

    def _share(self, log_others: Tensor, found: _Candidates) -> Tensor:
        """R / (R + T) for log R. Shape (B,)."""
        share: Tensor = torch.sigmoid(log_others - self._log_mass(found))
        return share.float()

    def _left_out_exactly(self, state: Tensor, found: _Candidates) -> Tensor:
        """One pass over all patterns, in float64."""
        everything = torch.full((state.shape[0],), -math.inf, dtype=torch.float64)
        for some in blocks(self._places.shape[0], max(1, NUMBERS_AT_ONCE // max(self.memory.width, state.shape[0]))):
            scores = state.double() @ rows_at(self.memory.shards, self._places[some]).double().T
            everything = torch.logaddexp(everything, torch.logsumexp(self.memory.beta * scores, dim=1))
        return (1 - (self._log_mass(found) - everything).exp()).clamp(0, 1).float()
