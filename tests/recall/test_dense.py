"""Dense memories against brute force, the classic network, and capacities beyond its own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from tests.oracles.hopfield import flip_sweep, flipped, random_signs
from triptych.errors import ShapeError, TriptychError
from triptych.recall.classic import classic_energy, classic_retrieve, hebbian_weights
from triptych.recall.dense import Polynomial, dense_energy, dense_retrieve

KINDS = [Polynomial(2), Polynomial(3), Polynomial(4), Polynomial(3, rectified=True)]


def raw(interaction: Polynomial, overlap: float, width: int) -> float:
    """F of an overlap."""
    scale = 2 ** math.ceil(math.log2(width))
    return math.pow((max(overlap, 0.0) if interaction.rectified else overlap) / scale, interaction.degree)


@pytest.mark.parametrize("interaction", KINDS, ids=str)
@given(count=st.integers(1, 6), width=st.integers(1, 9), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_a_sweep_takes_the_lower_energy_at_every_coordinate(
    interaction: Polynomial, count: int, width: int, seed: int
) -> None:
    patterns, cue = random_signs(count, width, seed), random_signs(3, width, seed + 1)

    def energy(state: list[float]) -> float:
        overlaps = [sum(x * s for x, s in zip(row, state, strict=True)) for row in patterns.tolist()]
        return -sum(raw(interaction, overlap, width) for overlap in overlaps)

    found = dense_retrieve(patterns, cue, interaction=interaction, max_sweeps=1)
    for row in range(3):
        # Equal energies differ by rounding in one of the two computations, so a tie may go either way in the oracle.
        slack = 1e-12 * abs(energy(cue[row].tolist()))
        expected = flip_sweep(energy, cue[row].tolist(), range(width), slack=slack)
        got = found.state[row].tolist()
        assert got == expected or math.isclose(energy(got), energy(expected), rel_tol=1e-9)
        value = -energy(cue[row].tolist())
        assert dense_energy(patterns, cue, interaction=interaction)[row].item() == pytest.approx(-value)


@pytest.mark.parametrize("interaction", KINDS, ids=str)
@given(count=st.integers(1, 15), width=st.integers(2, 20), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_the_energy_never_rises_and_rest_is_rest(interaction: Polynomial, count: int, width: int, seed: int) -> None:
    patterns = random_signs(count, width, seed)
    found = dense_retrieve(
        patterns,
        random_signs(4, width, seed + 1),
        interaction=interaction,
        generator=torch.Generator().manual_seed(seed),
    )
    assert (found.energies.diff(dim=0) <= 1e-12 * found.energies.abs().max()).all()
    assert found.converged.all()
    assert torch.equal(found.energies[-1], dense_energy(patterns, found.state, interaction=interaction))
    again = dense_retrieve(patterns, found.state, interaction=interaction)
    assert torch.equal(again.state, found.state)
    assert again.sweeps.tolist() == [1] * 4


def test_degree_two_is_the_classic_network() -> None:
    patterns = random_signs(9, 41, 0)
    cue = flipped(patterns, 0.25, 1)
    weights = hebbian_weights(patterns, zero_diagonal=False)
    classic = classic_retrieve(hebbian_weights(patterns), cue, generator=torch.Generator().manual_seed(3))
    dense = dense_retrieve(patterns, cue, interaction=Polynomial(2), generator=torch.Generator().manual_seed(3))
    assert torch.equal(classic.state, dense.state)
    assert torch.equal(classic.sweeps, dense.sweeps)
    torch.testing.assert_close(
        dense_energy(patterns, cue, interaction=Polynomial(2)) * 64**2, 2 * classic_energy(weights, cue)
    )


@pytest.mark.parametrize(
    ("interaction", "count", "holds"),
    [
        (Polynomial(2), 60, False),
        (Polynomial(3), 60, True),
        (Polynomial(3), 200, True),
        (Polynomial(3), 4000, False),
        (Polynomial(4), 2000, True),
    ],
    ids=str,
)
def test_steeper_energies_hold_more_patterns(interaction: Polynomial, count: int, holds: bool) -> None:
    """With D = 100, the classic network breaks near 14; n = 3 holds of the order of D², n = 4 of D³."""
    patterns = random_signs(count, 100, 0)
    found = dense_retrieve(patterns, flipped(patterns[:8], 0.1, 1), interaction=interaction)
    agreement = (found.state * patterns[:8]).mean().item()
    assert agreement > 0.99 if holds else agreement < 0.9


def test_opposite_patterns_are_memories_of_even_degrees_only() -> None:
    patterns = random_signs(5, 40, 0)
    even, odd, rectified = (
        dense_retrieve(patterns, -patterns, interaction=kind).state
        for kind in (Polynomial(4), Polynomial(3), Polynomial(4, rectified=True))
    )
    assert torch.equal(even, -patterns)
    assert not torch.equal(odd, -patterns)
    assert not torch.equal(rectified, -patterns)


def test_wide_patterns_do_not_overflow() -> None:
    patterns = random_signs(30, 2000, 0).float()
    found = dense_retrieve(patterns, flipped(patterns[:2], 0.2, 1), interaction=Polynomial(20))
    assert torch.equal(found.state, patterns[:2])
    assert torch.isfinite(found.energies).all()


def test_errors_name_the_value() -> None:
    signs, cubic = random_signs(2, 3, 0), Polynomial(3)
    for degree in (1, 2.5):
        with pytest.raises(TriptychError) as caught:
            Polynomial(degree)  # type: ignore[arg-type]
        assert (caught.value.field, caught.value.value) == ("degree", degree)
    with pytest.raises(ShapeError) as width:
        dense_retrieve(signs, signs[:, :2], interaction=cubic)
    assert (width.value.field, width.value.value) == ("cue", (2, 2))
    with pytest.raises(ShapeError) as values:
        dense_retrieve(signs, torch.zeros(1, 3).double(), interaction=cubic)
    assert (values.value.field, values.value.value, values.value.expected) == ("cue", 0, "-1 or 1")
    with pytest.raises(TriptychError) as sweeps:
        dense_retrieve(signs, signs, interaction=cubic, max_sweeps=0)
    assert (sweeps.value.field, sweeps.value.value) == ("max_sweeps", 0)
