"""`memory.json` describes a memory's folder: a file that it does not name is not part of the memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.errors import DataError, TriptychError
from triptych.memory.normalisation import Normalisation
from triptych.memory.novelty import Threshold
from triptych.memory.shards import Precision
from triptych.recall.checks import check_count

MANIFEST = "memory.json"

Name = Annotated[str, Field(pattern=r"^[0-9a-z-]+(\.[a-z]+)+$")]


@dataclass(frozen=True)
class ImageSize:
    """The size that images are brought to; `channels` is 1 (grey) or 3 (RGB), values are 0 to 1."""

    height: Annotated[int, Field(ge=1)] = 28
    width: Annotated[int, Field(ge=1)] = 28
    channels: Literal[1, 3] = 1

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        check_count(self.height, name="height")
        check_count(self.width, name="width")
        if self.channels not in (1, 3):
            raise TriptychError(field="channels", value=self.channels, expected="1 (grey) or 3 (RGB)")


class Strict(BaseModel):
    """Unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StoredFile(Strict):
    """A file of the folder, which never changes once it is named."""

    name: Name
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class StoredShard(Strict):
    """Tensors of some patterns, the text of their labels, and which rows no longer count."""

    tensors: StoredFile
    labels: StoredFile | None
    rows: Annotated[int, Field(ge=1)]
    removed: list[Annotated[int, Field(ge=0)]]
    largest_norm: Annotated[float, Field(ge=0)]


class Manifest(Strict):
    """All that is in a memory's folder."""

    format: Literal["triptych memory"] = "triptych memory"
    version: Literal[1] = 1
    generation: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    value_width: Annotated[int, Field(ge=1)] | None
    precision: Precision
    normalisation: Normalisation
    beta: Annotated[float, Field(gt=0)]
    next_id: Annotated[int, Field(ge=0)]
    centre: StoredFile | None
    novelty: Threshold | None
    shards: Annotated[list[StoredShard], Field(min_length=1)]
    image_size: ImageSize | None = None

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder; DataError where there is none, or it is not of this format."""
        path = folder / MANIFEST
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            found = "The folder does not exist." if not folder.is_dir() else f"The folder has no {MANIFEST}."
            hint = f"Build a memory with: triptych memory build PATTERNS --out {folder}"
            raise DataError(found, hint=hint, path=folder) from None
        except NotADirectoryError:
            raise DataError("This is a file, not the folder of a memory.", path=folder) from None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the text"
            value = repr(first["input"])[:60]
            raise DataError(
                f"{where} is {value}: {first['msg']}.",
                field=where,
                value=first["input"],
                expected="a memory of format version 1",
                hint="Restore it from a copy, or update triptych if a newer version wrote it.",
                path=path,
            ) from None

    def files(self) -> list[StoredFile]:
        """All files that belong to the memory."""
        files = [stored for shard in self.shards for stored in (shard.tensors, shard.labels)]
        return [stored for stored in (*files, self.centre) if stored is not None]

    def text(self) -> str:
        """The manifest as it is written; what has its usual value and is newer than version 1 is not written."""
        exclude: dict[str, Any] = {}
        if self.novelty is not None and not self.novelty.stale:
            exclude["novelty"] = {"stale"}
        if self.image_size is None:
            exclude["image_size"] = True
        return self.model_dump_json(indent=2, exclude=exclude) + "\n"
