"""Self-attention on images against PyTorch's own attention and its 1 x 1 convolutions (A3)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from triptych.anatomy.attention import self_attention
from triptych.errors import ShapeError


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_without_projections_it_is_softmax_of_products() -> None:
    images = draw(2, 1, 3, 4)
    found = self_attention(images)
    for b in range(2):
        column = images[b].reshape(12, 1)  # x'
        weights = torch.softmax(column @ column.T, dim=1)
        torch.testing.assert_close(found.weights[b], weights)
        torch.testing.assert_close(found.output[b], (weights @ column).reshape(1, 3, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_it_equals_pytorchs_attention(channels: int) -> None:
    images = draw(2, channels, 4, 5)
    flat = images.flatten(2).mT
    own = nn.functional.scaled_dot_product_attention(flat, flat, flat)
    found = self_attention(images, scale=1 / math.sqrt(channels))
    torch.testing.assert_close(found.output, own.mT.reshape(2, channels, 4, 5))
    if channels == 1:
        torch.testing.assert_close(found.output, self_attention(images).output)


def test_projections_are_one_by_one_convolutions() -> None:
    images = draw(2, 3, 4, 5)
    query, key, value = draw(6, 3, seed=1), draw(6, 3, seed=2), draw(2, 3, seed=3)
    found = self_attention(images, query=query, key=key, value=value, scale=0.4)
    q, k, v = (nn.functional.conv2d(images, w[:, :, None, None]).flatten(2).mT for w in (query, key, value))
    own = nn.functional.scaled_dot_product_attention(q, k, v, scale=0.4)
    assert found.output.shape == (2, 2, 4, 5)
    torch.testing.assert_close(found.output, own.mT.reshape(2, 2, 4, 5))


def test_it_equals_a_layer_with_projections() -> None:
    images = draw(2, 4, 3, 3)
    layer = nn.MultiheadAttention(4, 1, bias=False, batch_first=True).double()
    with torch.no_grad():
        layer.out_proj.weight.copy_(torch.eye(4))
        query, key, value = layer.in_proj_weight.chunk(3)
        flat = images.flatten(2).mT
        output, weights = layer(flat, flat, flat)
        found = self_attention(images, query=query, key=key, value=value, scale=0.5)
    torch.testing.assert_close(found.weights, weights)
    torch.testing.assert_close(found.output, output.mT.reshape(2, 4, 3, 3))


def test_rows_of_the_weights_are_positions_that_look() -> None:
    images = torch.zeros(1, 1, 2, 2)
    images[0, 0, 1, 0] = 40.0
    found = self_attention(images)
    assert found.weights[0, 2].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert found.weights[0, 0].tolist() == [0.25] * 4


def test_errors_name_the_value() -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: self_attention(draw(3, 4, 5)), "images has shape (3, 4, 5); expected (B, C, H, W)."),
        (lambda: self_attention(draw(1, 3, 2, 2), query=draw(2, 4)), "query has shape (2, 4); expected (A, 3)"),
        (lambda: self_attention(draw(1, 3, 2, 2), value=draw(3)), "value has shape (3,); expected (A, 3)"),
        (lambda: self_attention(draw(1, 3, 2, 2), key=draw(2, 3)), "queries have 3 channels and keys 2"),
    ]
    for call, words in cases:
        with pytest.raises(ShapeError) as raised:
            call()
        assert words in str(raised.value)
