"""A trained image network without PyTorch: pictures in, class names out. Picture files are decoded by Pillow.

Letters in shapes: B images, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from triptych.decoding.contract import Array
from triptych.errors import MissingExtraError, RecipeError, RunError, ShapeError, did_you_mean
from triptych.images.predictions import SHIFT, Classified, listed, views
from triptych.runtime.folder import Exported
from triptych.runtime.settings import settings_of

__all__ = ["SHIFT", "Classified", "Classifier", "Form", "Picture", "Reading", "Views", "load"]

Views = Literal["one", "flips", "shifts", "shifts-and-flips"]
Picture = Any  # str | Path | bytes | PIL.Image.Image | Array, where Pillow may not be installed


@dataclass(frozen=True)
class Reading:
    """How classes are read off: the recipe's table `[decoding]`, with the same names and defaults.

    Attributes:
        views: average over the image alone, `one`, or also over `flips`, `shifts` or `shifts-and-flips`.
        top_k: classes listed, >= 1.
        temperature: divides scores before probabilities are taken, > 0.
        batch_size: images at once, >= 1.
    Raises:
        RecipeError: a value out of range.
    """

    views: Views = "one"
    top_k: int = 3
    temperature: float = 1.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        known = get_args(Views)
        if self.views not in known:
            hint = did_you_mean(str(self.views), known)
            raise RecipeError(f"decoding.views is {self.views!r}; expected one of {', '.join(known)}. {hint}")
        for name in ("top_k", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise RecipeError(f"decoding.{name} is {value!r}; expected an integer >= 1.")
        if not 0 < self.temperature < np.inf:
            raise RecipeError(f"decoding.temperature is {self.temperature!r}; expected a number > 0.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reading:
        """The settings by name.

        Raises:
            RecipeError: an unknown name, or a value that breaks its rule.
        """
        return settings_of(cls, values)


@dataclass(frozen=True)
class Form:
    """How a picture becomes what the network takes; see `triptych.see.inputs.InputForm`."""

    height: int
    width: int
    colour: Literal["grey", "rgb"]
    fit: Literal["stretch", "crop", "pad"]
    max_pixels: int
    mean: Sequence[float]
    deviation: Sequence[float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, height, width)."""
        return (1 if self.colour == "grey" else 3, self.height, self.width)

    def scaled(self, pixels: Array) -> Array:
        """Bytes (B, C, height, width) as numbers, on the scale of training."""
        values = pixels.astype(np.float32) / np.float32(255)
        mean, deviation = (np.array(part, dtype=np.float32)[:, None, None] for part in (self.mean, self.deviation))
        return np.asarray((values - mean) / deviation)


class Classifier:
    """Names pictures, as the run's own classifier does.

    Args:
        session: of the exported network.
        form: how pictures become what the network takes.
        classes: names, in the order of the network's outputs.
        decoding: how classes are read off when a call does not say.
    """

    def __init__(self, session: Any, *, form: Form, classes: Sequence[str], decoding: Reading) -> None:
        self._session = session
        self.form = form
        self.classes = tuple(classes)
        self.decoding = decoding

    def predict(
        self, pictures: Picture | Sequence[Picture], *, top_k: int | None = None, decoding: Reading | None = None
    ) -> list[Classified]:
        """Name pictures: paths, bytes of image files, Pillow images, or arrays uint8 (height, width, 3 or 4), or
        without the last axis.

        Args:
            pictures: one, or several in a list.
            top_k: classes to list; by default as the settings say.
            decoding: settings in place of the model's own.
        Raises:
            DataError: a picture cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        several: Sequence[Any] = pictures if isinstance(pictures, list | tuple) else [pictures]
        if not several:
            return []
        settings = decoding or self.decoding
        names = [
            str(picture) if isinstance(picture, str | Path) else f"picture {n}" for n, picture in enumerate(several)
        ]
        pixels = np.stack([self.read(picture) for picture in several])
        count = listed(top_k, settings.top_k, len(self.classes))
        results = []
        for name, shares in zip(names, self.classify(pixels, decoding=settings), strict=True):
            best = np.argsort(-shares, kind="stable")[:count]
            results.append(Classified(name, tuple(self.classes[i] for i in best), tuple(shares[best].tolist())))
        return results

    def read(self, picture: Picture) -> Array:
        """A picture as bytes in the network's size. Shape (C, height, width).

        Raises:
            DataError: it cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        try:
            from triptych.images.reading import PictureForm, read_given
        except ImportError:
            raise MissingExtraError("pillow", "onnx") from None
        form = self.form
        return read_given(picture, PictureForm(form.height, form.width, form.colour, form.fit, form.max_pixels))

    def classify(self, pixels: Array, *, decoding: Reading | None = None) -> Array:
        """Probability of every class.

        Args:
            pixels: bytes. Shape (B, C, height, width).
            decoding: settings in place of the model's own.
        Returns:
            Shape (B, K); rows sum to 1.
        Raises:
            ShapeError: pixels have another shape.
        """
        if pixels.ndim != 4 or pixels.shape[1:] != self.form.shape:
            expected = ", ".join(map(str, self.form.shape))
            raise ShapeError(f"pixels have shape {pixels.shape}; expected (N, {expected}).")
        settings = decoding or self.decoding
        size = settings.batch_size
        parts = [self._part(pixels[begin : begin + size], settings) for begin in range(0, len(pixels), size)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)))

    def _part(self, pixels: Array, settings: Reading) -> Array:
        around = ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))
        several = views(
            self.form.scaled(pixels),
            settings.views,
            pad=lambda images: np.pad(images, around, mode="edge"),
            mirror=lambda images: images[..., ::-1],
        )
        total = np.zeros((len(pixels), len(self.classes)))
        for view in several:
            scores = self._session.run(["scores"], {"images": np.ascontiguousarray(view)})[0].astype(np.float64)
            scores = scores / settings.temperature
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            total += shares / shares.sum(axis=1, keepdims=True)
        return np.asarray(total / len(several))


def load(exported: Exported, *, threads: int = 1) -> Classifier:
    """The classifier of an exported folder.

    Raises:
        RunError: its description is damaged.
        MissingExtraError: ONNX Runtime is not installed.
    """
    model = exported.model
    try:
        form = Form(**model["input"])
        classes = model["classes"]
        if len(form.mean) != form.shape[0] or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes or input do not fit together")
        session = exported.session(model["graph"], threads=threads)
        return Classifier(session, form=form, classes=classes, decoding=Reading.from_dict(model["decoding"]))
    except (KeyError, TypeError, ValueError, RecipeError) as error:
        raise RunError(
            f"{exported.manifest} describes no image model ({error}); expected what `triptych export` wrote. "
            "Export the run again."
        ) from None
