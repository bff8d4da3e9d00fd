"""Runs that many tests look at, trained once for all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.toy import write_inflections, write_languages, write_toy

if TYPE_CHECKING:
    from triptych.runs.run import Run

SETTINGS = ["model.hidden=32", "model.embedding=32", "model.dropout=0.1", "optimizer.learning_rate=0.01"]


@dataclass(frozen=True)
class ToyRuns:
    """Two runs over the same toy data: `first` has learnt it, `second` hardly.

    Attributes:
        folder: the runs folder.
        data: the folder of the pairs.
    """

    folder: Path
    data: Path

    def run(self, name: str) -> Run:
        """The run of that name."""
        from triptych.runs.run import Run

        return Run.open(self.folder / name)


@pytest.fixture(scope="session")
def toy_runs(tmp_path_factory: pytest.TempPathFactory) -> ToyRuns:
    """Trained in this process; to be read only. Tests that write use `workspace`."""
    from triptych import api
    from triptych.config import load_recipe

    place = tmp_path_factory.mktemp("toy-runs")
    runs = ToyRuns(place / "runs", write_toy(place / "toy", train=400))
    before = os.environ.pop(api.NAME_FOR_HELPERS, None)
    for name, seed, epochs in (("first", 0, 6), ("second", 1, 2)):
        recipe = load_recipe("p2g-additive-tiny", [*SETTINGS, f"training.seed={seed}", f"training.epochs={epochs}"])
        run = api.start_run(recipe, recipe_name="p2g-additive-tiny", name=str(runs.folder / name))
        api.train(recipe, run, data=runs.data)
        api.evaluate(run, split="test")
    os.environ.pop(api.NAME_FOR_HELPERS, None)
    if before is not None:
        os.environ[api.NAME_FOR_HELPERS] = before
    return runs


INFLECTION_SETTINGS = [
    "data.source_unit=characters", "data.features_column=2", "data.target_column=3", "model.hidden=32",
    "model.embedding=32", "model.encoder_hidden=32", "model.dropout=0.1", "optimizer.learning_rate=0.01",
    "training.epochs=6", "model.copy_symbols=true", "model.copied_symbol_dropout=0.3",
]  # fmt: skip


@pytest.fixture(scope="session")
def inflection_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A monotonic run that has learnt which ending goes with which features; to be read only."""
    place = tmp_path_factory.mktemp("inflection")
    return _trained(place / "runs" / "forms", write_inflections(place / "forms"), INFLECTION_SETTINGS)


def _trained(path: Path, data: Any, settings: Sequence[str]) -> Run:
    """A tested run of the smallest monotonic network."""
    from triptych import api
    from triptych.config import load_recipe

    recipe = load_recipe("p2g-best-tiny", settings)
    run = api.start_run(recipe, recipe_name="p2g-best-tiny", name=str(path), data=data)
    api.train(recipe, run, data=data)
    api.evaluate(run, split="test")
    return run


LANGUAGE_SETTINGS = [*(setting for setting in INFLECTION_SETTINGS if "column" not in setting), "training.epochs=4"]


@pytest.fixture(scope="session")
def languages_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A monotonic run that has learnt two languages, which give the same stems other endings; to be read only."""
    place = tmp_path_factory.mktemp("languages")
    return _trained(place / "runs" / "two", write_languages(place / "words"), LANGUAGE_SETTINGS)


@pytest.fixture
def workspace(toy_runs: ToyRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own to work in, with copies of the toy runs in `runs`."""
    for name in ("first", "second"):
        shutil.copytree(toy_runs.folder / name, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    return tmp_path
