"""Checkpoints that are complete or absent, and that load as tensors and plain values only."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from triptych.errors import RunError
from triptych.files import write_bytes_atomically


class AtomicCheckpoints(TorchCheckpointIO):
    """Atomic checkpoints for Lightning."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; a process that is killed half-way leaves the one before in its place."""
        content = io.BytesIO()  # PyTorch's own writer does not report a full disk
        torch.save(checkpoint, content)
        write_bytes_atomically(path, content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; nothing in it is run."""
        return read_checkpoint(Path(path), map_location=map_location or "cpu")


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values.

    Raises:
        RunError: it is damaged.
    """
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise damaged(path, error) from None
    if not isinstance(checkpoint, dict) or not {"state_dict", "callbacks", "loops"} <= checkpoint.keys():
        raise damaged(path, "entries are missing")
    return checkpoint


def damaged(path: Path, reason: object) -> RunError:
    """The error for a checkpoint that cannot be used."""
    first_line = str(reason).partition("\n")[0]
    return RunError(
        f"the file is damaged or of another model ({first_line}).",
        hint="Start over with --force in place of --resume.",
        path=path,
    )
