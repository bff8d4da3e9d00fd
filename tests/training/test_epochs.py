"""What a training is shown: every epoch all of the data, in batches drawn anew, the same after a resume."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback

from tests.prepared import prepare
from triptych.config import load_any_recipe
from triptych.runs.run import Row, Run
from triptych.training.fit import fit
from triptych.training.output import Output

ITEMS, EPOCHS = 37, 3
Epochs = list[list[tuple[int, ...]]]


class Watcher(Callback):
    """Notes which items each update of each epoch saw."""

    def __init__(self, items_of: Callable[[Any], tuple[int, ...]]) -> None:
        self.items_of = items_of
        self.epochs: Epochs = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epochs.append([])

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.epochs[-1].append(self.items_of(batch))


def pairs(folder: Path) -> Path:
    rows = [f"{'ab'[i % 2]} {'cd'[i // 2 % 2]} e{i}\tx{i}" for i in range(ITEMS)]
    for split in ("train", "valid", "test"):
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def images(folder: Path) -> Path:
    """The first pixel of an image is its number."""
    pixels = np.random.default_rng(0).integers(0, 256, (ITEMS, 28, 28), dtype=np.uint8)
    pixels[:, 0, 0] = np.arange(ITEMS)
    arrays: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        arrays |= {f"{split}_images": pixels, f"{split}_labels": np.arange(ITEMS) % 10}
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


PANELS: dict[str, tuple[Callable[[Path], Path], Callable[[Any], tuple[int, ...]]]] = {
    "p2g-additive-tiny": (pairs, lambda batch: batch.items),
    "kmnist-cnn-tiny": (images, lambda batch: tuple(batch.pixels[:, 0, 0, 0].tolist())),
}


def shown(
    name: str, data: Path, run: Run | None = None, *, stop_in: int = 0
) -> tuple[Epochs, type[BaseException] | None]:
    """The batches of every epoch; with `stop_in`, of a training that breaks off at the end of that epoch."""
    recipe: Any = load_any_recipe(name, [f"training.epochs={EPOCHS}", "training.batch_size=8", "data.set=''"])
    prepared = prepare(recipe, data)
    watcher = Watcher(PANELS[name][1])

    def stop(row: Row, is_best: bool) -> None:
        if row["epoch"] == stop_in:
            raise ZeroDivisionError

    output = Output(callbacks=(watcher,), listener=stop)
    try:
        fit(
            prepared.objective, prepared.loaders, optimizer=recipe.optimizer, training=recipe.training, run=run,
            output=output,
        )  # fmt: skip
    except ZeroDivisionError:
        return watcher.epochs, ZeroDivisionError
    return watcher.epochs, None


@pytest.mark.parametrize("name", PANELS)
def test_every_epoch_is_whole_and_its_batches_are_new(name: str, tmp_path: Path) -> None:
    epochs, _ = shown(name, PANELS[name][0](tmp_path))
    assert len(epochs) == EPOCHS
    for epoch in epochs:
        assert sorted(chain(*epoch)) == list(range(ITEMS))
    assert len({tuple(epoch) for epoch in epochs}) == EPOCHS, "the order differs"
    assert len({frozenset(map(frozenset, epoch)) for epoch in epochs}) == EPOCHS, "what is seen together differs"


@pytest.mark.parametrize("name", PANELS)
def test_a_resumed_training_is_shown_what_it_would_have_been(name: str, tmp_path: Path) -> None:
    data = PANELS[name][0](tmp_path)
    whole, _ = shown(name, data)
    run = Run(tmp_path / "run")
    begun, broken = shown(name, data, run, stop_in=2)
    assert broken is ZeroDivisionError
    resumed, _ = shown(name, data, run)
    assert begun == whole[:2]
    assert resumed == whole[1:]
