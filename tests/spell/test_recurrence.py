"""Single steps against PyTorch's own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from triptych.spell.recurrence import Stepper, stepper_for

VOCABULARY, EMBEDDING, HIDDEN, ROWS = 7, 5, 6, 4


def layers_of(kind: type[nn.LSTM] | type[nn.GRU], layers: int, fed: int) -> tuple[Any, nn.Embedding]:
    torch.manual_seed(2)
    recurrent = kind(EMBEDDING + fed, HIDDEN, num_layers=layers, batch_first=True).double().eval()
    for parameter in recurrent.parameters():  # large, so that gates saturate in part
        nn.init.normal_(parameter, std=1.5)
    return recurrent, nn.Embedding(VOCABULARY, EMBEDDING).double()


@pytest.mark.parametrize("fed", [0, 3])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_steps_equal_the_layers(kind: type[nn.LSTM] | type[nn.GRU], layers: int, fed: int) -> None:
    recurrent, embedding = layers_of(kind, layers, fed)
    stepper = Stepper(recurrent, embedding)
    draw = torch.Generator().manual_seed(0)
    parts = 2 if kind is nn.LSTM else 1
    state = tuple(torch.randn(layers, ROWS, HIDDEN, dtype=torch.float64, generator=draw) for _ in range(parts))
    expected_state: Any = state if parts == 2 else state[0]
    for _ in range(5):
        symbols = torch.randint(VOCABULARY, (ROWS,), generator=draw)
        beside = torch.randn(ROWS, fed, dtype=torch.float64, generator=draw)
        output, state = stepper(symbols, state, beside if fed else None)
        inputs = torch.cat((embedding(symbols), beside), dim=1).unsqueeze(1)
        expected, expected_state = recurrent(inputs, expected_state)
        torch.testing.assert_close(output, expected[:, 0])
        for part, wanted in zip(state, expected_state if parts == 2 else (expected_state,), strict=True):
            torch.testing.assert_close(part, wanted)


def test_single_precision_is_as_near_as_the_layers_are() -> None:
    recurrent, embedding = layers_of(nn.LSTM, 1, 0)
    symbols, state = torch.arange(VOCABULARY), (torch.zeros(1, VOCABULARY, HIDDEN),) * 2
    exact = recurrent(embedding(symbols).unsqueeze(1))[0][:, 0]
    output, _ = Stepper(recurrent.float(), embedding.float())(symbols, state, None)
    assert (output - exact).abs().max() < 1e-6


def test_training_and_gradients_keep_the_layers() -> None:
    recurrent, embedding = layers_of(nn.LSTM, 1, 0)
    assert stepper_for(recurrent, embedding) is None
    with torch.inference_mode():
        assert stepper_for(recurrent, embedding) is not None
        assert stepper_for(recurrent.train(), embedding) is None
        with torch.autocast("cpu"):
            assert stepper_for(recurrent.eval(), embedding) is None
