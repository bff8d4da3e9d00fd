"""A trained image model: images in, class names out. The same class for a run and for an exported folder.

Letters in shapes: B images, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.config import SeeDecoding
from triptych.errors import DataError, MissingExtraError, RecipeError, ShapeError
from triptych.images.bad_files import BadImage, shown
from triptych.images.form import InputForm

if TYPE_CHECKING:
    from PIL import Image

    GivenImage = str | Path | bytes | Image.Image | NDArray[np.uint8]

Array = NDArray[Any]
SHIFT = 2  # pixels, of the view "shifts"


class Scorer(Protocol):
    """What scores images: a network or an exported graph."""

    def __call__(self, images: Array, /) -> Array:
        """Float images (B, C, height, width) to logits or log-probabilities (B, K)."""


ScorerType = TypeVar("ScorerType", bound=Scorer, covariant=True)


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


class Classifier(Generic[ScorerType]):
    """Classifies images.

    Args:
        scorer: what scores them.
        form: how images become its input.
        classes: names, in the order of the scores.
        decoding: how predictions are made when a call does not say, the recipe's `[decoding]`.
    """

    def __init__(self, scorer: ScorerType, *, form: InputForm, classes: Sequence[str], decoding: SeeDecoding) -> None:
        self.scorer = scorer
        self.form = form
        self.classes = tuple(classes)
        self.decoding = decoding

    def read(self, image: GivenImage) -> NDArray[np.uint8]:
        """An image as bytes in the network's size. Shape (C, height, width).

        The image is a path, the bytes of an image file, a Pillow image, or an array (height, width, 1, 3 or 4), or
        without the last axis.

        Raises:
            DataError: it cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        pixels: NDArray[np.uint8] = _reading().read_image(image, self.form)
        return pixels

    def probabilities(self, pixels: Array, *, decoding: SeeDecoding | None = None) -> Array:
        """Probability of every class, the mean over the views of each image.

        Args:
            pixels: bytes. Shape (B, C, height, width).
            decoding: settings in place of the model's own.
        Returns:
            Shape (B, K); rows sum to 1.
        Raises:
            ShapeError: pixels have another shape.
        """
        scores = self.scores(pixels, decoding=decoding) / (decoding or self.decoding).temperature
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        return np.asarray((shares / shares.sum(axis=2, keepdims=True)).mean(axis=0))

    classify = probabilities  # its name in exported models of earlier versions

    def scores(self, pixels: Array, *, decoding: SeeDecoding | None = None) -> Array:
        """Logits or log-probabilities of every view of every image, before any temperature. Shape (views, B, K)."""
        if pixels.ndim != 4 or pixels.shape[1:] != self.form.shape:
            expected = ", ".join(map(str, self.form.shape))
            raise ShapeError(f"pixels have shape {tuple(pixels.shape)}; expected (N, {expected}).")
        settings = decoding or self.decoding
        parts = []
        for first in range(0, len(pixels), settings.batch_size):
            values = self.form.scaled(pixels[first : first + settings.batch_size])
            parts.append([self.scorer(view) for view in _views(values, settings)])
        return np.concatenate(parts, axis=1, dtype=np.float64) if parts else np.empty((1, 0, len(self.classes)))

    def predict(
        self,
        images: GivenImage | Sequence[GivenImage],
        *,
        top_k: int | None = None,
        decoding: SeeDecoding | None = None,
    ) -> list[Classified]:
        """Classify one image or several in a list, each in any of the ways that `read` takes.

        Args:
            images: one, or several.
            top_k: classes to list; by default as the settings say.
            decoding: settings in place of the model's own.
        Raises:
            DataError: an image cannot be read.
            RecipeError: top_k is below 1.
        """
        several: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
        names = [shown(image) if isinstance(image, str | Path) else f"image {n}" for n, image in enumerate(several)]
        settings = self._listing(top_k, decoding)
        return self._named(names, [self.read(image) for image in several], settings) if several else []

    def stream(
        self,
        paths: Iterable[Path],
        *,
        top_k: int | None = None,
        decoding: SeeDecoding | None = None,
        on_bad: Callable[[BadImage], None] | None = None,
        workers: int | None = None,
    ) -> Iterator[Classified]:
        """Classify any number of image files as `predict` does, in order and in bounded memory.

        Args:
            on_bad: called with each file that cannot be read, which is then skipped; None raises an error, after the
                images before it.
            workers: threads that decode; None is one for each processor.
        """
        settings = self._listing(top_k, decoding)
        read = _reading().iterate_images(paths, self.form, workers=workers, on_bad=on_bad)
        problem: DataError | None = None
        while problem is None:
            batch = []
            try:
                for image in islice(read, settings.batch_size):
                    batch.append(image)  # one by one, since what came before an error counts
            except DataError as error:
                problem = error
            if not batch:
                break
            yield from self._named([shown(image.path) for image in batch], [image.pixels for image in batch], settings)
        if problem:
            raise problem

    def _listing(self, top_k: int | None, decoding: SeeDecoding | None) -> SeeDecoding:
        """The settings of a call."""
        if top_k is not None and top_k < 1:
            raise RecipeError(field="top_k (--n-best)", value=top_k, expected="an integer >= 1")
        settings = decoding or self.decoding
        return settings if top_k is None else settings.model_copy(update={"top_k": top_k})

    def _named(self, names: Sequence[str], pixels: Sequence[Array], settings: SeeDecoding) -> list[Classified]:
        probabilities = self.probabilities(np.stack(pixels), decoding=settings)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : settings.top_k]
        return [
            Classified(name, tuple(self.classes[place] for place in places), tuple(shares[places].tolist()))
            for name, places, shares in zip(names, best, probabilities, strict=True)
        ]


def _views(images: Array, settings: SeeDecoding) -> list[Array]:
    """The images, and what else is averaged over: mirror images, and shifts by a few pixels, the edge repeated."""
    several = [images]
    if settings.views.startswith("shifts"):
        height, width = images.shape[2:]
        padded = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge")
        for top, left in ((0, SHIFT), (2 * SHIFT, SHIFT), (SHIFT, 0), (SHIFT, 2 * SHIFT)):
            several.append(padded[:, :, top : top + height, left : left + width])
    if settings.views.endswith("flips"):
        several += [view[..., ::-1] for view in several]
    return [np.ascontiguousarray(view) for view in several]


def _reading() -> Any:
    """The module that decodes images, which needs Pillow."""
    try:
        from triptych.images import reading
    except ImportError:
        raise MissingExtraError("pillow", "onnx") from None
    return reading
