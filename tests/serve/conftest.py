"""A server over two small runs and a memory, started once for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import ToyRuns
from tests.prepared import prepare
from tests.recipes import see_recipe
from tests.serve.running import running
from triptych.api.serving import Catalogue, ServeLimits, load_catalogue
from triptych.memory.memory import Memory
from triptych.runs.run import Run
from triptych.serve.app import build_app


@pytest.fixture(scope="session")
def see_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of see over 8x8 grey digits with its first, untrained weights: what it says is as good as any."""
    recipe = see_recipe("demo-see-tiny")
    prepared = prepare(recipe, None)
    run = Run.create(str(tmp_path_factory.mktemp("see-runs") / "digits"))
    run.write_recipe(recipe)
    run.write_model("see", prepared.description)
    run.write_tensors(prepared.objective.network.state_dict())
    return run.path


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of twelve patterns of width 16."""
    patterns = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("stores") / "store"
    Memory(patterns, labels=[f"p{number}" for number in range(12)], beta=30.0).save(folder)
    return folder


@pytest.fixture(scope="session")
def catalogue(toy_runs: ToyRuns, see_run: Path, store: Path) -> Catalogue:
    """All three, loaded."""
    runs = [str(toy_runs.folder / "first"), str(see_run)]
    return load_catalogue(runs, [store], device="cpu", limits=ServeLimits())


@pytest.fixture(scope="session")
def url(catalogue: Catalogue) -> Iterator[str]:
    """Address of a server with the usual settings."""
    with running(build_app(catalogue)) as address:
        yield address
