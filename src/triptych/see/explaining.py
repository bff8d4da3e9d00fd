"""Figures that explain an image: activations of a convolution, and the evidence for a class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.config.see import SeeEvidence
from triptych.images.predictions import Classified
from triptych.report.canvas import file_stem, save
from triptych.report.image_figures import activation_maps as draw_activation_maps, saliency as draw_saliency
from triptych.see.classifier import Classifier
from triptych.see.evidence import evidence


@dataclass(frozen=True)
class ImageExplanation:
    """Explanation of an image, with its figures.

    Attributes:
        classified: the most probable classes.
        layer: name of the convolution whose activations are drawn.
        explained_class: the class whose evidence is drawn.
        probability: of that class.
        grad_cam_layer: name of the layer that Grad-CAM is taken at.
        notes: sentences for the person who reads the table.
        maps: figure of the activations beside the original.
        saliency: figure of the evidence for the class.
    """

    classified: Classified
    layer: str
    explained_class: str
    probability: float
    grad_cam_layer: str
    notes: Sequence[str]
    maps: Path
    saliency: Path

    @property
    def title(self) -> str:
        """Name of the image."""
        return self.classified.name

    @property
    def several(self) -> str:
        """Name of a list of such explanations in JSON."""
        return "images"

    @property
    def figures(self) -> Mapping[str, Path]:
        """Figures by what they show."""
        return {f"activation maps of {self.layer}": self.maps, f"saliency for {self.explained_class}": self.saliency}

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of the most probable classes, and of the explained one."""
        classes = with_explained(self.classified, self.explained_class, self.probability)
        return ["class", "probability"], [[name, f"{probability:.4f}"] for name, probability in classes]

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
            "explained_probability": self.probability,
            "grad_cam_layer": self.grad_cam_layer,
            "notes": list(self.notes),
            "activation_maps": str(self.maps),
            "saliency": str(self.saliency),
        }


def with_explained(classified: Classified, explained_class: str, probability: float) -> list[tuple[str, float]]:
    """The most probable classes with their probabilities, and after them the explained class where it is another."""
    listed = list(zip(classified.classes, classified.probabilities, strict=True))
    return listed if explained_class in classified.classes else [*listed, (explained_class, probability)]


def explained(classifier: Classifier, image: Path, what: SeeEvidence, *, out: Path) -> ImageExplanation:
    """Classify one image, and draw the activations of a convolution and the evidence for a class.

    Args:
        classifier: the model.
        image: an image file.
        what: which convolution and which class.
        out: folder for the figures.
    Raises:
        DataError: the image cannot be read.
        RecipeError: no such convolution or class.
    """
    pixels = classifier.read(image)
    found = evidence(classifier, pixels, layer=what.layer, of_class=what.of_class)
    classified, chosen = classifier.predict(image)[0], found.explained_class
    original = pixels.permute(1, 2, 0).numpy()
    heats = {
        "Grad-CAM": found.grad_cam.numpy(),
        "integrated gradients": found.integrated_gradients.numpy(),
    }
    top = with_explained(classified, chosen, found.probability)
    path_digest = hashlib.sha256(os.fsencode(image.absolute())).hexdigest()[:6]  # images of several folders share names
    stem = f"{file_stem(image.stem)}-{path_digest}"
    maps = save(
        draw_activation_maps(original, found.maps.numpy(), layer=found.layer),
        out,
        f"activations-{stem}-{file_stem(found.layer)}",
    )
    drawn = save(draw_saliency(original, heats, top, explained=chosen), out, f"saliency-{stem}-{file_stem(chosen)}")
    return ImageExplanation(
        classified=classified,
        layer=found.layer,
        explained_class=chosen,
        probability=found.probability,
        grad_cam_layer=found.grad_cam_layer,
        notes=found.notes,
        maps=maps.png,
        saliency=drawn.png,
    )
