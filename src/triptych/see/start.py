"""A training that starts from another run's model: other images, other classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from triptych.errors import RunError
from triptych.runs.run import Run
from triptych.runs.transfer import Transfer, known_rows, transfer

OF_CLASSES = ("last", "classifier", "fc", "head.fc")  # names of the layer that has a row per class


def started(network: nn.Module, description: Mapping[str, Any], start: Run) -> Transfer:
    """Copy into a network what fits of a run's model; rows of the last layer go by the names of classes.

    Args:
        network: built for the new images; changed in place.
        description: of the new model, as for `model.json`.
        start: the run.
    Raises:
        RunError: the start run is of another panel, is an ensemble or has no model, or nothing of it fits.
    """
    before = start.model("see")
    if "members" in before:
        raise RunError("this run is an ensemble.", hint="Start from one of its members.", path=start.path)
    new, old = list(description["classes"]), list(before.get("classes", []))
    rows = known_rows(new, old)
    names = [f"{layer}.{part}" for layer in OF_CLASSES for part in ("weight", "bias")]
    found = transfer(network, start.tensors(), dict.fromkeys(names, rows))
    if not found.copied:
        raise RunError(
            f"no weights of {start.name} fit this recipe, whose [model] is another.",
            hint=f"Leave the recipe out to use the start run's: triptych train --start-from {start.name} --data PATH",
            path=start.path,
        )
    fresh = [name for name in new if name not in old]
    remarks = [f"{len(fresh)} of {len(new)} classes are new to {start.name} ({', '.join(fresh[:5])})."] if fresh else []
    return Transfer(found.copied, found.rows, found.initialised, found.numbers, remarks)
