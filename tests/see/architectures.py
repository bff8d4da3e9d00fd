"""The architectures of the protocols, and of a small residual network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from triptych.config import SeeModel
from triptych.see.build import build_network

SIZES = ("height", "width", "classes", "in_channels")


@dataclass(frozen=True)
class Architecture:
    """Settings of a network with the sizes of its images."""

    model: SeeModel
    height: int
    width: int
    classes: int
    in_channels: int

    @classmethod
    def of(cls, height: int, width: int, classes: int, in_channels: int = 3, **model: Any) -> Architecture:
        return cls(SeeModel(**model), height, width, classes, in_channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.in_channels, self.height, self.width

    @property
    def sizes(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in SIZES}

    def changed(self, **changes: Any) -> Architecture:
        sizes = {name: changes.pop(name, size) for name, size in self.sizes.items()}
        return Architecture.of(**sizes, **{**self.model.model_dump(), **changes})

    def build(self) -> Any:
        network: nn.Module = build_network(self.model, self.shape, self.classes)
        return network


V1 = Architecture.of(
    height=28,
    width=28,
    classes=10,
    in_channels=1,
    channels=(8, 16),
    kernels=(5, 3),
    padding=("same", "valid"),
    hidden=(600, 120),
    hidden_dropout=(0.3, 0.0),
)
V2 = Architecture.of(height=48, width=48, classes=6, block_dropout=0.1, hidden=(1024, 512), hidden_dropout=(0.1, 0.0))
V3 = V2.changed(normalised=True)
RESIDUAL = Architecture.of(height=28, width=28, classes=5, name="residual", channels=(8, 16), blocks=2)
