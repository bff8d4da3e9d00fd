"""Writing an exported folder: complete or absent."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from triptych.errors import RunError
from triptych.export.graph import need_onnx
from triptych.files import force_to_disk, write_json, write_text_atomically
from triptych.runtime.folder import FORMAT, MANIFEST, digest_of

README = "README.md"


@contextmanager
def staged(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty folder beside `out`, and put it in the place of `out` when the block ends well.

    Raises:
        RunError: there is something at `out`, and it is not to be replaced, or was not exported.
    """
    check_free(out, force=force)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{secrets.token_hex(6)}.export")
    staging.mkdir()
    try:
        yield staging
        for path in staging.iterdir():
            force_to_disk(path)
        replaced = out.with_name(f".{out.name}.{secrets.token_hex(6)}.replaced")
        if out.exists():
            out.rename(replaced)
        staging.rename(out)
        if replaced.exists():
            shutil.rmtree(replaced)
    except BaseException:  # an interrupt must not leave the staging folder behind either
        shutil.rmtree(staging, ignore_errors=True)
        raise


def check_free(out: Path, *, force: bool) -> None:
    """Raise RunError where `out` cannot be written to."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise RunError("this exists and is not an exported folder.", hint="Choose another with --out.", path=out)
    if not force:
        raise RunError("the folder exists.", hint="Choose another with --out, or replace it with --force.", path=out)


@dataclass(frozen=True)
class Use:
    """How an exported model is used, for its README.

    Attributes:
        call: what to call on the loaded model.
        packages: what must be installed besides NumPy, ONNX Runtime and pydantic.
    """

    call: str
    packages: Sequence[str] = ()


def write_manifest(
    folder: Path, *, panel: str, name: str, model: Mapping[str, Any], use: Use, more: Mapping[str, Any]
) -> None:
    """Write `export.json` and `README.md` about the graphs that lie in a folder.

    Args:
        folder: with all other files in place.
        panel: whose model it is.
        name: of what was exported.
        model: what the panel needs to read its graphs.
        use: for the README.
        more: other entries: what was measured, how it was quantised.
    """
    import torch

    own = (MANIFEST, README)
    files = {path.name: digest_of(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name not in own}
    made_with = {"triptych": version("triptych"), "torch": torch.__version__, "onnx": need_onnx().__version__}
    document = {
        "format": FORMAT,
        "panel": panel,
        "name": name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_with": made_with,
        **more,
        "files": files,
        "model": dict(model),
    }
    write_json(folder / MANIFEST, document)
    write_text_atomically(folder / README, _readme(panel, name, use))


def _readme(panel: str, name: str, use: Use) -> str:
    packages = " ".join(("numpy", "onnxruntime", "pydantic", *use.packages))
    return (
        f"# {name}\n\n"
        f"A model of the panel `{panel}`, exported to ONNX by Triptych. It needs no PyTorch:\n\n"
        f"    pip install {packages} && pip install --no-deps triptych\n"
        f"    python -c 'from triptych import runtime; print(runtime.load(\"FOLDER\").{use.call})'\n\n"
        f"`{MANIFEST}` describes the graphs and the versions they were made with.\n"
    )
