"""Runs of see: name what is in an image, and show what the network saw.

The body of a request is the image file itself. It is decoded in memory and never written anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from PIL import Image
from torch import Tensor

from triptych.errors import DataError, RecipeError, did_you_mean
from triptych.images.reading import FORMATS
from triptych.report.canvas import figure_bytes
from triptych.report.image_figures import activation_maps as draw_activation_maps
from triptych.report.image_figures import saliency as draw_saliency
from triptych.see.classifier import Classifier
from triptych.see.maps import ActivationMaps, Saliency, activation_maps, saliency
from triptych.serve.catalogue import printable
from triptych.serve.limits import Limits
from triptych.serve.refusals import WrongKindError, check_bound
from triptych.serve.schemas import ClassAnswer, ErrorAnswer, SeeAnswer, SeeExplainAnswer
from triptych.serve.studio import REFUSALS, Here, PngResponse, Studio
from triptych.serve.worker import result_of

RunName = Annotated[str, Path(description="a run of see")]
TopK = Annotated[int | None, Query(ge=1, le=1000, description="classes to list")]
Layer = Annotated[str | None, Query(max_length=200, description="a convolution, by name or number")]
OfClass = Annotated[str | None, Query(max_length=500, description="class whose evidence is shown")]
Channels = Annotated[int, Query(ge=1, le=64, description="channels of the layer to give in full")]
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "description": "an image file: PNG, JPEG, GIF, WebP, BMP, TIFF or another",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_WRAPPED = {"multipart/form-data": "a form", "application/json": "JSON"}  # curl calls plain bytes x-www-form-urlencoded


async def _check_kind(request: Request) -> None:
    """See that the body can be an image file as it is.

    Raises:
        WrongKindError: it is said to be a form or JSON, with a file inside at best.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _WRAPPED:
        raise WrongKindError(
            f"the content type is {kind}; expected an image file as the body. "
            f"Send the file's bytes as the body (curl --data-binary @FILE), not {_WRAPPED[kind]}."
        )


router = APIRouter(
    prefix="/v1/see",
    tags=["see"],
    dependencies=[Depends(_check_kind)],
    responses=REFUSALS | {415: {"model": ErrorAnswer, "description": "The body is a form or JSON, not an image file."}},
)


@router.post("/{run}/predict", openapi_extra=_IMAGE_BODY)
async def predict(run: RunName, request: Request, studio: Here, top_k: TopK = None) -> SeeAnswer:
    """Name what is in an image."""
    classifier = studio.catalogue.classifier(run)
    pixels = await _pixels(studio, classifier, await request.body())
    return SeeAnswer(run=run, classes=_best(classifier, await _probabilities(studio, run, pixels), top_k))


@router.post("/{run}/explain", openapi_extra=_IMAGE_BODY)
async def explain(
    run: RunName,
    request: Request,
    studio: Here,
    layer: Layer = None,
    of_class: OfClass = None,
    channels: Channels = 8,
    top_k: TopK = None,
) -> SeeExplainAnswer:
    """Name what is in an image, and give a convolution's activations and the evidence for a class as numbers."""
    seen = await _seen(studio, run, await request.body(), layer, of_class)
    return SeeExplainAnswer(
        run=run,
        classes=_best(seen.classifier, seen.probabilities, top_k),
        layer=seen.maps.layer,
        channels=seen.maps.maps.shape[0],
        maps=seen.maps.maps[:channels].tolist(),
        explained_class=seen.explained_class,
        grad_cam=seen.evidence.grad_cam.tolist(),
        integrated_gradients=seen.evidence.integrated_gradients.tolist(),
    )


@router.post("/{run}/activations.png", openapi_extra=_IMAGE_BODY, response_class=PngResponse)
async def draw_activations(run: RunName, request: Request, studio: Here, layer: Layer = None) -> Response:
    """What each channel of a convolution made of an image, as a picture."""
    seen = await _seen(studio, run, await request.body(), layer, None)
    original, maps = seen.pixels.permute(1, 2, 0).numpy(), seen.maps.maps.numpy()
    return await studio.draw(lambda: figure_bytes(draw_activation_maps(original, maps, layer=seen.maps.layer), "png"))


@router.post("/{run}/saliency.png", openapi_extra=_IMAGE_BODY, response_class=PngResponse)
async def draw_evidence(run: RunName, request: Request, studio: Here, of_class: OfClass = None) -> Response:
    """What spoke for a class, as a picture."""
    seen = await _seen(studio, run, await request.body(), None, of_class)
    heats = {
        f"Grad-CAM, {seen.explained_class}": seen.evidence.grad_cam.numpy(),
        f"integrated gradients, {seen.explained_class}": seen.evidence.integrated_gradients.numpy(),
    }
    best = [(found.name, found.probability) for found in _best(seen.classifier, seen.probabilities, None)]
    original = seen.pixels.permute(1, 2, 0).numpy()
    return await studio.draw(lambda: figure_bytes(draw_saliency(original, heats, best), "png"))


class _Seen:
    """An image with what a network made of it."""

    def __init__(self, classifier: Classifier, pixels: Tensor, layer: str | None, of_class: str | None) -> None:
        self.classifier, self.pixels = classifier, pixels
        self.probabilities = classifier.probabilities(pixels[None])[0]
        self.explained_class = of_class or classifier.classes[int(self.probabilities.argmax())]
        given = classifier.network_input(pixels)
        maps = activation_maps(classifier.network, given, layer=layer or 0)
        self.maps = ActivationMaps(maps.layer, maps.maps.cpu())
        target = classifier.classes.index(self.explained_class)
        found = saliency(classifier.network, given, target=target)
        self.evidence = Saliency(target, found.layer, found.grad_cam.cpu(), found.integrated_gradients.cpu())


async def _seen(studio: Studio, run: str, content: bytes, layer: str | None, of_class: str | None) -> _Seen:
    classifier = studio.catalogue.classifier(run)
    if of_class is not None and of_class not in classifier.classes:
        raise RecipeError(
            f"of_class is {printable(of_class)}; expected one of the model's {len(classifier.classes)} classes. "
            f"{did_you_mean(of_class, classifier.classes)}"
        )
    pixels = await _pixels(studio, classifier, content)

    def work(_: Sequence[None]) -> list[_Seen]:
        return [_Seen(classifier, pixels, layer, of_class)]

    return await studio.compute(None, work)


async def _pixels(studio: Studio, classifier: Classifier, content: bytes) -> Tensor:
    """An uploaded image in the network's size, uint8 (C, height, width).

    Raises:
        DataError: it cannot be read.
        TooLargeError: it has too many pixels.
    """
    if not content:
        raise DataError("the body is 0 bytes; expected an image file. Send its content as the body.")
    waiting = studio.decoders.submit(_decoded, classifier, content, studio.limits)
    return await result_of(waiting, studio.limits.timeout_s)


def _decoded(classifier: Classifier, content: bytes, limits: Limits) -> Tensor:
    pixels = _declared_pixels(content)
    check_bound(
        "the number of pixels of the image", pixels, limits.max_image_pixels, "--max-image-pixels", "Make it smaller."
    )
    return classifier.read(content)


def _declared_pixels(content: bytes) -> int:
    """Width times height by the file's header; 0 where it cannot be told, which decoding will then say in words."""
    Image.init()
    try:
        with Image.open(io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            return image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 2 * (Image.MAX_IMAGE_PIXELS or 2**31)
    except Exception:  # noqa: BLE001 - Pillow's readers raise all kinds on damaged files
        return 0


async def _probabilities(studio: Studio, run: str, pixels: Tensor) -> Tensor:
    classifier = studio.catalogue.classifier(run)

    def work(payloads: Sequence[Tensor]) -> list[Tensor]:
        return list(classifier.probabilities(torch.stack(list(payloads))))

    return await studio.compute(pixels, work, key=(run, "probabilities"))


def _best(classifier: Classifier, probabilities: Tensor, top_k: int | None) -> list[ClassAnswer]:
    best: Any = probabilities.topk(min(top_k or classifier.decoding.top_k, len(classifier.classes)))
    return [
        ClassAnswer(name=classifier.classes[place], probability=value)
        for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
