"""`triptych anatomy`: what it draws and prints, against PyTorch's own convolution and counts on real modules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch.nn import functional as F

from tests.cli.conftest import Triptych, one_error
from tests.messages import check_message
from triptych.anatomy.convolution import ConvolutionSettings, convolution_blocks, vec
from triptych.errors import ShapeError, TriptychError
from triptych.report.anatomy_figures import LARGEST_SIDE, block_structure


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_drawn_places_are_those_of_pytorchs_convolution(order: str) -> None:
    settings = ConvolutionSettings(2, 3, (9, 6), (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    blocks = convolution_blocks(settings, order="C" if order == "C" else "F")
    kernel = torch.randn(1, 1, 3, 2, generator=torch.Generator().manual_seed(0))
    image = torch.randn(1, 2, 9, 6, generator=torch.Generator().manual_seed(1))
    # Every pair of channels has the same kernel, since a picture shows places and not channels.
    expected = F.conv2d(image, kernel.expand(3, 2, 3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    matrix = torch.where(blocks.places >= 0, kernel.flatten()[blocks.places], 0.0)
    chosen = "C" if order == "C" else "F"
    found = matrix @ vec(image, order=chosen)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(found, vec(expected, order=chosen)[0])  # type: ignore[arg-type]
    assert blocks.output == tuple(expected.shape[2:])
    high, wide = blocks.output
    assert blocks.row_blocks == (high * wide, wide if order == "C" else high)
    assert blocks.column_blocks == (54, 6 if order == "C" else 9)
    assert blocks.weights == 36


def test_conv_draws_and_prints_the_matrix(triptych: Triptych, tmp_path: Path) -> None:
    picture = tmp_path / "blocks.png"
    done = triptych("anatomy", "conv", "--height", "6", "--width", "6", "--kernel", "3", "--out", str(picture))
    assert done.status == 0
    assert "16 x 36: 144 of 576" in done.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    document = json.loads(
        triptych(
            *("anatomy", "conv", "--kernel", "3x5", "--stride", "2x1", "--padding", "1", "--dilation", "2x1"),
            *("--channels", "2", "--outputs", "3", "--height", "9", "--width", "8", "--order", "F", "--json"),
            *("--out", str(tmp_path / "more.svg")),
        ).out
    )
    shape = F.conv2d(torch.zeros(1, 2, 9, 8), torch.zeros(3, 2, 3, 5), stride=(2, 1), padding=1, dilation=(2, 1)).shape
    assert document["output"] == list(shape[1:])
    assert (document["rows"], document["columns"]) == (shape[1:].numel(), 2 * 9 * 8)
    assert document["weights"] == 3 * 2 * 3 * 5
    assert (tmp_path / "more.svg").read_text().startswith("<?xml")


def test_the_same_matrix_is_drawn_as_the_same_bytes_and_another_order_as_others(
    triptych: Triptych, tmp_path: Path
) -> None:
    pictures = []
    for name, order in (("a", "C"), ("b", "C"), ("c", "F")):
        path = tmp_path / f"{name}.png"
        triptych("anatomy", "conv", "--height", "5", "--width", "6", "--order", order, "--out", str(path))
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_the_figure_shows_each_element_and_the_blocks() -> None:
    settings = ConvolutionSettings(2, 1, (4, 4), (3, 3))
    blocks = convolution_blocks(settings)
    figure = block_structure(
        blocks.places.numpy(),
        kernel=(3, 3),
        row_blocks=blocks.row_blocks,
        column_blocks=blocks.column_blocks,
        labels=("output", "input"),
    )
    kernel, matrix = figure.axes
    assert [text.get_text() for text in kernel.texts] == [f"{a},{b}" for a in range(3) for b in range(3)]
    shown = matrix.images[0].get_array()
    assert isinstance(shown, np.ma.MaskedArray)
    assert shown.mask.sum() == (blocks.places < 0).sum()
    # One thin line between two lines of the output, 7 between 8 lines of the input, one thick between its channels.
    assert len(matrix.lines) == 1 + 7 + 1
    assert matrix.get_title(loc="left") == "4 x 32, 56.2% not zero"


MISTAKES = {
    "kernel": ("--kernel", "3y"),
    "stride": ("--stride", "0"),
    "window": ("--kernel", "9"),
    "order": ("--order", "X"),
    "out": ("--out", "x.pdf"),
    "size": ("--height", "300", "--width", "300"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_settings_that_do_not_fit_are_named(
    name: str, triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = one_error(triptych("anatomy", "conv", *MISTAKES[name]))
    check_message(f"cli.anatomy.{name}", TriptychError(message))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(3, 40), (16, 16), (4, 4)])
def test_the_rows_are_labelled_and_no_band_stays_empty(size: tuple[int, int]) -> None:
    settings = ConvolutionSettings(2, 1, size, (3, 3))
    blocks = convolution_blocks(settings)
    figure = block_structure(
        blocks.places.numpy(), kernel=(3, 3), row_blocks=blocks.row_blocks, column_blocks=blocks.column_blocks,
        labels=("place in vec of the output", "place in vec of the input"),
    )  # fmt: skip
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    kernel, matrix = figure.axes
    assert matrix.get_ylabel().split() == ["place", "in", "vec", "of", "the", "output"]
    label = matrix.yaxis.label.get_window_extent()
    assert label.x0 > kernel.get_window_extent().x1
    assert label.y0 >= 0
    assert label.y1 <= figure.bbox.height
    lowest = min(axes.get_window_extent().y0 for axes in (kernel, matrix)) / figure.dpi
    assert lowest < 0.8, "inches below the matrix and the kernel"


def test_a_matrix_too_large_to_see_is_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        block_structure(
            torch.zeros(1, LARGEST_SIDE + 1).numpy(),
            kernel=(1, 1),
            row_blocks=(1, 1),
            column_blocks=(1, 1),
            labels=("", ""),
        )
    assert str(caught.value).startswith("the matrix has shape (1, 1201); expected at most 1,200 rows and columns")


def test_compare_counts_real_modules(triptych: Triptych) -> None:
    done = triptych(
        "anatomy", "compare", "--height", "9", "--width", "8", "--kernel", "3x2", "--outputs", "4", "--json"
    )
    hidden = (7 // 2) * (7 // 2)
    convolutional = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, (3, 2), bias=False),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(hidden, 4, bias=False),
    )
    dense = torch.nn.Sequential(torch.nn.Linear(72, hidden, bias=False), torch.nn.Linear(hidden, 4, bias=False))
    assert convolutional(torch.zeros(1, 1, 9, 8)).shape == (1, 4)
    counts = [sum(p.numel() for p in network.parameters()) for network in (convolutional, dense)]
    document = json.loads(done.out)
    assert [document["convolutional"], document["fully_connected"]] == counts
    assert document["ratio"] == pytest.approx(counts[1] / counts[0])
    assert "248.0 times" in triptych("anatomy", "compare").out


def test_windows_print_sizes_and_fields(triptych: Triptych) -> None:
    document = json.loads(triptych("anatomy", "windows", "5,1,2", "2,2", "3", "2,2", "--size", "28", "--json").out)
    assert [layer["output"] for layer in document["layers"]] == [28, 14, 12, 6]
    assert [layer["sees"] for layer in document["layers"]] == [5, 6, 10, 12]
    assert [layer["apart"] for layer in document["layers"]] == [1, 2, 2, 4]
    assert "first pixel" in triptych("anatomy", "windows", "3,1,1").out
    assert one_error(triptych("anatomy", "windows", "3,a")).startswith("LAYER is '3,a'; expected kernel[,stride")
    assert one_error(triptych("anatomy", "windows", "3,0")).startswith("stride is 0; expected an integer >= 1.")
