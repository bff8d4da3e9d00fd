"""Explanation of one image as arrays: class probabilities, activations, and the evidence for a class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from triptych.errors import RecipeError, did_you_mean
from triptych.see.classifier import Classifier
from triptych.see.maps import activation_maps, saliency


@dataclass(frozen=True)
class Evidence:
    """Explanation of an image; tensors are on the CPU.

    Attributes:
        probabilities: of all classes. Shape (classes,).
        explained_class: the class that the evidence is for.
        probability: of that class.
        layer: name of the convolution of `maps`.
        maps: activations of its channels. Shape (channels, h, w).
        grad_cam_layer: name of the layer that Grad-CAM is taken at.
        grad_cam: Shape (height, width).
        integrated_gradients: Shape (height, width).
    """

    probabilities: Tensor
    explained_class: str
    probability: float
    layer: str
    maps: Tensor
    grad_cam_layer: str
    grad_cam: Tensor
    integrated_gradients: Tensor

    @property
    def notes(self) -> list[str]:
        """Sentences about what the figures cannot show."""
        if self.grad_cam.any():
            return []
        return [
            f"Grad-CAM is blank: nothing in {self.grad_cam_layer} is evidence for class {self.explained_class!r}, "
            f"whose probability is {self.probability:.4f}."
        ]


def evidence(
    classifier: Classifier, pixels: Tensor, *, layer: str | None = None, of_class: str | None = None
) -> Evidence:
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
    given = classifier.network_input(pixels)
    seen = activation_maps(classifier.network, given, layer=layer or 0)
    found = saliency(classifier.network, given, target=target, layer=layer)
    return Evidence(
        probabilities=probabilities.cpu(),
        explained_class=classifier.classes[target],
        probability=float(probabilities[target]),
        layer=seen.layer,
        maps=seen.maps.cpu(),
        grad_cam_layer=found.layer,
        grad_cam=found.grad_cam.cpu(),
        integrated_gradients=found.integrated_gradients.cpu(),
    )
