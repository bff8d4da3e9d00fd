"""The panel `see` to ONNX: one graph from images to scores.

Letters in shapes: B images, C channels, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.config import SeeRecipe
from triptych.errors import DataError, TriptychError
from triptych.export.graph import Graph
from triptych.export.layers import add
from triptych.export.quantize import Change, Cost
from triptych.export.run import Check
from triptych.images.sources import Collection
from triptych.runs.run import Run
from triptych.runtime.classifier import load as load_exported
from triptych.runtime.folder import Exported
from triptych.see.classifier import Classifier
from triptych.see.images import Images
from triptych.see.inputs import scaled
from triptych.statistics import paired_bootstrap, share_of

TOLERANCE = 1e-5
ROWS = (1, 2, 9)  # batches of random images that an export is checked on


def write(classifier: Classifier, folder: Path) -> dict[str, Any]:
    """Write the graph of a classifier's network into a folder.

    Returns:
        What `triptych.runtime.classifier` needs to read it, as plain values for JSON.
    """
    network_graph(classifier).save(folder / "model.onnx")
    return {
        "graph": "model.onnx",
        "input": classifier.form.to_dict(),
        "classes": list(classifier.classes),
        "decoding": classifier.decoding.model_dump(),
    }


def network_graph(classifier: Classifier) -> Graph:
    """From `images` (B, C, height, width), scaled as the network takes them, to `scores` (B, K)."""
    graph, form = Graph("network"), classifier.form
    images = graph.input("images", np.float32, "rows", form.channels, form.height, form.width)
    graph.output("scores", add(graph, classifier.network, images), np.float32, "rows", len(classifier.classes))
    return graph


@torch.inference_mode()
def verify(classifier: Classifier, exported: Exported, _run: Run | None = None) -> Check:
    """The largest difference of scores from PyTorch over random images: |a - b| / (1 + |b|).

    Raises:
        TriptychError: it is more than the tolerance, 1e-5.
    """
    session, form = exported.session(exported.model["graph"], threads=1), classifier.form
    largest = 0.0
    for rows in ROWS:
        draw = np.random.default_rng(rows)
        images = draw.random((rows, form.channels, form.height, form.width), dtype=np.float32)
        values = scaled(form, torch.from_numpy(images))
        wanted = classifier.network(values.contiguous(memory_format=torch.channels_last)).numpy()
        found = session.run(["scores"], {"images": values.contiguous().numpy()})[0]
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
    return Check(largest)


def cost(before: Exported, after: Exported, _recipe: SeeRecipe, data: Collection[Images], *, split: str) -> Cost:
    """The error rate on a split before and after quantisation, under the model's own decoding.

    Raises:
        DataError: the data has no such split.
    """
    if split not in data.splits:
        raise DataError(field="--split", value=split, expected=f"one that the data has: {', '.join(data.splits)}")
    images = data.splits[split]
    classes = [load_exported(exported).classify(images.pixels.numpy()).argmax(1) for exported in (before, after)]
    truths = images.labels.numpy()
    wrong = [(found != truths).astype(float) for found in classes]
    ones = np.ones(len(truths))
    rates = [share_of(errors) for errors in wrong]
    change = Change(rates[0], rates[1], paired_bootstrap(wrong[1], wrong[0], ones))
    return Cost(split, len(truths), int((classes[0] != classes[1]).sum()), {"error rate": change})
