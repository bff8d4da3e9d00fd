"""The run directory: everything one training leaves behind, each file complete or absent.

runs/<name>/
    recipe.toml         the resolved recipe
    run.json            versions, seed, data fingerprints, times, best epoch, evaluations
    metrics.csv         one row per epoch
    model.safetensors   the kept model's tensors
    model.json          architecture, vocabularies: all that is needed to predict
    remembered.jsonl.gz the training pairs, where the run keeps them
    trained-on.bin      a digest of every training item, to know them again in other data
    checkpoints/        what resuming needs
    evaluations/        details of each evaluation, for the report
    predictions/        every item's predictions, and the errors, as TSV
    figures/ report.html
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from triptych.config import AnyRecipe, Recipe, dump_recipe, load_recipe
from triptych.config.loading import parse_recipe_text
from triptych.errors import RunError, did_you_mean, nearest
from triptych.files import parse_json, read_json, write_bytes_atomically, write_json, write_text_atomically
from triptych.runs.packed import Packed, packed_at, ready_made

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

FORMAT = 1
LOCK = ".lock"
FACTS_LOCK = ".run.json.lock"
Row = dict[str, float | int | str]


def runs_folder() -> Path:
    """Where runs live: `TRIPTYCH_RUNS`, or `runs` in the current folder."""
    return Path(os.environ.get("TRIPTYCH_RUNS", "runs"))


class Run:
    """One run directory, or one packed file, which is only read.

    `create` makes a new one, `open` finds one by name or path.
    """

    def __init__(self, path: Path, *, is_new: bool = False, packed: Packed | None = None) -> None:
        self.path = path
        self.is_new = is_new  # made by `create`, and nothing but its recipe written since
        self.packed = packed

    @property
    def name(self) -> str:
        """The folder's name, or the one that a packed run had."""
        return self.path.name if self.packed is None else self.packed.name

    @property
    def checkpoint(self) -> Path:
        """The latest state that training can resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def figures(self) -> Path:
        """Folder of the figures; of a packed run in the present folder."""
        return self.path / "figures" if self.packed is None else Path(f"{self.name}-figures")

    @staticmethod
    def place(name: str) -> Path:
        """Where a run of that name is or would be: a folder in `runs_folder()`, or the path that the name is."""
        return _place(name)

    @classmethod
    def create(cls, name: str, *, force: bool = False) -> Run:
        """Make an empty run directory.

        Args:
            name: a folder name in `runs_folder()`, or a path.
            force: replace a run that is there.
        Raises:
            RunError: the name exists, and `force` is not given or it is not a run.
        """
        run = cls(_place(name), is_new=True)
        if run.path.exists() and any(run.path.iterdir() if run.path.is_dir() else [run.path]):
            if not (run.path / "recipe.toml").is_file():
                raise RunError(
                    "this exists and is not a run directory.", hint="Choose another name with --name.", path=run.path
                )
            if not force:
                raise RunError(
                    "there is a run of this name already.",
                    hint="Choose another name with --name, resume it with --resume, or replace it with --force.",
                    path=run.path,
                )
            with run.writing():
                run.forget_replaced()
            run.path.rename(run._replaced)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    @property
    def _replaced(self) -> Path:
        """Where the run that this one replaces waits until this one is sure to begin."""
        return self.path.with_name(f".{self.path.name}.replaced")

    def forget_replaced(self) -> None:
        """Remove the run that this one replaces."""
        if self._replaced.exists():
            shutil.rmtree(self._replaced)

    def remove(self) -> None:
        """Remove this run, and put back the one that it was to replace."""
        shutil.rmtree(self.path)
        if self._replaced.exists():
            self._replaced.rename(self.path)

    @classmethod
    def open(cls, name: str | Path) -> Run:
        """An existing run, by name or path; the path of a packed run, or the name of a ready-made model.

        Raises:
            RunError: there is none; the nearest name is suggested. A packed run is damaged or truncated.
        """
        run = cls(_place(str(name)))
        if not (run.path / "recipe.toml").is_file():
            file = packed_at(str(name))
            if file is not None:
                return cls(file, packed=Packed.open(file))
            folder = runs_folder()
            names = [path.parent.name for path in folder.glob("[!.]*/recipe.toml")] if folder.is_dir() else []
            included = list(ready_made())
            hint = did_you_mean(str(name), [*names, *included])
            if not names and nearest(str(name), included) is None:
                hint = "Train one with: triptych train RECIPE --name NAME"
                hint += f", or use a model that is included: {', '.join(included)}." if included else ""
            raise RunError(field="run", value=str(name), expected="the name or path of a run", hint=hint)
        return run

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only process that trains, replaces or calibrates this run, until the block ends.

        The helper processes of a training are covered by their main process.

        Raises:
            RunError: another process is writing it.
        """
        if is_helper_process():
            yield
            return
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                "another process is training this run.",
                hint="Wait for it to end, or choose another name with --name.",
                path=self.path,
            ) from None
        try:
            yield
        finally:
            lock.release()

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half-written; see `triptych.files.atomic_write` for the names."""
        for path in self.path.rglob(f".*.{'[0-9a-f]' * 12}.*"):
            path.unlink()

    def forget_evaluations(self) -> None:
        """Remove report and evaluations of the model so far, since training will change it.

        A finished run without a report is not yet evaluated.
        """
        (self.path / "report.html").unlink(missing_ok=True)
        for folder in ("evaluations", "predictions"):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        if "evaluations" in self.facts():
            self.update_facts(evaluations={})

    def write_recipe(self, recipe: AnyRecipe) -> None:
        """Put the resolved recipe into the run."""
        write_text_atomically(self.path / "recipe.toml", dump_recipe(recipe))

    def recipe(self, settings: Sequence[str] = ()) -> Recipe:
        """The recipe the run was made with, with `table.key=value` settings on top."""
        if self.packed is None:
            return load_recipe(self.path / "recipe.toml", settings)
        return parse_recipe_text((self.content("recipe.toml") or b"").decode(), settings, origin=str(self.path))

    def facts(self) -> dict[str, Any]:
        """What `run.json` says; empty before training began."""
        content = self.content("run.json")
        return {} if content is None else parse_json(content, self.path / "run.json")

    def update_facts(self, **changes: Any) -> None:
        """Replace top-level entries of `run.json`."""
        if self.packed is not None:
            raise RunError("a packed run is only read.", hint="Use the run that it was packed from.", path=self.path)
        with FileLock(self.path / FACTS_LOCK):
            self._write_facts({**self.facts(), **changes})

    def add_evaluation(self, name: str, result: Mapping[str, Any]) -> None:
        """Record an evaluation, such as `test/greedy`, in `run.json`."""
        with FileLock(self.path / FACTS_LOCK):
            facts = self.facts()
            self._write_facts({**facts, "evaluations": {**facts.get("evaluations", {}), name: dict(result)}})

    def _write_facts(self, facts: Mapping[str, Any]) -> None:
        write_json(self.path / "run.json", {"format": FORMAT, **facts})

    def write_evaluation(self, split: str, label: str, details: Mapping[str, Any]) -> None:
        """Keep the details of an evaluation for the report."""
        write_json(self.path / "evaluations" / f"{split}.{label}.json", details)

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """What `write_evaluation` kept, by `split/label`."""
        paths = sorted((self.path / "evaluations").glob("*.json"))
        return {path.stem.replace(".", "/", 1): read_json(path) for path in paths}

    def write_trained_on(self, digests: NDArray[np.uint64]) -> None:
        """Keep which items training saw; from `short_digests`, in any order."""
        import numpy as np  # listing runs need not wait for it

        write_bytes_atomically(self.path / "trained-on.bin", np.unique(digests).astype("<u8").tobytes())

    def trained_on(self) -> NDArray[np.uint64]:
        """The digests of the items that training saw; none where the run is from before they were kept."""
        import numpy as np

        path = self.path / "trained-on.bin"
        if not path.exists():
            return np.empty(0, np.uint64)
        content = path.read_bytes()
        if len(content) % 8:
            raise RunError(
                f"the file is damaged, with {len(content)} bytes; expected eight for each training item.", path=path
            )
        return np.frombuffer(content, "<u8").astype(np.uint64)

    @property
    def has_model(self) -> bool:
        """Whether training has begun, so that there is a description of the model."""
        return self.content("model.json") is not None

    def card(self) -> str:
        """The model card; empty where none has been written."""
        return (self.content("card.md") or b"").decode("utf-8")

    def content(self, name: str) -> bytes | None:
        """The bytes of a file of the run; None where there is none of that name."""
        if self.packed is not None:
            return self.packed.content(name)
        path = self.path / name
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise RunError(f"the file is damaged ({error}).", path=path) from None

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if self.packed is None and not path.exists():
            hint = f"Resume its training with: triptych train --resume --name {self.name}"
            raise RunError("no such file, so that the run has no model yet.", hint=hint, path=path)
        return path

    def write_history(self, rows: Sequence[Row]) -> None:
        """Write `metrics.csv`, one row per epoch."""
        buffer = io.StringIO()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text_atomically(self.path / "metrics.csv", buffer.getvalue())

    def history(self) -> list[dict[str, float]]:
        """The rows of `metrics.csv`; empty before the first epoch ended."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as stream:
            return [
                {key: float(value) for key, value in row.items() if value not in ("", None)}
                for row in csv.DictReader(stream)
            ]

    def write_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Write `model.safetensors`."""
        import safetensors.torch  # listing runs need not wait for PyTorch

        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        content = safetensors.torch.save(contiguous, metadata={"format": str(FORMAT)})
        write_bytes_atomically(self.path / "model.safetensors", content)

    def tensors(self) -> dict[str, Tensor]:
        """The kept model's tensors. No code runs on load.

        Raises:
            RunError: there is none yet, or the file is damaged.
        """
        import safetensors.torch

        if self.packed is not None:
            return self.packed.tensors()
        path = self._existing("model.safetensors")
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise RunError(f"the file is damaged ({error}).", path=path) from None

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file that the model's description names."""
        write_bytes_atomically(self.path / name, content)

    def weights_digest(self) -> str:
        """SHA-256 of `model.safetensors`, in hexadecimal.

        Raises:
            RunError: there is none yet.
        """
        if self.packed is not None:
            return str(self.packed.manifest["files"]["model.safetensors"])
        with self._existing("model.safetensors").open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def write_model(self, panel: str, description: Mapping[str, Any]) -> None:
        """Write `model.json`: what besides tensors is needed to predict."""
        write_json(self.path / "model.json", {"format": FORMAT, "panel": panel, **description})

    def model(self, panel: str | None = None) -> dict[str, Any]:
        """What `model.json` says, its format and panel checked.

        Raises:
            RunError: damaged, of a newer format, or of another panel than `panel`.
        """
        path = self._existing("model.json")
        document = parse_json(self.content("model.json") or b"", path, version=FORMAT)
        if panel is not None and document.get("panel") != panel:
            raise RunError(field="panel", value=document.get("panel"), expected=repr(panel), path=path)
        return document


def is_helper_process() -> bool:
    """Whether this process is a helper of another one that trains, by the variables of Lightning and torchrun."""
    return any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def hashes(fingerprints: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Hash that identifies data, wherever its files are."""
    return [entry.get("sha256") for entry in fingerprints]


def list_runs() -> list[Run]:
    """All runs in `runs_folder()`, by name."""
    folder = runs_folder()
    return [Run(path.parent) for path in sorted(folder.glob("[!.]*/recipe.toml"))] if folder.is_dir() else []


def _place(name: str) -> Path:
    if not name.strip():
        raise RunError("the name of the run is empty.", hint="For example: --name first")
    if name.startswith("-"):  # commands would take it for an option
        raise RunError(field="name", value=name, expected="a folder name that does not begin with a hyphen")
    path = Path(name)
    looks_like_path = path.is_absolute() or len(path.parts) > 1 or name in (".", "..")
    return path if looks_like_path else runs_folder() / name
