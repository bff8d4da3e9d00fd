"""Saving a memory into a folder and loading it: what goes where, and when it counts."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from triptych.errors import DataError
from triptych.memory import store
from triptych.memory.entries import Contents
from triptych.memory.manifest import Manifest, StoredFile, StoredShard, StoredThreshold
from triptych.memory.normalisation import Scaling
from triptych.memory.novelty import Threshold
from triptych.memory.shards import Shard


@dataclass(frozen=True)
class Settings:
    """What a memory keeps besides its rows."""

    beta: float
    threshold: Threshold | None


@dataclass(frozen=True)
class Place:
    """The folder that a memory is kept in, and what that holds.

    Attributes:
        folder: resolved.
        manifest: as it was loaded or last saved.
    """

    folder: Path
    manifest: Manifest


def load(path: Path) -> tuple[Contents, Settings, Place]:
    """What a folder holds; tensors are mapped, not read.

    Raises:
        DataError: it holds no memory, or not all of one.
    """
    manifest = Manifest.read(path)
    shards = [store.read_shard(path, stored, manifest) for stored in manifest.shards]
    contents = Contents(
        scaling=Scaling(manifest.normalisation, _centre(path, manifest)),
        precision=manifest.precision,
        width=manifest.width,
        value_width=manifest.value_width,
        next_id=manifest.next_id,
        shards=shards,
    )
    if not contents.count:
        raise DataError("the memory holds 0 patterns; expected at least one. Restore it from a copy.", path=path)
    novelty = manifest.novelty
    threshold = None if novelty is None else Threshold(**novelty.model_dump())
    return contents, Settings(manifest.beta, threshold), Place(path.resolve(), manifest)


def save(contents: Contents, settings: Settings, path: Path, place: Place | None) -> Place:
    """Write what is new into the memory's own folder, or everything into a new one; its rows are mapped afterwards.

    Args:
        contents: rows; its shards become the mapped ones.
        settings: beta and threshold.
        path: where.
        place: the memory's own folder, if it has one.
    Raises:
        DataError: the folder is another's, or another process has changed it.
    """
    if place is not None and path.resolve() == place.folder:
        manifest = _append(contents, settings, place)
    else:
        if path.exists():
            raise DataError("exists already; expected a new folder. Load it and add to it, or choose another name.",
                            path=path)  # fmt: skip
        manifest = _write_new(contents, settings, path)
    contents.shards = [store.read_shard(path, stored, manifest) for stored in manifest.shards]
    return Place(path.resolve(), manifest)


def _append(contents: Contents, settings: Settings, place: Place) -> Manifest:
    stored = {shard.tensors.name: shard for shard in place.manifest.shards}
    entries = []
    for number, shard in enumerate(contents.shards, start=1):
        known = None if shard.name is None else stored[shard.name]
        if known is None:
            known = store.write_shard(place.folder, shard, number=number)
        entries.append(known.model_copy(update=_changes(shard)))
    manifest = _manifest(contents, settings, entries, place.manifest.centre, place.manifest.generation + 1)
    store.commit(place.folder, manifest, replaces=place.manifest.generation)
    return manifest


def _write_new(contents: Contents, settings: Settings, path: Path) -> Manifest:
    """Everything goes into a hidden neighbour, which takes the folder's name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        centre = contents.scaling.centre
        kept = None if centre is None else store.write_tensors(
            hidden / store.SHARDS / "centre.safetensors", {"centre": centre}
        )  # fmt: skip
        entries = [
            store.write_shard(hidden, shard, number=number)
            for number, shard in enumerate(contents.compacted(), start=1)
        ]
        manifest = _manifest(contents, settings, entries, kept, 1)
        store.commit(hidden, manifest, replaces=0)
        os.rename(hidden, path)  # noqa: PTH104 - fails where the name was taken meanwhile
        _force_to_disk(path.parent)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return manifest


def _manifest(
    contents: Contents, settings: Settings, shards: list[StoredShard], centre: StoredFile | None, generation: int
) -> Manifest:
    threshold = settings.threshold
    return Manifest(
        generation=generation,
        width=contents.width,
        value_width=contents.value_width,
        precision=contents.precision,
        normalisation=contents.scaling.kind,
        beta=settings.beta,
        next_id=contents.next_id,
        centre=centre,
        novelty=None if threshold is None else StoredThreshold(**vars(threshold)),
        shards=shards,
    )


def _force_to_disk(folder: Path) -> None:
    """The folder's list of names, where a new name lives."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _changes(shard: Shard) -> dict[str, object]:
    return {"removed": list(shard.removed), "largest_norm": shard.largest_norm}


def _centre(path: Path, manifest: Manifest) -> Tensor | None:
    if manifest.centre is None:
        return None
    place = path / store.SHARDS / manifest.centre.name
    found = store.read_tensors(place, manifest.centre).get("centre")
    if found is None or found.shape != (manifest.width,) or found.dtype != torch.float32:
        raise DataError(f"holds no centre of width {manifest.width}. Restore it from a copy.", path=place)
    return found
