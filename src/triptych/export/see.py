"""The panel `see` to ONNX: one graph from images to scores, by PyTorch's exporter.

Letters in shapes: B images, C channels, K classes.
"""

from __future__ import annotations

import copy
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from triptych.config import SeeRecipe
from triptych.errors import DataError, MissingExtraError, RunError, TriptychError
from triptych.export.folder import Use
from triptych.export.graph import need_onnx
from triptych.export.quantize import Change, Cost
from triptych.images.sources import Collection
from triptych.recall.layers import HopfieldPooling
from triptych.runtime.classifier import load as load_exported
from triptych.runtime.folder import Exported
from triptych.see.adapter import Model
from triptych.see.heads import HopfieldHead
from triptych.see.images import Images
from triptych.statistics import paired_bootstrap, share_of

TOLERANCE = 1e-5
ROWS = (1, 2, 9)  # batches of random images that an export is checked on
OPSET = 18  # the lowest that PyTorch writes without converting
TIMED_IMAGES = 128
TIMED_REPEATS = 3


def write(classifier: Model, folder: Path) -> dict[str, Any]:
    """Write the graph of a classifier's network into a folder.

    Returns:
        What `triptych.runtime.classifier` needs to read it, as plain values for JSON.
    """
    write_graph(classifier.scorer.network, classifier.form.shape, folder / "model.onnx")
    return {
        "graph": "model.onnx",
        "input": classifier.form.model_dump(mode="json"),
        "classes": list(classifier.classes),
        "decoding": classifier.decoding.model_dump(),
    }


def write_graph(network: nn.Module, shape: tuple[int, int, int], path: Path) -> None:
    """Write the graph of a network from `images` (B, C, height, width) to `scores` (B, K), for any B.

    Args:
        network: in evaluation mode.
        shape: of one image as the network takes it, (C, height, width).
        path: of the file; large weights go into a file beside it.
    Raises:
        RunError: PyTorch cannot export the network.
        MissingExtraError: `onnx` or `onnxscript` is not installed.
    """
    onnx = need_onnx()
    try:
        import onnxscript  # noqa: F401 - PyTorch's exporter is built on it
    except ImportError:
        raise MissingExtraError("onnxscript", "onnx") from None
    rows = torch.export.Dim("rows", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                _exportable(network),
                (torch.zeros(2, *shape, device=next(network.parameters()).device),),
                dynamo=True,
                dynamic_shapes=({0: rows},),
                input_names=["images"],
                output_names=["scores"],
                opset_version=OPSET,
                verbose=False,
            )
        assert program is not None
        program.save(path)
        model = onnx.load(path, load_external_data=False)
        del model.graph.value_info[:]  # shapes of inner values, which quantisation would contradict
        onnx.save_model(model, path)
    except torch.onnx.errors.OnnxExporterError as error:
        raise RunError(
            f"PyTorch's exporter cannot write the network: {' '.join(str(error).split())[:300]}.",
            hint="Use another network, model.name 'cnn' or 'residual'.",
        ) from error


def _exportable(network: nn.Module) -> nn.Module:
    """A copy of a network in which Hopfield pooling is its formula, whose batch size the exporter keeps free."""
    copied = copy.deepcopy(network)
    for name, module in list(copied.named_modules()):
        if isinstance(module, HopfieldHead):
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, _HopfieldFormula(module.pooling))
    return copied


class _HopfieldFormula(nn.Module):
    """Hopfield pooling of one head without projections: `steps` times Q = softmax(beta Q X') X."""

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        assert isinstance(pooling, HopfieldPooling)
        association = pooling.association
        self.states, self.steps, self.beta = pooling.states, association.steps, float(association.beta[0])

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, height, width) to (B, queries x C)."""
        patterns = features.flatten(2).transpose(1, 2)
        states: Tensor = self.states
        for _ in range(self.steps):
            states = torch.softmax(self.beta * (states @ patterns.transpose(1, 2)), dim=-1) @ patterns
        return states.flatten(1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages it could use and on its own progress."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def use(_description: Mapping[str, Any]) -> Use:
    """How an exported classifier is used."""
    return Use('predict(["..."])', ("pillow",))


def verify(classifier: Model, exported: Exported, _run: Any = None) -> dict[str, Any]:
    """The largest difference of scores from PyTorch over random images: |a - b| / (1 + |b|).

    Raises:
        TriptychError: it is more than the tolerance, 1e-5.
    """
    scorer, form = load_exported(exported).scorer, classifier.form
    largest = 0.0
    for rows in ROWS:
        drawn = np.random.default_rng(rows).integers(0, 256, (rows, *form.shape), dtype=np.uint8)
        images = form.scaled(drawn)
        wanted, found = classifier.scorer(images), scorer(images)
        if wanted.shape != found.shape:
            largest = float("inf")
            break
        apart = np.abs(wanted - found) / (1 + np.abs(wanted))
        largest = max(largest, float(np.nan_to_num(apart, nan=np.inf).max()))
    if not largest <= TOLERANCE:
        raise TriptychError(
            f"the exported graph differs from PyTorch by {largest:.2g}; expected at most {TOLERANCE:g}. "
            "Nothing was written. Check that the model's weights are finite."
        )
    return {"difference": largest}


def cost(before: Exported, after: Exported, _recipe: SeeRecipe, data: Collection[Images], *, split: str) -> Cost:
    """The error rate on a split before and after quantisation, under the model's own decoding.

    Raises:
        DataError: the data has no such split.
    """
    if split not in data.splits:
        raise DataError(field="--split", value=split, expected=f"one that the data has: {', '.join(data.splits)}")
    images = data.splits[split]
    pixels = images.pixels.numpy()
    models = [load_exported(exported) for exported in (before, after)]
    classes = [model.probabilities(pixels).argmax(1) for model in models]
    truths = images.labels.numpy()
    wrong = [(found != truths).astype(float) for found in classes]
    ones = np.ones(len(truths))
    rates = [share_of(errors) for errors in wrong]
    change = Change(rates[0], rates[1], paired_bootstrap(wrong[1], wrong[0], ones))
    timed = pixels[:TIMED_IMAGES]
    seconds = _seconds([lambda model=model: model.probabilities(timed) for model in models])  # type: ignore[misc]
    return Cost(
        split,
        len(truths),
        int((classes[0] != classes[1]).sum()),
        {"error rate": change},
        items_per_second_before=len(timed) / seconds[0],
        items_per_second_after=len(timed) / seconds[1],
    )


def _seconds(tasks: list[Callable[[], object]]) -> list[float]:
    """Median time of each task, run in turns."""
    times: list[list[float]] = [[] for _ in tasks]
    for _ in range(TIMED_REPEATS):
        for task, taken in zip(tasks, times, strict=True):
            began = time.perf_counter()
            task()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]
