"""The usual size of images, by their headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.see.drawn import draw
from triptych.images.sizing import SAMPLE, usual_side
from triptych.images.sources import ImageList


def listed(paths: list[Path]) -> ImageList:
    return ImageList(paths, [0] * len(paths), [path.name for path in paths], [path.name for path in paths])


def test_it_is_the_median_of_the_shorter_sides(tmp_path: Path) -> None:
    sizes = [(10, 90), (80, 20), (30, 30)]
    paths = [draw(tmp_path / f"{n}.png", n, height=high, width=wide) for n, (high, wide) in enumerate(sizes)]
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert usual_side(listed([*paths, tmp_path / "bad.png"])) == 20
    assert usual_side(listed([tmp_path / "bad.png"])) == 0


def test_of_arrays_it_is_their_own() -> None:
    assert usual_side(ImageList(np.zeros((3, 20, 30), np.uint8), [0, 0, 0], ["a", "b", "c"], ["a", "b", "c"])) == 20


def test_many_files_are_sampled_from_first_to_last(tmp_path: Path) -> None:
    """Every tenth is read: 200 of the first and 200 of the last files would be small only in the first half."""
    small, large = draw(tmp_path / "s.png", 0, height=4, width=4), draw(tmp_path / "l.png", 1, height=40, width=40)
    half = 5 * SAMPLE
    assert usual_side(listed([small] * (half - 50) + [large] * (half + 50))) == 40
    assert usual_side(listed([small] * (half + 50) + [large] * (half - 50))) == 4
