"""Small pictures for tests, drawn at random, each different."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def draw(path: Path, seed: int, *, height: int = 10, width: int = 12) -> Path:
    """Write a colour picture; its format goes by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def draw_classes(folder: Path, counts: Mapping[str, int], *, seed: int = 0) -> Path:
    """Write a folder of pictures for each class, of mixed sizes, and return the folder."""
    number = 1000 * seed
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in range(count):
            draw(folder / name / f"{row:03d}.png", number, height=8 + number % 5, width=9 + number % 3)
            number += 1
    return folder
