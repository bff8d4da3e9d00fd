"""Figures of what the parts of a network are made of."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import ShapeError
from triptych.report.canvas import MUTED, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_SIDE = 1200  # rows and columns of a matrix whose entries remain distinguishable
_LABELLED_CELLS = 49  # of a kernel
_ROOM_FOR_A_LABEL = 1.8  # inches


@house_style()
def block_structure(
    places: ArrayLike,
    *,
    kernel: tuple[int, int],
    row_blocks: tuple[int, int],
    column_blocks: tuple[int, int],
    labels: tuple[str, str],
) -> Figure:
    """The matrix of a convolution: every entry in the colour of its element of the kernel.

    Args:
        places: number of the kernel's element, row by row from 0, or -1 where the matrix is zero. Shape (R, C).
        kernel: M and N.
        row_blocks: rows of a channel, and rows of one line of the output's image; the first divides R.
        column_blocks: columns of a channel, and columns of one line of the input's image.
        labels: of the matrix's rows and columns.
    Raises:
        ShapeError: the matrix is empty, or has too many rows or columns to be drawn.
    """
    grid: NDArray[np.int64] = np.asarray(places, dtype=np.int64)
    if grid.ndim != 2 or grid.size == 0 or max(grid.shape) > LARGEST_SIDE:
        raise ShapeError(
            f"the matrix has shape {grid.shape}; expected at most {LARGEST_SIDE:,} rows and columns to draw. "
            "Use a smaller image or fewer channels."
        )
    rows, columns = grid.shape
    left, right, figure = _axes((rows, columns), kernel)
    colours = _colours(kernel[0] * kernel[1])
    _draw_kernel(left, kernel, colours)
    shown = np.ma.masked_less(grid, 0)
    right.imshow(shown, cmap=colours, vmin=-0.5, vmax=kernel[0] * kernel[1] - 0.5, interpolation="none")
    _draw_blocks(right, grid.shape, row_blocks, column_blocks)
    _label_rows(right, labels[0], right.get_position().height * figure.get_figheight())
    right.set(xlabel=labels[1], title=f"{rows:,} x {columns:,}, {(grid >= 0).mean():.1%} not zero")
    return figure


def _label_rows(axes: Axes, label: str, height: float) -> None:
    """Beside the rows where it fits into their height in inches, and in lines across where it does not."""
    if height > _ROOM_FOR_A_LABEL:
        axes.set_ylabel(label)
    else:
        axes.set_ylabel("\n".join(textwrap.wrap(label, 14)), rotation=0, ha="right", va="center")


def _axes(shape: tuple[int, int], kernel: tuple[int, int]) -> tuple[Axes, Axes, Figure]:
    """Axes of the kernel and of the matrix, with square cells; every measure is known, so no layout engine is needed.

    Measures are in inches.
    """
    rows, columns = shape
    cell = float(np.clip(9.5 / max(columns, rows * 1.2), 0.004, 0.2))
    width, height = columns * cell, rows * cell
    element = float(np.clip(1.8 / max(kernel), 0.05, 0.38))
    kernel_width, kernel_height = kernel[1] * element, kernel[0] * element
    gap = 0.95 if height > _ROOM_FOR_A_LABEL else 1.45  # with the label of the rows
    total_width = 0.15 + kernel_width + gap + width + 0.2
    total_height = 0.4 + max(height, kernel_height) + 0.65
    figure = new_figure(total_width, total_height)
    figure.set_layout_engine("none")

    def place(x: float, w: float, h: float) -> Axes:
        """Axes from the upper edge down."""
        return figure.add_axes((x / total_width, 1 - (0.4 + h) / total_height, w / total_width, h / total_height))

    return place(0.15, kernel_width, kernel_height), place(0.15 + kernel_width + gap, width, height), figure


def _colours(count: int) -> Any:
    """As many colours, neighbours in a row of the kernel alike and its rows apart; zero is white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["turbo"](np.linspace(0.08, 0.92, count))).with_extremes(bad="white")


def _draw_kernel(axes: Axes, kernel: tuple[int, int], colours: Any) -> None:
    numbers = np.arange(kernel[0] * kernel[1]).reshape(kernel)
    axes.imshow(numbers, cmap=colours, vmin=-0.5, vmax=numbers.size - 0.5, interpolation="none")
    if numbers.size <= _LABELLED_CELLS:
        for (row, column), number in np.ndenumerate(numbers):
            red, green, blue, _ = colours(number)
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
            axes.text(column, row, f"{row},{column}", ha="center", va="center", fontsize=7, color=ink)
    axes.set(xticks=[], yticks=[], title="kernel")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)


def _draw_blocks(
    axes: Axes, shape: tuple[int, ...], row_blocks: tuple[int, int], column_blocks: tuple[int, int]
) -> None:
    """Thin lines where a line of an image ends, thick ones where a channel does."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    for size, (channel, line), draw in (
        (shape[0], row_blocks, axes.axhline),
        (shape[1], column_blocks, axes.axvline),
    ):
        if size // line <= 120:
            for place in range(line, size, line):
                draw(place - 0.5, color="#BBBBBB", linewidth=0.6)
        for place in range(channel, size, channel):
            draw(place - 0.5, color=MUTED, linewidth=1.8)
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True) if shape[1] > 2 else FixedLocator(range(shape[1])))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True) if shape[0] > 2 else FixedLocator(range(shape[0])))
    axes.spines[:].set_visible(True)
