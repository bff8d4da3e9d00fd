"""What networks begin with, measured on the weights themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from triptych.config import SpellModel
from triptych.spell.build import build_transducer
from triptych.text.symbols import Vocabulary

SIZES: dict[str, Any] = {"hidden": 64, "embedding": 64, "attention": "general"}


def network(**settings: Any) -> nn.Module:
    torch.manual_seed(3)
    return build_transducer(SpellModel(**{**SIZES, **settings}), source_size=400, target_size=300)


@pytest.mark.parametrize(("start", "deviation"), [("scaled", 64**-0.5), ("pytorch", 1.0)])
def test_embeddings_have_the_deviation_of_their_start_and_padding_is_zero(start: str, deviation: float) -> None:
    for module in network(initial_weights=start).modules():
        if isinstance(module, nn.Embedding):
            assert not module.weight[Vocabulary.pad].any()
            real = module.weight[Vocabulary.pad + 1 :]
            assert real.std().item() == pytest.approx(deviation, rel=0.03)
            assert real.mean().item() == pytest.approx(0, abs=0.03 * deviation)


@pytest.mark.parametrize(("start", "deviation"), [("scaled", 64**-0.5), ("pytorch", (3 * 64) ** -0.5)])
def test_an_output_weight_of_its_own_has_its_start_too(start: str, deviation: float) -> None:
    weight = network(initial_weights=start, tie_output=False).get_parameter("decoder.output_weight")
    assert weight.std().item() == pytest.approx(deviation, rel=0.03)


def test_scaled_recurrence_is_orthogonal_with_open_forget_gates() -> None:
    for module in network().modules():
        if isinstance(module, nn.LSTM):
            size = module.hidden_size
            for name, parameter in module.named_parameters():
                if "weight_hh" in name:
                    torch.testing.assert_close(parameter.T @ parameter, torch.eye(size), rtol=0, atol=1e-5)
                elif "bias" in name:
                    opened = torch.zeros(4 * size)
                    opened[size : 2 * size] = 1.0 if "bias_ih" in name else 0.0
                    assert torch.equal(parameter, opened)


def test_pytorch_recurrence_is_uniform() -> None:
    for module in network(initial_weights="pytorch").modules():
        if isinstance(module, nn.LSTM):
            for parameter in module.parameters():
                assert 0.9 * module.hidden_size**-0.5 < parameter.abs().max().item() <= module.hidden_size**-0.5
