"""An index on disk, in the folder `index` of a memory's own.

    store/index/index.json            the manifest: kind, effort, and which patterns it is of; replacing it commits
    store/index/….faiss               faiss's own format
    store/index/….safetensors         radii and sizes of the lists

Checked by tests/memory/test_index_store.py.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError

from triptych.errors import DataError
from triptych.files import atomic_write, write_text_atomically
from triptych.memory.folder import check_generation, locked
from triptych.memory.index import Index
from triptych.memory.manifest import StoredFile, Strict
from triptych.memory.memory import Memory
from triptych.memory.searchers import Built, Kind, Lists, import_faiss
from triptych.memory.shard_files import check_file, described, read_tensors, write_tensors

FOLDER, MANIFEST = "index", "index.json"
_BUILD = "Build it with: triptych memory index STORE"


class IndexManifest(Strict):
    """All that is in an index's folder.

    Attributes:
        effort: as the index had it when it was saved.
        patterns: SHA-256 of the names of the memory's files and of what was removed.
    """

    format: Literal["triptych index"] = "triptych index"
    version: Literal[1] = 1
    kind: Kind
    effort: Annotated[int, Field(ge=1)]
    patterns: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    searcher: StoredFile
    lists: StoredFile | None


def save_index(index: Index) -> IndexManifest:
    """Keep an index beside the memory that it was built over; one that was kept before is replaced.

    The memory must be on disk as it is: DataError where it has changed, ConflictError where another process changed it.
    """
    memory = index.memory
    if memory.place is None:
        raise DataError("The memory is not on disk.", hint="Save it with memory.save(folder).")
    index.check_memory()
    patterns, folder = _patterns(memory), memory.place.folder / FOLDER
    with locked(memory.place.folder):
        check_generation(memory.place)
        try:
            return _write(index, folder, patterns)
        finally:
            for name in unused_files(folder):
                with suppress(OSError):
                    (folder / name).unlink()


def _write(index: Index, folder: Path, patterns: str) -> IndexManifest:
    name = secrets.token_hex(8)
    searcher = folder / f"{name}.faiss"
    with atomic_write(searcher) as temporary:
        try:
            import_faiss().write_index(index.built.faiss_index, str(temporary))
        except RuntimeError as error:
            raise DataError(f"The index could not be written: {_first_line(error)}.", path=searcher) from error
    lists = None
    if index.built.lists is not None:
        tensors = {"radii": index.built.lists.radii, "sizes": index.built.lists.sizes}
        lists = write_tensors(folder / f"{name}.safetensors", tensors)
    manifest = IndexManifest(
        kind=index.kind, effort=index.effort, patterns=patterns, searcher=described(searcher), lists=lists
    )
    write_text_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def unused_files(folder: Path) -> list[str]:
    """Files of a memory's index that its manifest does not name, as a killed builder leaves them."""
    if not folder.is_dir():
        return []
    try:
        manifest = IndexManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return []  # with nothing that names the others
    named = {MANIFEST, manifest.searcher.name, *(() if manifest.lists is None else (manifest.lists.name,))}
    return sorted(path.name for path in folder.iterdir() if path.name not in named)


def read_manifest(memory: Memory) -> IndexManifest | None:
    """What is kept beside a memory, None where nothing is; DataError where it is damaged."""
    if memory.place is None:
        return None
    path = memory.place.folder / FOLDER / MANIFEST
    try:
        return IndexManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"The index is damaged: {_first_line(error)}.", hint=_BUILD, path=path) from error


def is_fresh(manifest: IndexManifest, memory: Memory) -> bool:
    """Whether an index is of the patterns that the memory has now."""
    return all(shard.name is not None for shard in memory.shards) and manifest.patterns == _patterns(memory)


def load_index(memory: Memory) -> Index:
    """The index that is kept beside a memory.

    Its file is faiss's own and read by faiss: load indexes only from people whose programs you would run.

    DataError where there is none, it is of other patterns, or it is damaged.
    """
    faiss = import_faiss()
    manifest = read_manifest(memory)
    if manifest is None or memory.place is None:
        where = None if memory.place is None else memory.place.folder
        raise DataError("The memory has no index.", hint=_BUILD, path=where)
    folder = memory.place.folder / FOLDER
    if not is_fresh(manifest, memory):
        raise DataError(
            "The index was built for other patterns than the memory has now.", hint=_BUILD, path=folder / MANIFEST
        )
    searcher = folder / manifest.searcher.name
    check_file(searcher, manifest.searcher)
    try:
        found = faiss.read_index(str(searcher))
        lists = None
        if manifest.lists is not None:
            tensors = read_tensors(folder / manifest.lists.name, manifest.lists)
            centroids = torch.from_numpy(found.quantizer.reconstruct_n(0, found.nlist))[:, : memory.width].clone()
            lists = Lists(centroids, tensors["radii"], tensors["sizes"])
            if not tensors["radii"].shape == tensors["sizes"].shape == (found.nlist,):
                raise ValueError("the lists are others")
        if found.ntotal != len(memory):
            raise ValueError(f"{found.ntotal} patterns")
    except (RuntimeError, AttributeError, KeyError, ValueError) as error:
        raise DataError(f"The index is damaged: {_first_line(error)}.", hint=_BUILD, path=searcher) from error
    return Index(memory, kind=manifest.kind, effort=manifest.effort, built=Built(found, lists))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _patterns(memory: Memory) -> str:
    """Of a memory's rows, which never change under their file's name; DataError where some are not on disk yet."""
    rows = [(shard.name, list(shard.removed)) for shard in memory.shards]
    if any(name is None for name, _ in rows):
        raise DataError("The memory has patterns that are not on disk.", hint="Save it with memory.save().")
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
