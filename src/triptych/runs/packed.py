"""A run as one file to hand on: what predicting takes, with checksums, and nothing that is unpickled.

NAME.triptych, a zip file
    manifest.json       format, name, panel, how weights are kept, size and SHA-256 of every other entry
    recipe.toml         the resolved recipe
    run.json            versions, seed, times, evaluations; no paths of the machine that trained it
    model.json          as in a run directory
    model.safetensors   tensors in 32, 16 or 8 bits
    card.md             the model card
    remembered.jsonl.gz the training pairs, where the run keeps them
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from triptych.errors import RunError, did_you_mean
from triptych.files import check_format, write_bytes_atomically

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
SUFFIX = ".triptych"
MANIFEST = "manifest.json"
ENTRIES = ("recipe.toml", "run.json", "model.json", "model.safetensors", "card.md")
MOST_BYTES = 4 * 2**30  # of an entry, so that a file made to fill the memory is refused
SMALL = 1024  # numbers; tensors up to this many stay in 32 bits
SCALE = ".scale"  # ends the name of the scales of a tensor in eight bits, one per row
MODELS = Path(__file__).resolve().parent.parent / "models"  # the ready-made ones

Weights = Literal["float32", "float16", "int8"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)


@dataclass(frozen=True)
class Packed:
    """A packed run whose manifest has been read; every entry is checked when it is read.

    Attributes:
        path: the file.
        manifest: what `manifest.json` says.
    """

    path: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the run."""
        return str(self.manifest["name"])

    @property
    def dictionary(self) -> str:
        """Named data set whose pairs answer before the model is asked; empty for none."""
        return str(self.manifest.get("dictionary", ""))

    @classmethod
    def open(cls, path: Path) -> Packed:
        """Read the manifest of a file.

        Raises:
            RunError: the file is not a packed run, is truncated or damaged, or of a newer format.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                manifest = json.loads(_read(archive, MANIFEST))
        except KeyError:
            raise _foreign(path, f"it is a zip file without {MANIFEST}") from None
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise _foreign(path, str(error)) from None
        except OSError as error:
            raise RunError(f"cannot be read: {error.strerror or error}.", path=path) from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise _foreign(path, f"{MANIFEST} is of something else")
        check_format(manifest, path, FORMAT)
        missing = [name for name in ("recipe.toml", "model.json", "model.safetensors") if name not in manifest["files"]]
        if missing or not isinstance(manifest.get("name"), str) or manifest.get("weights") not in WEIGHTS:
            raise _foreign(path, f"{MANIFEST} lacks {', '.join(missing) or 'name or weights'}")
        return cls(path, manifest)

    def content(self, name: str) -> bytes | None:
        """The bytes of an entry, checked; None where the run has none of that name.

        Raises:
            RunError: they are not what was packed.
        """
        expected = self.manifest["files"].get(name)
        if expected is None:
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:
                content = _read(archive, name)
        except (zipfile.BadZipFile, KeyError, EOFError, ValueError, OSError, RuntimeError) as error:
            raise _damaged(self.path, f"{name}: {error}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise _damaged(self.path, f"SHA-256 of {name} is {found[:12]}…; expected {str(expected)[:12]}…")
        return content

    def tensors(self) -> dict[str, Tensor]:
        """The model's tensors, in 32 bits.

        Raises:
            RunError: they are damaged.
        """
        import safetensors.torch

        try:
            stored = safetensors.torch.load(self.content("model.safetensors") or b"")
            return restored(stored)
        except (safetensors.SafetensorError, KeyError) as error:
            raise _damaged(self.path, f"model.safetensors: {error}") from None


def write_packed(path: Path, entries: Mapping[str, bytes], *, facts: Mapping[str, Any]) -> int:
    """Write a packed run; equal entries give equal files. The file is complete or absent.

    Args:
        path: of the file.
        entries: content by name, of `ENTRIES`.
        facts: name, panel, weights and dictionary, for the manifest.
    Returns:
        Its size in bytes.
    """
    files = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
    manifest = json.dumps({"format": FORMAT, **facts, "files": files}, indent=1, ensure_ascii=False) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in {MANIFEST: manifest.encode(), **entries}.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    write_bytes_atomically(path, buffer.getvalue())
    return buffer.tell()


def stored(tensors: Mapping[str, Tensor], weights: Weights) -> bytes:
    """Tensors as the content of `model.safetensors`, whose metadata say how they are kept.

    `float16` halves every tensor of floating-point numbers. `int8` keeps each row of a matrix as whole numbers from
    -127 to 127 with a scale of its own, so that the error of a weight is at most 1/254 of the row's largest; tensors of
    up to 1,024 numbers and vectors stay in 32 bits.
    """
    import safetensors.torch
    import torch

    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if weights == "float16" and own.is_floating_point():
            kept[name] = own.to(torch.float16)
        elif weights == "int8" and own.is_floating_point() and own.dim() > 1 and own.numel() > SMALL:
            scale = own.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
            kept[name] = (own / scale.view(-1, *[1] * (own.dim() - 1))).round().to(torch.int8)
            kept[name + SCALE] = scale
        else:
            kept[name] = own
    return safetensors.torch.save(kept, metadata={"format": str(FORMAT)})


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of `stored` in 32 bits."""
    import torch

    found = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8 and name + SCALE in tensors:
            scale = tensors[name + SCALE].float()
            found[name] = tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in tensors):
            found[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    return found


def ready_made() -> dict[str, Path]:
    """Names and files of the models that are part of the package."""
    return {path.stem: path for path in sorted(MODELS.glob(f"*{SUFFIX}"))}


def packed_at(name: str) -> Path | None:
    """The file that a name means: a path of a file, or a ready-made model."""
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix == SUFFIX and (len(path.parts) > 1 or not ready_made().get(path.stem)):
        folder = path.absolute().parent
        near = [each.name for each in folder.glob(f"*{SUFFIX}")] if folder.is_dir() else []
        raise RunError("no such file.", hint=did_you_mean(path.name, near) if near else "Check the path.", path=path)
    return ready_made().get(name.removesuffix(SUFFIX))


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} is larger than {MOST_BYTES >> 30} GiB")
    return archive.read(name)


def _foreign(path: Path, why: str) -> RunError:
    why = why.rstrip(".") or "it ends early"
    return RunError(
        f"this is not a packed run, or is truncated ({why}).",
        hint="Copy the whole file again, or make one with: triptych pack RUN",
        path=path,
    )


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"the packed run is damaged ({why}).", hint="Copy the file again.", path=path)


def without_paths(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `run.json` says, without places on the machine that trained the run."""
    kept = {key: value for key, value in facts.items() if key not in ("format", "data_location")}
    for key in ("data", "members", "started_from"):
        if key in kept:
            kept[key] = _base_names(kept[key])
    return kept


def _base_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: Path(str(inner)).name if key in ("path", "run") else _base_names(inner) for key, inner in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [Path(each).name if isinstance(each, str) and "/" in each else _base_names(each) for each in value]
    return value
