"""The kernel's element at each entry of a convolution's matrix, to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triptych.anatomy.convolution import Order, conv_matrix
from triptych.anatomy.windows import Pair, output_size
from triptych.errors import ShapeError

_LARGEST = 4_000_000  # entries: more than can be seen


@dataclass(frozen=True)
class ConvolutionSettings:
    """A convolution without groups; pairs are height and width."""

    channels: int
    outputs: int
    size: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class ConvolutionBlocks:
    """The matrix of a convolution, by the kernel's elements.

    Attributes:
        places: number of the kernel's element, row by row from 0 within a pair of channels; -1 where the matrix is
            zero. Shape (O * H' * W', C * H * W).
        output: H' and W'.
        row_blocks: rows of an output channel, and of one line of its image.
        column_blocks: columns of an input channel, and of one line of its image.
        weights: of the kernel, all channels together.
    """

    places: Tensor
    output: Pair
    row_blocks: Pair
    column_blocks: Pair
    weights: int


def convolution_blocks(settings: ConvolutionSettings, *, order: Order = "C") -> ConvolutionBlocks:
    """The position of each element of the kernel in the matrix of `conv_matrix`; lines of an image are its rows ("C") or
    columns ("F").

    Raises:
        ShapeError: the kernel does not fit the input, or the matrix has more than four million entries.
        TriptychError: a setting breaks its rule.
    Checked by tests/cli/test_anatomy.py.
    """
    s = settings
    geometry: dict[str, Any] = {"stride": s.stride, "padding": s.padding, "dilation": s.dilation}
    high, wide = (
        output_size(s.size[axis], kernel=s.kernel[axis], **{name: pair[axis] for name, pair in geometry.items()})
        for axis in (0, 1)
    )
    rows, columns = s.outputs * high * wide, s.channels * s.size[0] * s.size[1]
    if rows * columns > _LARGEST:
        raise ShapeError(
            f"the matrix has {rows:,} x {columns:,} entries; expected at most {_LARGEST:,} to draw. "
            "Use a smaller image or fewer channels."
        )
    elements = s.kernel[0] * s.kernel[1]
    numbers = torch.arange(1.0, elements + 1).reshape(1, 1, *s.kernel).expand(s.outputs, s.channels, -1, -1)
    matrix = conv_matrix(numbers, (s.channels, *s.size), order=order, **geometry)
    return ConvolutionBlocks(
        places=matrix.to_dense().long() - 1,
        output=(high, wide),
        row_blocks=(high * wide, wide if order == "C" else high),
        column_blocks=(s.size[0] * s.size[1], s.size[1] if order == "C" else s.size[0]),
        weights=s.outputs * s.channels * elements,
    )
