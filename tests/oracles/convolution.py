"""Second truths for convolution: its matrix by the element formula, number by number, and its output size by trying."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


def matrix_by_formula(
    kernel: Tensor,
    input_shape: tuple[int, int, int],
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """M, row-major, each element looked up in the kernel by where its row and column are."""
    channels, height, width = input_shape
    outputs, group_channels, kernel_height, kernel_width = kernel.shape
    new_height = positions(height, kernel_height, stride[0], padding[0], dilation[0])
    new_width = positions(width, kernel_width, stride[1], padding[1], dilation[1])
    matrix = torch.zeros(outputs * new_height * new_width, channels * height * width, dtype=kernel.dtype)
    rows = list(itertools.product(range(outputs), range(new_height), range(new_width)))
    columns = list(itertools.product(range(channels), range(height), range(width)))
    for row, (o, i, j) in enumerate(rows):
        for column, (c, h, w) in enumerate(columns):
            within = c - group_channels * (o // (outputs // groups))
            above, rest = divmod(h + padding[0] - stride[0] * i, dilation[0])
            left, rest_left = divmod(w + padding[1] - stride[1] * j, dilation[1])
            inside = 0 <= within < group_channels and 0 <= above < kernel_height and 0 <= left < kernel_width
            if inside and rest == 0 and rest_left == 0:
                matrix[row, column] = kernel[o, within, above, left]
    return matrix


def positions(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How often the window fits, by moving it until it does not."""
    count, start = 0, -padding
    while start + dilation * (kernel - 1) < size + padding:
        count, start = count + 1, start + stride
    return count
