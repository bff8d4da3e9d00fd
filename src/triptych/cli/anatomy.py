"""`triptych anatomy`: convolutions as matrices, and what they save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson

if TYPE_CHECKING:
    from triptych.api import Window

Height = Annotated[int, typer.Option(min=1, help="Of the image, in pixels.")]
Width = Annotated[int, typer.Option(min=1, help="Of the image, in pixels.")]
Kernel = Annotated[str, typer.Option(metavar="M[xN]", help="Kernel: 3, or 3x5 for height x width.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Convolutions as matrices, parameter counts, receptive fields.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    for command in (conv, compare, windows):
        group.command(command.__name__)(command)
    app.add_typer(group, name="anatomy")


def conv(
    height: Height = 6,
    width: Width = 6,
    kernel: Kernel = "3",
    stride: Annotated[str, typer.Option(metavar="S[xS]", help="Step of the kernel.")] = "1",
    padding: Annotated[str, typer.Option(metavar="P[xP]", help="Zeros around the image.")] = "0",
    dilation: Annotated[str, typer.Option(metavar="D[xD]", help="Distance between the kernel's elements.")] = "1",
    channels: Annotated[int, typer.Option(min=1, help="Input channels.")] = 1,
    outputs: Annotated[int, typer.Option(min=1, help="Output channels.")] = 1,
    order: Annotated[str, typer.Option(help="C: images are read row by row; F: column by column.")] = "C",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to draw it: .png or .svg.")] = Path(
        "conv-matrix.png"
    ),
    json: AsJson = False,
) -> None:
    """Draw the matrix M of a convolution, vec(conv(W, x)) = M vec(x), by its blocks.

    Examples:

        triptych anatomy conv --height 6 --width 6 --kernel 3

        triptych anatomy conv --kernel 3x5 --stride 2 --padding 1 --channels 2 --order F --out blocks.svg
    """
    from triptych import api
    from triptych.cli.output import print_json

    settings = api.ConvolutionSettings(
        channels=channels,
        outputs=outputs,
        size=(height, width),
        kernel=_pair(kernel, "--kernel"),
        stride=_pair(stride, "--stride"),
        padding=_pair(padding, "--padding"),
        dilation=_pair(dilation, "--dilation"),
    )
    checked: Any = order  # the function checks it
    blocks = api.draw_convolution(settings, out, order=checked)
    rows, columns = blocks.places.shape
    filled = int((blocks.places >= 0).sum())
    if json:
        print_json(
            {
                "rows": rows,
                "columns": columns,
                "nonzero": filled,
                "weights": blocks.weights,
                "output": [outputs, *blocks.output],
                "order": order,
                "picture": str(out),
            }
        )
        return
    print(f"input    {channels} x {height} x {width}")
    print(f"output   {outputs} x {blocks.output[0]} x {blocks.output[1]}")
    print(f"matrix   {rows:,} x {columns:,}: {filled:,} of {rows * columns:,} entries are not zero")
    print(f"weights  {blocks.weights:,}, each in up to {blocks.output[0] * blocks.output[1]:,} places")
    print(f"figure   {out}")


def compare(
    height: Height = 28,
    width: Width = 28,
    kernel: Kernel = "5",
    outputs: Annotated[int, typer.Option(min=1, help="Outputs of the last linear layer.")] = 3,
    json: AsJson = False,
) -> None:
    """Weights of convolution, pooling by 2 and a linear layer, against two linear layers with as many hidden units.

    For an H x W image, an M x N kernel and K outputs, with H' = H - M + 1 and W' = W - N + 1, they are
    MN + K floor(H'/2) floor(W'/2) and (HW + K) floor(H'/2) floor(W'/2), biases ignored.
    """
    from triptych import api
    from triptych.cli.output import print_json, print_table

    kernel_height, kernel_width = _pair(kernel, "--kernel")
    found = api.compare_with_fully_connected(height, width, kernel_height, kernel_width, outputs=outputs)
    if json:
        print_json(
            {"convolutional": found.convolutional, "fully_connected": found.fully_connected, "ratio": found.ratio}
        )
        return
    print_table(
        ["network", "weights"],
        [["convolutional", str(found.convolutional)], ["fully connected", str(found.fully_connected)]],
    )
    print(f"\nThe fully connected network has {found.ratio:,.1f} times the weights.")


def windows(
    layers: Annotated[
        list[str],
        typer.Argument(
            metavar="LAYER...", help="Kernel, stride, padding, dilation along one axis: 5, or 3,2,1 or 3,1,0,2."
        ),
    ],
    size: Annotated[int, typer.Option(min=1, help="Of the input, along that axis.")] = 28,
    json: AsJson = False,
) -> None:
    """Output sizes and receptive fields of a stack of convolutions and poolings, along one axis.

    Example:

        triptych anatomy windows 5,1,2 2,2 3 2,2 --size 28
    """
    from triptych import api
    from triptych.cli.output import print_json, print_table

    found = api.follow_windows([_window(text) for text in layers], size=size)
    documents = [
        {
            "layer": text,
            "output": layer.output,
            "sees": layer.field.size,
            "apart": layer.field.jump,
            "first_from": layer.field.start,
        }
        for text, layer in zip(layers, found, strict=True)
    ]
    if json:
        print_json({"layers": documents})
        return
    rows = [[str(value) for value in document.values()] for document in documents]
    print_table(["layer", "outputs", "receptive field", "step", "first pixel"], rows)


def _pair(text: str, option: str) -> tuple[int, int]:
    """`3` for both axes, or `3x5` for height and width."""
    from triptych.api import TriptychError

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        expected = "a whole number, or two with an x between"
        raise TriptychError(field=option, value=text, expected=expected, hint="For example: 3x5")
    return int(parts[0]), int(parts[-1])


def _window(text: str) -> Window:
    from triptych.api import TriptychError, Window

    parts = text.split(",")
    if not 1 <= len(parts) <= 4 or not all(part.isdecimal() for part in parts):
        expected = "kernel[,stride[,padding[,dilation]]]"
        raise TriptychError(field="LAYER", value=text, expected=expected, hint="For example: 3,2,1")
    return Window(*(int(part) for part in parts))
