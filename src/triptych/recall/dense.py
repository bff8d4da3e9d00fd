"""Dense associative memories on binary states: steeper energies that hold many more patterns.

    E(s) = -sum_mu F(x_mu·s),    F(x) = x^n,

and each coordinate takes the sign that gives the lower energy with all others as they are:

    s_i <- sign( sum_mu F(+x_mu_i + r) - F(-x_mu_i + r) ),    r = sum_{j != i} x_mu_j s_j.

n = 2 is the classic network with zero diagonal. About D^(n-1) / (2 (2n-3)!! log D) random patterns can be recalled
without error. States are updated one coordinate after the other. Errors are those of `triptych.recall.classic`.

Source: Krotov and Hopfield 2016, arXiv:1606.01164, section 2.
Checked by tests/recall/test_dense.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.recall.checks import check_count, check_states
from triptych.recall.classic import BinaryRetrieval, check_binary, coordinate_order, signs, sweep_to_rest


@dataclass(frozen=True)
class Polynomial:
    """F(x) = (x/s)^n, or max(x/s, 0)^n, with s the smallest power of two that is >= D.

    The division keeps large powers in range, changes no sign, and is exact, so that ties stay ties.

    Args:
        degree: n, >= 2. With an even degree the negative of a pattern is a memory too.
        rectified: count negative overlaps as zero.
    """

    degree: int
    rectified: bool = False

    def __post_init__(self) -> None:
        check_count(self.degree, name="degree", least=2, hint="2 is the classic network.")

    def energy(self, overlaps: Tensor, width: int) -> Tensor:
        """-sum F(overlap). Shapes: (B, N) to (B,)."""
        return -self._of(overlaps, width).sum(1)

    def preference(self, plus: Tensor, minus: Tensor, width: int) -> Tensor:
        """Of the sign of sum F(plus) - sum F(minus). Shapes: (B, N), (B, N) to (B,)."""
        return (self._of(plus, width) - self._of(minus, width)).sum(1)

    def _of(self, overlaps: Tensor, width: int) -> Tensor:
        scaled = overlaps / 2 ** math.ceil(math.log2(width))
        powers: Tensor = (scaled.clamp_min(0) if self.rectified else scaled).pow(self.degree)
        return powers


def dense_energy(patterns: Tensor, state: Tensor, *, interaction: Polynomial) -> Tensor:
    """E(s), scaled as the interaction's own. Shapes: patterns (N, D), state (B, D), result (B,)."""
    check_states(patterns, state, name="state")
    return interaction.energy(state @ patterns.T, patterns.shape[1])


def dense_retrieve(
    patterns: Tensor,
    cue: Tensor,
    *,
    interaction: Polynomial,
    max_sweeps: int = 100,
    generator: torch.Generator | None = None,
) -> BinaryRetrieval:
    """Take each coordinate's better sign, one after the other, until nothing changes; the energy never rises.

    Args:
        patterns: of -1 and 1. Shape (N, D).
        cue: of -1 and 1. Shape (B, D).
        interaction: F.
        max_sweeps: sweeps over all coordinates at most, >= 1.
        generator: draws a new order of coordinates for each sweep; from the first to the last when None.
    """
    check_states(patterns, cue, name="cue")
    check_binary(patterns, name="patterns")
    check_binary(cue, name="cue")

    def sweep(state: Tensor) -> Tensor:
        return _sweep(patterns, state, interaction, coordinate_order(state, generator))

    def energy(state: Tensor) -> Tensor:
        return dense_energy(patterns, state, interaction=interaction)

    return sweep_to_rest(sweep, energy, cue, max_sweeps=max_sweeps)


def _sweep(patterns: Tensor, state: Tensor, interaction: Polynomial, order: list[int]) -> Tensor:
    """Every coordinate once. Shapes: (N, D), (B, D) to (B, D)."""
    state = state.clone()
    columns = patterns.T.contiguous()
    overlaps = state @ columns  # (B, N), kept up to date
    for i in order:
        rest = overlaps - state[:, i : i + 1] * columns[i]
        fields = interaction.preference(rest + columns[i], rest - columns[i], len(columns))
        state[:, i] = signs(fields, state[:, i])
        overlaps = rest + state[:, i : i + 1] * columns[i]
    return state
