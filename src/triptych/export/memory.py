"""A memory of patterns to ONNX: the update q <- X' softmax(beta X q), as many times as its input `steps` says.

Letters in shapes: B cues, N stored patterns, D pattern width.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.errors import TriptychError
from triptych.export.folder import Use, check_free, staged, write_manifest
from triptych.export.graph import INLINE_LIMIT, Graph, need_onnx
from triptych.memory.memory import Memory
from triptych.memory.normalisation import Scaling
from triptych.recall.checks import check_beta, check_finite, check_patterns
from triptych.recall.update import update
from triptych.runtime.folder import Exported
from triptych.runtime.memory import load

TOLERANCE = 1e-5


def update_graph(patterns: Tensor, *, beta: float) -> Graph:
    """From `state` (B, D) and `steps` (): the state after `steps` updates, `after` (B, D). Patterns (N, D)."""
    width = patterns.shape[1]
    graph, body = Graph("recall"), Graph("update")
    stored = graph.tensor(patterns.detach().float(), name="patterns")
    transposed = graph.op("Transpose", stored, perm=[1, 0])
    state = graph.input("state", np.float32, "rows", width)
    steps = graph.input("steps", np.int64)
    body.input("step", np.int64)
    body.input("going", np.bool_)
    before = body.input("before", np.float32, "rows", width)
    scores = body.op("Mul", body.op("MatMul", before, transposed), body.tensor(float(beta)))
    # The patterns themselves are of the graph around: a loop's body sees what is outside.
    moved = body.op("MatMul", body.op("Softmax", scores, axis=-1), stored)
    body.output("still_going", "going", np.bool_)
    body.output("moved", moved, np.float32, "rows", width)
    after = graph.op("Loop", steps, "", state, body=body.body())
    graph.output("after", after, np.float32, "rows", width)
    return graph


def export_memory(
    patterns: Tensor,
    out: str | Path,
    *,
    beta: float,
    name: str = "memory",
    scaling: Scaling | None = None,
    force: bool = False,
    inline_limit: int = INLINE_LIMIT,
) -> Exported:
    """Write stored patterns and the update towards them as a folder that `triptych.runtime.load` reads.

    Args:
        patterns: X, one per row, normalised already where `scaling` is given. Shape (N, D), finite.
        out: the folder to write.
        beta: inverse temperature, > 0.
        name: what to call it.
        scaling: what cues are to be normalised by.
        force: replace an exported folder that is there.
        inline_limit: patterns of more bytes go into a file of their own.
    Raises:
        RunError: there is something at `out`.
        ShapeError, DataError, TriptychError: patterns or beta break their rule, or the graph differs from PyTorch by
            more than 1e-5 of the patterns' largest value, or of one if that is more.
        MissingExtraError: `onnx` or `onnxruntime` is not installed.
    Checked by tests/export/test_memory.py against `triptych.recall.update`.
    """
    need_onnx()
    check_beta(beta)
    check_patterns(patterns)
    check_finite(patterns, name="patterns")
    path = Path(out)
    with staged(path, force=force) as folder:
        update_graph(patterns, beta=beta).save(folder / "update.onnx", inline_limit=inline_limit)
        count, width = patterns.shape
        model: dict[str, Any] = {"update": "update.onnx", "patterns": count, "width": width, "beta": beta}
        if scaling is not None:
            model["normalisation"] = scaling.kind
            model["centre"] = None if scaling.centre is None else scaling.centre.tolist()
        write_manifest(folder, panel="recall", name=name, model=model, use=Use("update(cues)"), more={})
        _verify(patterns, Exported.open(folder), beta=beta)
    return Exported.open(path)


def export_store(store: Path, out: Path, *, force: bool = False) -> Exported:
    """Write what a stored memory recalls by, as `export_memory`: its patterns, beta and normalisation.

    Labels, ids, values and a threshold of novelty stay behind.
    """
    need_onnx()
    check_free(out, force=force)
    memory = Memory.load(store)
    scaling = memory.entries.scaling
    return export_memory(memory.keys(), out, beta=memory.beta, name=store.name, scaling=scaling, force=force)


def _verify(patterns: Tensor, exported: Exported, *, beta: float) -> None:
    """Compare with PyTorch at a few noisy patterns."""
    stored = patterns.detach().float().cpu()
    some = stored[: min(len(stored), 16)]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(some.shape)).float()
    cues = some + 0.1 * noise * some.abs().mean()
    wanted = update(stored, cues, beta=beta).numpy()
    found = load(exported).update(cues.numpy())
    apart = float(np.abs(wanted - found).max())
    allowed = TOLERANCE * max(1.0, float(stored.abs().max()))
    if not (math.isfinite(apart) and apart <= allowed):
        raise TriptychError(
            f"the exported update differs from PyTorch by {apart:.2g}; expected at most {allowed:.2g}. "
            "Nothing was written. Scale the patterns down, or lower beta: products of float32 have seven digits."
        )
