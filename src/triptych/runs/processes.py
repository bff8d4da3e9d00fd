"""Which process of a training this is."""

from __future__ import annotations

import os

from triptych.errors import DataError


def is_helper_process() -> bool:
    """Whether this process is a helper of another one that trains, by the variables of Lightning and torchrun."""
    return any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))


def check_shares(batch_size: int, count: int, *, what: str, world_size: int) -> None:
    """See that every process of a training has a part of every batch.

    Args:
        batch_size: items per batch over all processes.
        count: items in all.
        what: they are, in the plural.
        world_size: processes in all.
    Raises:
        DataError: one would have nothing to train on.
    """
    for name, size in (("training.batch_size", batch_size), (f"the number of {what}", count)):
        if size < world_size:
            raise DataError(field=name, value=size, expected=f"at least one for each of {world_size} processes")
