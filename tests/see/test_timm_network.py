"""Networks of timm, with a stand-in for the library that keeps to the interface the module assumes."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from tests.see.architectures import Architecture
from triptych.errors import MissingExtraError, RecipeError, RunError
from triptych.see.timm_network import TimmNetwork

CALLS: list[dict[str, object]] = []


def create_model(name: str, *, pretrained: bool, num_classes: int, in_chans: int, **_: object) -> nn.Module:
    CALLS.append({"name": name, "pretrained": pretrained, "num_classes": num_classes, "in_chans": in_chans})
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * in_chans, num_classes))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("timm")
    module.create_model = create_model  # type: ignore[attr-defined]
    module.list_models = lambda: ["resnet18", "resnet34", "vit_tiny_patch16_224"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)
    CALLS.clear()


def architecture(name: str) -> Architecture:
    return Architecture.of(height=32, width=32, classes=7, in_channels=1, name=f"timm/{name}")


@pytest.mark.usefixtures("timm")
def test_timm_is_asked_for_the_network() -> None:
    network = architecture("resnet18").build().eval()
    assert CALLS == [{"name": "resnet18", "pretrained": False, "num_classes": 7, "in_chans": 1}]
    given = torch.rand(2, 1, 32, 32)
    assert isinstance(network, TimmNetwork)
    assert torch.equal(network(given), network.network(given))


class OneSize(nn.Module):
    """Takes images of one size, as transformers do."""

    def __init__(self, size: tuple[int, int], in_channels: int, classes: int) -> None:
        super().__init__()
        self.size = size
        self.last = nn.Linear(in_channels * size[0] * size[1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[2:] == self.size, f"Input height ({images.shape[2]}) doesn't match model ({self.size[0]})."
        logits: torch.Tensor = self.last(images.flatten(1))
        return logits


@pytest.mark.usefixtures("timm")
def test_networks_of_one_size_get_ours_or_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_size(
        _name: str, *, num_classes: int, in_chans: int, img_size: tuple[int, int] = (224, 224), **_: object
    ) -> nn.Module:
        return OneSize(img_size, in_chans, num_classes)

    def without_size(_name: str, *, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        assert not pretrained
        return OneSize((224, 224), in_chans, num_classes)

    monkeypatch.setattr(sys.modules["timm"], "create_model", with_size)
    network = architecture("vit_tiny_patch16_224").build()
    assert network.training
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 7)
    monkeypatch.setattr(sys.modules["timm"], "create_model", without_size)
    with pytest.raises(
        RecipeError, match=r"'timm/resnet34', which cannot take images of 32 x 32 \(Input height \(32\)"
    ):
        architecture("resnet34").build()


@pytest.mark.usefixtures("timm")
def test_unknown_network_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"model.name is 'timm/resnet81'; .* 3 networks .* 'timm/resnet18'\?"):
        architecture("resnet81").build()
    with pytest.raises(RecipeError, match=r"'timm/qqq'.*list_models"):
        architecture("qqq").build()
    assert CALLS == []


def test_without_timm_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"timm is not installed.*pip install 'triptych\[timm\]'"):
        architecture("resnet18").build()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
    ],
)
def test_a_torchvision_that_does_not_fit_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr("triptych.see.timm_network.importlib.import_module", fail)
    with pytest.raises(RunError) as caught:
        architecture("resnet18").build()
    assert str(caught.value).startswith(f"timm is installed and cannot be imported: {error}. It needs a torchvision")
    assert "\n" not in str(caught.value)
