"""Exported models without PyTorch: NumPy, ONNX Runtime and pydantic are all that is needed.

from triptych import runtime

speller = runtime.load("exported")
speller.predict(["ɹ ə m e ɪ n d ɚ"], n_best=3)[0].text
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from triptych.config.decoding import SpellDecoding as Decoding
from triptych.errors import RunError, did_you_mean
from triptych.runtime.folder import Exported

__all__ = ["Decoding", "Exported", "load"]

READERS = {
    "spell": "triptych.runtime.speller",
    "see": "triptych.runtime.classifier",
    "recall": "triptych.runtime.memory",
}


def load(folder: str | Path, *, threads: int = 1) -> Any:
    """Load what `triptych export` wrote: a `Speller`, a `Classifier` or a `Memory`, as its panel is.

    Args:
        folder: the exported folder.
        threads: of ONNX Runtime, >= 1; 0 takes all cores. Small models are fastest on one.
    Raises:
        RunError: the folder does not exist, is damaged, foreign, or of a newer format.
        MissingExtraError: ONNX Runtime is not installed.
    """
    exported = Exported.open(folder)
    home = READERS.get(exported.panel)
    if home is None:
        raise RunError(
            field="panel",
            value=exported.panel,
            expected=f"one of {', '.join(READERS)}",
            hint=did_you_mean(exported.panel, READERS),
            path=exported.manifest,
        )
    return importlib.import_module(home).load(exported, threads=threads)
