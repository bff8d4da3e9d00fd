"""An exported folder: ONNX graphs, `export.json` with everything else, and a README. Read here, and checked.

exported/
    export.json     panel, names and SHA-256 of all graphs, vocabularies, settings
    *.onnx          graphs; *.onnx.data beside them where tensors are too large for one file
    README.md       how to use it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.errors import MissingExtraError, RunError
from triptych.files import read_json

FORMAT = 1
MANIFEST = "export.json"
AGAIN = "Export the run again."


@dataclass(frozen=True)
class Exported:
    """An exported folder whose files are as they were written.

    Attributes:
        path: the folder.
        panel: whose model it is.
        name: of the run, or of what else was exported.
        model: what the panel wrote to read its graphs by.
        document: the whole of `export.json`.
    """

    path: Path
    panel: str
    name: str
    model: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def manifest(self) -> Path:
        """Where `export.json` is."""
        return self.path / MANIFEST

    @classmethod
    def open(cls, folder: str | Path) -> Exported:
        """Read and check a folder.

        Raises:
            RunError: it does not exist, is not an exported folder, is damaged, or is of a newer format.
        """
        path = Path(folder)
        document = _read(path)
        files, model = document.get("files"), document.get("model")
        panel, name = document.get("panel"), document.get("name")
        if not isinstance(files, dict) or not isinstance(model, dict) or not files:
            raise _damaged(path / MANIFEST, "files or model is missing")
        if not isinstance(panel, str) or not isinstance(name, str):
            raise _damaged(path / MANIFEST, "panel or name is missing")
        for file, digest in files.items():
            _check_file(path, file, digest)
        return cls(path, panel, name, model, document)

    def content(self, name: str) -> bytes | None:
        """The bytes of one of the files; None where there is none of that name."""
        return (self.path / name).read_bytes() if name in self.document["files"] else None

    def graph(self, file: Any) -> Path:
        """The path of one of the graphs.

        Raises:
            RunError: `export.json` does not list it.
        """
        if file not in self.document["files"]:
            raise _damaged(self.manifest, f"graph {file!r} is not among its files")
        return self.path / str(file)

    def session(self, file: Any, *, threads: int) -> Any:
        """A graph ready to run, an `onnxruntime.InferenceSession` on the CPU.

        Raises:
            RunError: the graph is not listed, or ONNX Runtime cannot read it.
            MissingExtraError: ONNX Runtime is not installed.
        """
        path = self.graph(file)
        if threads < 0:
            raise RunError(field="threads", value=threads, expected="an integer >= 0", hint="Use 0 for all cores.")
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; the message of one is raised as well
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own errors have no common base but this
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"ONNX Runtime {onnxruntime.__version__} cannot read this graph ({first}).",
                hint="Update ONNX Runtime, or export the run again.",
                path=path,
            ) from None


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise RunError("this is not a folder.", hint="Make one with: triptych export RUN", path=path)
    manifest = path / MANIFEST
    if not manifest.is_file():
        hint = "Export the run with: triptych export" if (path / "recipe.toml").is_file() else "Check the path."
        what = "a run" if (path / "recipe.toml").is_file() else "a folder"
        raise RunError(f"this is {what} without {MANIFEST}.", hint=hint, path=path)
    return read_json(manifest, version=FORMAT, hint=AGAIN)


def _check_file(folder: Path, file: str, digest: Any) -> None:
    if Path(file).name != file:  # nothing outside the folder is ever opened
        raise _damaged(folder / MANIFEST, f"file {file!r} is not in the folder")
    path = folder / file
    if not path.is_file():
        raise RunError("the file is missing.", hint=AGAIN, path=path)
    found = digest_of(path)
    if found != digest:
        raise RunError(f"SHA-256 is {found[:12]}…; expected {str(digest)[:12]}….", hint=AGAIN, path=path)


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"the file is damaged ({why}).", hint=AGAIN, path=path)
