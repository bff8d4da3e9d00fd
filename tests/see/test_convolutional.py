"""The protocols' networks against plain PyTorch ones with the same weights."""

from __future__ import annotations

import warnings
from typing import Any

import plain_see
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.see.architectures import V1, V2, V3, Architecture
from triptych.config import SeeModel
from triptych.errors import ShapeError
from triptych.nn.dropout import Dropout
from triptych.see.convolutional import build_blocks, build_hidden

PROTOCOLS = {"v1": V1, "v2": V2, "v3": V3}


def twins(name: str) -> tuple[Any, nn.Module]:
    """The network of a protocol and the plain one, with the plain one's weights."""
    torch.manual_seed(1)
    plain = plain_see.build(name)
    network = PROTOCOLS[name].build()
    network.load_state_dict(dict(zip(network.state_dict(), plain.state_dict().values(), strict=True)))
    return network, plain


def images(architecture: Architecture, count: int = 3) -> torch.Tensor:
    return torch.rand(
        count, architecture.in_channels, architecture.height, architecture.width, generator=torch.manual_seed(2)
    )


@pytest.fixture
def pytorchs_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws as PyTorch's own does; what it draws otherwise is tested in test_dropout.py."""
    monkeypatch.setattr(Dropout, "forward", nn.Dropout.forward)


@pytest.mark.usefixtures("pytorchs_masks")
@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
@pytest.mark.parametrize("training", [False, True])
def test_network_equals_the_plain_one(name: str, training: bool) -> None:
    network, plain = twins(name)
    given = images(PROTOCOLS[name])
    scores = []
    for each in (network, plain):
        torch.manual_seed(3)  # the same units are dropped
        scores.append(each.train(training)(given))
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("pytorchs_masks")
@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_gradients_equal_the_plain_ones(name: str) -> None:
    network, plain = twins(name)
    given, truths = images(PROTOCOLS[name]), torch.tensor([0, 1, 5])
    for each in (network, plain):
        torch.manual_seed(3)
        torch.autograd.backward(F.nll_loss(each.train()(given), truths))
    for (where, ours), theirs in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=where)


@pytest.mark.parametrize(
    ("architecture", "total"),
    [
        (V1, 208 + 1168 + 576 * 600 + 600 + 600 * 120 + 120 + 120 * 10 + 10),
        (V2, 5_340_742),
        (V3, 756_742),
        (V3.changed(last_hidden_norm=False), 755_718),
    ],
)
def test_parameter_totals(architecture: Architecture, total: int) -> None:
    assert sum(parameter.numel() for parameter in architecture.build().parameters()) == total


def test_the_scores_are_the_normalised_logits() -> None:
    network, _ = twins("v1")
    network.eval()
    given = images(V1)
    assert torch.equal(network(given), torch.log_softmax(network.logits(given), dim=1))
    torch.testing.assert_close(network(given).exp().sum(dim=1), torch.ones(3))


def test_the_convolution_keeps_its_values_for_those_who_look() -> None:
    blocks = build_blocks(1, SeeModel(channels=(4,)))
    kept: list[torch.Tensor] = []
    convolution = next(part for part in blocks.modules() if isinstance(part, nn.Conv2d))
    convolution.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    given = images(V1, 1)
    blocks(given)
    assert torch.equal(kept[0], convolution(given))
    assert kept[0].min() < 0


@pytest.mark.parametrize("kernel", [2, 4])
def test_even_kernels_keep_the_size_as_pytorch_does(kernel: int) -> None:
    blocks = build_blocks(1, SeeModel(channels=(4,), kernels=(kernel,)))
    convolution = next(part for part in blocks.modules() if isinstance(part, nn.Conv2d))
    given = torch.rand(2, 1, 9, 10)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*even kernel.*")
        expected = F.conv2d(given, convolution.weight, convolution.bias, padding="same")
    torch.testing.assert_close(blocks(given), F.relu(F.max_pool2d(expected, 2)))


def test_dropout_drops_its_share() -> None:
    hidden = build_hidden(4, SeeModel(hidden=(10_000,), hidden_dropout=(0.25,))).train()
    torch.manual_seed(0)
    linear = hidden[0].get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    nn.init.constant_(linear.bias, 5.0)  # so that ReLU leaves every unit
    assert (hidden(torch.zeros(1, 4)) == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (13, 30), (10, 10)])
def test_linear_layers_have_the_width_that_the_blocks_leave(height: int, width: int) -> None:
    network = V1.changed(height=height, width=width, channels=(2, 2), hidden=(3,), hidden_dropout=()).build()
    left = (height // 2 - 2) // 2, (width // 2 - 2) // 2
    assert network.hidden[0].linear.in_features == 2 * left[0] * left[1]
    assert network.eval()(torch.zeros(1, 1, height, width)).shape == (1, 10)


def test_the_smallest_image_works_and_a_smaller_one_is_refused() -> None:
    smallest = V1.changed(height=8, width=8)
    assert smallest.build().eval()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(ShapeError, match=r"images are 7 x 28 pixels; expected at least 8 x 8 for 2 blocks"):
        V1.changed(height=7).build()
