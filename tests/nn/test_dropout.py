"""Dropout against its definition and against PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from triptych.nn.dropout import Dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_dropped_or_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    values = torch.rand(400, 500, dtype=dtype) + 1
    result = Dropout(p)(values)
    kept = result != 0
    share = kept.double().mean().item()
    assert share == pytest.approx(1 - p, abs=5 * math.sqrt(p * (1 - p) / values.numel()) + 2**-16)
    assert torch.allclose(result[kept], values[kept] / (1 - p), rtol=2e-4)
    # in the expectation nothing changes, to the last bit of the probability's rounding
    dropped = round(p * 2**16)
    assert torch.equal(result[kept], values[kept] * torch.tensor(2**16 / (2**16 - dropped), dtype=dtype))


def test_every_place_and_neighbour_is_drawn_independently() -> None:
    torch.manual_seed(2)
    kept = (Dropout(0.5)(torch.ones(20_000, 8)) != 0).double()
    assert kept.mean(0) == pytest.approx([0.5] * 8, abs=0.02)
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlations.abs().max() < 0.04
    lagged = torch.corrcoef(torch.stack([kept.flatten()[:-4], kept.flatten()[4:]]))[0, 1]
    assert abs(lagged.item()) < 0.02


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (4,), (2, 3, 5), (1, 1, 1, 1), (0, 7)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    result = Dropout(0.4)(torch.ones(shape))
    assert result.shape == shape
    assert set(result.flatten().tolist()) <= {0.0, torch.tensor(2**16 / (2**16 - round(0.4 * 2**16))).item()}


@pytest.mark.parametrize(
    "values",
    [
        torch.rand(5, 6, 7, 8).contiguous(memory_format=torch.channels_last),
        torch.rand(6, 9).T,
        torch.rand(9, 1).expand(9, 6),
        torch.rand(10, 10)[::2, 1::3],
    ],
    ids=["channels last", "transposed", "expanded", "strided"],
)
def test_any_layout(values: torch.Tensor) -> None:
    values = values + 0.5 if values.stride(-1) else values
    torch.manual_seed(3)
    result = Dropout(0.25)(values)
    kept = result != 0
    assert 0 < kept.sum() < kept.numel()
    assert torch.allclose(result[kept], values[kept] / 0.75)
    assert len(kept.flatten(1).unique(dim=0)) > 1, "rows share a mask"


def test_gradient_is_the_mask() -> None:
    values = torch.rand(50, 40, dtype=torch.float64, requires_grad=True)
    result = Dropout(0.3)(values)
    result.sum().backward()
    assert values.grad is not None
    assert torch.allclose(values.grad * values.detach(), result.detach())


def test_seed_repeats_it_and_draws_go_on() -> None:
    layer, values = Dropout(0.5), torch.ones(100)
    torch.manual_seed(7)
    first, second = layer(values), layer(values)
    torch.manual_seed(7)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.5, 1.0])
def test_evaluation_and_the_ends_are_pytorchs(p: float) -> None:
    values = torch.randn(30, 20)
    assert torch.equal(Dropout(p).eval()(values), values)
    if p in (0.0, 1.0):
        assert torch.equal(Dropout(p)(values), nn.Dropout(p)(values))
    assert Dropout(1e-9)(values).equal(values)


def test_half_precision_keeps_its_type() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        assert Dropout(0.5)(torch.ones(8, 8, dtype=dtype)).dtype == dtype


def test_refuses_what_pytorch_refuses() -> None:
    with pytest.raises(ValueError, match="dropout probability"):
        Dropout(1.5)
