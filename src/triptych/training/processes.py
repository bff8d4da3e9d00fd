"""Which process of a training this is."""

from __future__ import annotations

import os


def is_helper_process() -> bool:
    """Whether this process helps another one to train, as Lightning or torchrun tell it."""
    return any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))
