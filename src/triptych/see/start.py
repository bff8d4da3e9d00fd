"""A training that starts from another run's model: other images, other classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from triptych.runs.run import Run
from triptych.runs.transfer import Transfer, description_of_start, known_rows, transfer_from

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
    before = description_of_start(start, "see")
    new, old = list(description["classes"]), list(before.get("classes", []))
    rows = known_rows(new, old)
    names = [f"{layer}.{part}" for layer in OF_CLASSES for part in ("weight", "bias")]
    found = transfer_from(start, network, dict.fromkeys(names, rows))
    fresh = [name for name in new if name not in old]
    remarks = [f"{len(fresh)} of {len(new)} classes are new to {start.name} ({', '.join(fresh[:5])})."] if fresh else []
    return replace(found, remarks=remarks)
