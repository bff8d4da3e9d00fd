"""Convolution as a matrix: M with vec(conv(W, x)) = M vec(x).

An image with channels is a stack of matrices. vec puts the channels one after the other, and writes each matrix row by
row (order "C") or column by column (order "F", the vec of linear algebra).

Letters: C input channels, O output channels, G groups, H x W the input's and H' x W' the output's height and width,
M x N the kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from triptych.anatomy.windows import Pair, Window, is_integer, pair
from triptych.errors import ShapeError, TriptychError

Order = Literal["C", "F"]
_LARGEST = 4_000_000  # entries of a matrix to be drawn: more than can be seen


def vec(images: Tensor, *, order: Order = "C") -> Tensor:
    """Stack images into vectors, (..., C, H, W) to (..., C * H * W): channels outermost, each by rows or by columns.

    Raises:
        ShapeError: there are fewer than three axes.
        TriptychError: the order is unknown.
    """
    _check_order(order)
    if images.ndim < 3:
        raise _shape_error("images", images.shape, "(..., C, H, W)", hint="Add a channel axis.")
    return (images if order == "C" else images.mT).flatten(-3)


def unvec(vectors: Tensor, shape: tuple[int, int, int], *, order: Order = "C") -> Tensor:
    """The images of `shape` (C, H, W) that `vec` made into vectors. Shapes: (..., C * H * W) to (..., C, H, W)."""
    _check_order(order)
    channels, height, width = shape
    if vectors.shape[-1] != channels * height * width:
        raise _shape_error(
            "vectors", vectors.shape, f"a last axis of {channels * height * width} for images of {shape}"
        )
    if order == "C":
        return vectors.reshape(*vectors.shape[:-1], channels, height, width)
    return vectors.reshape(*vectors.shape[:-1], channels, width, height).mT


def conv_matrix(
    kernel: Tensor,
    input_shape: tuple[int, int, int],
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    order: Order = "C",
) -> Tensor:
    """The matrix of a convolution, as PyTorch defines it (a cross-correlation, without bias).

    With output position (o, i, j), input position (c, h, w), stride s, padding p, dilation d, one of each per axis,

        a = (h + p - s i) / d,    b = (w + p - s j) / d,    c' = c - (C/G) floor(o / (O/G)),

        M[(o, i, j), (c, h, w)] = W[o, c', a, b]   where a, b are whole, 0 <= a < M, 0 <= b < N and 0 <= c' < C/G,
                                  0                elsewhere.

    The row of (o, i, j) is its place in vec of the output, the column of (c, h, w) its place in vec of the input: with
    order "C" (o H' + i) W' + j and (c H + h) W + w, with order "F" (o W' + j) H' + i and (c W + w) H + h. With stride 1
    and no padding, each pair of channels is a block of Toeplitz blocks.

    Args:
        kernel: W. Shape (O, C / G, M, N). Gradients flow to it.
        input_shape: C, H, W.
        stride, padding, dilation: one number, or one for the height and one for the width.
        groups: G, which divides C and O.
        order: how images become vectors; see `vec`.
    Returns:
        Sparse, coalesced. Shape (O * H' * W', C * H * W).
    Raises:
        ShapeError: the kernel does not fit the input, or an output would be empty.
        TriptychError: a setting breaks its rule.
    Checked by tests/anatomy/test_convolution.py against PyTorch's own convolution.
    """
    _check_order(order)
    _check_kernel(kernel, input_shape, groups)
    channels, height, width = input_shape
    outputs, group_channels = kernel.shape[:2]
    given = (pair(stride, name="stride"), pair(padding, name="padding"), pair(dilation, name="dilation"))
    high, wide = (Window(*one) for one in zip(kernel.shape[2:], *given, strict=True))
    i, h, a = (place.view(1, 1, -1, 1).to(kernel.device) for place in _meetings(high, height))
    j, w, b = (place.view(1, 1, 1, -1).to(kernel.device) for place in _meetings(wide, width))
    o = torch.arange(outputs, device=kernel.device).view(-1, 1, 1, 1)
    within = torch.arange(group_channels, device=kernel.device).view(1, -1, 1, 1)  # c'
    c = o // (outputs // groups) * group_channels + within
    new_height, new_width = high.outputs(height), wide.outputs(width)
    if order == "C":
        rows, columns = (o * new_height + i) * new_width + j, (c * height + h) * width + w
    else:
        rows, columns = (o * new_width + j) * new_height + i, (c * width + w) * height + h
    values = kernel[o, within, a, b]  # (O, C / G, meetings along the height, along the width)
    places = torch.stack([rows.expand_as(values).flatten(), columns.expand_as(values).flatten()])
    shape = (outputs * new_height * new_width, channels * height * width)
    return torch.sparse_coo_tensor(places, values.flatten(), shape, check_invariants=False).coalesce()


def _meetings(window: Window, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Output, input and kernel positions that meet along an axis. Shapes (meetings,), int64."""
    out, within = torch.meshgrid(torch.arange(window.outputs(size)), torch.arange(window.kernel), indexing="ij")
    place = out * window.stride - window.padding + within * window.dilation
    real = (place >= 0) & (place < size)
    return out[real], place[real], within[real]


def _check_order(order: str) -> None:
    if order not in get_args(Order):
        raise TriptychError(field="order", value=order, expected="'C' or 'F'")


def _check_kernel(kernel: Tensor, input_shape: tuple[int, int, int], groups: int) -> None:
    if not is_integer(groups) or groups < 1:
        raise TriptychError(field="groups", value=groups, expected="an integer >= 1")
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ShapeError(field="input_shape", value=tuple(input_shape), expected="(C, H, W), each >= 1")
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise _shape_error("kernel", kernel.shape, "(O, C / groups, M, N), each >= 1")
    channels = input_shape[0]
    if kernel.shape[1] * groups != channels or kernel.shape[0] % groups:
        expected = f"a first axis that {groups} divides and a second of {channels} / {groups}"
        raise _shape_error("kernel", kernel.shape, f"{expected}, for {groups} groups and {channels} channels")


def _shape_error(name: str, shape: torch.Size, expected: str, *, hint: str = "") -> ShapeError:
    message = f"{name} has shape {tuple(shape)}; expected {expected}."
    return ShapeError(message, field=name, value=tuple(shape), expected=expected, hint=hint)


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
    """The position of each element of the kernel in the matrix of `conv_matrix`.

    Raises:
        ShapeError: the kernel does not fit the input, or the matrix has more than four million entries.
        TriptychError: a setting breaks its rule.
    Checked by tests/cli/test_anatomy.py.
    """
    s = settings
    windows = (Window(*one) for one in zip(s.kernel, s.stride, s.padding, s.dilation, strict=True))
    high, wide = (window.outputs(size) for window, size in zip(windows, s.size, strict=True))
    rows, columns = s.outputs * high * wide, s.channels * s.size[0] * s.size[1]
    if rows * columns > _LARGEST:
        raise ShapeError(
            f"the matrix has {rows:,} x {columns:,} entries; expected at most {_LARGEST:,} to draw. "
            "Use a smaller image or fewer channels."
        )
    elements = s.kernel[0] * s.kernel[1]
    numbers = torch.arange(1.0, elements + 1).reshape(1, 1, *s.kernel).expand(s.outputs, s.channels, -1, -1)
    shape = (s.channels, *s.size)
    matrix = conv_matrix(numbers, shape, stride=s.stride, padding=s.padding, dilation=s.dilation, order=order)
    return ConvolutionBlocks(
        places=matrix.to_dense().long() - 1,
        output=(high, wide),
        row_blocks=(high * wide, wide if order == "C" else high),
        column_blocks=(s.size[0] * s.size[1], s.size[1] if order == "C" else s.size[0]),
        weights=s.outputs * s.channels * elements,
    )
