"""Blocks of convolution and pooling, then linear layers: the networks of V1, V2 and V3.

Every convolution and linear layer keeps PyTorch's own starting weights, as the protocols do.
Checked by tests/see/test_convolutional.py against plain PyTorch networks of the protocols.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from triptych.errors import ShapeError
from triptych.nn.dropout import Dropout

Padding = Literal["same", "valid"]
Setting = TypeVar("Setting")

_POOLING = 2


class ConvolutionalNetwork(nn.Module):
    """Blocks, a head that makes one vector of the positions, hidden linear layers, and the last linear layer.

    Args:
        blocks: (B, C, height, width) to (B, C', height', width').
        head: that to (B, width).
        hidden: (B, width) to (B, hidden); an empty `nn.Sequential` for none.
        last: (B, hidden) to logits (B, K).
    """

    def __init__(self, blocks: nn.Sequential, head: nn.Module, hidden: nn.Sequential, last: nn.Linear) -> None:
        super().__init__()
        self.blocks = blocks
        self.head = head
        self.hidden = hidden
        self.last = last

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to log-probabilities (B, K), as the protocols' networks give them."""
        return torch.log_softmax(self.logits(images), dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to (B, K)."""
        logits: Tensor = self.last(self.hidden(self.head(self.blocks(images))))
        return logits


def build_blocks(
    in_channels: int,
    channels: Sequence[int],
    *,
    kernels: Sequence[int],
    padding: Sequence[Padding],
    dropout: float = 0.0,
    normalised: bool = False,
) -> nn.Sequential:
    """Blocks of convolution, batch normalisation where asked for, ReLU, max pooling by 2 and dropout.

    Args:
        in_channels: of the images.
        channels: of each block.
        kernels: sizes, one for all blocks or one each.
        padding: one for all blocks or one each; "same" keeps height and width, "valid" pads nothing.
        dropout: after each block's pooling, in [0, 1); single values are dropped, as in the protocols.
        normalised: with batch normalisation.
    """
    blocks = []
    inward = in_channels
    for outward, kernel, border in zip(channels, _each(kernels, channels), _each(padding, channels), strict=True):
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if border == "same" and kernel % 2 == 0:  # an even kernel reaches one place further to the right
            before, after = (kernel - 1) // 2, kernel // 2
            parts["border"] = nn.ZeroPad2d((before, after, before, after))
        around = kernel // 2 if border == "same" and kernel % 2 else 0
        parts["convolution"] = nn.Conv2d(inward, outward, kernel, padding=around)
        if normalised:
            parts["norm"] = nn.BatchNorm2d(outward)
        # ReLU of the largest is the largest of the ReLUs, gradients included, and has a quarter of the work. It may
        # write over the pooled values, and leaves the convolution's own for whoever reads them.
        parts["pooling"] = nn.MaxPool2d(_POOLING)
        parts["activation"] = nn.ReLU(inplace=True)
        if dropout:
            parts["dropout"] = Dropout(dropout)
        blocks.append(nn.Sequential(parts))
        inward = outward
    return nn.Sequential(*blocks)


def build_hidden(
    inputs: int,
    widths: Sequence[int],
    *,
    dropout: Sequence[float] = (),
    normalised: bool = False,
    last_norm: bool = True,
) -> nn.Sequential:
    """Hidden linear layers: linear, ReLU, batch normalisation where asked for, dropout.

    Args:
        inputs: width of the vector that comes in.
        widths: of the layers; none gives an empty sequence.
        dropout: after each layer, in [0, 1); empty for none.
        normalised: with batch normalisation after each ReLU.
        last_norm: whether the last of a normalised sequence has it too.
    """
    layers = []
    inward = inputs
    for place, (outward, share) in enumerate(zip(widths, dropout or (0.0,) * len(widths), strict=True)):
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["linear"] = nn.Linear(inward, outward)
        parts["activation"] = nn.ReLU()
        if normalised and (last_norm or place < len(widths) - 1):
            parts["norm"] = nn.BatchNorm1d(outward)
        if share:
            parts["dropout"] = Dropout(share)
        layers.append(nn.Sequential(parts))
        inward = outward
    return nn.Sequential(*layers)


def size_after_blocks(
    height: int, width: int, *, blocks: int, kernels: Sequence[int], padding: Sequence[Padding]
) -> tuple[int, int]:
    """Height and width of what the blocks leave of an image.

    Raises:
        ShapeError: nothing is left.
    """
    every = list(zip(_each(kernels, range(blocks)), _each(padding, range(blocks)), strict=True))
    smallest = 1
    for kernel, border in reversed(every):
        smallest = smallest * _POOLING + (kernel - 1 if border == "valid" else 0)
    if min(height, width) < smallest:
        raise ShapeError(
            f"images are {height} x {width} pixels; expected at least {smallest} x {smallest} for {blocks} blocks of "
            "convolution and pooling. Use larger data.height and data.width, or fewer model.channels."
        )
    for kernel, border in every:
        lost = kernel - 1 if border == "valid" else 0
        height, width = (height - lost) // _POOLING, (width - lost) // _POOLING
    return height, width


def _each(settings: Sequence[Setting], blocks: Sequence[object]) -> Sequence[Setting]:
    """One setting for each block, where one for all was given."""
    return tuple(settings) * len(blocks) if len(settings) == 1 else settings
