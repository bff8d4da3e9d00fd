"""A trained network with all it needs to classify images: form of the input, class names, settings of prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.config import SeeDecoding
from triptych.errors import DataError, ShapeError
from triptych.images.bad_files import BadImage, shown
from triptych.images.form import InputForm
from triptych.images.predictions import SHIFT, Classified, listed, views
from triptych.images.reading import DecodedImage, iterate_images, read_image
from triptych.see.inputs import scaled

__all__ = ["SHIFT", "Classified", "Classifier", "GivenImage"]

GivenImage = str | Path | bytes | Image.Image | NDArray[np.uint8]


class Classifier:
    """Classifies images.

    Args:
        network: gives logits or log-probabilities, in evaluation mode.
        form: how images become the network's input.
        classes: names, in the order of the network's outputs.
        decoding: how predictions are made, the recipe's `[decoding]`.
        device: where the network is.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        form: InputForm,
        classes: Sequence[str],
        decoding: SeeDecoding,
        device: str = "cpu",
    ) -> None:
        self.network = network
        self.form = form
        self.classes = tuple(classes)
        self.decoding = decoding
        self.device = device

    def read(self, image: GivenImage) -> Tensor:
        """An image as bytes in the network's size. Shape (C, height, width).

        Args:
            image: a path, the bytes of an image file, a Pillow image, or an array (height, width, 1, 3 or 4), or
                without the last axis.
        Raises:
            DataError: it cannot be read.
        """
        return torch.from_numpy(read_image(image, self.form))

    def network_input(self, pixels: Tensor) -> Tensor:
        """One image's bytes (C, height, width) as the network takes it, on its device. The same shape."""
        return scaled(self.form, pixels[None].to(self.device))[0]

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor, *, decoding: SeeDecoding | None = None) -> Tensor:
        """Probability of every class.

        Args:
            pixels: bytes. Shape (N, C, height, width).
            decoding: settings in place of the model's own.
        Returns:
            Shape (N, classes); rows sum to 1.
        """
        expected = self.form.shape
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != expected:
            raise ShapeError(f"pixels have shape {tuple(pixels.shape)}; expected (N, {', '.join(map(str, expected))}).")
        settings = decoding or self.decoding
        parts = [self._part(part, settings) for part in torch.split(pixels, settings.batch_size)]
        return torch.cat(parts) if parts else torch.empty(0, len(self.classes))

    @torch.inference_mode()
    def scores(self, pixels: Tensor, *, decoding: SeeDecoding | None = None) -> Tensor:
        """The network's scores of every view of every image, before any temperature.

        Args:
            pixels: bytes. Shape (N, C, height, width).
            decoding: settings in place of the model's own.
        Returns:
            Logits or log-probabilities, in double precision. Shape (views, N, classes).
        """
        settings = decoding or self.decoding
        parts = [torch.stack(list(self._views(part, settings))) for part in torch.split(pixels, settings.batch_size)]
        return torch.cat(parts, dim=1).cpu()

    def predict(
        self,
        images: GivenImage | Sequence[GivenImage],
        *,
        top_k: int | None = None,
        decoding: SeeDecoding | None = None,
    ) -> list[Classified]:
        """Classify images: paths, bytes of image files, Pillow images, or arrays.

        Args:
            images: one, or several.
            top_k: classes to list; by default as the settings say.
            decoding: settings in place of the model's own.
        Raises:
            DataError: an image cannot be read.
            RecipeError: top_k is below 1.
        """
        several: list[GivenImage] = list(images) if isinstance(images, list | tuple) else [cast(GivenImage, images)]
        names = [
            shown(image) if isinstance(image, str | Path) else f"image {place}" for place, image in enumerate(several)
        ]
        if not several:
            return []
        count = listed(top_k, (decoding or self.decoding).top_k, len(self.classes))
        pixels = torch.stack([self.read(image) for image in several])
        return self._named(names, self.probabilities(pixels, decoding=decoding), count)

    def stream(
        self,
        paths: Iterable[Path],
        *,
        top_k: int | None = None,
        decoding: SeeDecoding | None = None,
        on_bad: Callable[[BadImage], None] | None = None,
        workers: int | None = None,
    ) -> Iterator[Classified]:
        """Classify any number of image files, in order and in bounded memory.

        Args:
            paths: of image files.
            top_k: classes to list.
            decoding: settings in place of the model's own.
            on_bad: called with each file that cannot be read, which is then skipped; None raises an error, after the
                images before it.
            workers: threads that decode; None is one for each processor.
        """
        settings = decoding or self.decoding
        count = listed(top_k, settings.top_k, len(self.classes))
        read = iterate_images(paths, self.form, workers=workers, on_bad=on_bad)
        problem: DataError | None = None
        while problem is None:
            batch: list[DecodedImage] = []
            try:
                for image in islice(read, settings.batch_size):
                    batch.append(image)  # one by one, since what came before an error counts
            except DataError as error:
                problem = error
            if not batch:
                break
            pixels = torch.from_numpy(np.stack([image.pixels for image in batch]))
            names = [shown(image.path) for image in batch]
            yield from self._named(names, self.probabilities(pixels, decoding=decoding), count)
        if problem:
            raise problem

    def _part(self, pixels: Tensor, settings: SeeDecoding) -> Tensor:
        several = [torch.softmax(scores / settings.temperature, dim=1) for scores in self._views(pixels, settings)]
        return (sum(several[1:], several[0]) / len(several)).cpu()

    def _views(self, pixels: Tensor, settings: SeeDecoding) -> Iterator[Tensor]:
        """Scores of each view of some images. Shape (B, classes), in double precision."""
        several = views(
            scaled(self.form, pixels.to(self.device)),
            settings.views,
            pad=lambda images: F.pad(images, (SHIFT,) * 4, mode="replicate"),
            mirror=lambda images: images.flip(3),
        )
        for view in several:
            yield self.network(view.contiguous(memory_format=torch.channels_last)).double()

    def _named(self, names: Sequence[str], probabilities: Tensor, count: int) -> list[Classified]:
        best = probabilities.topk(count, dim=1)
        return [
            Classified(name, tuple(self.classes[place] for place in places), tuple(values))
            for name, places, values in zip(names, best.indices.tolist(), best.values.tolist(), strict=True)
        ]
