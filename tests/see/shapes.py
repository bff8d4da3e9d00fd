"""Pictures that are learnt in seconds: dark, light and striped ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

KINDS = ("dark", "light", "striped")
SMALL = (
    "data.height=12", "data.width=12", "training.epochs=4", "training.batch_size=8", "optimizer.learning_rate=0.05",
)  # fmt: skip


def draw_shape(path: Path, kind: str, seed: int, *, side: int = 14) -> Path:
    """Write one noisy picture of a kind."""
    values = np.random.default_rng(seed).integers(0, 60, (side, side, 3))
    if kind == "light":
        values += 190
    elif kind == "striped":
        values[:, (np.arange(side) // 3) % 2 == 0] += 190
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def write_shapes(folder: Path, *, each: int = 20, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> Path:
    """A folder of pictures for each kind, each picture different."""
    for number, kind in enumerate(kinds):
        for row in range(each):
            draw_shape(folder / kind / f"{row:03d}.png", kind, 100_000 * seed + 1000 * number + row)
    return folder
