"""Architectures: names, heads, and what `model.json` holds of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.see.architectures import RESIDUAL, V1, V3, Architecture
from triptych.errors import RunError
from triptych.see.build import build_described, describe_network
from triptych.see.convolutional import ConvolutionalNetwork
from triptych.see.heads import build_head


def test_a_network_survives_model_json() -> None:
    document = json.loads(json.dumps(describe_network(V1.model, V1.shape, V1.classes)))
    again = build_described(document, Path("model.json"), V1.shape, V1.classes).eval()
    network = V1.build().eval()
    again.load_state_dict(network.state_dict())
    given = torch.rand(2, 1, 28, 28)
    assert torch.equal(network(given), again(given))


@pytest.mark.parametrize("older", [{"output": "logits", "head": None}, {"output": "log-probabilities", "head": ""}])
def test_descriptions_of_older_models_are_read(older: dict[str, Any]) -> None:
    document = {**describe_network(RESIDUAL.model, RESIDUAL.shape, RESIDUAL.classes), **older}
    network = build_described(document, Path("model.json"), RESIDUAL.shape, RESIDUAL.classes)
    assert network.state_dict().keys() == RESIDUAL.build().state_dict().keys()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classes": 11}, "architecture does not fit classes and input"),
        ({"channels": ["a"]}, "architecture is damaged"),
        ({"channels": [8] * 9, "kernels": [3], "padding": ["same"]}, "architecture is damaged (images are 28 x 28"),
        ({"size": 3}, "architecture is damaged"),
    ],
)
def test_damaged_descriptions_name_the_file(changes: dict[str, Any], reason: str) -> None:
    document = {**describe_network(V1.model, V1.shape, V1.classes), **changes}
    with pytest.raises(RunError) as caught:
        build_described(document, Path("model.json"), V1.shape, V1.classes)
    assert str(caught.value).startswith(f"model.json: {reason}")
    with pytest.raises(RunError):
        build_described(None, Path("model.json"), V1.shape, V1.classes)


def test_heads_are_their_formulas() -> None:
    features = torch.rand(2, 3, 4, 5)
    assert torch.equal(build_head("flatten", 3)(features), features.reshape(2, 60))
    torch.testing.assert_close(build_head("average", 3)(features), features.mean((2, 3)))


def test_hopfield_head_retrieves_from_positions() -> None:
    torch.manual_seed(0)
    head, features = build_head("hopfield", 3, steps=2, queries=2), torch.rand(2, 3, 4, 5)
    states = dict(head.named_parameters())["pooling.states"]
    expected = []
    for patterns in features.flatten(2).transpose(1, 2):
        queries = states
        for _ in range(2):
            queries = torch.softmax(queries @ patterns.T / 3**0.5, dim=-1) @ patterns
        expected.append(queries.flatten())
    torch.testing.assert_close(head(features), torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", [V1, RESIDUAL])
@pytest.mark.parametrize("queries", [1, 3])
def test_networks_with_a_hopfield_head(architecture: Architecture, queries: int) -> None:
    chosen = architecture.changed(head="hopfield", head_queries=queries, head_steps=2)
    scores = chosen.build().eval()(torch.rand(2, chosen.in_channels, 28, 28))
    assert scores.shape == (2, chosen.classes)


def test_a_head_can_be_chosen_against_the_usual_one() -> None:
    flat, usual = V3.changed(head="flatten").build(), V3.build()
    assert isinstance(flat, ConvolutionalNetwork)
    assert isinstance(usual, ConvolutionalNetwork)
    assert flat.hidden[0].get_submodule("linear").in_features == 128 * 6 * 6
    assert usual.hidden[0].get_submodule("linear").in_features == 128


def test_no_hidden_layers() -> None:
    network = V1.changed(hidden=(), hidden_dropout=()).build()
    assert sum(p.numel() for p in network.parameters()) == 208 + 1168 + 5760 + 10
