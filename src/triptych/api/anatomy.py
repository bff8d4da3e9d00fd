"""Convolutions as matrices, drawn; output sizes, receptive fields and counts of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.anatomy.convolution import (
    ConvolutionBlocks,
    ConvolutionSettings as ConvolutionSettings,
    Order,
    convolution_blocks,
)
from triptych.anatomy.counts import compare_with_fully_connected as compare_with_fully_connected
from triptych.anatomy.windows import ReceptiveField, Window as Window
from triptych.errors import TriptychError
from triptych.files import write_bytes_atomically
from triptych.report.anatomy_figures import block_structure
from triptych.report.canvas import figure_bytes


@dataclass(frozen=True)
class LayerWindow:
    """One layer of a stack along one axis.

    Attributes:
        output: places of its output.
        field: what one output sees of the input.
    """

    output: int
    field: ReceptiveField


def draw_convolution(settings: ConvolutionSettings, out: Path, *, order: Order = "C") -> ConvolutionBlocks:
    """Draw the matrix of a convolution into a `.png` or `.svg` file.

    Args:
        settings: the convolution.
        out: the file.
        order: how images become vectors, by rows ("C") or by columns ("F").
    Returns:
        The kernel's element at each position.
    Raises:
        TriptychError: a setting, the order or the file's suffix breaks its rule.
        ShapeError: the kernel does not fit, or the matrix is too large to draw.
    """
    if out.suffix not in (".png", ".svg"):
        raise TriptychError(field="--out", value=str(out), expected="a file that ends in .png or .svg")
    blocks = convolution_blocks(settings, order=order)
    figure = block_structure(
        blocks.places.numpy(),
        kernel=settings.kernel,
        row_blocks=blocks.row_blocks,
        column_blocks=blocks.column_blocks,
        labels=("place in vec of the output", "place in vec of the input"),
    )
    write_bytes_atomically(out, figure_bytes(figure, "png" if out.suffix == ".png" else "svg"))
    return blocks


def follow_windows(windows: Sequence[Window], *, size: int) -> list[LayerWindow]:
    """Output sizes and receptive fields of a stack of layers along one axis, from an input of that size.

    Raises:
        ShapeError: a window does not fit.
        TriptychError: a setting breaks its rule.
    """
    field, found = ReceptiveField(), []
    for window in windows:
        size = window.outputs(size)
        field = field.after(window)
        found.append(LayerWindow(size, field))
    return found
