"""Explanations of an image: activation maps of the convolutions, and the regions that are evidence for a class.

Checked by tests/see/test_maps.py against the layers themselves and the axioms of the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from triptych.anatomy.modes import evaluating, watching
from triptych.errors import RecipeError, ShapeError, did_you_mean
from triptych.see.adapter import EnsembleNetwork
from triptych.see.convolutional import ConvolutionalNetwork
from triptych.see.efficientnet import EfficientNetLite
from triptych.see.residual import ResidualNetwork

_INTEGRATION_STEPS = 32


@dataclass(frozen=True)
class ActivationMaps:
    """Output (C', height', width') of one convolution for one image; `layer` is its dotted path in the network."""

    layer: str
    maps: Tensor


@dataclass(frozen=True)
class Saliency:
    """Regions of an image that are evidence for a class.

    Attributes:
        target: number of the class.
        layer: dotted path of the layer that Grad-CAM is taken at: a convolution's output, or the input of `head`.
        grad_cam: >= 0, over the image. Shape (height, width).
        integrated_gradients: sum over the channels; negative where a pixel is evidence against the class. All of them
            together come to the class's logit for the image minus its logit for an image of zeros. Shape
            (height, width).
    """

    target: int
    layer: str
    grad_cam: Tensor
    integrated_gradients: Tensor


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions of a network by their dotted paths, in the order in which they were put together."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def find_convolution(network: nn.Module, layer: str | int = 0) -> tuple[str, nn.Conv2d]:
    """One convolution with its dotted path, by the path or by its place among all, from 0; negative from the end.

    Raises:
        RecipeError: the convolution does not exist.
    """
    known = convolutions(network)
    if not known:
        raise RecipeError("the network has no convolutions.")
    if isinstance(layer, str) and layer.lstrip("-").isdigit():
        layer = int(layer)
    if isinstance(layer, str):
        if layer not in known:
            raise RecipeError(field="layer", value=layer, expected="a convolution", hint=did_you_mean(layer, known))
        return layer, known[layer]
    if not -len(known) <= layer < len(known):
        raise RecipeError(
            field="layer", value=layer, expected=f"a number from 0 to {len(known) - 1}, or a name: {', '.join(known)}"
        )
    return list(known.items())[layer]


def activation_maps(network: nn.Module, image: Tensor, *, layer: str | int = 0) -> ActivationMaps:
    """Output of a convolution for an image (C, height, width), before normalisation and activation.

    Raises:
        RecipeError: the convolution does not exist.
        ShapeError: the image is not one, or the network does not use the convolution.
    """
    _check_image(image)
    name, convolution = find_convolution(network, layer)
    outputs = _outputs(network, image, {name: convolution})
    if not outputs:
        raise ShapeError(field="layer", value=name, expected="a convolution that the network uses for this image")
    return ActivationMaps(name, outputs[0][1].cpu())


def saliency(
    network: nn.Module, image: Tensor, *, target: int | None = None, layer: str | int | None = None
) -> Saliency:
    """Evidence for a class by two methods, both computed by captum.

    Grad-CAM weighs the maps of a layer by their mean gradients, keeps the positive evidence, and is enlarged to
    the image: coarse and calm. Integrated gradients sum the gradient on the straight way from an image of zeros:
    fine and noisy.

    Both explain the class's logit. Its log-probability would not do: the surer the network, the smaller the gradient.

    Args:
        network: one of the panel's, whatever its output, or any from (B, C, height, width) to logits (B, K).
        image: as the network takes it. Shape (C, height, width).
        target: number of the class; the predicted one when None.
        layer: a convolution for Grad-CAM, by its path or its place. By default the maps that the head makes one vector
            of; a network without a head of the panel's, an ensemble's last member among them, is explained at the last
            convolution to run whose maps have more than one place.
    Raises:
        RecipeError: the convolution does not exist or class.
        ShapeError: the image is not one.
    Source: Selvaraju et al. 2017, arXiv:1610.02391; Sundararajan et al. 2017, arXiv:1703.01365.
    """
    from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam

    _check_image(image)
    place = _place_of(network, image, layer)
    logits = _logits_of(network)
    with evaluating(network), torch.inference_mode(False), torch.enable_grad():
        batch = image[None].detach().clone()  # inference tensors cannot be differentiated
        scores = logits(batch)
        classes = scores.shape[1]
        if target is not None and not 0 <= target < classes:
            raise RecipeError(field="target", value=target, expected=f"a class number from 0 to {classes - 1}")
        chosen = int(scores[0].argmax()) if target is None else target
        coarse = LayerGradCam(logits, place.module).attribute(
            batch, target=chosen, relu_attributions=True, attribute_to_layer_input=place.before
        )
        size = (image.shape[1], image.shape[2])
        grad_cam = LayerAttribution.interpolate(coarse, size, interpolate_mode="bilinear")
        gradients = IntegratedGradients(logits).attribute(batch, target=chosen, n_steps=_INTEGRATION_STEPS)
    return Saliency(
        target=chosen,
        layer=place.name,
        grad_cam=grad_cam[0, 0].detach().cpu(),
        integrated_gradients=gradients[0].sum(dim=0).detach().float().cpu(),
    )


@dataclass(frozen=True)
class _Place:
    """Where Grad-CAM is taken: at the output of a module, or at its input."""

    name: str
    module: nn.Module
    before: bool = False


def _place_of(network: nn.Module, image: Tensor, layer: str | int | None) -> _Place:
    if layer is not None:
        return _Place(*find_convolution(network, layer))
    if isinstance(network, ConvolutionalNetwork | ResidualNetwork | EfficientNetLite):
        return _Place("head", network.head, before=True)
    known = convolutions(network)
    last = _Place(*find_convolution(network, -1))
    # Gates and heads run some convolutions over a single place.
    several = [name for name, maps in _outputs(network, image, known) if maps[0].numel() > 1]
    return _Place(several[-1], known[several[-1]]) if several else last


def _outputs(network: nn.Module, image: Tensor, layers: Mapping[str, nn.Module]) -> list[tuple[str, Tensor]]:
    """Name and output (channels, height, width) of some layers for an image, in the order in which they ran."""
    outputs: list[tuple[str, Tensor]] = []

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append((name, output[0].detach().clone()))  # a layer behind it may write over it

    with watching(layers, keep), evaluating(network), torch.no_grad():
        network(image[None])
    return outputs


def _logits_of(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A function from images (B, C, height, width) to a network's logits (B, K)."""
    return network.logits if isinstance(network, ConvolutionalNetwork | EnsembleNetwork) else network


def _check_image(image: Tensor) -> None:
    if image.ndim != 3:
        raise ShapeError(
            f"image has shape {tuple(image.shape)}; expected (channels, height, width), without a batch axis."
        )
