"""Exported graphs against PyTorch, for every kind of model that a recipe can name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tests.export.models import network, ship, speller
from triptych.config.spell import AttentionKind
from triptych.decoding import Sources
from triptych.decoding.contract import padded
from triptych.errors import TriptychError
from triptych.export.spell import difference, verify
from triptych.runtime.network import GraphModel
from triptych.runtime.speller import load
from triptych.spell.adapter import TorchModel, networks_of

DEEP = {"encoder_layers": 3, "encoder_residual": True, "decoder_layers": 2}
UNTIED = {"tie_output": False, "embedding": 10}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "dot": {"attention": "dot"},
    "general": {"attention": "general"},
    "additive": {"attention": "additive"},
    "hopfield": {"attention": "hopfield"},
    "hopfield-steps-gru-fed": {"attention": "hopfield", "attention_steps": 3, "cell": "gru", "input_feeding": True},
    "monotonic": {"attention": "monotonic"},
    "none-gru-deep": {"cell": "gru", **DEEP},
    "none-decoder-deeper": {"decoder_layers": 3, "encoder_layers": 2},
    "dot-fed": {"attention": "dot", "input_feeding": True},
    "general-gru-fed-deep": {"attention": "general", "cell": "gru", "input_feeding": True, **DEEP},
    "additive-fed-untied-deep": {"attention": "additive", "input_feeding": True, **UNTIED, **DEEP},
    "additive-gru-untied": {"attention": "additive", "cell": "gru", **UNTIED},
    "monotonic-gru": {"attention": "monotonic", "cell": "gru", "embedding": 10},
    "monotonic-deep": {"attention": "monotonic", "encoder_hidden": 20, "attention_width": 6, **DEEP},
    "monotonic-shortcut": {"attention": "monotonic", "encoder_hidden": 20, "encoder_shortcut": True},
    "additive-shortcut": {"attention": "additive", "encoder_shortcut": True, **UNTIED},
}
SHAPES = ((1, 1), (1, 9), (5, 1), (7, 6), (40, 15))

every_kind = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)


def graphs_of(model: Any, folder: Path) -> GraphModel:
    loaded = load(ship(speller(model), folder)).model
    assert isinstance(loaded, GraphModel)
    return loaded


def sources_of(rows: int, length: int, seed: int = 0) -> Sources:
    draw = np.random.default_rng(seed)
    lengths = [length, *draw.integers(1, length + 1, rows - 1).tolist()]
    return Sources.of([draw.integers(3, 14, n).tolist() for n in lengths])


def test_every_attention_is_among_the_kinds() -> None:
    assert {settings.get("attention", "none") for settings in KINDS.values()} == set(get_args(AttentionKind))


@every_kind
def test_graphs_equal_pytorch_for_every_length_and_batch_size(settings: dict[str, Any], tmp_path: Path) -> None:
    model = network(**settings)
    graphs = graphs_of(model, tmp_path / "out")
    for seed, (rows, length) in enumerate(SHAPES):
        sources = sources_of(rows, length, seed)
        for drawn in (False, True):
            assert difference(TorchModel(model), graphs, sources, seed=seed, drawn=drawn) <= 1e-5


@every_kind
def test_a_row_does_not_depend_on_the_padding_beside_it(settings: dict[str, Any], tmp_path: Path) -> None:
    graphs = graphs_of(network(**settings), tmp_path / "out")
    together = graphs.start(Sources.of([[4, 9, 5], [6, 7, 8, 9, 10, 11]]))
    alone = graphs.start(Sources.of([[4, 9, 5]]))
    for fed in (1, 5, 8):
        both, together = graphs.step(np.full(2, fed), together)
        one, alone = graphs.step(np.full(1, fed), alone)
        np.testing.assert_allclose(both[:1], one, atol=1e-5)
        if alone.attention is not None and together.attention is not None:
            inside = alone.attention.shape[1]
            np.testing.assert_allclose(together.attention[:1, :inside], alone.attention, atol=1e-6)
            assert not together.attention[0, inside:].any()
            np.testing.assert_allclose(together.attention.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["none-gru-deep", "dot-fed", "monotonic-deep"])
def test_graphs_of_a_model_with_features_equal_pytorch(kind: str, tmp_path: Path) -> None:
    model = network(features_size=7, **KINDS[kind])
    graphs = graphs_of(model, tmp_path / "out")
    draw, other = np.random.default_rng(5), sources_of(6, 7)
    some: list[list[int]] = [[4, 5], [], [6], [3], [5, 3, 4], [6, 5]]
    none: list[list[int]] = [[]] * 6
    for features in (some, none):
        sources = replace(other, features=padded(features, least=1))
        assert difference(TorchModel(model), graphs, sources, drawn=True) <= 1e-5
    shuffled = replace(other, features=padded([draw.permutation([4, 5, 6]).tolist() for _ in range(6)]))
    without = replace(other, features=padded([[]] * 6, least=1))
    assert difference(graphs, TorchModel(model), shuffled) <= 1e-5
    (wanted, _), (found, _) = (graphs.step(np.full(6, 1), graphs.start(given)) for given in (shuffled, without))
    finite = np.isfinite(found)
    assert np.abs(wanted[finite] - found[finite]).max() > 1e-2


def test_log_probabilities_are_within_the_bound_themselves(tmp_path: Path) -> None:
    """`difference` is relative above one; here every finite log-probability is compared by itself."""
    model = network(attention="additive", encoder_layers=2)
    graphs = graphs_of(model, tmp_path / "out")
    sources, own = sources_of(30, 11, seed=3), TorchModel(model)
    state, other = own.start(sources), graphs.start(sources)
    fed = np.full(30, 1)
    for _ in range(5):
        wanted, state = own.step(fed, state)
        found, other = graphs.step(fed, other)
        assert np.array_equal(np.isneginf(found), np.isneginf(wanted))
        finite = np.isfinite(found)
        assert np.abs(found[finite] - wanted[finite]).max() <= 1e-5
        fed = found.argmax(1)


def test_a_wrong_graph_is_noticed(tmp_path: Path) -> None:
    model = network(attention="general")
    graphs = graphs_of(model, tmp_path / "out")
    sources = sources_of(3, 5)
    assert difference(TorchModel(network(1, attention="general")), graphs, sources) > 1e-2
    with torch.no_grad():
        model.decoder.output_bias[6] += 1e-3
    assert 1e-4 < difference(TorchModel(model), graphs, sources) < 1e-2


def test_members_of_an_ensemble_are_graphs_of_their_own(tmp_path: Path) -> None:
    members = [network(0, attention="additive"), network(1, attention="dot"), network(2, cell="gru")]
    whole = speller(*members)
    exported = ship(whole, tmp_path / "out")
    assert len(exported.document["files"]) == 6
    assert networks_of(whole.model) == members
    check = verify(whole, exported)
    assert 0 < check.pop("difference") <= 1e-5
    assert check == {"lists_compared": 12, "lists_that_differ": 0}


def test_verification_refuses_other_weights_and_weights_that_are_not_finite(tmp_path: Path) -> None:
    exported = ship(speller(network(attention="dot")), tmp_path / "out")
    with pytest.raises(TriptychError, match=r"^the exported graphs differ from PyTorch by [0-9.e-]+; expected at most"):
        verify(speller(network(1, attention="dot")), exported)
    broken = network(attention="dot")
    with torch.no_grad():
        broken.decoder.embedding.weight[7] = float("nan")
    damaged = speller(broken)
    with pytest.raises(TriptychError, match=r"^the exported graphs differ from PyTorch by inf; expected at most 1e-05"):
        verify(damaged, ship(damaged, tmp_path / "nan"))


def sure_of_itself() -> Any:
    """A monotonic model as good training leaves it: it thinks nearly every symbol impossible."""
    model = network(4, attention="monotonic", embedding=24)
    with torch.no_grad():
        model.decoder.embedding.weight.mul_(12)
        model.decoder.output_bias.mul_(12)
    return model


def test_a_model_that_is_sure_of_itself_passes_the_check(tmp_path: Path) -> None:
    """Symbols that it thinks impossible, below TINY = exp(-46), leave nothing of a position but rounding."""
    model = sure_of_itself()
    whole = speller(model)
    exported = ship(whole, tmp_path / "out")
    own, graphs, sources = TorchModel(model), load(exported).model, sources_of(8, 6)
    state, other = own.start(sources), graphs.start(sources)
    fed, draw, lowest = np.full(8, 1), np.random.default_rng(0), 0.0
    for _ in range(5):  # along random symbols too, which the model thinks impossible
        wanted, state = own.step(fed, state)
        found, other = graphs.step(fed, other)
        assert found == pytest.approx(wanted, abs=1e-3)
        fed = draw.integers(4, 14, 8)
        lowest = min(lowest, float(wanted[np.arange(8), fed].min()))
    assert lowest < np.log(1e-20)
    check = verify(whole, exported)
    assert check["difference"] <= 1e-5
    assert check["lists_that_differ"] == 0


def test_another_model_that_is_sure_of_itself_is_refused_with_its_lists(tmp_path: Path) -> None:
    model = sure_of_itself()
    exported = ship(speller(model), tmp_path / "out")
    with torch.no_grad():
        model.decoder.from_source.bias += 0.3
    with pytest.raises(TriptychError, match=r"differ from PyTorch by .*3-best lists of \d+ of 12 sources differ"):
        verify(speller(model), exported)
