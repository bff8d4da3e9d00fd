"""The files of one shard: its tensors and labels, written once, mapped when a memory is loaded, and checked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from triptych.data.fingerprints import fingerprint_file
from triptych.errors import DataError
from triptych.files import atomic_write, write_bytes_atomically
from triptych.memory.manifest import MANIFEST, Manifest, StoredFile, StoredShard
from triptych.memory.shards import TORCH_DTYPES, Packed, Shard

SHARDS = "shards"
_RESTORE = "Restore the folder from a copy."


def write_shard(folder: Path, shard: Shard, *, number: int) -> StoredShard:
    """Put a shard's files on the disk, with names that begin with a number; they count once a manifest names them."""
    name = f"{number:06d}-{secrets.token_hex(4)}"
    labels = None
    if shard.codes is not None:
        path = folder / SHARDS / f"{name}.labels.json"
        write_bytes_atomically(path, json.dumps(list(shard.labels), ensure_ascii=False, indent=0).encode())
        labels = described(path)
    tensors = write_tensors(folder / SHARDS / f"{name}.safetensors", _tensors(shard))
    removed, norm = list(shard.removed), shard.largest_norm
    return StoredShard(tensors=tensors, labels=labels, rows=len(shard), removed=removed, largest_norm=norm)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> StoredFile:
    """Write tensors as safetensors, complete or not at all; DataError where the disk is full or cannot be written."""
    with atomic_write(path) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        except SafetensorError as error:
            raise DataError(f"The file could not be written: {error}.", path=path) from error
    return described(path)


def read_shard(folder: Path, stored: StoredShard, manifest: Manifest) -> Shard:
    """Map a shard's tensors and read its labels; DataError where they are not what the manifest says."""
    path = folder / SHARDS / stored.tensors.name
    tensors = read_tensors(path, stored.tensors)
    _check_tensors(path, tensors, stored, manifest)
    labels = [] if stored.labels is None else _read_labels(folder / SHARDS / stored.labels.name, stored.labels)
    codes = tensors.get("label_codes")
    if codes is not None and not (int(codes.min()) >= -1 and int(codes.max()) < len(labels)):
        raise DataError(f"Label number {int(codes.max())} is not in the list of labels.", hint=_RESTORE, path=path)
    values = tensors.get("values")
    return Shard(
        keys=Packed(tensors["keys"], tensors.get("key_scale")),
        values=None if values is None else Packed(values, tensors.get("value_scale")),
        length=tensors.get("length"),
        ids=tensors["ids"],
        codes=codes,
        labels=labels,
        largest_norm=stored.largest_norm,
        removed=tuple(stored.removed),
        name=stored.tensors.name,
    )


def read_tensors(path: Path, stored: StoredFile) -> dict[str, Tensor]:
    """Tensors mapped from a file; DataError where it is missing, truncated or damaged."""
    _check_size(path, stored)
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise DataError(f"The file is damaged: {error}.", hint=_RESTORE, path=path) from error


def check_file(path: Path, stored: StoredFile) -> None:
    """Read a file whole and compare its SHA-256; DataError where it is missing, or not what was written."""
    _check_size(path, stored)
    found = fingerprint_file(path)["sha256"]
    if found != stored.sha256:
        message = f"The file has SHA-256 {found[:12]}…; expected {stored.sha256[:12]}…."
        raise DataError(message, field="SHA-256", value=found, expected=stored.sha256, hint=_RESTORE, path=path)


def _tensors(shard: Shard) -> dict[str, Tensor]:
    found = {
        "keys": shard.keys.rows,
        "key_scale": shard.keys.scale,
        "values": None if shard.values is None else shard.values.rows,
        "value_scale": None if shard.values is None else shard.values.scale,
        "length": shard.length,
        "ids": shard.ids,
        "label_codes": shard.codes,
    }
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], stored: StoredShard, manifest: Manifest) -> None:
    rows, kept = stored.rows, TORCH_DTYPES[manifest.precision]
    expected: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "keys": ((rows, manifest.width), kept),
        "ids": ((rows,), torch.int64),
    }
    if manifest.value_width is not None:
        expected["values"] = ((rows, manifest.value_width), kept)
    if manifest.precision == "int8":
        scales = {name.replace("keys", "key").replace("values", "value") for name in expected if name != "ids"}
        expected |= {f"{name}_scale": ((rows,), torch.float32) for name in scales}
    if manifest.normalisation != "none":
        expected["length"] = ((rows,), torch.float32)
    if stored.labels is not None:
        expected["label_codes"] = ((rows,), torch.int64)
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            message, wanted = f"The tensor {name} is {found.get(name)}", f"{expected.get(name)}, as in {MANIFEST}"
            raise DataError(message, field=name, value=found.get(name), expected=wanted, hint=_RESTORE, path=path)
    if any(place >= rows for place in stored.removed):
        raise DataError(f"Row {max(stored.removed)} is removed, but there are only {rows}.", hint=_RESTORE, path=path)


def _read_labels(path: Path, stored: StoredFile) -> list[str]:
    _check_size(path, stored)
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"The file is damaged: {error}.", hint=_RESTORE, path=path) from error
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise DataError("The file is not a list of texts.", hint=_RESTORE, path=path)
    return found


def _check_size(path: Path, stored: StoredFile) -> None:
    try:
        size = path.stat().st_size
    except OSError:
        raise DataError("The file is missing, so the memory is not complete.", hint=_RESTORE, path=path) from None
    if size != stored.bytes:
        message = f"The file has {size} bytes; expected {stored.bytes}, so the memory is not complete."
        raise DataError(message, field="bytes", value=size, expected=str(stored.bytes), hint=_RESTORE, path=path)


def described(path: Path) -> StoredFile:
    """A file as a manifest names it."""
    found = fingerprint_file(path)
    return StoredFile(name=path.name, bytes=found["bytes"], sha256=found["sha256"])
