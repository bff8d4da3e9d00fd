"""The architectures of the protocols, and of a small residual network."""

from __future__ import annotations

from dataclasses import replace

from triptych.see.build import Architecture

V1 = Architecture(
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
V2 = Architecture(height=48, width=48, classes=6, block_dropout=0.1, hidden=(1024, 512), hidden_dropout=(0.1, 0.0))
V3 = replace(V2, normalised=True)
RESIDUAL = Architecture(height=28, width=28, classes=5, name="residual", channels=(8, 16), blocks=2)
