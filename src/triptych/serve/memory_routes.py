"""Memories: retrieve with cues, read stored patterns, and add some where that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query

from triptych.api.serving import Addition, ConflictError, DataError, MemoryInfo, Query as Cues, RetrievedAnswer, Stored
from triptych.serve.refusals import ChangedError, NotAllowedError, NotServedError, check_limit
from triptych.serve.schemas import (
    AddAnswer,
    AddRequest,
    PatternList,
    PatternName,
    RetrieveAnswer,
    RetrieveRequest,
)
from triptych.serve.state import REFUSALS, State

MemoryName = Annotated[str, Path(description="a memory")]
router = APIRouter(prefix="/v1/memories", tags=["recall"], responses=REFUSALS)


@router.get("/{memory}")
async def info(memory: MemoryName, state: State) -> MemoryInfo:
    """Description of a memory."""
    served = state.memory(memory)
    await state.compute_alone(served.refresh)
    return served.info(may_add=state.may_add)


@router.post("/{memory}/retrieve")
async def retrieve(memory: MemoryName, asked: RetrieveRequest, state: State) -> RetrieveAnswer:
    """Retrieve the stored pattern that each cue belongs to, and how certain that is."""
    served, limits = state.memory(memory), state.limits
    check_limit("the number of cues", len(asked.cues), limits.max_cues, "max_cues")
    check_limit("max_steps", asked.max_steps, limits.max_steps, "max_steps")
    query = served.query(asked.cues, asked.known)
    if asked.trace:
        size = query.cues.numel() * (asked.max_steps + 1)
        check_limit("cues x states x width", size, limits.max_trace_numbers, "max_trace_numbers", "Send fewer cues.")

    def work(queries: Sequence[Cues]) -> list[tuple[float, list[RetrievedAnswer]]]:
        found = served.retrieve(queries, max_steps=asked.max_steps, trace=asked.trace)
        return [(served.memory.beta, answers) for answers in found]

    key = (memory, asked.max_steps, asked.trace, query.known is None)
    beta, answers = await state.compute(query, work, key=key, size=len(asked.cues))
    return RetrieveAnswer(memory=memory, beta=beta, recalls=answers)


@router.post("/{memory}/add")
async def add(memory: MemoryName, asked: AddRequest, state: State) -> AddAnswer:
    """Store patterns, and save the memory; where the server was started with --allow-add."""
    served = state.memory(memory)
    if not state.may_add:
        raise NotAllowedError("This server does not accept new patterns.", hint="Start it with --allow-add.")
    check_limit("the number of patterns", len(asked.patterns), state.limits.max_cues, "max_cues")
    addition = served.addition(asked.patterns, asked.labels, asked.values)

    def work(additions: Sequence[Addition]) -> list[AddAnswer]:
        after = len(served.memory) + sum(len(each.patterns) for each in additions)
        check_limit("the number of stored patterns", after, state.limits.max_stored, "max_stored", "")
        try:
            ids = served.add(additions)
        except ConflictError:
            message = "Other processes are changing the memory; nothing was added."
            raise ChangedError(message, hint="Try again.") from None
        return [AddAnswer(memory=memory, ids=each, patterns=len(served.memory)) for each in ids]

    return await state.compute(addition, work, key=(memory, "add"), size=len(asked.patterns))


@router.get("/{memory}/patterns")
async def list_patterns(
    memory: MemoryName,
    state: State,
    offset: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> PatternList:
    """Ids and labels of stored patterns."""
    served = state.memory(memory)
    total, names = await state.compute_alone(lambda: served.names(offset, limit))
    return PatternList(total=total, patterns=[PatternName(id=one, label=label) for one, label in names])


@router.get("/{memory}/patterns/{pattern}")
async def one_pattern(
    memory: MemoryName, pattern: Annotated[int, Path(ge=0, lt=2**62, description="its id")], state: State
) -> Stored:
    """A stored pattern as it was given, and the value it recalls."""
    served = state.memory(memory)
    try:
        return await state.compute_alone(lambda: served.pattern(pattern))
    except DataError:
        expected, hint = "the id of a stored one", "See the list of patterns."
        raise NotServedError(field="pattern", value=pattern, expected=expected, hint=hint) from None
