"""The energy of a modern Hopfield network, its convex and concave parts, and their bounds, in closed form.

    E(q) = -lse(beta, X q) + log(N)/beta + q·q/2 + M²/2,    lse(beta, z) = log(sum exp(beta z)) / beta,

with M the largest norm of a pattern. It is split as E = E1 + E2 into

    E1(q) = q·q/2 + M²/2                                convex
    E2(q) = -(lse(beta, X q) - log(N)/beta)             concave

where log(N)/beta is added to lse, because for small beta the two are large and nearly equal: E2 is computed as
-log(mean exp(beta X q))/beta, without their difference. With another separation function E2 is that of
`triptych.recall.separation`.

Functions stream over the patterns in bounded memory. Where a gradient is asked for, autograd keeps the N x B scores.
Arguments and errors are those of `triptych.recall`.

Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 2 (energy).  Checked by tests/recall/test_energy.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.recall.checks import check_beta, check_patterns, check_result, check_states
from triptych.recall.kernels import potential_alone
from triptych.recall.separation import SOFTMAX, Separation


@dataclass(frozen=True)
class Bounds:
    """A quantity lies in [low, high]; both of its shape, or of shape ()."""

    low: Tensor
    high: Tensor


def lse(scores: Tensor, *, beta: float) -> Tensor:
    """log(sum exp(beta z)) / beta, a smooth maximum of the scores z. Shapes: (..., N), N >= 1, to (...).

    The largest score is taken out first, so nothing overflows and the result is never below it.

    Source: Ramsauer et al. 2020, arXiv:2008.02217, section 2.
    """
    check_beta(beta)
    largest = scores.detach().amax(-1)
    largest = torch.where(largest.isfinite(), largest, 0.0)  # with one infinite score, or nothing but minus infinity
    return largest + torch.log(torch.exp(beta * (scores - largest.unsqueeze(-1))).sum(-1)) / beta


def lse_bounds(scores: Tensor, *, beta: float) -> Bounds:
    """max(z) <= lse(beta, z) <= max(z) + log(N)/beta. Shapes: scores (..., N), bounds (...)."""
    check_beta(beta)
    largest = scores.amax(-1)
    return Bounds(largest, largest + math.log(scores.shape[-1]) / beta)


def largest_norm(patterns: Tensor) -> Tensor:
    """M, the largest Euclidean norm of a pattern. Shapes: (N, D) to ()."""
    check_patterns(patterns)
    norms: Tensor = torch.linalg.vector_norm(patterns, dim=1)
    return norms.amax()


def energy_bounds(patterns: Tensor) -> Bounds:
    """0 <= E(q) <= 2M² for every q in the patterns' convex hull; the lower bound holds everywhere.

    E >= (M - |q|)²/2 since lse - log(N)/beta <= max(X q) <= M|q|, and E <= (M + |q|)²/2 since it is >= mean(X q).
    Both hold for every separation function of this package.

    Source: Ramsauer et al. 2020, arXiv:2008.02217, appendix A.1.  Shapes: (N, D) to ().
    """
    norm = largest_norm(patterns)
    return Bounds(torch.zeros_like(norm), 2 * norm.square())


def convex_part(patterns: Tensor, state: Tensor, *, norm: Tensor | None = None) -> Tensor:
    """E1(q) = q·q/2 + M²/2. Shapes: (N, D), (B, D) to (B,)."""
    check_states(patterns, state, name="state")
    norm = largest_norm(patterns) if norm is None else norm
    return 0.5 * state.square().sum(1) + 0.5 * norm.square()


def concave_part(
    patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX, norm: Tensor | None = None
) -> Tensor:
    """E2(q) = -log(mean exp(beta X q)) / beta, or -(Omega*(beta X q) + Omega(1/N)) / beta in general.

    Shapes: (N, D), (B, D) to (B,).
    """
    check_beta(beta)
    check_states(patterns, state, name="state")
    norm = largest_norm(patterns) if norm is None else norm
    return -potential_alone(patterns, state, beta=beta, separation=separation, norm=norm)


def energy(
    patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX, norm: Tensor | None = None
) -> Tensor:
    """E(q) = E1(q) + E2(q): how far a state is from being remembered; 0 at a pattern of norm M for large beta.

    One pass over the patterns and one matrix product. Rounding is a few eps of M² + q·q. Result (B,).
    """
    norm = largest_norm(patterns) if norm is None else norm
    concave = concave_part(patterns, state, beta=beta, separation=separation, norm=norm)
    found = convex_part(patterns, state, norm=norm) + concave
    check_result(found, patterns, state, name="state")
    return found
