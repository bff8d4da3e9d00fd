"""Explanations of an image: class probabilities, activations of a convolution, and the evidence for a class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.config.see import SeeEvidence
from triptych.errors import RecipeError, did_you_mean
from triptych.images.classifier import Array, Classified
from triptych.report.canvas import file_stem, save
from triptych.report.image_figures import activation_maps as draw_activation_maps, saliency as draw_saliency
from triptych.see.adapter import Model, network_input
from triptych.see.maps import ActivationMaps, Saliency, activation_maps, saliency


@dataclass(frozen=True)
class Evidence:
    """Why a model classifies an image as it does: probabilities of all classes, and what speaks for one of them."""

    probabilities: Array
    explained_class: str
    probability: float
    activations: ActivationMaps
    saliency: Saliency

    @property
    def notes(self) -> list[str]:
        """Sentences about what the figures cannot show."""
        if self.saliency.grad_cam.any():
            return []
        return [
            f"Grad-CAM is blank: nothing in {self.saliency.layer} is evidence for class {self.explained_class!r}, "
            f"whose probability is {self.probability:.4f}."
        ]


def evidence(classifier: Model, pixels: Array, *, layer: str | None = None, of_class: str | None = None) -> Evidence:
    """Classify an image, and compute the activations of a convolution and the evidence for a class.

    Args:
        classifier: the model.
        pixels: as `classifier.read` gives them, uint8. Shape (C, height, width).
        layer: the convolution of the activations and of Grad-CAM, by name or number; by default the activations are of
            the first and Grad-CAM is taken before the head.
        of_class: the explained class; the most probable one by default.
    Raises:
        RecipeError: no such convolution or class.
    """
    if of_class is not None and of_class not in classifier.classes:
        raise RecipeError(
            field="class",
            value=of_class,
            expected=f"one of the model's {len(classifier.classes)} classes",
            hint=did_you_mean(of_class, classifier.classes),
        )
    probabilities = classifier.probabilities(pixels[None])[0]
    target = int(probabilities.argmax()) if of_class is None else classifier.classes.index(of_class)
    network, given = classifier.scorer.network, network_input(classifier, pixels)
    return Evidence(
        probabilities,
        classifier.classes[target],
        float(probabilities[target]),
        activation_maps(network, given, layer=layer or 0),
        saliency(network, given, target=target, layer=layer),
    )


@dataclass(frozen=True)
class ImageExplanation:
    """Explanation of an image, with figures of its activations and of the evidence for the class."""

    classified: Classified
    evidence: Evidence
    maps: Path
    saliency: Path

    several = "images"  # name of a list of such explanations in JSON

    @property
    def title(self) -> str:
        """Name of the image."""
        return self.classified.name

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who reads the table."""
        return self.evidence.notes

    @property
    def figures(self) -> Mapping[str, Path]:
        """Figures by what they show."""
        found = self.evidence
        return {
            f"activation maps of {found.activations.layer}": self.maps,
            f"saliency for {found.explained_class}": self.saliency,
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of the most probable classes, and of the explained one."""
        classes = _with_explained(self.classified, self.evidence)
        return ["class", "probability"], [[name, f"{probability:.4f}"] for name, probability in classes]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        classes = zip(self.classified.classes, self.classified.probabilities, strict=True)
        return {
            "image": self.classified.name,
            "classes": [{"class": name, "probability": probability} for name, probability in classes],
            "layer": self.evidence.activations.layer,
            "explained_class": self.evidence.explained_class,
            "explained_probability": self.evidence.probability,
            "grad_cam_layer": self.evidence.saliency.layer,
            "notes": self.notes,
            "activation_maps": str(self.maps),
            "saliency": str(self.saliency),
        }


def _with_explained(classified: Classified, found: Evidence) -> list[tuple[str, float]]:
    """The most probable classes with their probabilities, and after them the explained class where it is another."""
    listed = list(zip(classified.classes, classified.probabilities, strict=True))
    is_listed = found.explained_class in classified.classes
    return listed if is_listed else [*listed, (found.explained_class, found.probability)]


def explained(classifier: Model, image: Path, what: SeeEvidence, *, out: Path) -> ImageExplanation:
    """Classify one image file, and draw the activations of a convolution and the evidence for a class into a folder.

    Raises:
        DataError: the image cannot be read.
        RecipeError: no such convolution or class.
    """
    pixels = classifier.read(image)
    found = evidence(classifier, pixels, layer=what.layer, of_class=what.of_class)
    classified, chosen, layer = classifier.predict(image)[0], found.explained_class, found.activations.layer
    original = pixels.transpose(1, 2, 0)
    heats = {
        "Grad-CAM": found.saliency.grad_cam.numpy(),
        "integrated gradients": found.saliency.integrated_gradients.numpy(),
    }
    path_digest = hashlib.sha256(os.fsencode(image.absolute())).hexdigest()[:6]  # images of several folders share names
    stem = f"{file_stem(image.stem)}-{path_digest}"
    maps = draw_activation_maps(original, found.activations.maps.numpy(), layer=layer)
    drawn = draw_saliency(original, heats, _with_explained(classified, found), explained=chosen)
    return ImageExplanation(
        classified,
        found,
        save(maps, out, f"activations-{stem}-{file_stem(layer)}").png,
        save(drawn, out, f"saliency-{stem}-{file_stem(chosen)}").png,
    )
