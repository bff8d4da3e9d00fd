"""Metastable states: how many patterns the state that a pattern leads to is made of, against the inverse temperature.

For small beta all patterns lead to one state, their average; for large beta each leads to itself; between them lie
states that average the patterns of a neighbourhood.

Source: Ramsauer et al. 2020, arXiv:2008.02217, section 2, "global fixed point, metastable states, single pattern".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.recall.retrieval import retrieve
from triptych.recall.separation import Separation

_SAME = 1e-3  # of the patterns' norm: states that are nearer to each other are one


@dataclass(frozen=True)
class StateSizes:
    """The fixed points that a memory's patterns lead to.

    Attributes:
        separation: its name.
        beta: inverse temperature.
        sizes: the fewest patterns whose weights sum to the asked mass, one for each pattern that set out. Shape (N,).
        states: how many different fixed points they reach.
        converged: share that came to rest within the steps allowed.
    """

    separation: str
    beta: float
    sizes: tuple[int, ...]
    states: int
    converged: float


def measure_sizes(
    patterns: Tensor,
    *,
    separations: Mapping[str, Separation],
    betas: Sequence[float],
    mass: float,
    max_steps: int,
) -> tuple[StateSizes, ...]:
    """Follow every pattern to its fixed point, for every separation function and beta.

    Args:
        mass: of the weights that are counted, in (0, 1).
    """
    results = []
    for name, separation in separations.items():
        for beta in betas:
            found = retrieve(
                patterns, patterns, beta=beta, max_steps=max_steps, separation=separation, extras=("attention",)
            )
            assert found.attention is not None
            sizes = tuple(sizes_of(found.attention, mass).tolist())
            states = count_states(found.state, _SAME * torch.linalg.vector_norm(patterns, dim=1).max().item())
            results.append(StateSizes(name, beta, sizes, states, found.converged.double().mean().item()))
    return tuple(results)


def sizes_of(weights: Tensor, mass: float) -> Tensor:
    """The fewest weights of each row that sum to at least `mass`. Shapes: (B, N) to (B,), int64."""
    reached = weights.double().sort(dim=1, descending=True).values.cumsum(1)
    # Rounding may leave the whole row's sum a little below one; then all patterns count.
    return ((reached < mass - 1e-9).sum(1) + 1).clamp_max(weights.shape[1])


def group_states(states: Tensor, distance: float) -> Tensor:
    """Number states from 0 on, in order of appearance; one nearer than `distance` to an earlier first has its number.

    Shapes: (B, D) to (B,), int64.
    """
    numbers = torch.full((len(states),), -1, dtype=torch.int64)
    for number in range(len(states)):
        open_rows = (numbers < 0).nonzero().squeeze(1)
        if not len(open_rows):
            break
        first = states[open_rows[0]]
        near = torch.linalg.vector_norm(states[open_rows] - first, dim=1) < distance
        near[0] = True
        numbers[open_rows[near]] = number
    return numbers


def count_states(states: Tensor, distance: float) -> int:
    """How many groups `group_states` finds."""
    return int(group_states(states, distance).max().item()) + 1
