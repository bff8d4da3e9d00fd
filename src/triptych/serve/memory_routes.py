"""Memories: recall from cues, look at stored patterns, and add some where that is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Path, Query
from torch import Tensor

from triptych.errors import DataError, ShapeError
from triptych.memory.memory import Memory
from triptych.memory.results import Recall
from triptych.memory.shards import Shard
from triptych.recall.retrieval import retrieve as follow
from triptych.serve.catalogue import StoredMemory
from triptych.serve.refusals import NotAllowedError, NotServedError, check_bound
from triptych.serve.schemas import (
    AddAnswer,
    AddRequest,
    MemoryCard,
    PatternAnswer,
    PatternList,
    PatternName,
    RecallAnswer,
    RetrieveAnswer,
    RetrieveRequest,
    TraceAnswer,
)
from triptych.serve.studio import REFUSALS, Here

MemoryName = Annotated[str, Path(description="a memory")]
router = APIRouter(prefix="/v1/memories", tags=["recall"], responses=REFUSALS)


@router.get("/{memory}")
async def card(memory: MemoryName, studio: Here) -> MemoryCard:
    """What a memory is."""
    return card_of(memory, studio.catalogue.memory(memory), may_add=studio.may_add)


@router.post("/{memory}/retrieve")
async def retrieve(memory: MemoryName, asked: RetrieveRequest, studio: Here) -> RetrieveAnswer:
    """Recall the stored pattern that each cue belongs to, and say how sure that is."""
    stored, limits = studio.catalogue.memory(memory).memory, studio.limits
    check_bound("the number of cues", len(asked.cues), limits.max_cues, "--max-cues")
    check_bound("max_steps", asked.max_steps, limits.max_steps, "--max-steps")
    cue = matrix(asked.cues, stored.width, "cues")
    known = None if asked.known is None else matrix(asked.known, stored.width, "known", dtype=torch.bool)
    if known is not None and known.shape != cue.shape:
        raise ShapeError(f"known has {len(known)} rows; expected {len(cue)}, one per cue.")
    if asked.trace:
        size = len(stored) * stored.width
        check_bound("patterns times width", size, limits.max_trace_numbers, "--max-trace-numbers", "Ask for no trace.")

    def work(payloads: Sequence[tuple[Tensor, Tensor | None]]) -> list[list[RecallAnswer]]:
        return _recalled(stored, payloads, asked.max_steps, trace=asked.trace)

    key = (memory, asked.max_steps, asked.trace, known is None)
    recalls = await studio.compute((cue, known), work, key=key, size=len(cue))
    return RetrieveAnswer(memory=memory, beta=stored.beta, recalls=recalls)


@router.post("/{memory}/add")
async def add(memory: MemoryName, asked: AddRequest, studio: Here) -> AddAnswer:
    """Store patterns, and save the memory; where the server was started with --allow-add."""
    served = studio.catalogue.memory(memory)
    if not studio.may_add:
        raise NotAllowedError("adding is not allowed on this server. Start it with --allow-add.")
    check_bound("the number of patterns", len(asked.patterns), studio.limits.max_cues, "--max-cues")
    patterns = matrix(asked.patterns, served.memory.width, "patterns")
    values = None if asked.values is None else matrix(asked.values, served.memory.entries.value_width, "values")

    def work(_: Sequence[None]) -> list[AddAnswer]:
        stored = served.memory
        after = len(stored) + len(patterns)
        check_bound("the number of stored patterns", after, studio.limits.max_stored, "--max-stored")
        ids = stored.add(patterns, labels=asked.labels, values=values)
        try:
            stored.save(served.folder)
        except BaseException:
            stored.remove(ids.tolist())  # what could not be kept is not recalled either
            raise
        return [AddAnswer(memory=memory, ids=ids.tolist(), patterns=len(stored))]

    return await studio.compute(None, work)


@router.get("/{memory}/patterns")
async def list_patterns(
    memory: MemoryName,
    studio: Here,
    offset: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> PatternList:
    """Ids and labels of stored patterns."""
    stored = studio.catalogue.memory(memory).memory

    def work(_: Sequence[None]) -> list[PatternList]:
        places = stored.entries.places()
        ids, labels = stored.entries.named(places[offset : offset + limit].unsqueeze(0))
        names = [PatternName(id=one, label=label) for one, label in zip(ids[0].tolist(), labels[0], strict=True)]
        return [PatternList(total=len(places), patterns=names)]

    return await studio.compute(None, work)


@router.get("/{memory}/patterns/{pattern}")
async def one_pattern(
    memory: MemoryName, pattern: Annotated[int, Path(ge=0, lt=2**62, description="its id")], studio: Here
) -> PatternAnswer:
    """A stored pattern as it was given, and what it recalls."""
    stored = studio.catalogue.memory(memory).memory

    def work(_: Sequence[None]) -> list[PatternAnswer]:
        return [_pattern(stored, pattern)]

    return await studio.compute(None, work)


def card_of(name: str, served: StoredMemory, *, may_add: bool) -> MemoryCard:
    """What there is to say of a memory."""
    memory = served.memory
    return MemoryCard(
        name=name,
        patterns=len(memory),
        width=memory.width,
        value_width=memory.entries.value_width,
        beta=memory.beta,
        normalisation=memory.entries.scaling.kind,
        precision=memory.entries.precision,
        novelty=None if memory.threshold is None else dict(vars(memory.threshold)),
        may_add=may_add,
    )


def matrix(rows: Sequence[Sequence[Any]], width: int | None, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows from outside as a tensor. Shape (rows, width).

    Raises:
        ShapeError: a row has another width.
        DataError: a number is too large for 32 bits.
    """
    for number, row in enumerate(rows):
        if len(row) != (len(rows[0]) if width is None else width):
            expected = len(rows[0]) if width is None else width
            raise ShapeError(f"{name} has {len(row)} numbers in row {number}; expected {expected}.")
    made = torch.tensor(rows, dtype=torch.float64 if dtype == torch.float32 else dtype).to(dtype)
    if dtype == torch.float32 and bool((made.abs() > 1e18).any()):  # whose squares are still finite in 32 bits
        raise DataError(f"{name} has a number of size {made.abs().max().item():g}; expected at most 1e18. Scale it.")
    return made


def _recalled(
    memory: Memory, payloads: Sequence[tuple[Tensor, Tensor | None]], max_steps: int, *, trace: bool
) -> list[list[RecallAnswer]]:
    """Recall the cues of several requests together."""
    cue = torch.cat([one for one, _ in payloads])
    masks = [mask for _, mask in payloads if mask is not None]
    known = torch.cat(masks) if masks else None
    recall = memory.retrieve(cue, max_steps=max_steps, known_valid=known)
    partial = known is not None
    novelty = None if partial else memory.novelty(cue)
    novel = None if partial or memory.threshold is None else memory.is_novel(cue)
    traces = _traces(memory, cue, known, recall, max_steps) if trace else [None] * len(cue)
    answers = iter(
        RecallAnswer(
            value=recall.value[row].tolist(),
            id=int(recall.confidence.nearest[row]),
            label=recall.confidence.label[row],
            distance=float(recall.confidence.distance[row]),
            energy=float(recall.confidence.energy[row]),
            entropy=float(recall.confidence.entropy[row]),
            steps=int(recall.steps[row]),
            converged=bool(recall.converged[row]),
            novelty=None if novelty is None or not math.isfinite(novelty[row]) else float(novelty[row]),
            novel=None if novel is None else bool(novel[row]),
            trace=traces[row],
        )
        for row in range(len(cue))
    )
    return [[next(answers) for _ in one] for one, _ in payloads]


def _traces(
    memory: Memory, cue: Tensor, known: Tensor | None, recall: Recall, max_steps: int
) -> list[TraceAnswer | None]:
    """The way of every cue, brought back to the scale of the pattern that it came to."""
    found = follow(
        memory.keys().double(),  # in which rounding does not let the energy rise
        memory.scaled(cue, known_valid=known).double(),
        beta=memory.beta,
        max_steps=max_steps,
        tolerance=1e-4,
        known_valid=known,
        extras=("trajectory", "energies"),
    )
    assert found.trajectory is not None, "asked for"
    assert found.energies is not None, "asked for"
    scaling = memory.entries.scaling
    traces: list[TraceAnswer | None] = []
    for row in range(len(cue)):
        steps = int(found.steps[row]) + 1
        length = _place(memory, int(recall.confidence.nearest[row])).length
        states = scaling.undo(found.trajectory[:steps, row].float(), None if length is None else length.expand(steps))
        traces.append(TraceAnswer(states=states.tolist(), energies=found.energies[:steps, row].tolist()))
    return traces


@dataclass(frozen=True)
class _Place:
    """Where a pattern is kept: its shard, and its row there."""

    shard: Shard
    row: int

    @property
    def length(self) -> Tensor | None:
        """What the pattern was divided by. Shape (1,)."""
        return None if self.shard.length is None else self.shard.length[self.row : self.row + 1]


def _place(memory: Memory, pattern: int) -> _Place:
    for shard in memory.shards:
        found = ((shard.ids == pattern) & shard.kept()).nonzero()
        if len(found):
            return _Place(shard, int(found[0]))
    raise NotServedError(f"pattern is {pattern}; expected the id of a stored one. See the list of patterns.")


def _pattern(memory: Memory, pattern: int) -> PatternAnswer:
    place, scaling = _place(memory, pattern), memory.entries.scaling
    here = slice(place.row, place.row + 1)
    return PatternAnswer(
        id=pattern,
        label=place.shard.label_of(place.row),
        pattern=scaling.undo(place.shard.keys.rows_at(here), place.length)[0].tolist(),
        value=place.shard.value_rows(here, scaling)[0].tolist(),
    )
