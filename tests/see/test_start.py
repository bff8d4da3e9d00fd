"""A training of images that starts from a run: rows of the last layer go by the names of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from triptych.config import SeeModel
from triptych.errors import RunError
from triptych.runs.run import Run
from triptych.see.build import build_network
from triptych.see.start import started


def network(classes: int, **settings: Any) -> nn.Module:
    model = SeeModel.model_validate({"name": "cnn", "channels": [4], "hidden": [8], **settings})
    return build_network(model, (1, 8, 8), classes)


def run_of(folder: Path, built: nn.Module, **description: Any) -> Run:
    run = Run(folder / "birds")
    run.write_model("see", description)
    run.write_tensors(built.state_dict())
    return run


def test_classes_go_by_name_and_the_rest_is_copied(tmp_path: Path) -> None:
    old, new = network(2), network(3)
    before = new.state_dict()["last.weight"].clone()
    found = started(new, {"classes": ["dog", "emu", "cat"]}, run_of(tmp_path, old, classes=["cat", "dog"]))
    after, source = new.state_dict(), old.state_dict()
    torch.testing.assert_close(after["last.weight"][[0, 2]], source["last.weight"][[1, 0]])
    torch.testing.assert_close(after["last.weight"][1], before[1])
    assert all(torch.equal(after[name], source[name]) for name in source if not name.startswith("last."))
    assert found.rows == {"last.weight": (2, 3), "last.bias": (2, 3)}
    assert found.initialised == []
    assert list(found.remarks) == ["1 of 3 classes are new to birds (emu)."]


def test_ensembles_other_panels_and_other_networks_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, network(2), classes=["cat", "dog"])
    with pytest.raises(RunError, match="no weights of birds fit this recipe"):
        started(network(2, channels=[5], hidden=[6]), {"classes": ["a", "b"]}, run)
    run.write_model("see", {"classes": ["cat", "dog"], "members": []})
    with pytest.raises(RunError, match="this run is an ensemble"):
        started(network(2), {"classes": ["cat", "dog"]}, run)
    run.write_model("spell", {})
    with pytest.raises(RunError, match="panel is 'spell'; expected 'see'"):
        started(network(2), {"classes": ["cat", "dog"]}, run)
