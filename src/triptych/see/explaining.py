"""What a classifier saw in an image, drawn: activations of a convolution, and the evidence for a class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.images.predictions import Classified
from triptych.report.canvas import file_stem, save
from triptych.report.image_figures import activation_maps as draw_activation_maps, saliency as draw_saliency
from triptych.see.classifier import Classifier
from triptych.see.evidence import evidence


@dataclass(frozen=True)
class ImageExplanation:
    """What a classifier saw in an image.

    Attributes:
        classified: the most probable classes.
        layer: name of the convolution whose activations are drawn.
        explained_class: the class whose evidence is drawn.
        maps: figure of the activations beside the original.
        saliency: figure of the evidence for the class.
    """

    classified: Classified
    layer: str
    explained_class: str
    maps: Path
    saliency: Path

    @property
    def title(self) -> str:
        """What was explained."""
        return self.classified.name

    @property
    def several(self) -> str:
        """Name of a list of such explanations in JSON."""
        return "images"

    @property
    def figures(self) -> Mapping[str, Path]:
        """Figures by what they show."""
        return {f"activation maps of {self.layer}": self.maps, f"saliency for {self.explained_class}": self.saliency}

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who reads the table."""
        return []

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of the most probable classes."""
        pairs = zip(self.classified.classes, self.classified.probabilities, strict=True)
        return ["class", "probability"], [[name, f"{probability:.4f}"] for name, probability in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "image": self.classified.name,
            "classes": [
                {"class": name, "probability": probability}
                for name, probability in zip(self.classified.classes, self.classified.probabilities, strict=True)
            ],
            "layer": self.layer,
            "explained_class": self.explained_class,
            "activation_maps": str(self.maps),
            "saliency": str(self.saliency),
        }


def explained(
    classifier: Classifier, image: Path, *, out: Path, layer: str | None = None, of_class: str | None = None
) -> ImageExplanation:
    """Classify one image, and draw the activations of a convolution and the evidence for a class.

    Args:
        classifier: the model.
        image: an image file.
        out: folder for the figures.
        layer: the convolution whose activations are drawn, by name or number; the first by default.
        of_class: the class whose evidence is drawn; the predicted one by default.
    Raises:
        DataError: the image cannot be read.
        RecipeError: no such convolution or class.
    """
    pixels = classifier.read(image)
    found = evidence(classifier, pixels, layer=layer, of_class=of_class)
    classified, chosen = classifier.predict(image)[0], found.explained_class
    original = pixels.permute(1, 2, 0).numpy()
    heats = {
        f"Grad-CAM, {chosen}": found.grad_cam.numpy(),
        f"integrated gradients, {chosen}": found.integrated_gradients.numpy(),
    }
    top = list(zip(classified.classes, classified.probabilities, strict=True))
    path_digest = hashlib.sha256(os.fsencode(image.absolute())).hexdigest()[:6]  # images of several folders share names
    stem = f"{file_stem(image.stem)}-{path_digest}"
    maps = save(
        draw_activation_maps(original, found.maps.numpy(), layer=found.layer),
        out,
        f"activations-{stem}-{file_stem(found.layer)}",
    )
    drawn = save(draw_saliency(original, heats, top), out, f"saliency-{stem}-{file_stem(chosen)}")
    return ImageExplanation(classified, found.layer, chosen, maps.png, drawn.png)
