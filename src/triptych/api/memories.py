"""Memories that people keep: built from files, changed, queried, calibrated, indexed, and described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from triptych.data.files import number_lines, open_binary
from triptych.errors import ConflictError, DataError, ShapeError
from triptych.images.bad_files import Skipped
from triptych.memory.index import Index
from triptych.memory.index_store import save_index
from triptych.memory.manifest import ImageSize
from triptych.memory.memory import Memory
from triptych.memory.pattern_files import OnBad, PatternFile, read_patterns
from triptych.memory.searchers import Kind
from triptych.recall.temperature import TemperatureSearch

__all__ = [
    "BuiltIndex",
    "ImageSize",
    "Memory",
    "Skipped",
    "add_to_memory",
    "build_memory",
    "calibrate_memory",
    "change_memory",
    "index_memory",
    "open_memory",
    "read_cues",
    "read_pattern_file",
    "remove_from_memory",
    "tune_memory",
]

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


def open_memory(store: Path | str) -> Memory:
    """The memory of a folder.

    Raises:
        DataError: the folder holds no memory, or not all of one.
    """
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
    Raises:
        DataError: a file cannot be used; the message begins with its path.
    """
    found = read_patterns(path, image_size=image_size, on_bad=on_bad)
    if labels is not None:
        with open_binary(labels) as stream:
            lines = [line.text for line in number_lines(stream, path=labels)]
        if len(lines) != len(found.patterns):
            expected = f"{len(found.patterns)}, one per pattern"
            message = f"The file has {len(lines)} lines; expected {expected}."
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
    Raises:
        DataError: the folder exists, or the patterns cannot be used.
        TriptychError: a setting breaks its rule.
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
    """Store more patterns in a memory on disk. Patterns that other processes add meanwhile are kept.

    Args:
        store: folder of the memory.
        patterns: as `read_pattern_file` gives them.
    Raises:
        DataError: the patterns do not fit the memory; nothing is changed then.
    """
    memory = open_memory(store)

    def change(memory: Memory) -> None:
        with _about(patterns.path):
            memory.add(patterns.patterns, labels=patterns.labels, values=patterns.values, ids=patterns.ids)

    change_memory(memory, change)
    return memory


def remove_from_memory(store: Path, ids: Iterable[int]) -> Memory:
    """Forget patterns of a memory on disk.

    Raises:
        DataError: an id is not stored, or no pattern would be left; nothing is changed then.
    """
    memory, wanted = open_memory(store), list(ids)

    def change(memory: Memory) -> None:
        with _about(store):
            memory.remove(wanted)

    change_memory(memory, change)
    return memory


def change_memory(memory: Memory, change: Callable[[Memory], None]) -> None:
    """Change a memory and save it into its folder, whole or not at all.

    Where another process has changed the folder, the memory is read again and the change repeated. After an error the
    memory is what its folder holds.

    Args:
        memory: with a folder.
        change: changes the patterns or settings; may be called several times.
    Raises:
        ConflictError: other processes changed the memory each time.
        DataError, TriptychError: the change cannot be made or saved.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            change(memory)
            memory.save()
            return
        except ConflictError:
            memory.reload()
            if attempt == _ATTEMPTS:
                raise
        except BaseException:
            memory.reload()
            raise


def read_cues(
    memory: Memory, cues: Path, *, image_size: ImageSize | None = None, on_bad: OnBad | None = None
) -> Tensor:
    """Cues of a file or folder; images are brought to the size of the memory's own where none is given. Shape (B, D).

    Raises:
        DataError: the file cannot be used, or its rows are not as wide as the patterns.
    """
    found = read_pattern_file(cues, image_size=image_size or memory.image_size, on_bad=on_bad).patterns
    if found.shape[1] != memory.width:
        expected = f"{memory.width}, the width of the patterns"
        message = f"The cues have {found.shape[1]} columns; expected {expected}."
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
    """Set the threshold of novelty from cues that belong to the patterns but are not among them, and save it.

    Raises:
        DataError: the cues cannot be used, or are too few.
        TriptychError: the score or the rate breaks its rule.
    """
    memory = open_memory(store)
    rows = read_cues(memory, cues, image_size=image_size)

    def change(memory: Memory) -> None:
        with _about(cues):
            memory.calibrate(rows, score=score, false_alarm_rate=false_alarm_rate)

    change_memory(memory, change)
    return memory


def tune_memory(store: Path, *, noise: float = 0.5, seed: int = 0) -> TemperatureSearch:
    """Choose the inverse temperature of a memory on disk on noisy versions of its patterns, and save it.

    Raises:
        TriptychError: a number breaks its rule.
    """
    found: list[TemperatureSearch] = []
    change_memory(open_memory(store), lambda memory: found.append(memory.tune_beta(noise=noise, seed=seed)))
    return found[-1]


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
    Raises:
        DataError, TriptychError: an argument breaks its rule.
        MissingExtraError: faiss is not installed.
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


@contextmanager
def _about(path: Path | None) -> Iterator[None]:
    """Errors about rows begin with the file that the rows came from."""
    try:
        yield
    except (DataError, ShapeError) as error:
        if error.path is None and path is not None:
            error.path, error.args = path, (f"{path}: {error}",)
        raise
