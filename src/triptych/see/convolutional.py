"""Blocks of convolution and pooling, then linear layers: the networks of V1, V2 and V3.

Every convolution and linear layer keeps PyTorch's own starting weights, as the protocols do.
Checked by tests/see/test_convolutional.py against plain PyTorch networks of the protocols.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from triptych.config import SeeModel
from triptych.errors import ShapeError
from triptych.nn.dropout import Dropout
from triptych.see.heads import HeadName, build_head, output_width

_POOLING = 2


class ConvolutionalNetwork(nn.Module):
    """Blocks, a head that makes one vector of the positions, hidden linear layers, and the last linear layer.

    The blocks take (B, C, height, width) to (B, C', height', width'), the head that to (B, width).
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


def build_convolutional(model: SeeModel, shape: tuple[int, int, int], classes: int) -> ConvolutionalNetwork:
    """The network of a recipe's settings for images of a shape (C, height, width).

    Raises:
        ShapeError: the blocks would leave nothing of an image.
    """
    _check_size(model, *shape[1:])
    blocks = build_blocks(shape[0], model)
    name: HeadName = model.head or ("average" if model.normalised else "flatten")
    head = build_head(name, model.channels[-1], steps=model.head_steps, queries=model.head_queries)
    inputs = output_width(nn.Sequential(blocks, head), shape)
    hidden = build_hidden(inputs, model)
    return ConvolutionalNetwork(blocks, head, hidden, nn.Linear([inputs, *model.hidden][-1], classes))


def build_blocks(in_channels: int, model: SeeModel) -> nn.Sequential:
    """Blocks of convolution, batch normalisation where asked for, ReLU, max pooling by 2 and dropout.

    Padding "same" keeps height and width, "valid" pads nothing. Dropout drops single values, as in the protocols.
    """
    blocks = []
    inward = in_channels
    for outward, (kernel, border) in zip(model.channels, _windows(model), strict=True):
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if border == "same" and kernel % 2 == 0:  # an even kernel reaches one place further to the right
            before, after = (kernel - 1) // 2, kernel // 2
            parts["border"] = nn.ZeroPad2d((before, after, before, after))
        around = kernel // 2 if border == "same" and kernel % 2 else 0
        parts["convolution"] = nn.Conv2d(inward, outward, kernel, padding=around)
        if model.normalised:
            parts["norm"] = nn.BatchNorm2d(outward)
        # ReLU of the largest is the largest of the ReLUs, gradients included, and has a quarter of the work. It may
        # write over the pooled values, and leaves the convolution's own for whoever reads them.
        parts["pooling"] = nn.MaxPool2d(_POOLING)
        parts["activation"] = nn.ReLU(inplace=True)
        if model.block_dropout:
            parts["dropout"] = Dropout(model.block_dropout)
        blocks.append(nn.Sequential(parts))
        inward = outward
    return nn.Sequential(*blocks)


def build_hidden(inputs: int, model: SeeModel) -> nn.Sequential:
    """Hidden linear layers: linear, ReLU, batch normalisation where asked for, dropout."""
    layers = []
    inward = inputs
    dropout = model.hidden_dropout or (0.0,) * len(model.hidden)
    for place, (outward, share) in enumerate(zip(model.hidden, dropout, strict=True)):
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["linear"] = nn.Linear(inward, outward)
        parts["activation"] = nn.ReLU()
        if model.normalised and (model.last_hidden_norm or place < len(model.hidden) - 1):
            parts["norm"] = nn.BatchNorm1d(outward)
        if share:
            parts["dropout"] = Dropout(share)
        layers.append(nn.Sequential(parts))
        inward = outward
    return nn.Sequential(*layers)


def _windows(model: SeeModel) -> list[tuple[int, str]]:
    """Kernel size and padding of each block."""
    count = len(model.channels)  # a single setting is for all of them
    kernels, padding = model.kernels * (count // len(model.kernels)), model.padding * (count // len(model.padding))
    return list(zip(kernels, padding, strict=True))


def _check_size(model: SeeModel, height: int, width: int) -> None:
    """Check that the blocks leave something of an image."""
    smallest = 1
    for kernel, border in reversed(_windows(model)):
        smallest = smallest * _POOLING + (kernel - 1 if border == "valid" else 0)
    if min(height, width) < smallest:
        raise ShapeError(
            f"images are {height} x {width} pixels; expected at least {smallest} x {smallest} for "
            f"{len(model.channels)} blocks of convolution and pooling. Use larger data.height and data.width, or fewer "
            "model.channels."
        )
