"""Triptych: small neural systems to train on a laptop, look inside, and ship without PyTorch.

import triptych

speller = triptych.load("runs/first")
speller.predict(["ɹ ə m e ɪ n d ɚ"], n_best=3)[0].text
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def load(run: str | Path, *, device: str = "cpu") -> Any:
    """Load the model of a run, by name or path, ready to predict; see `triptych.api.load`."""
    from triptych import api  # PyTorch is only imported when a model is

    return api.load(run, device=device)
