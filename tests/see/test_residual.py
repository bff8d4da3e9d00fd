"""The residual network: its blocks against formulas, its start, its sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.see.architectures import RESIDUAL
from triptych.errors import ShapeError
from triptych.see.residual import DropPath, ResidualBlock, ResidualNetwork, SqueezeExcitation, build_stages


def normed(features: torch.Tensor) -> torch.Tensor:
    """Batch normalisation with fresh statistics, as in training."""
    mean, variance = features.mean((0, 2, 3), keepdim=True), features.var((0, 2, 3), keepdim=True, unbiased=False)
    return (features - mean) / (variance + 1e-5).sqrt()


def test_block_is_its_formula() -> None:
    torch.manual_seed(0)
    block, given = ResidualBlock(4, 4), torch.randn(3, 4, 6, 6)
    kept = given.clone()
    inner = F.relu(normed(F.conv2d(F.relu(normed(given)), block.first.weight, padding=1)))
    expected = given + F.conv2d(inner, block.second.weight, padding=1)
    torch.testing.assert_close(block(given), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(given, kept)  # nothing writes over what comes in


@pytest.mark.parametrize("size", [6, 7])
def test_halving_block_averages_its_shortcut(size: int) -> None:
    torch.manual_seed(0)
    block, given = ResidualBlock(4, 8, stride=2), torch.randn(3, 4, size, size)
    nn.init.zeros_(block.second.weight)
    projection = next(part for part in block.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1))
    activated = F.relu(normed(given))
    first = activated[:, :, :2, :2].mean((2, 3))
    found = block(given)
    assert found.shape == (3, 8, (size + 1) // 2, (size + 1) // 2)
    torch.testing.assert_close(found[:, :, 0, 0], first @ projection.weight[:, :, 0, 0].T, rtol=1e-4, atol=1e-5)


def test_squeeze_excitation_is_its_formula() -> None:
    torch.manual_seed(0)
    layer, given = SqueezeExcitation(16, 2), torch.randn(2, 16, 3, 3)
    means = given.mean((2, 3))
    inner = F.relu(means @ layer.reduce.weight.T + layer.reduce.bias)
    weights = torch.sigmoid(inner @ layer.expand.weight.T + layer.expand.bias)
    torch.testing.assert_close(layer(given), given * weights[:, :, None, None])
    assert layer.reduce.out_features == 8
    assert SqueezeExcitation(16, 8).reduce.out_features == 4


def test_drop_path_drops_whole_items_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = DropPath(0.3).train()(torch.ones(4000, 2, 2, 2))
    per_item = dropped.flatten(1)
    assert torch.equal(per_item.amin(1), per_item.amax(1))
    assert (per_item[:, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    given = torch.rand(3, 2, 2, 2)
    assert torch.equal(DropPath(0.3).eval()(given), given)


def test_drop_path_rises_in_equal_steps() -> None:
    found = [
        part.probability
        for part in build_stages((4, 8), blocks=2, drop_path=0.2).modules()
        if isinstance(part, DropPath)
    ]
    assert found == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_fresh_blocks_are_their_shortcuts_and_learn() -> None:
    torch.manual_seed(0)
    network = RESIDUAL.changed(channels=(32, 64), squeeze=2).build()
    assert isinstance(network, ResidualNetwork)
    block, given = network.stages[0], torch.randn(2, 32, 14, 14)
    assert torch.equal(block(given), given)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(F.nll_loss(network.train()(torch.rand(4, 3, 28, 28)), torch.arange(4)))
        optimizer.step()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_starting_weights_have_the_variance_of_he() -> None:
    torch.manual_seed(0)
    network = RESIDUAL.changed(channels=(64,)).build()
    assert isinstance(network, ResidualNetwork)
    first = network.stages[0].get_submodule("first")
    assert isinstance(first, nn.Conv2d)
    assert first.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("size", [28, 31, 48, 64])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_sizes_of_images(size: int, in_channels: int) -> None:
    network = RESIDUAL.changed(height=size, width=size, in_channels=in_channels).build().eval()
    scores = network(torch.rand(2, in_channels, size, size).contiguous(memory_format=torch.channels_last))
    assert scores.shape == (2, 5)
    assert scores.isfinite().all()


def test_settings_act() -> None:
    def count(**changes: Any) -> int:
        return sum(p.numel() for p in RESIDUAL.changed(**changes).build().parameters())

    totals = [count(), count(blocks=3), count(squeeze=4), count(channels=(8, 16, 32)), count(in_channels=1)]
    assert len(set(totals)) == len(totals)
    network = RESIDUAL.changed(dropout=0.4).build()
    assert isinstance(network, ResidualNetwork)
    assert network.dropout.p == 0.4


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"images are 4 x 28 pixels; expected at least 5 x 5 for 3 stages"):
        RESIDUAL.changed(height=4, channels=(8, 16, 32)).build()
    smallest = RESIDUAL.changed(height=5, width=5, channels=(8, 16, 32)).build().eval()
    assert smallest(torch.rand(1, 3, 5, 5)).shape == (1, 5)
