"""A memory on disk: shards of tensors that never change, and one manifest that names them.

    store/memory.json                 the manifest; replacing it commits a change
    store/shards/000001-….safetensors keys, values, ids, label numbers of some rows
    store/shards/000001-….labels.json the labels of those numbers

Writers take turns by a lock file. Each checks first that nobody else has changed the memory, then writes new rows into
new files, which are complete on the disk before the manifest names them. Killed at any moment, a folder holds the
memory as it was before the save or after it, and files that no manifest names; the next writer deletes those. Small
shards are joined, so that many small additions stay quick to search. Tensors are mapped from their files when a memory
is loaded, and read where they are needed.

Checked by tests/memory/test_folder.py, which kills writers.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from triptych.errors import ConflictError, DataError
from triptych.files import force_to_disk, write_text_atomically
from triptych.memory.entries import Entries
from triptych.memory.manifest import MANIFEST, ImageSize, Manifest, StoredFile, StoredShard
from triptych.memory.normalisation import Scaling
from triptych.memory.novelty import Threshold
from triptych.memory.shard_files import SHARDS, check_file, read_shard, read_tensors, write_shard, write_tensors

_LOCK = f".{MANIFEST}.lock"
_LONGEST_WAIT_S = 600
_YOUNG_S = 60  # a builder may not have taken its lock yet
_READS = 5  # of a memory that other processes change while it is read


@dataclass(frozen=True)
class Settings:
    """What a memory keeps besides its rows."""

    beta: float
    threshold: Threshold | None
    image_size: ImageSize | None = None


@dataclass(frozen=True)
class Place:
    """The folder that a memory is kept in, and what that holds.

    Attributes:
        folder: resolved.
        manifest: as it was loaded or last saved.
    """

    folder: Path
    manifest: Manifest


def load(path: Path) -> tuple[Entries, Settings, Place]:
    """What a folder holds, its tensors mapped, not read; DataError where that is no memory, or not all of one."""
    for last in (False,) * (_READS - 1) + (True,):
        manifest = Manifest.read(path)
        try:
            return _opened(path, manifest)
        except DataError:
            if last or Manifest.read(path).generation == manifest.generation:
                raise  # and otherwise another process has replaced the files meanwhile
    raise AssertionError("the last attempt returns or raises")


def save(entries: Entries, settings: Settings, path: Path, place: Place | None) -> Place:
    """Write what is new into the memory's own folder, its `place`, or everything into a new one.

    The entries' shards are those mapped from disk afterwards.

    Raises:
        ConflictError: another process has changed the folder; nothing is written then.
        DataError: the folder is another's, or cannot be written.
    """
    if place is not None and path.resolve() == place.folder:
        with locked(place.folder):
            manifest = _append(entries, settings, place)
            remove_unused(place.folder, manifest)
    else:
        if path.exists():
            hint = "Load it and add to it, or choose another name."
            raise DataError("The folder exists already.", hint=hint, path=path)
        manifest = _write_new(entries, settings, path)
    mapped = {shard.name: shard for shard in entries.shards}
    entries.shards = [
        mapped.get(stored.tensors.name) or read_shard(path, stored, manifest) for stored in manifest.shards
    ]
    return Place(path.resolve(), manifest)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only this process writes into the folder meanwhile; the system frees the lock of one that dies."""
    try:
        with FileLock(folder / _LOCK, timeout=_LONGEST_WAIT_S):
            yield
    except Timeout:
        raise DataError("Another process has been writing into the folder for ten minutes.", path=folder) from None


def check_generation(place: Place) -> None:
    """The folder holds what it held when the memory was loaded or saved; ConflictError where another changed it."""
    found, expected = Manifest.read(place.folder).generation, place.manifest.generation
    if found != expected:
        message = f"Another process has changed the memory: it is at generation {found}"
        hint = "Load it again and repeat the change."
        raise ConflictError(
            message, field="generation", value=found, expected=str(expected), hint=hint, path=place.folder
        )


def unused_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files among the shards that the manifest does not name, as a killed writer leaves them."""
    named = {stored.name for stored in manifest.files()}
    return sorted(path.name for path in (folder / SHARDS).iterdir() if path.name not in named)


def remove_unused(folder: Path, manifest: Manifest) -> None:
    """Delete what the manifest does not name; only for the owner of the lock, under which nobody else writes."""
    for name in unused_files(folder, manifest):
        with suppress(OSError):  # on Windows a file that a reader has mapped stays until the next time
            (folder / SHARDS / name).unlink()


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file whole and compare its SHA-256; DataError where one is not what was written."""
    for stored in manifest.files():
        check_file(folder / SHARDS / stored.name, stored)


def _opened(path: Path, manifest: Manifest) -> tuple[Entries, Settings, Place]:
    entries = Entries(
        scaling=Scaling(manifest.normalisation, _centre(path, manifest)),
        precision=manifest.precision,
        width=manifest.width,
        value_width=manifest.value_width,
        next_id=manifest.next_id,
        shards=[read_shard(path, stored, manifest) for stored in manifest.shards],
    )
    if not entries.count:
        raise DataError("The memory holds no patterns.", hint="Restore it from a copy.", path=path)
    settings = Settings(manifest.beta, manifest.novelty, manifest.image_size)
    return entries, settings, Place(path.resolve(), manifest)


def _append(entries: Entries, settings: Settings, place: Place) -> Manifest:
    """Write what is new and name it; on any failure what was written is deleted again."""
    check_generation(place)
    known = {shard.tensors.name: shard for shard in place.manifest.shards}
    try:
        stored = []
        grown = any(shard.name is None for shard in entries.shards)
        for number, shard in enumerate(entries.merged() if grown else entries.shards, start=1):
            if shard.name is None:
                stored.append(write_shard(place.folder, shard, number=number))
            else:
                changes = {"removed": list(shard.removed), "largest_norm": shard.largest_norm}
                stored.append(known[shard.name].model_copy(update=changes))
        manifest = _manifest(entries, settings, stored, place.manifest.centre, place.manifest.generation + 1)
        write_text_atomically(place.folder / MANIFEST, manifest.text())
    except BaseException:
        remove_unused(place.folder, Manifest.read(place.folder))
        raise
    return manifest


def _write_new(entries: Entries, settings: Settings, path: Path) -> Manifest:
    """Everything goes into a hidden neighbour, which takes the folder's name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        hidden.mkdir()
        with locked(hidden):
            centre = entries.scaling.centre
            kept = None
            if centre is not None:
                kept = write_tensors(hidden / SHARDS / "centre.safetensors", {"centre": centre})
            stored = [
                write_shard(hidden, shard, number=number) for number, shard in enumerate(entries.compacted(), start=1)
            ]
            manifest = _manifest(entries, settings, stored, kept, 1)
            write_text_atomically(hidden / MANIFEST, manifest.text())
        os.rename(hidden, path)  # noqa: PTH104 - fails where the name was taken meanwhile
        force_to_disk(path.parent)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return manifest


def _remove_abandoned(path: Path) -> None:
    """Delete hidden folders of killed builders of this name: not complete, and locked by nobody."""
    for hidden in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 12}"):
        if (hidden / MANIFEST).exists() or time.time() - hidden.stat().st_mtime < _YOUNG_S:
            continue
        with suppress(OSError, Timeout), FileLock(hidden / _LOCK, timeout=0):
            shutil.rmtree(hidden, ignore_errors=True)


def _manifest(
    entries: Entries, settings: Settings, shards: list[StoredShard], centre: StoredFile | None, generation: int
) -> Manifest:
    return Manifest(
        generation=generation,
        width=entries.width,
        value_width=entries.value_width,
        precision=entries.precision,
        normalisation=entries.scaling.kind,
        beta=settings.beta,
        next_id=entries.next_id,
        centre=centre,
        novelty=settings.threshold,
        shards=shards,
        image_size=settings.image_size,
    )


def _centre(path: Path, manifest: Manifest) -> Tensor | None:
    if manifest.centre is None:
        return None
    place = path / SHARDS / manifest.centre.name
    found = read_tensors(place, manifest.centre).get("centre")
    if found is None or found.shape != (manifest.width,) or found.dtype != torch.float32:
        message = f"The file holds no centre of width {manifest.width}."
        raise DataError(message, hint="Restore the folder from a copy.", path=place)
    return found
