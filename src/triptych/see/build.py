"""From numbers to a network: every architecture of the panel by its settings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from triptych.errors import RecipeError, did_you_mean
from triptych.see.convolutional import (
    ConvolutionalNetwork,
    Output,
    Padding,
    build_blocks,
    build_hidden,
    build_output,
    size_after_blocks,
)
from triptych.see.heads import HeadName, build_head, head_width
from triptych.see.residual import ResidualNetwork, build_stages, build_stem, initialise, size_after_stages
from triptych.see.timm_network import PREFIX, build_timm

_NAMES = ("cnn", "residual", f"{PREFIX}NAME")


@dataclass(frozen=True)
class Architecture:
    """The numbers and names a network is built from; `model.json` keeps them.

    V2 is the default with `hidden=(1024, 512)`, `hidden_dropout=(0.1, 0.0)` and `block_dropout=0.1` for 48 x 48 pixels
    and 6 classes; `normalised=True` makes it V3. What each setting means is written at `config.see.SeeModel`.

    Attributes:
        in_channels: 1 for grey images, 3 for colour.
        height, width: of the images, in pixels.
        classes: K.
    """

    height: int
    width: int
    classes: int
    in_channels: int = 3
    name: str = "cnn"
    normalised: bool = False
    last_hidden_norm: bool = True
    head: HeadName | None = None
    head_steps: int = 1
    head_queries: int = 1
    channels: tuple[int, ...] = (32, 64, 128)
    kernels: tuple[int, ...] = (3,)
    padding: tuple[Padding, ...] = ("same",)
    block_dropout: float = 0.0
    hidden: tuple[int, ...] = ()
    hidden_dropout: tuple[float, ...] = ()
    blocks: int = 2
    drop_path: float = 0.0
    squeeze: int = 0
    dropout: float = 0.0
    output: Output = "log-probabilities"


def build_network(architecture: Architecture) -> nn.Module:
    """A network with freshly initialised weights: float images (B, C, height, width) to (B, K).

    What it gives are log-probabilities or logits, as `output` says; the weights are the same either way.

    Raises:
        RecipeError: there is no network or head of that name, or a timm network cannot take images of that size.
        ShapeError: the images are too small for the network.
        MissingExtraError: a timm network without timm.
    """
    if architecture.name == "cnn":
        return _build_convolutional(architecture)
    if architecture.name == "residual":
        return _build_residual(architecture)
    if architecture.name.startswith(PREFIX):
        return build_timm(
            architecture.name.removeprefix(PREFIX),
            in_channels=architecture.in_channels,
            height=architecture.height,
            width=architecture.width,
            classes=architecture.classes,
            output=build_output(architecture.output),
        )
    raise RecipeError(
        f"model.name is {architecture.name!r}; expected a known network. {did_you_mean(architecture.name, _NAMES)}"
    )


def _build_convolutional(architecture: Architecture) -> ConvolutionalNetwork:
    a = architecture
    height, width = size_after_blocks(a.height, a.width, blocks=len(a.channels), kernels=a.kernels, padding=a.padding)
    name: HeadName = a.head or ("average" if a.normalised else "flatten")
    inputs = head_width(name, a.channels[-1], height * width, queries=a.head_queries)
    return ConvolutionalNetwork(
        build_blocks(
            a.in_channels,
            a.channels,
            kernels=a.kernels,
            padding=a.padding,
            dropout=a.block_dropout,
            normalised=a.normalised,
        ),
        build_head(name, a.channels[-1], steps=a.head_steps, queries=a.head_queries),
        build_hidden(inputs, a.hidden, dropout=a.hidden_dropout, normalised=a.normalised, last_norm=a.last_hidden_norm),
        nn.Linear(a.hidden[-1] if a.hidden else inputs, a.classes),
        build_output(a.output),
    )


def _build_residual(architecture: Architecture) -> ResidualNetwork:
    a = architecture
    height, width = size_after_stages(a.height, a.width, stages=len(a.channels))
    name: HeadName = a.head or "average"
    network = ResidualNetwork(
        build_stem(a.in_channels, a.channels[0]),
        build_stages(a.channels, blocks=a.blocks, drop_path=a.drop_path, squeeze=a.squeeze),
        nn.BatchNorm2d(a.channels[-1]),
        build_head(name, a.channels[-1], steps=a.head_steps, queries=a.head_queries),
        dropout=a.dropout,
        last=nn.Linear(head_width(name, a.channels[-1], height * width, queries=a.head_queries), a.classes),
        output=build_output(a.output),
    )
    initialise(network)
    return network
