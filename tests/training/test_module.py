"""The Lightning module keeps PyTorch's rules for its attributes."""

from __future__ import annotations

import torch
from torch import nn

from tests.training.line import Line
from triptych.config import OptimizerTable
from triptych.training.loop import Trainable


def trainable() -> Trainable:
    return Trainable(Line(), OptimizerTable(name="sgd", learning_rate=0.1))


def test_plain_attributes_are_set_and_set_again() -> None:
    module = trainable()
    module.note = "a"
    module.note = "b"
    assert module.note == "b"
    assert "note" not in dict(module.named_modules())
    module.note = None
    assert module.note is None


def test_modules_and_parameters_are_registered_whatever_stood_there() -> None:
    module = trainable()
    module.first = module.second = "plain"
    for name in ("first", "second"):
        setattr(module, name, nn.Linear(2, 3))
        assert f"{name}.weight" in dict(module.named_parameters())
        setattr(module, name, nn.Linear(4, 5))
        assert module.get_parameter(f"{name}.weight").shape == (5, 4)
    module.own = nn.Parameter(torch.ones(2))
    assert "own" in dict(module.named_parameters())


def test_a_property_is_set_through_its_setter() -> None:
    module = trainable()
    module.trainer = None
    assert "trainer" not in module.__dict__
