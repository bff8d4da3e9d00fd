"""Layers against the update they are made of, PyTorch's multi-head attention, and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from triptych.errors import ShapeError, TriptychError
from triptych.recall.energy import energy
from triptych.recall.layers import Hopfield, HopfieldLayer, HopfieldPooling
from triptych.recall.retrieval import retrieve
from triptych.recall.update import read_out, update

B, S, N, D = 3, 4, 5, 8


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shaken(layer: nn.Module) -> nn.Module:
    """Every parameter random, biases too, in float64."""
    generator = torch.Generator().manual_seed(3)
    for parameter in layer.double().parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return layer


def linears(layer: Hopfield) -> list[nn.Linear]:
    """Wq, Wk, Wv, Wo."""
    found = [part for part in (layer.query, layer.key, layer.value, layer.output) if isinstance(part, nn.Linear)]
    assert len(found) == 4
    return found


def masks() -> Tensor:
    return torch.arange(N) < torch.tensor([5, 1, 3]).unsqueeze(1)


@pytest.mark.parametrize("beta", [None, 2.5])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_bare_layer_is_plain_retrieval(beta: float | None, steps: int) -> None:
    layer, state, stored = Hopfield(D, beta=beta, steps=steps), draw(B, S, D), draw(B, N, D, seed=1)
    assert list(layer.parameters()) == []
    found = layer(state, stored)
    for b in range(B):
        expected = state[b]
        for _ in range(steps):
            expected = update(stored[b], expected, beta=beta or 1 / math.sqrt(D))
        torch.testing.assert_close(found[b], expected)


def test_states_alone_are_associated_with_each_other() -> None:
    state = draw(B, S, D)
    expected = torch.stack([update(rows, rows, beta=1 / math.sqrt(D)) for rows in state])
    torch.testing.assert_close(Hopfield(D)(state), expected)


def test_enough_steps_reach_the_fixed_point_of_retrieve() -> None:
    state, stored = draw(B, S, D), draw(N, D, seed=1)
    found = Hopfield(D, beta=1.5, steps=300)(state, stored.unsqueeze(0))
    expected = retrieve(stored, state.flatten(0, 1), beta=1.5, max_steps=300, tolerance=1e-12).state
    torch.testing.assert_close(found.flatten(0, 1), expected)


@pytest.mark.parametrize("masked", [False, True])
def test_with_projections_it_is_pytorchs_multi_head_attention(masked: bool) -> None:
    layer, state, stored, values = Hopfield(D, heads=2, projections=True), draw(B, S, D), *draw(2, B, N, D, seed=1)
    shaken(layer)
    theirs = nn.MultiheadAttention(D, 2, batch_first=True, dtype=torch.float64)
    *inner, output = linears(layer)
    theirs.in_proj_weight.data = torch.cat([part.weight for part in inner])
    theirs.in_proj_bias.data = torch.cat([part.bias for part in inner])
    theirs.out_proj.load_state_dict(output.state_dict())
    valid = masks() if masked else None
    expected, weights = theirs(
        state, stored, values, key_padding_mask=None if valid is None else ~valid, average_attn_weights=False
    )
    torch.testing.assert_close(layer(state, stored, values=values, stored_valid=valid), expected)
    torch.testing.assert_close(layer.trace(state, stored, stored_valid=valid).weights, weights)


def test_fresh_projections_have_no_bias_and_are_those_of_pytorchs_layer() -> None:
    layer = Hopfield(D, projections=True)
    bound = math.sqrt(6 / (2 * D))
    for part in linears(layer):
        assert part.bias.abs().max() == 0
        assert 0.8 * bound < part.weight.abs().max() <= bound
    assert sum(p.numel() for p in layer.parameters()) == 4 * (D * D + D)


def test_each_head_is_a_memory_of_its_own_with_its_own_beta() -> None:
    layer, state, stored = Hopfield(D, heads=2, beta=[0.5, 4.0], steps=2), draw(1, S, D), draw(1, N, D, seed=1)
    halves = []
    for part, beta in ((slice(0, 4), 0.5), (slice(4, 8), 4.0)):
        keys = stored[0, :, part].contiguous()
        halves.append(update(keys, update(keys, state[0, :, part].contiguous(), beta=beta), beta=beta))
    torch.testing.assert_close(layer(state, stored)[0], torch.cat(halves, dim=1))


def test_the_last_step_reads_out_the_values() -> None:
    state, stored, values = draw(1, S, D), draw(1, N, D, seed=1), draw(1, N, D, seed=2)
    found = Hopfield(D, beta=1.3, steps=2)(state, stored, values=values)
    moved = update(stored[0], state[0], beta=1.3)
    torch.testing.assert_close(found[0], read_out(stored[0], values[0], moved, beta=1.3))


def test_normalising_is_pytorchs_layer_norm_on_either_side() -> None:
    layer, state, stored = Hopfield(D, normalise=True).double(), draw(B, S, D), draw(B, N, D, seed=1)
    shaken(layer)
    expected = Hopfield(D)(layer.normalise_state(state), layer.normalise_stored(stored))
    torch.testing.assert_close(layer(state, stored), expected)
    fresh = Hopfield(D, normalise=True).double()
    torch.testing.assert_close(fresh(state, stored), fresh(7 * state + 3, 0.1 * stored - 2), atol=1e-2, rtol=0)


@pytest.mark.parametrize("steps", [1, 2])
def test_patterns_that_are_not_real_cannot_be_seen(steps: int) -> None:
    layer, state, stored = Hopfield(D, heads=2, steps=steps), draw(B, S, D), draw(B, N, D, seed=1)
    loud = torch.where(masks().unsqueeze(2), stored, 1e6)
    assert torch.equal(layer(state, stored, stored_valid=masks()), layer(state, loud, stored_valid=masks()))
    shorter = layer(state[2:], stored[2:, :3])
    torch.testing.assert_close(layer(state, stored, stored_valid=masks())[2:], shorter)


def test_with_nothing_to_look_at_the_result_is_zero_and_gradients_are_finite() -> None:
    layer, state = Hopfield(D, steps=2), draw(2, S, D).requires_grad_()
    valid = torch.tensor([[True] * N, [False] * N])
    found = layer(state, draw(2, N, D, seed=1), stored_valid=valid)
    assert found[1].abs().max() == 0
    found.square().sum().backward()
    assert state.grad is not None
    assert torch.isfinite(state.grad).all()
    assert layer.trace(state, draw(2, N, D, seed=1), stored_valid=valid).weights[1].abs().max() == 0


def test_a_learnt_beta_begins_at_its_value_stays_positive_and_moves() -> None:
    layer = Hopfield(D, heads=2, beta=[0.5, 2.0], learn_beta=True).double()
    state, stored = draw(B, S, D), draw(B, N, D, seed=1)
    torch.testing.assert_close(layer.beta, torch.tensor([0.5, 2.0], dtype=torch.float64))
    torch.testing.assert_close(layer(state, stored), Hopfield(D, heads=2, beta=[0.5, 2.0])(state, stored))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(state, stored).square().sum().backward()
    optimizer.step()
    assert (layer.beta > 0).all()
    assert not torch.allclose(layer.beta, torch.tensor([0.5, 2.0], dtype=torch.float64))


def test_gradients_equal_finite_differences() -> None:
    layer = Hopfield(4, heads=2, steps=2, learn_beta=True, projections=True, normalise=True)
    shaken(layer)
    valid = torch.tensor([[True, True, True], [True, False, False]])

    def result(state: Tensor, stored: Tensor, *_: Tensor) -> Tensor:
        found: Tensor = layer(state, stored, stored_valid=valid)
        return found

    inputs = (draw(2, 2, 4).requires_grad_(), draw(2, 3, 4, seed=1).requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(result, inputs)


def test_the_trace_has_the_energy_of_the_theory_and_the_last_weights() -> None:
    layer, state, stored = Hopfield(D, beta=1.5, steps=4), draw(1, S, D), draw(1, N, D, seed=1)
    trace = layer.trace(state, stored)
    assert trace.energies.shape == (5, 1, 1, S)
    torch.testing.assert_close(trace.energies[0, 0, 0], energy(stored[0], state[0], beta=1.5))
    torch.testing.assert_close(trace.energies[4, 0, 0], energy(stored[0], layer(state, stored)[0], beta=1.5))
    assert (trace.energies.diff(dim=0) <= 1e-12).all()
    torch.testing.assert_close(trace.weights[0, 0] @ stored[0], layer(state, stored)[0])


def test_the_energy_of_a_masked_memory_is_that_of_the_real_patterns() -> None:
    layer, state, stored = Hopfield(D, steps=2, beta=1.5), draw(B, S, D), draw(B, N, D, seed=1)
    loud = torch.where(masks().unsqueeze(2), stored, 10.0)
    trace = layer.trace(state, loud, stored_valid=masks())
    torch.testing.assert_close(trace.energies[0, 2, 0], energy(stored[2, :3], state[2], beta=1.5))


def test_pooling_gives_what_its_states_recall_from_each_set() -> None:
    layer = HopfieldPooling(D, queries=2, association=Hopfield(D, steps=2, beta=1.5)).double()
    shaken(layer)
    patterns = draw(B, N, D)
    found = layer(patterns, masks())
    assert found.shape == (B, 2, D)
    for b, count in enumerate((5, 1, 3)):
        kept = patterns[b, :count]
        torch.testing.assert_close(found[b], update(kept, update(kept, layer.states, beta=1.5), beta=1.5))


def test_fresh_pooling_is_nearly_the_mean_and_its_states_learn() -> None:
    torch.manual_seed(0)
    layer, patterns = HopfieldPooling(D), draw(B, N, D).float()
    torch.testing.assert_close(layer(patterns)[:, 0], patterns.mean(1), atol=0.06, rtol=0)
    layer(patterns).square().sum().backward()
    assert layer.states.grad is not None
    assert layer.states.grad.abs().max() > 0


def test_pooling_learns_to_find_the_one_row_that_matters() -> None:
    """Sets in which one row is marked: its mean is hidden in noise, its own content is the target."""
    torch.manual_seed(0)
    layer = HopfieldPooling(D, association=Hopfield(D, beta=1.0, projections=True))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for step in range(200):
        rows = torch.randn(64, N, D, generator=torch.Generator().manual_seed(step))
        rows[:, :, 0] = 0.0
        rows[:, 0, 0] = 5.0
        marked, rows = rows[:, 0, 1:], rows[:, torch.randperm(N, generator=torch.Generator().manual_seed(step))]
        loss = (layer(rows)[:, 0, 1:] - marked).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 0.7 < losses[0]


@pytest.mark.parametrize("trainable", [True, False])
def test_lookup_reads_values_from_patterns_the_layer_holds(trainable: bool) -> None:
    patterns, values, state = draw(N, D), draw(N, D, seed=1), draw(2, 3, D, seed=2)
    layer = HopfieldLayer(patterns, values=values, trainable=trainable, association=Hopfield(D, beta=1.5))
    expected = read_out(patterns, values, state.flatten(0, 1), beta=1.5).reshape(2, 3, D)
    torch.testing.assert_close(layer(state), expected)
    torch.testing.assert_close(layer(state[0, 0]), expected[0, 0])
    assert len(list(layer.parameters())) == (2 if trainable else 0)
    assert set(layer.state_dict()) == {"patterns", "values"}
    other = HopfieldLayer(draw(N, D, seed=7), values=values, trainable=trainable, association=Hopfield(D, beta=1.5))
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(state), expected)


def test_a_lookup_without_values_returns_patterns_and_keeps_its_own_copy() -> None:
    patterns, state = draw(N, D), draw(3, D, seed=2)
    layer = HopfieldLayer(patterns)
    expected = update(patterns.clone(), state, beta=1 / math.sqrt(D))
    patterns.zero_()
    torch.testing.assert_close(layer(state), expected)
    layer(state).square().sum().backward()
    assert layer.patterns.grad is not None
    assert layer.patterns.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ({"heads": 3}, "heads", 3),
        ({"steps": 0}, "steps", 0),
        ({"steps": 2.5}, "steps", 2.5),
        ({"beta": -1.0}, "beta", -1.0),
        ({"heads": 2, "beta": [1.0]}, "beta", [1.0]),
    ],
)
def test_a_bad_number_is_named(arguments: dict[str, object], field: str, value: object) -> None:
    with pytest.raises(TriptychError) as caught:
        Hopfield(D, **arguments)  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.value) == (field, value)


def test_shapes_that_do_not_fit_are_named() -> None:
    layer, state, stored = Hopfield(D), draw(B, S, D), draw(B, N, D)
    cases: list[tuple[str, object, Callable[[], object]]] = [
        ("state", (4, 8), lambda: layer(state[0], stored)),
        ("stored", (2, 5, 8), lambda: layer(state, stored[:2])),
        ("values", (3, 5, 4), lambda: layer(state, stored, values=stored[:, :, :4])),
        ("stored_valid", (3, 4), lambda: layer(state, stored, stored_valid=masks()[:, :4])),
        ("stored_valid", (3, 5), lambda: layer(state, stored, stored_valid=masks().long())),
        ("queries", 0, lambda: HopfieldPooling(D, queries=0)),
        ("width", D, lambda: HopfieldPooling(D, association=Hopfield(4))),
        ("values", (5, 4), lambda: HopfieldLayer(stored[0], values=stored[0, :, :4])),
        ("patterns", (5, 8), lambda: HopfieldLayer(stored[0], association=Hopfield(4))),
        ("state", (3, 4), lambda: HopfieldLayer(stored[0])(draw(3, 4))),
    ]
    for field, value, act in cases:
        with pytest.raises(TriptychError) as caught:
            act()
        assert (caught.value.field, caught.value.value) == (field, value)
    with pytest.raises(ShapeError) as array:
        layer(state.tolist())
    assert array.value.expected == "a PyTorch tensor"


@pytest.mark.parametrize("options", [{}, {"heads": 2, "learn_beta": True}, {"steps": 3}, {"normalise": True}])
def test_nan_does_not_disappear(options: dict[str, Any]) -> None:
    """PyTorch's attention on the CPU gives zeros for queries that are NaN."""
    layer = Hopfield(D, **options)
    layer = layer.double()
    state, stored = draw(B, S, D), draw(B, N, D)
    state[1, 2, 3] = math.nan
    with torch.no_grad():
        found = layer(state, stored)
    assert found[1, 2].isnan().all() or layer.heads > 1, "a head sees its part of the width alone"
    assert found[1, 2].isnan().any()
    others = torch.ones(B, S, dtype=torch.bool)
    others[1, 2] = False
    assert found[others].isfinite().all()
    assert layer.trace(state, stored).weights[1, :, 2].isnan().any()
    state, stored = draw(B, S, D), draw(B, N, D)
    stored[2, 1, 0] = math.nan
    with torch.no_grad():
        found = layer(state, stored)
    assert found[2].isnan().any(1).all()
    assert found[:2].isfinite().all()


def test_a_diverged_projection_shows_in_the_result() -> None:
    layer = Hopfield(4, projections=True).double()
    with torch.no_grad():
        linears(layer)[0].weight[0, 0] = math.nan
        assert layer(draw(1, 3, 4), draw(1, 5, 4)).isnan().all()


@pytest.mark.parametrize("projections", [False, True])
def test_what_padding_holds_has_no_effect(projections: bool) -> None:
    torch.manual_seed(0)
    layer, state, stored, mask = Hopfield(D, projections=projections).double(), draw(B, S, D), draw(B, N, D), masks()
    expected = layer(state, stored, stored_valid=mask)
    for junk in (math.nan, math.inf, 1e30):
        changed = stored.masked_fill(~mask.unsqueeze(2), junk)
        torch.testing.assert_close(layer(state, changed, stored_valid=mask), expected)
        torch.testing.assert_close(
            layer.trace(state, changed, stored_valid=mask).weights,
            layer.trace(state, stored, stored_valid=mask).weights,
        )


def test_empty_batches_and_sets_give_empty_results() -> None:
    layer = Hopfield(D)
    assert layer(torch.empty(0, 3, D)).shape == (0, 3, D)
    assert layer(draw(B, 0, D), draw(B, N, D)).shape == (B, 0, D)
    assert torch.equal(layer(draw(B, S, D), draw(B, 0, D)), torch.zeros(B, S, D).double()), "nothing is stored"
    assert layer.trace(draw(B, S, D), draw(B, 0, D)).weights.shape == (B, 1, S, 0)
    assert HopfieldLayer(draw(N, D))(torch.empty(0, D)).shape == (0, D)
    assert HopfieldPooling(D)(torch.empty(0, N, D)).shape == (0, 1, D)


def test_values_are_read_as_given_and_patterns_as_normalised() -> None:
    layer, state, stored = Hopfield(D, normalise=True).double(), draw(B, S, D), draw(B, N, D)
    normalised = layer.normalise_stored(stored)
    torch.testing.assert_close(layer(state, stored, values=normalised), layer(state, stored))
    assert not torch.allclose(layer(state, stored, values=stored), layer(state, stored))
