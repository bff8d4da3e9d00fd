"""From settings to a network: every architecture of the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from triptych.config import SeeModel
from triptych.config.see import PRETRAINED
from triptych.errors import RecipeError, RunError, ShapeError
from triptych.see.convolutional import build_convolutional
from triptych.see.efficientnet import build_efficientnet
from triptych.see.residual import build_residual
from triptych.see.timm_network import PREFIX, build_timm


def build_network(model: SeeModel, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network with freshly initialised weights: float images (B, C, height, width) to scores (B, classes).

    The scores are logits, or log-probabilities, which are logits too.

    Args:
        model: the recipe's `[model]`.
        shape: of an image, (C, height, width), C being 1 for grey images and 3 for colour.
        classes: how many.
    Raises:
        RecipeError: there is no network of that name in timm, or it cannot take images of that size.
        ShapeError: the images are too small for the network, or grey where it takes colour.
        MissingExtraError: a timm network without timm.
    """
    match model.name:
        case "cnn":
            return build_convolutional(model, shape, classes)
        case "residual":
            return build_residual(model, shape, classes)
    if model.name in PRETRAINED:
        return build_efficientnet(model.name, shape, classes)
    return build_timm(model.name.removeprefix(PREFIX), shape, classes)


def describe_network(model: SeeModel, shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    """Plain values for JSON that `build_described` reads."""
    return {**_sizes(shape, classes), **model.model_dump(mode="json")}


def build_described(document: Any, path: Path, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network of a description, with fresh weights; `path` is that of its file, for messages.

    Raises:
        RunError: the description is damaged, or has other sizes.
    """
    sizes = _sizes(shape, classes)
    try:
        if {key: document[key] for key in sizes} != sizes:
            raise RunError("architecture does not fit classes and input.", path=path)
        settings = {key: value for key, value in document.items() if key not in sizes}
        settings["head"] = settings.get("head") or ""  # older models say null
        return build_network(SeeModel.model_validate(settings), shape, classes)
    except (TypeError, AttributeError, KeyError, ValidationError, RecipeError, ShapeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"architecture is damaged ({reason}).", path=path) from None


def _sizes(shape: tuple[int, int, int], classes: int) -> dict[str, int]:
    return {"height": shape[1], "width": shape[2], "classes": classes, "in_channels": shape[0]}
