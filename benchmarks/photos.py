"""How good the recipe `photos` is with few images per class and with many, each on a folder's own test split.

    python benchmarks/photos.py --data /data/intel --per-class 10 50 0 --seeds 3

A number of images per class is drawn from the training images with each seed; 0 takes all of them. Features of all
images are computed once and kept in Triptych's cache, so a further number costs seconds. Choices are made on training
images alone, as the recipe makes them. The layer is fitted and its scores are computed as in a run
(tests/see/test_photos.py compares the two).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from triptych.config import SeeRecipe, load_recipe
from triptych.images.sources import Collection
from triptych.see.collection import LEAST_TO_VALIDATE
from triptych.see.efficientnet import EfficientNetLite
from triptych.see.features import features_of
from triptych.see.fitting import fit_last_layer
from triptych.see.images import Images, input_form
from triptych.see.panel import PANEL
from triptych.statistics import share_of


def drawn(images: Images, per_class: int, seed: int) -> Images:
    """Some images of each class, at random."""
    random = np.random.default_rng(seed)
    labels = images.labels.numpy()
    rows = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return images.select(np.sort(np.concatenate(rows)).tolist())


def measure(recipe: SeeRecipe, data: Collection[Images], per_class: int, seed: int) -> None:
    """Fit, and print a row of a table."""
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})
    splits = dict(data.splits)
    if per_class:
        splits = {"train": drawn(splits["train"], per_class, seed), "test": splits["test"]}
        assert len(splits["train"].labels) < LEAST_TO_VALIDATE, "so many images would be validated on by the recipe"
    chosen = replace(data, splits=splits)
    network = PANEL.build(recipe, chosen).objective.network
    assert isinstance(network, EfficientNetLite)
    form = input_form(recipe.data, splits["train"].pixels)
    began, used = time.perf_counter(), time.process_time()
    fit = fit_last_layer(recipe, network, form, chosen)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    features = torch.from_numpy(features_of(network, splits["test"], form))
    with torch.inference_mode():
        right = (network.last(features).argmax(dim=1) == splits["test"].labels).numpy()
    accuracy = share_of(right)
    held_out = fit.metrics.get("valid_accuracy", float("nan"))
    low, high = accuracy.interval.low, accuracy.interval.high
    count, penalty = len(splits["train"].labels), fit.facts["penalty"]
    print(
        f"| {per_class or 'all'} | {seed} | {count} | {penalty:.2g} | {held_out:.4f} "
        f"| {accuracy.value:.4f} | {low:.3f} to {high:.3f} | {seconds:.0f} s | {used:.0f} s |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--per-class", type=int, nargs="+", default=[0], help="training images of each class; 0 is all")
    parser.add_argument("--seeds", type=int, default=3, help="draws of each number")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="table.key=value of the recipe")
    given = parser.parse_args()
    recipe = load_recipe("photos", given.settings)
    assert isinstance(recipe, SeeRecipe)
    data = PANEL.read(recipe, given.data)
    print("| per class | seed | images | penalty | held out | test | 95 % interval | fit | processor |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for per_class in given.per_class:
        for seed in range(given.seeds if per_class else 1):
            measure(recipe, data, per_class, seed)


if __name__ == "__main__":
    main()
