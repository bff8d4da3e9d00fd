"""A run to an exported folder, whatever its panel.

A panel is a module of this package with the three functions of `Writer`, listed in `WRITERS`.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from triptych.errors import RunError
from triptych.export.folder import Use, check_free, staged, write_manifest
from triptych.export.graph import need_onnx
from triptych.export.quantize import Cost, to_int8
from triptych.runs.run import Run
from triptych.runtime.folder import Exported

WRITERS = {"spell": "triptych.export.spell", "see": "triptych.export.see"}


class Writer(Protocol):
    """Protocol of a panel's exporter."""

    def write(self, model: Any, folder: Path) -> dict[str, Any]:
        """Write graphs into a folder; what the runtime needs to read them."""

    def use(self, description: Mapping[str, Any]) -> Use:
        """How the exported model is used, from what `write` gave."""

    def verify(self, model: Any, exported: Exported, run: Run | None = None) -> dict[str, Any]:
        """Compare with PyTorch, on data of the run too where there is any; TriptychError where they differ much.

        Returns:
            For `export.json`: the largest `difference` of outputs, relative above one, and what else was counted.
        """

    def cost(self, before: Exported, after: Exported, recipe: Any, data: Any, *, split: str) -> Cost:
        """Error rates on a split of a recipe's data before and after quantisation."""


@dataclass(frozen=True)
class Shipped:
    """An exported run.

    Attributes:
        path: the folder.
        bytes: size of its graphs.
        difference: largest difference from PyTorch's outputs, relative above one, before any quantisation.
        cost: what quantisation changed; None without.
    """

    path: Path
    bytes: int
    difference: float
    cost: Cost | None = None


def writer_of(panel: str) -> Writer:
    """The module that exports a panel's models.

    Raises:
        RunError: there is none.
    """
    home = WRITERS.get(panel)
    if home is None:
        raise RunError(field="panel", value=panel, expected=f"one that can be exported: {', '.join(WRITERS)}")
    module: Any = importlib.import_module(home)
    writer: Writer = module
    return writer


def check_export(run: Run, out: Path, *, force: bool) -> None:
    """Raise before any work where a run cannot be exported to a folder."""
    need_onnx()
    writer_of(run.model()["panel"])
    check_free(out, force=force)


def export(run: Run, model: Any, out: Path, *, force: bool = False) -> Shipped:
    """Write a run's loaded model as a folder that `triptych.runtime.load` reads.

    Raises:
        RunError: there is something at `out`, or the panel cannot be exported.
        TriptychError: the graphs' outputs differ from PyTorch's by more than 1e-5.
        MissingExtraError: `onnx` or `onnxruntime` is not installed.
    """
    check_export(run, out, force=force)
    with staged(out, force=force) as folder:
        difference = _write(run, model, folder)
    return Shipped(out, graph_bytes(out), difference)


def export_int8(run: Run, model: Any, out: Path, *, data: Any, split: str, force: bool = False) -> Shipped:
    """The same with weights in eight bits, and what that costs on a split of the run's data.

    Args:
        run: the run.
        model: its model, loaded.
        out: the folder to write.
        data: the run's own, or other data, as its panel read it.
        split: `valid` or `test`.
        force: replace an exported folder that is there.
    Raises:
        RunError, TriptychError, MissingExtraError: as `export` does.
        DataError: the data cannot be read.
    """
    check_export(run, out, force=force)
    writer = writer_of(run.model()["panel"])
    with staged(out, force=force) as folder:
        plain = folder / "plain"
        plain.mkdir()
        difference = _write(run, model, plain)
        before = Exported.open(plain)
        for name in before.document["files"]:
            shutil.copy(plain / name, folder)
        to_int8(sorted(folder.glob("*.onnx")))
        more = {"quantization": "int8", "difference_before_quantization": difference}
        _describe(folder, before.panel, run, before.model, more)
        cost = writer.cost(before, Exported.open(folder), run.recipe(), data, split=split)
        cost = replace(cost, bytes_before=graph_bytes(plain), bytes_after=graph_bytes(folder))
        shutil.rmtree(plain)
        _describe(folder, before.panel, run, before.model, {**more, "cost": cost.to_dict()})
    return Shipped(out, graph_bytes(out), difference, cost)


def _write(run: Run, model: Any, folder: Path) -> float:
    """Graphs and manifest, compared with PyTorch."""
    panel = run.model()["panel"]
    writer = writer_of(panel)
    description = writer.write(model, folder)
    _describe(folder, panel, run, description, {})
    check = writer.verify(model, Exported.open(folder), run)
    _describe(folder, panel, run, description, check)
    return float(check["difference"])


def _describe(folder: Path, panel: str, run: Run, model: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    use = writer_of(panel).use(model)
    write_manifest(folder, panel=panel, name=run.name, model=model, use=use, more=more)


def graph_bytes(folder: Path) -> int:
    """Size of the graphs in an exported folder, weights in files beside them included."""
    return sum(path.stat().st_size for path in folder.glob("*.onnx*"))
