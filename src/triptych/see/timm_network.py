"""Networks of the timm library, for people who have outgrown the panel's own: `model.name = "timm/NAME"`.

Of timm this assumes `create_model(name, pretrained=, num_classes=, in_chans=)`, which gives a module from images
(B, C, height, width) to logits (B, K), and `list_models()`, the names it knows; both are public since its version 0.4.
Networks for one size of image, such as transformers, get ours by `img_size=`, where they take it.
Starting weights are random, and timm is imported only here, when such a network is built.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import torch
from torch import Tensor, nn

from triptych.errors import MissingExtraError, RecipeError, RunError, nearest

PREFIX = "timm/"


class TimmNetwork(nn.Module):
    """A network of timm, under the name that saved weights have.

    Args:
        network: (B, C, height, width) to logits (B, K).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to logits (B, K)."""
        logits: Tensor = self.network(images)
        return logits


def build_timm(name: str, shape: tuple[int, int, int], classes: int) -> TimmNetwork:
    """A network of timm by its name, with an own last layer for the classes.

    Args:
        name: as timm lists it, such as `resnet18`.
        shape: of an image, (C, height, width).
        classes: how many.
    Raises:
        MissingExtraError: timm is not installed.
        RecipeError: the name is unknown to timm, or it cannot take images of that size.
    """
    timm = _import_timm()
    known = list(timm.list_models())
    if name not in known:
        close = nearest(name, known)
        hint = (
            f"Did you mean {PREFIX + close!r}?"
            if close
            else "List them with: python -c 'import timm; print(timm.list_models())'"
        )
        rule = f"one of the {len(known):,} networks of timm"
        raise RecipeError(field="model.name", value=PREFIX + name, expected=rule, hint=hint)
    settings = {"pretrained": False, "num_classes": classes, "in_chans": shape[0]}
    images = torch.zeros(1, *shape)
    network = timm.create_model(name, **settings)
    problem = _problem(network, images)
    if problem:
        try:
            network = timm.create_model(name, **settings, img_size=shape[1:])
        except (TypeError, ValueError, AssertionError):
            pass  # it takes no size
        else:
            problem = _problem(network, images)
    if problem:
        raise RecipeError(
            f"model.name is {PREFIX + name!r}, which cannot take images of {shape[1]} x {shape[2]} ({problem}); "
            "expected a size it can. Change data.height and data.width, or take another network."
        )
    return TimmNetwork(network)


def _problem(network: nn.Module, images: Tensor) -> str:
    """The error of a network on images of this size; empty where it accepts them.

    A copy is tried: some networks keep what they made of their starting weights in evaluation.
    """
    try:
        with torch.no_grad():
            copy.deepcopy(network).eval()(images)
    except Exception as error:  # noqa: BLE001 - each network has its own way to refuse
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""


def _import_timm() -> Any:
    """The library.

    Raises:
        MissingExtraError: it is not installed.
        RunError: it cannot be imported, since something that it needs is missing or does not fit.
    """
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name == "timm":
            raise MissingExtraError("timm", "timm") from error
        raise _unusable(error) from error
    except Exception as error:  # a torchvision of another build fails in many ways
        raise _unusable(error) from error


def _unusable(error: Exception) -> RunError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return RunError(
        f"timm is installed and cannot be imported: {reason.rstrip('.')}.",
        hint="It needs a torchvision made for this PyTorch; install both from one index: "
        f"pip install 'torch=={torch.__version__}' torchvision timm",
    )
