"""What a classifier says of a picture, and what it looks at, with PyTorch or without.

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
    """What a model says of one picture.

    Attributes:
        name: of the picture, its path where it came from a file.
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
    """How many classes to list: as many as asked for, otherwise as usual, and at most all.

    Raises:
        RecipeError: fewer than one is asked for.
    """
    if top_k is not None and top_k < 1:
        raise RecipeError(f"top_k (--n-best) is {top_k}; expected an integer >= 1.")
    return min(top_k or usual, classes)


def check_array(picture: NDArray[Any]) -> None:
    """Check that an array can be a picture.

    Raises:
        DataError: it has other numbers or another shape.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,), (4,)):
        raise DataError(
            f"picture is an array of {picture.dtype} with shape {picture.shape}; "
            "expected uint8 of shape (height, width), (height, width, 3) or (height, width, 4)."
        )


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
