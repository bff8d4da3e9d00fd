"""Networks of the timm library, for people who have outgrown the panel's own: `model.name = "timm/NAME"`.

Of timm this assumes `create_model(name, pretrained=, num_classes=, in_chans=)`, which gives a module from images
(B, C, height, width) to logits (B, K), and `list_models()`, the names it knows; both are public since its version 0.4.
Starting weights are random, and timm is imported only here, when such a network is built.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from triptych.errors import MissingExtraError, RecipeError, nearest

PREFIX = "timm/"


class TimmNetwork(nn.Module):
    """A network of timm and what becomes of its logits.

    Args:
        network: (B, C, height, width) to logits (B, K).
        output: what becomes of the logits.
    """

    def __init__(self, network: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to (B, K), log-probabilities or logits."""
        scores: Tensor = self.output(self.logits(images))
        return scores

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to (B, K), whatever the output."""
        logits: Tensor = self.network(images)
        return logits


def build_timm(name: str, *, in_channels: int, classes: int, output: nn.Module) -> TimmNetwork:
    """A network of timm by its name, with an own last layer for the classes.

    Args:
        name: as timm lists it, such as `resnet18`.
        in_channels: of the images.
        classes: K.
        output: what becomes of the logits (B, K).
    Raises:
        MissingExtraError: timm is not installed.
        RecipeError: timm has no network of that name.
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
        raise RecipeError(
            f"model.name is {PREFIX + name!r}; expected one of the {len(known):,} networks of timm. {hint}"
        )
    network = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=in_channels)
    return TimmNetwork(network, output)


def _import_timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":  # timm is there, and something that it needs is not
            raise
        raise MissingExtraError("timm", "timm") from error
