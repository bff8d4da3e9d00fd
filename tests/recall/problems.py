"""Random problems for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """Patterns (N, D), states (B, D), and an inverse temperature."""

    patterns: Tensor
    state: Tensor
    beta: float

    def rounding(self, factor: float = 64) -> float:
        """A small multiple of the energy's rounding error: eps (M² + largest q·q)."""
        scale = self.patterns.square().sum(1).max() + self.state.square().sum(1).max()
        return factor * torch.finfo(self.patterns.dtype).eps * scale.item()


def draw(
    seed: int, *, count: int = 7, width: int = 5, rows: int = 4, beta: float = 1.3, dtype: torch.dtype = torch.float64
) -> Problem:
    """Normal patterns, and states that lie between and beyond them."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(count, width, generator=generator, dtype=torch.float64)
    state = 1.5 * torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return Problem(patterns.to(dtype), state.to(dtype), beta)


@st.composite
def problems(
    drawn: st.DrawFn, *, dtype: torch.dtype = torch.float64, low: float = 1e-3, high: float = 1e3, scale: float = 1.0
) -> Problem:
    """Problems of every small shape, with beta over several magnitudes."""
    exponent = drawn(st.floats(0, 1))
    return_beta = low * (high / low) ** exponent
    found = draw(
        drawn(st.integers(0, 10**6)),
        count=drawn(st.integers(1, 12)),
        width=drawn(st.integers(1, 9)),
        rows=drawn(st.integers(1, 5)),
        beta=return_beta,
        dtype=dtype,
    )
    return Problem(scale * found.patterns, scale * found.state, found.beta)
