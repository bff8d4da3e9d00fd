"""Architectures: names, heads, and what `model.json` holds of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from tests.see.architectures import RESIDUAL, V1, V3
from triptych.config import SeeModel
from triptych.errors import RecipeError
from triptych.see.build import Architecture, build_network
from triptych.see.convolutional import ConvolutionalNetwork
from triptych.see.heads import build_head


def test_an_architecture_survives_json() -> None:
    document = json.loads(json.dumps(asdict(V1)))
    again = build_network(Architecture(**document)).eval()
    network = build_network(V1).eval()
    again.load_state_dict(network.state_dict())
    given = torch.rand(2, 1, 28, 28)
    assert torch.equal(network(given), again(given))


def test_every_setting_of_the_recipe_is_in_the_architecture() -> None:
    assert set(SeeModel.model_fields) <= set(asdict(V1))
    defaults = asdict(Architecture(height=1, width=1, classes=2))
    for name, field in SeeModel.model_fields.items():
        assert (defaults[name] or "") == (field.default or ""), name


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
    chosen = replace(architecture, head="hopfield", head_queries=queries, head_steps=2)
    scores = build_network(chosen).eval()(torch.rand(2, chosen.in_channels, 28, 28))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))


def test_a_head_can_be_chosen_against_the_usual_one() -> None:
    flat, usual = build_network(replace(V3, head="flatten")), build_network(V3)
    assert isinstance(flat, ConvolutionalNetwork)
    assert isinstance(usual, ConvolutionalNetwork)
    assert flat.hidden[0].get_submodule("linear").in_features == 128 * 6 * 6
    assert usual.hidden[0].get_submodule("linear").in_features == 128


def test_no_hidden_layers() -> None:
    network = build_network(replace(V1, hidden=(), hidden_dropout=()))
    assert sum(p.numel() for p in network.parameters()) == 208 + 1168 + 5760 + 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "residuall"}, r"model.name is 'residuall'; expected .* Did you mean 'residual'\?"),
        ({"head": "avrage"}, r"model.head is 'avrage'; expected .* Did you mean 'average'\?"),
        ({"output": "logit"}, r"model.output is 'logit'; expected .* Did you mean 'logits'\?"),
    ],
)
def test_unknown_names(changes: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_network(replace(V1, **changes))  # type: ignore[arg-type]
