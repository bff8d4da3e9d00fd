"""Memories that people keep: built from files, changed, queried, calibrated, indexed, and described.

All raise DataError for a file that cannot be used, in a message that begins with its path, and for a folder that holds
no memory; ShapeError and TriptychError for an argument that breaks its rule; and MissingExtraError where an index is
asked for and faiss is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from triptych.data.files import number_lines, open_binary
from triptych.errors import ConflictError, DataError, ShapeError, check_choice
from triptych.images.bad_files import Skipped
from triptych.memory.folder import unused_files, verify
from triptych.memory.index import Index, IndexedRecall
from triptych.memory.index_store import (
    FOLDER,
    is_fresh,
    load_index,
    read_manifest,
    save_index,
    unused_files as unused_index_files,
)
from triptych.memory.manifest import ImageSize
from triptych.memory.memory import Memory
from triptych.memory.pattern_files import OnBad, PatternFile, read_patterns
from triptych.memory.results import Confidence, Recall
from triptych.memory.searchers import KINDS, Kind

__all__ = [
    "BuiltIndex",
    "ImageSize",
    "Memory",
    "MemoryAnswers",
    "PatternFile",
    "Skipped",
    "add_to_memory",
    "build_memory",
    "calibrate_memory",
    "change_memory",
    "index_memory",
    "memory_info",
    "open_memory",
    "query_memory",
    "read_cues",
    "read_pattern_file",
    "remove_from_memory",
]

KEPT = "kept"  # the index beside a memory
INDEXES = (KEPT, *KINDS)
_ATTEMPTS = 5  # at a change, where other processes change the memory as well


@dataclass(frozen=True)
class BuiltIndex:
    """An index that is kept beside a memory.

    Attributes:
        kind: of index.
        lists: that patterns are sorted into; 0 where the kind has none.
        effort: lists searched per query, or candidates kept on the way.
        bytes: size of its file.
        agreement: share of cues that recall the same pattern as without it; None where it was not tuned.
    """

    kind: str
    lists: int
    effort: int
    bytes: int
    agreement: float | None


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


def open_memory(store: Path | str) -> Memory:
    """The memory of a folder; DataError where it holds none, or not all of one."""
    return Memory.load(store)


def read_pattern_file(
    path: Path,
    *,
    labels: Path | None = None,
    values: Path | None = None,
    image_size: ImageSize | None = None,
    on_bad: OnBad | None = None,
) -> PatternFile:
    """Patterns or cues of a file or folder, with labels and values from files of their own where those are given.

    Args:
        path: `.npy`, `.npz`, `.csv`, an image, or a folder of images.
        labels: a text file with one label per pattern.
        values: what each pattern recalls: `.npy`, `.npz` or `.csv`.
        image_size: for images.
        on_bad: called with each image that cannot be read, which is then skipped; None raises its error.
    """
    found = read_patterns(path, image_size=image_size, on_bad=on_bad)
    if labels is not None:
        with open_binary(labels) as stream:
            lines = [line.text for line in number_lines(stream, path=labels)]
        if len(lines) != len(found.patterns):
            message, expected = f"The file has {len(lines)} lines", f"{len(found.patterns)}, one per pattern"
            raise DataError(message, field="lines", value=len(lines), expected=expected, path=labels)
        found = replace(found, labels=lines)
    if values is not None:
        found = replace(found, values=read_patterns(values).patterns)
    return found


def build_memory(
    patterns: PatternFile,
    out: Path,
    *,
    beta: float | None = None,
    normalisation: Any = "unit",
    precision: Any = "float32",
) -> Memory:
    """Store the patterns of a file in a new folder.

    Args:
        patterns: as `read_pattern_file` gives them.
        out: the folder to write; it must not exist.
        beta, normalisation, precision: see `Memory`.
    """
    if out.exists():
        hint = "Add to a memory with: triptych memory add"
        raise DataError("The folder exists already.", hint=hint, path=out)
    with _about(patterns.path):
        memory = Memory(
            patterns.patterns, labels=patterns.labels, values=patterns.values, ids=patterns.ids,
            beta=beta, normalisation=normalisation, precision=precision,
        )  # fmt: skip
    memory.image_size = patterns.image_size
    memory.save(out)
    return memory


def add_to_memory(store: Path, patterns: PatternFile) -> Memory:
    """Store more patterns in a memory on disk, all or none. Patterns that other processes add meanwhile are kept.

    Args:
        store: folder of the memory.
        patterns: as `read_pattern_file` gives them.
    """
    return change_memory(
        open_memory(store),
        lambda memory: memory.add(patterns.patterns, labels=patterns.labels, values=patterns.values, ids=patterns.ids),
        about=patterns.path,
    )


def remove_from_memory(store: Path, ids: Iterable[int]) -> Memory:
    """Forget patterns of a memory on disk, all or none; at least one must stay."""
    wanted = list(ids)
    return change_memory(open_memory(store), lambda memory: memory.remove(wanted), about=store)


def change_memory(memory: Memory, change: Callable[[Memory], object], *, about: Path | None = None) -> Memory:
    """Change a memory and save it into its folder, whole or not at all.

    Where another process has changed the folder, the memory is read again and the change repeated. After an error the
    memory is what its folder holds.

    Args:
        memory: with a folder.
        change: changes the patterns or settings; may be called several times.
        about: the file that errors about rows begin with.
    Returns:
        The memory.
    Raises:
        ConflictError: other processes changed the memory each time.
        DataError, TriptychError: the change cannot be made or saved.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _about(about):
                change(memory)
            memory.save()
            break
        except BaseException as error:
            memory.reload()
            if attempt == _ATTEMPTS or not isinstance(error, ConflictError):
                raise
    return memory


def read_cues(
    memory: Memory, cues: Path, *, image_size: ImageSize | None = None, on_bad: OnBad | None = None
) -> Tensor:
    """Cues of a file or folder, as wide as the patterns; images of the memory's own size unless given. Shape (B, D)."""
    found = read_pattern_file(cues, image_size=image_size or memory.image_size, on_bad=on_bad).patterns
    if found.shape[1] != memory.width:
        message, expected = f"The cues have {found.shape[1]} columns", f"{memory.width}, the width of the patterns"
        raise DataError(message, field="columns", value=found.shape[1], expected=expected, path=cues)
    return found


def calibrate_memory(
    store: Path,
    cues: Path,
    *,
    score: Any = "energy",
    false_alarm_rate: float = 0.05,
    image_size: ImageSize | None = None,
) -> Memory:
    """Set the threshold of novelty from cues that belong to the patterns but are not among them, and save it."""
    memory = open_memory(store)
    rows = read_cues(memory, cues, image_size=image_size)
    return change_memory(
        memory, lambda memory: memory.calibrate(rows, score=score, false_alarm_rate=false_alarm_rate), about=cues
    )


def index_memory(
    store: Path,
    *,
    kind: str = "ivf-pq",
    lists: int | None = None,
    tune_on: Path | None = None,
    agreement: float = 0.99,
    image_size: ImageSize | None = None,
) -> BuiltIndex:
    """Build an index of a memory on disk and keep it there.

    Args:
        store: folder of the memory.
        kind: one of `flat`, `ivf`, `ivf-pq` and `hnsw`.
        lists: that patterns are sorted into; by their number when None.
        tune_on: cues of the kind to come, to choose the effort by.
        agreement: share of those cues that must recall the same pattern as without the index.
        image_size: of cues that are images.
    """
    memory = open_memory(store)
    chosen: Kind = kind  # type: ignore[assignment]  # checked by the index
    index = Index(memory, kind=chosen, lists=lists)
    reached = None
    if tune_on is not None:
        cues = read_cues(memory, tune_on, image_size=image_size)
        with _about(tune_on):
            reached = index.tune(cues, agreement=agreement).agreement
    size = save_index(index).searcher.bytes
    return BuiltIndex(kind, index.lists, index.effort, size, reached)


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
    """
    found: Recall | IndexedRecall
    near: Confidence | IndexedRecall
    if index is None:
        found = memory.retrieve(cues, max_steps=max_steps)
        near = found.confidence
        measured = {"energy": near.energy.tolist(), "entropy": near.entropy.tolist()}
    else:
        found = near = _index(memory, index).retrieve(cues, k=candidates, max_steps=max_steps)
        measured = {"left_out": found.left_out.tolist()}
    columns: dict[str, Any] = {"cue": list(range(len(cues))), "id": near.nearest.tolist(), "label": list(near.label)}
    columns |= {"distance": near.distance.tolist(), **measured, "steps": found.steps.tolist()}
    if index is None or memory.threshold is not None:
        novelty = memory.novelty(cues)
        columns["novelty"] = novelty.tolist()
        if memory.threshold is not None:
            columns["novel"] = memory.threshold.is_novel(novelty).tolist()
    if all(label is None for label in columns["label"]):
        del columns["label"]
    return MemoryAnswers(columns, found.value)


def memory_info(memory: Memory, *, check_files: bool = False) -> dict[str, Any]:
    """Description of a memory on disk, as plain values; with `check_files`, every file's checksum is compared first."""
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
    check_choice(name, INDEXES, field="index")
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


@contextmanager
def _about(path: Path | None) -> Iterator[None]:
    """Errors about rows begin with the file that the rows came from."""
    try:
        yield
    except (DataError, ShapeError) as error:
        if error.path is None and path is not None:
            error.path, error.args = path, (f"{path}: {error}",)
        raise
