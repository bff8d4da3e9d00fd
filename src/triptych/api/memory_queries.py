"""Queries to a memory, and its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from triptych.errors import DataError, TriptychError, did_you_mean
from triptych.memory.folder import unused_files, verify
from triptych.memory.index import Index
from triptych.memory.index_store import FOLDER, is_fresh, load_index, read_manifest, unused_files as unused_index_files
from triptych.memory.memory import Memory
from triptych.memory.results import Nearest
from triptych.memory.searchers import KINDS, Kind

KEPT = "kept"  # the index beside a memory
INDEXES = (KEPT, *KINDS)


@dataclass(frozen=True)
class MemoryAnswers:
    """Recalls of a memory from some cues.

    Attributes:
        columns: one list per column, one entry per cue: cue, id, label, distance, energy, entropy or left_out, steps,
            novelty, novel. A column that says nothing is not there.
        value: what is recalled. Shape (B, V) or (B, D).
    """

    columns: Mapping[str, Sequence[Any]]
    value: Tensor

    def rows(self) -> list[dict[str, Any]]:
        """One row per cue."""
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]


def query_memory(
    memory: Memory, cues: Tensor, *, max_steps: int = 20, index: str | None = None, candidates: int = 32
) -> MemoryAnswers:
    """Recall the stored pattern that each cue belongs to, with its confidence and novelty.

    Args:
        memory: to ask.
        cues: Shape (B, D).
        max_steps: updates at most, >= 1.
        index: average over the candidates of a faiss index: `kept` for the one beside the memory, or a kind to build
            now. Novelty needs all patterns, and is then given only where it is calibrated.
        candidates: of the index, >= 1.
    Raises:
        DataError, ShapeError, TriptychError: an argument breaks its rule.
        MissingExtraError: there is an index, and faiss is not installed.
    """
    columns: dict[str, Any] = {"cue": list(range(len(cues)))}
    if index is None:
        recall = memory.retrieve(cues, max_steps=max_steps)
        sure = recall.confidence
        columns |= {"id": sure.nearest.tolist(), "label": list(sure.label), "distance": sure.distance.tolist()}
        columns |= {"energy": sure.energy.tolist(), "entropy": sure.entropy.tolist()}
        value, steps = recall.value, recall.steps
    else:
        found = _index(memory, index).retrieve(cues, k=candidates, max_steps=max_steps)
        columns |= {"id": found.nearest.tolist(), "label": list(found.label), "distance": found.distance.tolist()}
        columns |= {"left_out": found.left_out.tolist()}
        value, steps = found.value, found.steps
    columns["steps"] = steps.tolist()
    if index is None or memory.threshold is not None:
        novelty = memory.novelty(cues)
        columns["novelty"] = novelty.tolist()
        if memory.threshold is not None:
            columns["novel"] = memory.threshold.is_novel(novelty).tolist()
    if all(label is None for label in columns["label"]):
        del columns["label"]
    return MemoryAnswers(columns, value)


def nearest_patterns(memory: Memory, cues: Tensor, *, k: int = 1) -> Nearest:
    """The k patterns nearest to each cue, by id where they are equally near. Shape (B, D)."""
    return memory.nearest(cues, k=k)


def memory_info(memory: Memory, *, check_files: bool = False) -> dict[str, Any]:
    """Description of a memory on disk, as plain values.

    Args:
        memory: with a folder.
        check_files: read every file whole and compare its checksum.
    Raises:
        DataError: the memory has no folder, or a file is not what was written.
    """
    if memory.place is None:
        raise DataError("The memory has no folder.", hint="Save it first.")
    folder, manifest = memory.place.folder, memory.place.manifest
    if check_files:
        verify(folder, manifest)
    threshold = memory.threshold or memory.stale_threshold
    return {
        "patterns": len(memory),
        "width": memory.width,
        "value_width": memory.value_width,
        "image_size": None if memory.image_size is None else vars(memory.image_size),
        "labels": len({label for shard in memory.shards for label in shard.labels}),
        "beta": memory.beta,
        "normalisation": memory.normalisation,
        "precision": memory.precision,
        "shards": len(manifest.shards),
        "bytes": sum(shard.tensors.bytes for shard in manifest.shards),
        "removed_rows": sum(len(shard.removed) for shard in manifest.shards),
        "unused_files": len(unused_files(folder, manifest)) + len(unused_index_files(folder / FOLDER)),
        "novelty": None if threshold is None else vars(threshold),
        "index": _index_info(memory),
    }


def _index(memory: Memory, name: str) -> Index:
    if name not in INDEXES:
        expected, hint = f"one of {', '.join(INDEXES)}", did_you_mean(name, INDEXES)
        raise TriptychError(field="index", value=name, expected=expected, hint=hint)
    if name == KEPT:
        return load_index(memory)
    kind: Kind = name  # type: ignore[assignment]  # it is one of the kinds
    return Index(memory, kind=kind)


def _index_info(memory: Memory) -> dict[str, Any] | str | None:
    """A damaged index is reported, but is not an error: the memory itself may just have been saved."""
    try:
        index = read_manifest(memory)
    except DataError as error:
        return f"damaged: {error}"
    return None if index is None else {"kind": index.kind, "effort": index.effort, "fresh": is_fresh(index, memory)}
