"""Predictions about images and the views they are averaged over, with PyTorch or without.

Letters in shapes: B images, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError, RecipeError

SHIFT = 2  # pixels, of the view "shifts"

Images = TypeVar("Images", bound=Any)  # a tensor, or an array where there is no PyTorch


@dataclass(frozen=True)
class Classified:
    """Prediction for one image.

    Attributes:
        name: of the image, its path where it came from a file.
        classes: the most probable ones, best first.
        probabilities: theirs, in [0, 1].
    """

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[0]

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.probabilities[0]


def listed(top_k: int | None, usual: int, classes: int) -> int:
    """Number of classes to list: `top_k`, otherwise `usual`, and at most all.

    Raises:
        RecipeError: fewer than one is asked for.
    """
    if top_k is not None and top_k < 1:
        raise RecipeError(field="top_k (--n-best)", value=top_k, expected="an integer >= 1")
    return min(top_k or usual, classes)


def check_array(image: NDArray[Any]) -> None:
    """Check that an array can be an image.

    Raises:
        DataError: it has other numbers or another shape, or no pixels.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise DataError(
            f"the image is an array of {image.dtype} with shape {image.shape}; "
            "expected uint8 of shape (height, width), or (height, width, channels) with 1, 3 or 4 channels."
        )
    if image.size == 0:
        raise DataError(f"the image is an array of shape {image.shape}; expected at least one pixel.")


def views(
    images: Images, kind: str, *, pad: Callable[[Images], Images], mirror: Callable[[Images], Images]
) -> list[Images]:
    """The images, and what else is averaged over: mirror images, and shifts by a few pixels.

    Args:
        images: Shape (B, C, height, width).
        kind: `one`, `flips`, `shifts` or `shifts-and-flips`.
        pad: puts `SHIFT` pixels around images, each like the nearest of theirs.
        mirror: swaps left and right.
    """
    several = [images]
    if kind.startswith("shifts"):
        height, width = images.shape[2:]
        padded = pad(images)
        for top, left in ((0, SHIFT), (2 * SHIFT, SHIFT), (SHIFT, 0), (SHIFT, 2 * SHIFT)):
            several.append(padded[:, :, top : top + height, left : left + width])
    if kind.endswith("flips"):
        several += [mirror(view) for view in several]
    return several
