"""Runs as folders that work without PyTorch."""

from __future__ import annotations

from pathlib import Path

from triptych.api.evaluation import read_for_evaluation
from triptych.api.models import load
from triptych.data.locations import Location
from triptych.errors import RecipeError, did_you_mean
from triptych.export.memory import export_store as write_memory
from triptych.export.quantize import Cost as Cost
from triptych.export.run import Shipped, check_export, export as write_plain, export_int8 as write_int8, graph_bytes
from triptych.memory.manifest import MANIFEST
from triptych.runs.run import Run

SPLITS = ("valid", "test")


def export(
    run: Run,
    out: Path,
    *,
    int8: bool = False,
    split: str = "valid",
    data: Location | None = None,
    force: bool = False,
) -> Shipped:
    """Write a run's model as a folder that `triptych.runtime.load` reads without PyTorch.

    Args:
        run: the run.
        out: the folder to write.
        int8: keep weights in eight bits, and measure what that costs.
        split: what to measure on, `valid` or `test`.
        data: with `int8`, what to measure on; by default the run's own data.
        force: replace an exported folder that is there.
    Raises:
        RecipeError: an unknown split.
        RunError: there is something at `out`, or the run's model cannot be exported.
        MissingExtraError: the extra `onnx` is not installed.
    """
    if split not in SPLITS:
        raise RecipeError(field="--split", value=split, expected=" or ".join(SPLITS), hint=did_you_mean(split, SPLITS))
    check_export(run, out, force=force)
    model = load(run.path)
    if not int8:
        return write_plain(run, model, out, force=force)
    read = read_for_evaluation(run, model, split=split, data=data).data
    return write_int8(run, model, out, data=read, split=split, force=force)


def export_store(store: Path, out: Path, *, force: bool = False) -> int:
    """Write a stored memory's update as a folder that `triptych.runtime.load` reads without PyTorch.

    Args:
        store: folder of the memory.
        out: the folder to write.
        force: replace an exported folder that is there.
    Returns:
        The bytes of its graph.
    Raises:
        DataError: the store is damaged.
        RunError: there is something at `out`.
        MissingExtraError: the extra `onnx` is not installed.
    """
    return graph_bytes(write_memory(store, out, force=force).path)


def is_memory(place: Path) -> bool:
    """Whether a folder is a stored memory."""
    return (place / MANIFEST).is_file()
