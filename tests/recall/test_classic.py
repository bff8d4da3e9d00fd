"""The classic network against brute force, its energy, and its published capacity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from tests.messages import check_message
from tests.oracles.hopfield import flip_sweep, flipped, random_signs
from triptych.errors import ShapeError, TriptychError
from triptych.recall.classic import classic_energy, classic_retrieve, hebbian_weights


def overlap(count: int, width: int, *, noise: float = 0.1) -> float:
    """Mean agreement of what is recalled from noisy cues with the patterns, 1 at best."""
    patterns = random_signs(count, width, 0)
    cues = flipped(patterns[:20], noise, 1)
    found = classic_retrieve(hebbian_weights(patterns), cues, generator=torch.Generator().manual_seed(2))
    return (found.state * patterns[:20]).mean().item()


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 10**6), st.booleans())
@settings(deadline=None, max_examples=40)
def test_a_sweep_takes_the_lower_energy_at_every_coordinate(count: int, width: int, seed: int, shuffle: bool) -> None:
    weights = hebbian_weights(random_signs(count, width, seed))
    cue = random_signs(4, width, seed + 1)
    generator = torch.Generator().manual_seed(seed) if shuffle else None
    found = classic_retrieve(weights, cue, max_sweeps=1, generator=generator)
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed)).tolist() if shuffle else range(width)

    def energy(state: list[float]) -> float:
        return -0.5 * sum(weights[i, j].item() * state[i] * state[j] for i in range(width) for j in range(width))

    for row in range(4):
        assert found.state[row].tolist() == flip_sweep(energy, cue[row].tolist(), order)
        assert classic_energy(weights, cue)[row].item() == energy(cue[row].tolist())


@given(st.integers(1, 12), st.integers(2, 20), st.integers(0, 10**6), st.booleans())
@settings(deadline=None, max_examples=40)
def test_asynchronous_energy_never_rises_and_rest_is_rest(count: int, width: int, seed: int, zero: bool) -> None:
    weights = hebbian_weights(random_signs(count, width, seed), zero_diagonal=zero)
    found = classic_retrieve(weights, random_signs(5, width, seed + 1), generator=torch.Generator().manual_seed(seed))
    assert (found.energies.diff(dim=0) <= 0).all()
    assert torch.equal(found.energies[-1], classic_energy(weights, found.state))
    assert found.converged.all()
    again = classic_retrieve(weights, found.state)
    assert torch.equal(again.state, found.state)
    assert again.sweeps.tolist() == [1] * 5
    assert torch.equal(found.sweeps.max(), torch.tensor(len(found.energies) - 1))


def test_synchronous_updates_are_signs_of_all_fields_and_may_alternate() -> None:
    patterns = random_signs(3, 30, 0)
    weights, cue = hebbian_weights(patterns), flipped(patterns, 0.2, 1)
    once = classic_retrieve(weights, cue, order="synchronous", max_sweeps=1)
    fields = cue @ patterns.T @ patterns - 3 * cue
    assert torch.equal(once.state, torch.where(fields == 0, cue, fields.sign()))
    two = torch.tensor([[0.0, -1.0], [-1.0, 0.0]])
    alternating = classic_retrieve(two, torch.tensor([[1.0, 1.0]]), order="synchronous", max_sweeps=7)
    assert not alternating.converged.any()
    assert alternating.state.tolist() == [[-1.0, -1.0]]
    settled = classic_retrieve(two, torch.tensor([[1.0, 1.0]]), max_sweeps=7)
    assert settled.converged.all()
    assert settled.state.tolist() == [[-1.0, 1.0]]


def test_weights_are_sums_of_products() -> None:
    patterns = random_signs(4, 6, 0)
    weights = hebbian_weights(patterns)
    for i in range(6):
        for j in range(6):
            assert weights[i, j] == (0 if i == j else (patterns[:, i] * patterns[:, j]).sum())
    full = hebbian_weights(patterns, zero_diagonal=False)
    assert torch.equal(full - weights, 4 * torch.eye(6, dtype=torch.float64))


def test_memory_breaks_down_near_the_published_load() -> None:
    """0.138 patterns per coordinate in the limit of large D; at D = 400 the fall is spread around it."""
    assert overlap(20, 400) > 0.99
    assert overlap(40, 400) > 0.95
    assert overlap(88, 400) < 0.75
    assert overlap(160, 400) < 0.5


def test_errors_name_the_value() -> None:
    signs = random_signs(2, 3, 0)
    weights = hebbian_weights(signs)
    with pytest.raises(ShapeError) as other:
        hebbian_weights(torch.tensor([[1.0, 0.5]]))
    assert (other.value.field, other.value.value, other.value.expected) == ("patterns", 0.5, "-1 or 1")
    check_message("recall.not-binary", other.value)
    with pytest.raises(ShapeError) as cue:
        classic_retrieve(weights, 2 * signs)
    assert cue.value.field == "cue"
    with pytest.raises(ShapeError) as width:
        classic_retrieve(weights, signs[:, :2])
    assert (width.value.field, width.value.value) == ("cue", (2, 2))
    with pytest.raises(ShapeError) as square:
        classic_retrieve(signs, signs)
    assert (square.value.field, square.value.value, square.value.expected) == ("weights", (2, 3), "(D, D)")
    with pytest.raises(TriptychError) as order:
        classic_retrieve(weights, signs, order="synchronus")  # type: ignore[arg-type]
    assert (order.value.field, order.value.hint) == ("order", "Did you mean 'synchronous'?")
    with pytest.raises(TriptychError) as sweeps:
        classic_retrieve(weights, signs, max_sweeps=0)
    assert (sweeps.value.field, sweeps.value.value) == ("max_sweeps", 0)
    with pytest.raises(ShapeError) as empty:
        hebbian_weights(signs[:0])
    assert (empty.value.field, empty.value.value) == ("patterns", (0, 3))
