"""Exported image networks against PyTorch, for every kind of network of Triptych's own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.see.architectures import RESIDUAL, V1, V2, V3, Architecture
from triptych import runtime
from triptych.config import SeeDecoding, SeeRecipe
from triptych.errors import DataError, RunError, ShapeError, TriptychError
from triptych.export import see
from triptych.export.folder import write_manifest
from triptych.export.quantize import Cost, to_int8
from triptych.images.classifier import Classifier
from triptych.images.form import InputForm
from triptych.images.sources import Collection
from triptych.runtime.classifier import GraphScorer
from triptych.runtime.folder import Exported
from triptych.see.adapter import Model, NetworkScorer
from triptych.see.images import Images

SMALL = V2.changed(height=20, width=24, channels=(6, 8), hidden=(10, 7))
HOPFIELD = {"head": "hopfield", "head_steps": 3, "head_queries": 2}
KINDS: dict[str, Architecture] = {
    "v1": V1.changed(hidden=(20, 12)),
    "v2": SMALL,
    "v3": V3.changed(hidden=(16, 8)),
    "last-norm-left-out": SMALL.changed(normalised=True, last_hidden_norm=False),
    "even-kernels": SMALL.changed(kernels=(4, 2)),
    "hopfield": SMALL.changed(**HOPFIELD),
    "no-hidden": SMALL.changed(hidden=(), hidden_dropout=(), head="average"),
    "residual": RESIDUAL,
    "efficientnet": Architecture.of(height=40, width=48, classes=3, in_channels=3, name="efficientnet-lite0"),
    "residual-odd-size": RESIDUAL.changed(height=27, width=33, in_channels=1),
    "residual-squeeze": RESIDUAL.changed(squeeze=4, dropout=0.2, drop_path=0.3, channels=(8, 8, 12)),
    "residual-hopfield": RESIDUAL.changed(**HOPFIELD),
}


QUICK = ("v3", "even-kernels", "residual-hopfield")  # PyTorch's exporter takes seconds


def classifier(architecture: Architecture, **decoding: Any) -> Model:
    """A classifier with random weights and random running statistics."""
    torch.manual_seed(0)
    network = architecture.build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for part in (module.running_mean, module.weight, module.bias):
                assert part is not None
                nn.init.normal_(part, 0.5, 0.5)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 2)
    network = network.to(memory_format=torch.channels_last)
    grey = architecture.in_channels == 1
    form = InputForm(
        height=architecture.height,
        width=architecture.width,
        colour="grey" if grey else "rgb",
        fit="crop",
        max_pixels=10_000,
        mean=(0.3,) if grey else (0.5, 0.4, 0.3),
        deviation=(0.2,) if grey else (0.25, 0.3, 0.2),
    )
    names = [f"class {number}" for number in range(architecture.classes)]
    return Classifier(NetworkScorer(network), form=form, classes=names, decoding=SeeDecoding(**decoding))


def ship(shipped: Model, folder: Path) -> Exported:
    folder.mkdir()
    write_manifest(folder, panel="see", name="random", model=see.write(shipped, folder), use=see.use({}), more={})
    return Exported.open(folder)


def both(folder: Path, architecture: Architecture = SMALL, **decoding: Any) -> tuple[Model, Classifier[GraphScorer]]:
    own = classifier(architecture, **decoding)
    ship(own, folder)
    exported = runtime.load(folder)
    assert isinstance(exported, Classifier)
    return own, exported


def pictures(count: int = 6) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Grey and colour arrays of several sizes."""
    draw = np.random.default_rng(0)
    shapes = [(20, 24), (31, 17, 3), (64, 64, 4)]
    return [draw.integers(0, 256, shapes[number % 3], dtype=np.uint8) for number in range(count)]


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(KINDS[name], id=name, marks=[] if name in QUICK else pytest.mark.slow) for name in KINDS],
)
def test_graphs_equal_pytorch_for_every_batch_size(architecture: Architecture, tmp_path: Path) -> None:
    own = classifier(architecture)
    exported = ship(own, tmp_path / "out")
    assert see.verify(own, exported)["difference"] <= 1e-5
    session = exported.session("model.onnx", threads=1)
    for rows in (1, 3, 16):
        images = torch.randn(rows, architecture.in_channels, architecture.height, architecture.width)
        with torch.inference_mode():
            wanted = own.scorer.network(images).numpy()
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
    own, exported = both(tmp_path / "out", SMALL.changed(in_channels=1))
    path = tmp_path / "picture.png"
    Image.fromarray(pictures()[1]).save(path)
    given: list[Any] = [path, str(path), path.read_bytes(), pictures()[1]]
    for one in given:
        assert np.array_equal(exported.read(one), own.read(one))
        assert exported.predict(one)[0].classes == own.predict(one)[0].classes
    assert exported.predict(given)[0].name == str(path)
    assert exported.predict([], top_k=1) == []
    assert len(exported.predict(path, top_k=1)[0].classes) == 1
    assert len(exported.predict(path, top_k=99)[0].classes) == 6


def test_images_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    _, exported = both(tmp_path / "out")
    with pytest.raises(DataError, match=r"none\.png: no such file\. Replace the image\."):
        exported.predict(tmp_path / "none.png")
    large = io.BytesIO()
    Image.new("L", (200, 200)).save(large, "PNG")
    with pytest.raises(DataError, match=r"^the image: the image is 200 x 200, 40000 pixels; expected at most 10000"):
        exported.predict(large.getvalue())
    with pytest.raises(DataError, match=r"^the image is an array of float64 with shape \(3, 3\); expected uint8"):
        exported.predict(np.zeros((3, 3)))  # type: ignore[arg-type]
    for empty in (np.zeros((0, 10, 3), np.uint8), Image.new("RGB", (0, 0))):
        with pytest.raises(DataError, match=r"expected at least one pixel"):
            exported.predict(empty)
    with pytest.raises(ShapeError, match=r"^pixels have shape \(1, 3, 9, 9\); expected \(N, 3, 20, 24\)"):
        exported.classify(np.zeros((1, 3, 9, 9), dtype=np.uint8))
    assert exported.classify(np.zeros((0, 3, 20, 24), dtype=np.uint8)).shape == (0, 6)


def test_other_weights_are_noticed(tmp_path: Path) -> None:
    own = classifier(SMALL)
    exported = ship(own, tmp_path / "out")
    other: Any = own.scorer.network
    with torch.no_grad():
        other.last.bias[0] += 1e-3
    with pytest.raises(TriptychError, match=r"^the exported graph differs from PyTorch by 0\.000\d+; expected at most"):
        see.verify(own, exported)


def test_networks_of_other_libraries_are_exported(tmp_path: Path) -> None:
    own = classifier(SMALL)
    own.scorer.network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(6 * 18 * 22, 6)).eval()
    assert see.verify(own, ship(own, tmp_path / "out"))["difference"] <= 1e-5


class OfOneBatchSize(nn.Module):
    """Gives wrong scores for any batch but one of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3 * 20 * 24, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(images.flatten(1)) * len(images)
        return scores


def test_a_network_that_cannot_be_exported_is_refused_in_one_line(tmp_path: Path) -> None:
    own = classifier(SMALL)

    class Odd(OfOneBatchSize):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) if float(images.sum()) > 0 else super().forward(-images)

    own.scorer.network = Odd().eval()
    with pytest.raises(RunError, match=r"^PyTorch's exporter cannot write the network: ") as caught:
        see.write(own, tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_descriptions_are_reported(tmp_path: Path) -> None:
    exported = ship(classifier(SMALL), tmp_path / "out")
    model: Any = exported.model
    from triptych.runtime.classifier import load

    for name in ("input", "classes", "graph", "decoding"):
        value = model.pop(name)
        with pytest.raises(RunError, match=rf"export\.json: the image model is damaged \('{name}'\)"):
            load(exported)
        model[name] = value
    model["input"] = {**model["input"], "mean": [0.5]}
    with pytest.raises(RunError, match=r"input is damaged .*mean has 1 entries"):
        load(exported)
    model["input"] = {**model["input"], "mean": [0.5] * 3}
    for settings in ({"views": "flip"}, {"top_k": 0}, {"temperature": 0.0}, {"topk": 3}):
        model["decoding"] = settings
        with pytest.raises(RunError, match=rf"the image model is damaged .*{next(iter(settings))}"):
            load(exported)


def test_eight_bits_say_their_speed(tmp_path: Path) -> None:
    """The speeds are measured; which is higher depends on the machine."""
    measured = Cost("valid", 9, 0, {}, items_per_second_before=100.0, items_per_second_after=20.0)
    assert measured.is_slower
    assert measured.to_dict()["items_per_second"] == {"before": 100.0, "after": 20.0}
    assert "items_per_second" not in Cost("valid", 9, 0, {}).to_dict()
    exported = ship(classifier(SMALL), tmp_path / "out")
    pixels = torch.randint(0, 256, (5, 3, 20, 24), dtype=torch.uint8)
    images = Images(pixels, torch.tensor([0, 1, 2, 3, 4]), list("abcde"), list("abcde"))
    data = Collection({"valid": images}, tuple(f"class {n}" for n in range(6)), [])
    found = see.cost(exported, exported, SeeRecipe(panel="see"), data, split="valid")
    assert (found.n_items, found.changed) == (5, 0)
    assert found.items_per_second_before > 0
    assert found.items_per_second_after > 0
    with pytest.raises(DataError, match="valid"):
        see.cost(exported, exported, SeeRecipe(panel="see"), data, split="test")


@pytest.mark.parametrize("architecture", [SMALL, RESIDUAL], ids=["cnn", "residual"])
def test_weights_in_eight_bits(architecture: Architecture, tmp_path: Path) -> None:
    own = classifier(architecture)
    exported = ship(own, tmp_path / "out")
    to_int8([tmp_path / "out" / "model.onnx"])
    session = exported.session("model.onnx", threads=1)
    images = torch.rand(4, 3, architecture.height, architecture.width)
    with torch.inference_mode():
        wanted = torch.softmax(own.scorer.network(images), dim=1).numpy()
    found = torch.softmax(torch.from_numpy(session.run(["scores"], {"images": images.numpy()})[0]), dim=1).numpy()
    assert np.abs(found - wanted).max() < 0.1
