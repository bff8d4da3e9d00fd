"""Exported image networks against PyTorch, for every kind of network of Triptych's own."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.see.architectures import RESIDUAL, V1, V2, V3
from triptych import runtime
from triptych.config import SeeDecoding
from triptych.errors import DataError, RecipeError, RunError, ShapeError, TriptychError
from triptych.export import see
from triptych.export.folder import write_manifest
from triptych.runtime.classifier import Classifier as ExportedClassifier
from triptych.runtime.classifier import Reading
from triptych.runtime.folder import Exported
from triptych.see.build import Architecture, build_network
from triptych.see.classifier import Classifier
from triptych.see.inputs import InputForm

SMALL = replace(V2, height=20, width=24, channels=(6, 8), hidden=(10, 7))
HOPFIELD = {"head": "hopfield", "head_steps": 3, "head_queries": 2}
KINDS: dict[str, Architecture] = {
    "v1": replace(V1, hidden=(20, 12)),
    "v2": SMALL,
    "v3": replace(V3, hidden=(16, 8)),
    "last-norm-left-out": replace(SMALL, normalised=True, last_hidden_norm=False),
    "logits": replace(SMALL, output="logits"),
    "even-kernels": replace(SMALL, kernels=(4, 2)),
    "hopfield": replace(SMALL, **HOPFIELD),  # type: ignore[arg-type]
    "no-hidden": replace(SMALL, hidden=(), hidden_dropout=(), head="average"),
    "residual": RESIDUAL,
    "residual-odd-size": replace(RESIDUAL, height=27, width=33, in_channels=1),
    "residual-squeeze": replace(RESIDUAL, squeeze=4, dropout=0.2, drop_path=0.3, channels=(8, 8, 12)),
    "residual-hopfield": replace(RESIDUAL, **HOPFIELD),  # type: ignore[arg-type]
}


def classifier(architecture: Architecture, **decoding: Any) -> Classifier:
    """A classifier with random weights and random running statistics."""
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for part in (module.running_mean, module.weight, module.bias):
                assert part is not None
                nn.init.normal_(part, 0.5, 0.5)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 2)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    grey = architecture.in_channels == 1
    form = InputForm(
        architecture.height,
        architecture.width,
        "grey" if grey else "rgb",
        "crop",
        10_000,
        (0.3,) if grey else (0.5, 0.4, 0.3),
        (0.2,) if grey else (0.25, 0.3, 0.2),
    )
    names = [f"class {number}" for number in range(architecture.classes)]
    return Classifier(network, form=form, classes=names, decoding=SeeDecoding(**decoding))


def ship(shipped: Classifier, folder: Path) -> Exported:
    folder.mkdir()
    write_manifest(folder, panel="see", name="random", model=see.write(shipped, folder), more={})
    return Exported.open(folder)


def both(folder: Path, architecture: Architecture = SMALL, **decoding: Any) -> tuple[Classifier, ExportedClassifier]:
    own = classifier(architecture, **decoding)
    ship(own, folder)
    exported = runtime.load(folder)
    assert isinstance(exported, ExportedClassifier)
    return own, exported


def pictures(count: int = 6) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Grey and colour arrays of several sizes."""
    draw = np.random.default_rng(0)
    shapes = [(20, 24), (31, 17, 3), (64, 64, 4)]
    return [draw.integers(0, 256, shapes[number % 3], dtype=np.uint8) for number in range(count)]


@pytest.mark.parametrize("architecture", KINDS.values(), ids=KINDS)
def test_graphs_equal_pytorch_for_every_batch_size(architecture: Architecture, tmp_path: Path) -> None:
    own = classifier(architecture)
    exported = ship(own, tmp_path / "out")
    assert see.verify(own, exported).difference <= 1e-5
    session = exported.session("model.onnx", threads=1)
    for rows in (1, 3, 16):
        images = torch.randn(rows, architecture.in_channels, architecture.height, architecture.width)
        with torch.inference_mode():
            wanted = own.network(images).numpy()
        found = session.run(["scores"], {"images": images.numpy()})[0]
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"views": "flips"},
        {"views": "shifts"},
        {"views": "shifts-and-flips"},
        {"temperature": 2.5, "batch_size": 2, "top_k": 2},
    ],
)
def test_predictions_are_the_library_s(settings: dict[str, Any], tmp_path: Path) -> None:
    own, exported = both(tmp_path / "out", **settings)
    for wanted, found in zip(own.predict(pictures()), exported.predict(pictures()), strict=True):
        assert (found.name, found.classes, found.label) == (wanted.name, wanted.classes, wanted.label)
        assert found.probabilities == pytest.approx(wanted.probabilities, abs=1e-6)
        assert len(found.classes) == settings.get("top_k", 3)
    assert len({found.probability for found in exported.predict(pictures())}) == 6


def test_files_bytes_and_arrays_are_read_alike(tmp_path: Path) -> None:
    own, exported = both(tmp_path / "out", replace(SMALL, in_channels=1))
    path = tmp_path / "picture.png"
    Image.fromarray(pictures()[1]).save(path)
    given: list[Any] = [path, str(path), path.read_bytes(), pictures()[1]]
    for one in given:
        assert np.array_equal(exported.read(one), own.read(one).numpy())
        assert exported.predict(one)[0].classes == own.predict(one)[0].classes
    assert exported.predict(given)[0].name == str(path)
    assert exported.predict([], top_k=1) == []
    assert len(exported.predict(path, top_k=1)[0].classes) == 1
    assert len(exported.predict(path, top_k=99)[0].classes) == 6


def test_pictures_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    _, exported = both(tmp_path / "out")
    with pytest.raises(DataError, match=r"none\.png: no such file\. Replace the file\."):
        exported.predict(tmp_path / "none.png")
    large = io.BytesIO()
    Image.new("L", (200, 200)).save(large, "PNG")
    with pytest.raises(
        DataError, match=r"^the picture: the picture is 200 x 200, 40000 pixels; expected at most 10000"
    ):
        exported.predict(large.getvalue())
    with pytest.raises(DataError, match=r"^picture is an array of float64 with shape \(3, 3\); expected uint8"):
        exported.predict(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"^pixels have shape \(1, 3, 9, 9\); expected \(N, 3, 20, 24\)"):
        exported.classify(np.zeros((1, 3, 9, 9), dtype=np.uint8))
    assert exported.classify(np.zeros((0, 3, 20, 24), dtype=np.uint8)).shape == (0, 6)


def test_settings_are_the_recipe_s_and_are_checked() -> None:
    assert vars(Reading()) == SeeDecoding().model_dump()
    for values, message in (
        ({"views": "flip"}, r"decoding\.views is 'flip'; expected one of .* Did you mean 'flips'\?"),
        ({"top_k": 0}, r"decoding\.top_k is 0; expected an integer >= 1"),
        ({"batch_size": True}, r"decoding\.batch_size is True; expected an integer >= 1"),
        ({"temperature": 0.0}, r"decoding\.temperature is 0\.0; expected a number > 0"),
        ({"topk": 3}, r"decoding\.topk is not a setting\. Did you mean 'top_k'\?"),
    ):
        with pytest.raises(RecipeError, match=f"^{message}"):
            Reading.from_dict(values)


def test_other_weights_are_noticed(tmp_path: Path) -> None:
    own = classifier(SMALL)
    exported = ship(own, tmp_path / "out")
    other: Any = own.network
    with torch.no_grad():
        other.last.bias[0] += 1e-3
    with pytest.raises(TriptychError, match=r"^the exported graph differs from PyTorch by 0\.000\d+; expected at most"):
        see.verify(own, exported)


def test_networks_of_other_libraries_are_refused_by_name(tmp_path: Path) -> None:
    own = classifier(SMALL)
    own.network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU())
    with pytest.raises(
        RunError, match=r"^the network has a layer torch\.nn\.modules\.activation\.GELU; expected a network"
    ):
        see.write(own, tmp_path)


def test_damaged_descriptions_are_told(tmp_path: Path) -> None:
    exported = ship(classifier(SMALL), tmp_path / "out")
    model: Any = exported.model
    from triptych.runtime.classifier import load

    for name in ("input", "classes", "graph", "decoding"):
        value = model.pop(name)
        with pytest.raises(RunError, match=rf"export\.json describes no image model \('{name}'\)"):
            load(exported)
        model[name] = value
    model["input"] = {**model["input"], "mean": [0.5]}
    with pytest.raises(RunError, match=r"classes or input do not fit together"):
        load(exported)
