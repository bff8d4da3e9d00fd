"""Reading a memory: retrieval from normalised cues, confidence, energies and nearest patterns."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.memory.blockwise import Neighbours, attend, keys_of, nearest_rows, read_values
from triptych.memory.entries import Entries
from triptych.memory.results import Confidence, Nearest, Recall, Trace
from triptych.recall.retrieval import Recording, come_to_rest, convex_energy, known_part, largest_known_norm
from triptych.recall.separation import SOFTMAX, Separation


def retrieve(
    entries: Entries,
    start: Tensor,
    *,
    beta: float,
    max_steps: int,
    tolerance: float,
    separation: Separation,
    known_valid: Tensor | None,
    trace: bool,
) -> Recall:
    """As `Memory.retrieve`, from cues that are normalised, zero where they are unknown. Shape (B, D)."""
    norm = _norm(entries, known_valid).expand(len(start)) if trace else None
    recording = Recording(start, ("trajectory",) if trace else ())

    def move(queries: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
        step = attend(entries.shards, queries, beta=beta, separation=separation)
        if norm is None:
            return step.average, None
        return step.average, convex_energy(queries, norm if rows is None else norm[rows]) - step.potential

    rest = come_to_rest(
        move, start, max_steps=max_steps, tolerance=tolerance, known_valid=known_valid, observer=recording.add
    )
    value = read_values(entries.shards, rest.state, entries.scaling, beta=beta, separation=separation)
    sure, near = confidence(entries, rest.state, beta=beta, separation=separation)
    way = None
    if trace:
        last = sure.energy
        if known_valid is not None:
            known = known_part(rest.state, known_valid)
            last = energy(entries, known, beta=beta, separation=separation, known_valid=known_valid)
        recording.finish(rest.steps, last)
        states = torch.stack(recording.states)  # on the scale of the patterns that the rows ended at
        lengths = entries.lengths_at(near.places[:, 0].repeat(len(states)))
        undone = entries.scaling.undo(states.flatten(0, 1), lengths).reshape(states.shape)
        way = Trace(undone, torch.stack(recording.energies))
    return Recall(value, rest.state, rest.steps, rest.converged, sure, way)


def energy(
    entries: Entries,
    state: Tensor,
    *,
    beta: float,
    separation: Separation = SOFTMAX,
    known_valid: Tensor | None = None,
) -> Tensor:
    """E of normalised states, or E_K of their known part. Shapes: (B, D) to (B,)."""
    paid = attend(entries.shards, state, beta=beta, separation=separation).potential
    return convex_energy(state, _norm(entries, known_valid)) - paid


def describe(entries: Entries, found: Neighbours) -> Nearest:
    """Ids and labels of patterns found by their places."""
    ids, label = entries.named(found.places)
    return Nearest(ids, label, found.distance)


def confidence(
    entries: Entries, state: Tensor, *, beta: float, separation: Separation
) -> tuple[Confidence, Neighbours]:
    """Energy, entropy and nearest pattern of normalised states, shape (B, D), and the places of those patterns."""
    step = attend(entries.shards, state, beta=beta, separation=separation)
    found = nearest_rows(entries.shards, state, k=1)
    near = describe(entries, found)
    energy = convex_energy(state, _norm(entries, None)) - step.potential
    label = tuple(row[0] for row in near.label)
    return Confidence(energy, step.entropy, near.ids[:, 0], label, near.distance[:, 0]), found


def _norm(entries: Entries, known: Tensor | None) -> Tensor:
    """M, shape (), or the largest norm of the patterns' known coordinates for each cue, shape (B,)."""
    if known is not None:
        return largest_known_norm((keys for _, _, keys in keys_of(entries.shards)), known)
    return torch.tensor(max(shard.largest_norm for shard in entries.shards))
