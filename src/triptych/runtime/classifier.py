"""A trained image network without PyTorch: images in, class names out. Image files are decoded by Pillow.

Letters in shapes: B images, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from triptych.config import SeeDecoding
from triptych.decoding.contract import Array
from triptych.errors import MissingExtraError, RunError, ShapeError
from triptych.images.form import InputForm
from triptych.images.predictions import SHIFT, Classified, listed, views
from triptych.runtime.folder import Exported

__all__ = ["SHIFT", "Classified", "Classifier", "GivenImage", "SeeDecoding", "load"]

GivenImage = Any  # str | Path | bytes | PIL.Image.Image | Array, where Pillow may not be installed


class Classifier:
    """Classifies images, as the run's own classifier does.

    Args:
        session: of the exported network.
        form: how images become the network's input.
        classes: names, in the order of the network's outputs.
        decoding: how predictions are made, unless a call says otherwise.
    """

    def __init__(self, session: Any, *, form: InputForm, classes: Sequence[str], decoding: SeeDecoding) -> None:
        self._session = session
        self.form = form
        self.classes = tuple(classes)
        self.decoding = decoding

    def predict(
        self,
        images: GivenImage | Sequence[GivenImage],
        *,
        top_k: int | None = None,
        decoding: SeeDecoding | None = None,
    ) -> list[Classified]:
        """Classify images: paths, bytes of image files, Pillow images, or arrays uint8 (height, width, 1, 3 or 4), or
        without the last axis.

        Args:
            images: one, or several in a list.
            top_k: classes to list; by default as the settings say.
            decoding: settings in place of the model's own.
        Raises:
            DataError: an image cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        several: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
        if not several:
            return []
        settings = decoding or self.decoding
        names = [str(image) if isinstance(image, str | Path) else f"image {n}" for n, image in enumerate(several)]
        pixels = np.stack([self.read(image) for image in several])
        count = listed(top_k, settings.top_k, len(self.classes))
        results = []
        for name, shares in zip(names, self.classify(pixels, decoding=settings), strict=True):
            best = np.argsort(-shares, kind="stable")[:count]
            results.append(Classified(name, tuple(self.classes[i] for i in best), tuple(shares[best].tolist())))
        return results

    def read(self, image: GivenImage) -> Array:
        """An image as bytes in the network's size. Shape (C, height, width).

        Raises:
            DataError: it cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        try:
            from triptych.images.reading import read_image
        except ImportError:
            raise MissingExtraError("pillow", "onnx") from None
        return read_image(image, self.form)

    def classify(self, pixels: Array, *, decoding: SeeDecoding | None = None) -> Array:
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

    def _part(self, pixels: Array, settings: SeeDecoding) -> Array:
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
    model, path = exported.model, exported.manifest
    try:
        form = InputForm.from_dict(model["input"], path)
        classes, decoding = model["classes"], SeeDecoding.model_validate(model["decoding"])
        if not all(isinstance(name, str) for name in classes):
            raise ValueError("classes are not names")
        session = exported.session(model["graph"], threads=threads)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the image model is damaged ({reason}).", hint="Export the run again.", path=path) from None
    return Classifier(session, form=form, classes=classes, decoding=decoding)
