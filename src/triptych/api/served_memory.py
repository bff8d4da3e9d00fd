"""A memory that a server offers: it follows what other processes save, and stores what requests add together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from triptych.api.memories import change_memory
from triptych.errors import DataError, ShapeError
from triptych.memory.manifest import MANIFEST, ImageSize, Manifest
from triptych.memory.memory import Memory
from triptych.memory.novelty import Threshold
from triptych.memory.results import Recall

_LARGEST = 1e18  # whose squares are still finite in 32 bits


@dataclass(frozen=True)
class MemoryInfo:
    """Description of a memory.

    Attributes:
        name: of its folder.
        patterns, width, value_width: N, D and V; V is None where patterns recall themselves.
        beta: inverse temperature.
        normalisation, precision: how patterns are compared and kept.
        novelty: the calibrated threshold, if there is one.
        image: height, width and channels of the images that the patterns are, where that is known.
        may_add: whether requests may add patterns.
    """

    name: str
    patterns: int
    width: int
    value_width: int | None
    beta: float
    normalisation: str
    precision: str
    novelty: Threshold | None
    image: ImageSize | None
    may_add: bool = False


@dataclass(frozen=True)
class Query:
    """Cues of one request. Shapes: (B, D), float32 and bool."""

    cues: Tensor
    known: Tensor | None


@dataclass(frozen=True)
class Addition:
    """Patterns of one request, with their labels and values."""

    patterns: Tensor
    labels: Sequence[str | None] | None
    values: Tensor | None


@dataclass(frozen=True)
class Trace:
    """States on the scale of the patterns, and their energies, the cue first."""

    states: list[list[float]]
    energies: list[float]


@dataclass(frozen=True)
class RetrievedAnswer:
    """Retrieval from one cue, with its confidence.

    `energy` and `entropy` (nats) are of the final state, `distance` is to the nearest pattern `id`, both normalised;
    `novelty` is of the cue itself, and `novel` is null unless the memory is calibrated.
    """

    value: list[float]
    id: int
    label: str | None
    distance: float
    energy: float
    entropy: float
    steps: int
    converged: bool
    novelty: float | None
    novel: bool | None
    trace: Trace | None = None


@dataclass(frozen=True)
class Stored:
    """A stored pattern as it was given, and the value it recalls."""

    id: int
    label: str | None
    pattern: list[float]
    value: list[float]


class ServedMemory:
    """A memory in its folder. One thread reads and changes its patterns; any may call `query`, `addition` and `info`.

    Args:
        folder: of the memory.
    Raises:
        DataError: it holds no memory, or not all of one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = Memory.load(folder)
        self._signature: tuple[int, ...] = ()  # of the manifest when it was last compared

    def info(self, *, may_add: bool) -> MemoryInfo:
        """Description of the memory."""
        memory = self.memory
        return MemoryInfo(
            name=self.folder.resolve().name,
            patterns=len(memory),
            width=memory.width,
            value_width=memory.value_width,
            beta=memory.beta,
            normalisation=memory.normalisation,
            precision=memory.precision,
            novelty=memory.threshold,
            image=memory.image_size,
            may_add=may_add,
        )

    def refresh(self) -> None:
        """Load the memory again if another process has saved it; a folder that cannot be read leaves it as it was."""
        try:
            signature = _signature(self.folder)
            if signature == self._signature:
                return
            place = self.memory.place
            if place is None or Manifest.read(self.folder).generation != place.manifest.generation:
                self.memory.reload()
        except (DataError, OSError):
            return
        self._signature = signature

    def query(self, cues: Sequence[Sequence[float]], known: Sequence[Sequence[bool]] | None) -> Query:
        """Cues from outside, whose rows must have the memory's width, and whose numbers must not be too large."""
        rows = _matrix(cues, self.memory.width, "cues")
        mask = None if known is None else _matrix(known, self.memory.width, "known", dtype=torch.bool)
        if mask is not None and mask.shape != rows.shape:
            raise ShapeError(f"known has {len(mask)} rows; expected {len(rows)}, one per cue.", field="known")
        return Query(rows, mask)

    def addition(
        self,
        patterns: Sequence[Sequence[float]],
        labels: Sequence[str | None] | None,
        values: Sequence[Sequence[float]] | None,
    ) -> Addition:
        """Patterns from outside, checked as `query` checks cues."""
        rows = _matrix(patterns, self.memory.width, "patterns")
        found = None if values is None else _matrix(values, self.memory.value_width, "values")
        return Addition(rows, labels, found)

    def retrieve(self, queries: Sequence[Query], *, max_steps: int, trace: bool) -> list[list[RetrievedAnswer]]:
        """Retrieve for the cues of several requests together; either all have `known` or none."""
        self.refresh()
        memory = self.memory
        cues = torch.cat([query.cues for query in queries])
        masks = [query.known for query in queries if query.known is not None]
        known = torch.cat(masks) if masks else None
        recall = memory.retrieve(cues, max_steps=max_steps, known_valid=known, trace=trace)
        novelty = None if masks else memory.novelty(cues)
        novel = None if novelty is None or memory.threshold is None else memory.threshold.is_novel(novelty)
        answers = iter(
            RetrievedAnswer(
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
                trace=_trace(recall, row),
            )
            for row in range(len(cues))
        )
        return [[next(answers) for _ in query.cues] for query in queries]

    def add(self, additions: Sequence[Addition]) -> list[list[int]]:
        """Store the patterns of several requests with one save, all or none; the ids of each request's patterns.

        Where another process saves at the same time, its patterns are loaded and these are added to them.

        Raises:
            ShapeError, DataError: an argument breaks a rule of the memory.
            ConflictError: other processes kept saving.
        """
        ids: list[list[int]] = []

        def change(memory: Memory) -> None:
            ids[:] = [memory.add(each.patterns, labels=each.labels, values=each.values).tolist() for each in additions]

        self.refresh()
        change_memory(self.memory, change)
        return ids

    def names(self, offset: int, limit: int) -> tuple[int, list[tuple[int, str | None]]]:
        """The number of patterns, and ids and labels of some, in the order they were added."""
        self.refresh()
        return len(self.memory), self.memory.list_patterns(offset=offset, limit=limit)

    def pattern(self, number: int) -> Stored:
        """A stored pattern by its id; DataError where there is none."""
        self.refresh()
        found = self.memory.pattern(number)
        return Stored(found.id, found.label, found.pattern.tolist(), found.value.tolist())


def _signature(folder: Path) -> tuple[int, ...]:
    """A value that changes whenever a memory's manifest is replaced."""
    found = (folder / MANIFEST).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _matrix(rows: Sequence[Sequence[Any]], width: int | None, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows from outside as a tensor. Shape (rows, width)."""
    expected = len(rows[0]) if width is None else width
    for number, row in enumerate(rows):
        if len(row) != expected:
            raise ShapeError(f"{name} has {len(row)} numbers in row {number}", field=name, expected=str(expected))
    made = torch.tensor(rows, dtype=torch.float64 if dtype == torch.float32 else dtype).to(dtype)
    if dtype == torch.float32 and bool((made.abs() > _LARGEST).any()):
        message = f"{name} has a number of size {made.abs().max().item():g}"
        raise DataError(message, field=name, expected=f"at most {_LARGEST:g}", hint="Scale the numbers down.")
    return made


def _trace(recall: Recall, row: int) -> Trace | None:
    """The states and energies on the way of one cue."""
    if recall.trace is None:
        return None
    steps = int(recall.steps[row]) + 1
    return Trace(recall.trace.states[:steps, row].tolist(), recall.trace.energies[:steps, row].tolist())
