"""See runs: classes of an image, activations, and the evidence for a class.

The body of a request is the image file itself. It is decoded in memory and never written anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from triptych.api.serving import DataError, RecipeError, ServedClassifier, ServeLimits, declared_pixels
from triptych.serve.refusals import WrongKindError, check_limit, printable
from triptych.serve.schemas import ClassAnswer, ErrorAnswer, SeeAnswer, SeeExplainAnswer
from triptych.serve.state import REFUSALS, AppState, State
from triptych.serve.worker import result_of

RunName = Annotated[str, Path(description="a see run")]
TopK = Annotated[int | None, Query(ge=1, le=1000, description="number of classes to list")]
Layer = Annotated[str | None, Query(max_length=200, description="a convolution, by name or number")]
OfClass = Annotated[str | None, Query(max_length=500, description="the class that the evidence is for")]
Channels = Annotated[int, Query(ge=1, le=64, description="number of the layer's channels in the answer")]
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "description": "an image file: PNG, JPEG, GIF, WebP, BMP, TIFF or another",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_WRAPPED = {"multipart/form-data": "a form", "application/json": "JSON"}  # curl calls plain bytes x-www-form-urlencoded


async def _check_kind(request: Request) -> None:
    """Check that the body can be an image file as it is.

    Raises:
        WrongKindError: it is declared as a form or JSON, with a file inside at best.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _WRAPPED:
        raise WrongKindError(
            field="Content-Type",
            value=kind,
            expected="an image file as the body",
            hint=f"Send the file's bytes as the body (curl --data-binary @FILE), not {_WRAPPED[kind]}.",
        )


router = APIRouter(
    prefix="/v1/see",
    tags=["see"],
    dependencies=[Depends(_check_kind)],
    responses=REFUSALS | {415: {"model": ErrorAnswer, "description": "The body is a form or JSON, not an image file."}},
)


@router.post("/{run}/predict", openapi_extra=_IMAGE_BODY)
async def predict(run: RunName, request: Request, state: State, top_k: TopK = None) -> SeeAnswer:
    """Classify an image."""
    served = state.classifier(run)
    pixels = await _pixels(state, served, await request.body())

    def work(images: Sequence[Any]) -> Sequence[Any]:
        return served.probabilities(images)

    probabilities = await state.compute(pixels, work, key=(run, "probabilities"))
    return SeeAnswer(run=run, classes=_classes(served, probabilities, top_k))


@router.post("/{run}/explain", openapi_extra=_IMAGE_BODY)
async def explain(
    run: RunName,
    request: Request,
    state: State,
    layer: Layer = None,
    of_class: OfClass = None,
    channels: Channels = 8,
    top_k: TopK = None,
) -> SeeExplainAnswer:
    """Classify an image, and give a convolution's activations and the evidence for a class as numbers."""
    served = state.classifier(run)
    if of_class is not None and of_class not in served.info["classes"]:
        raise RecipeError(
            f"of_class is {printable(of_class)}; expected one of the model's {len(served.info['classes'])} classes.",
            field="of_class",
        )
    pixels = await _pixels(state, served, await request.body())
    found = await state.compute_alone(lambda: served.evidence(pixels, layer=layer, of_class=of_class))
    return SeeExplainAnswer(
        run=run,
        classes=_classes(served, found.probabilities, top_k),
        layer=found.activations.layer,
        channels=len(found.activations.maps),
        maps=found.activations.maps[:channels].tolist(),
        explained_class=found.explained_class,
        grad_cam=found.saliency.grad_cam.tolist(),
        integrated_gradients=found.saliency.integrated_gradients.tolist(),
    )


async def _pixels(state: AppState, served: ServedClassifier, content: bytes) -> Any:
    """An uploaded image in the network's size.

    Raises:
        DataError: it cannot be read.
        TooLargeError: it has too many pixels.
    """
    if not content:
        raise DataError("The body is empty; expected an image file.", field="body")
    return await result_of(state.decoders.submit(_decoded, served, content, state.limits), state.limits.timeout_s)


def _decoded(served: ServedClassifier, content: bytes, limits: ServeLimits) -> Any:
    pixels = declared_pixels(content)
    check_limit(
        "the number of pixels of the image", pixels, limits.max_image_pixels, "max_image_pixels", "Make it smaller."
    )
    return served.classifier.read(content)


def _classes(served: ServedClassifier, probabilities: Any, top_k: int | None) -> list[ClassAnswer]:
    return [ClassAnswer(name=name, probability=value) for name, value in served.most_probable(probabilities, top_k)]
