"""From settings to a network: every architecture of the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from triptych.config import SeeModel
from triptych.errors import RecipeError, RunError, ShapeError
from triptych.see.convolutional import ConvolutionalNetwork, build_blocks, build_hidden, size_after_blocks
from triptych.see.heads import HeadName, build_head, head_width
from triptych.see.residual import ResidualNetwork, build_stages, build_stem, initialise, size_after_stages
from triptych.see.timm_network import PREFIX, build_timm

_SIZES = ("height", "width", "classes", "in_channels")


def build_network(model: SeeModel, *, in_channels: int, height: int, width: int, classes: int) -> nn.Module:
    """A network with freshly initialised weights: float images (B, C, height, width) to scores (B, classes).

    The scores are logits, or log-probabilities, which are logits too.

    Args:
        model: the recipe's `[model]`.
        in_channels: C, 1 for grey images and 3 for colour.
        height, width: of the images, in pixels.
        classes: how many.
    Raises:
        RecipeError: there is no network of that name in timm, or it cannot take images of that size.
        ShapeError: the images are too small for the network.
        MissingExtraError: a timm network without timm.
    """
    if model.name == "cnn":
        return _build_convolutional(model, in_channels, height, width, classes)
    if model.name == "residual":
        return _build_residual(model, in_channels, height, width, classes)
    name = model.name.removeprefix(PREFIX)
    return build_timm(name, in_channels=in_channels, height=height, width=width, classes=classes)


def describe_network(model: SeeModel, *, in_channels: int, height: int, width: int, classes: int) -> dict[str, Any]:
    """What `model.json` keeps of a network, as plain values; `build_described` reads it."""
    sizes = {"height": height, "width": width, "classes": classes, "in_channels": in_channels}
    return {**sizes, **model.model_dump(mode="json")}


def build_described(document: Any, path: Path, *, in_channels: int, height: int, width: int, classes: int) -> nn.Module:
    """The network of a description, with fresh weights.

    Args:
        document: what `describe_network` gave.
        path: of its file, for messages.
        in_channels, height, width, classes: the sizes that it must have.
    Raises:
        RunError: the description is damaged, or has other sizes.
    """
    expected = (height, width, classes, in_channels)
    try:
        if tuple(document[key] for key in _SIZES) != expected:
            raise RunError("architecture does not fit classes and input.", path=path)
        settings = {key: value for key, value in document.items() if key not in _SIZES}
        settings["head"] = settings.get("head") or ""  # older models say null
        model = SeeModel.model_validate(settings)
        return build_network(model, in_channels=in_channels, height=height, width=width, classes=classes)
    except (TypeError, AttributeError, KeyError, ValidationError, RecipeError, ShapeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"architecture is damaged ({reason}).", path=path) from None


def _build_convolutional(
    model: SeeModel, in_channels: int, height: int, width: int, classes: int
) -> ConvolutionalNetwork:
    m = model
    height, width = size_after_blocks(height, width, blocks=len(m.channels), kernels=m.kernels, padding=m.padding)
    name: HeadName = m.head or ("average" if m.normalised else "flatten")
    inputs = head_width(name, m.channels[-1], height * width, queries=m.head_queries)
    return ConvolutionalNetwork(
        build_blocks(
            in_channels,
            m.channels,
            kernels=m.kernels,
            padding=m.padding,
            dropout=m.block_dropout,
            normalised=m.normalised,
        ),
        build_head(name, m.channels[-1], steps=m.head_steps, queries=m.head_queries),
        build_hidden(inputs, m.hidden, dropout=m.hidden_dropout, normalised=m.normalised, last_norm=m.last_hidden_norm),
        nn.Linear(m.hidden[-1] if m.hidden else inputs, classes),
    )


def _build_residual(model: SeeModel, in_channels: int, height: int, width: int, classes: int) -> ResidualNetwork:
    m = model
    height, width = size_after_stages(height, width, stages=len(m.channels))
    name: HeadName = m.head or "average"
    network = ResidualNetwork(
        build_stem(in_channels, m.channels[0]),
        build_stages(m.channels, blocks=m.blocks, drop_path=m.drop_path, squeeze=m.squeeze),
        nn.BatchNorm2d(m.channels[-1]),
        build_head(name, m.channels[-1], steps=m.head_steps, queries=m.head_queries),
        dropout=m.dropout,
        last=nn.Linear(head_width(name, m.channels[-1], height * width, queries=m.head_queries), classes),
    )
    initialise(network)
    return network
