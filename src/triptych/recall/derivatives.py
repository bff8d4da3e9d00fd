"""Gradients and Hessians of the energy in closed form, batched; Hessians as matrices and as products with vectors.

With p = softmax(beta X q), and E1, E2 as in `triptych.recall.energy`:

    grad E1 = q                 Hess E1 = I
    grad E2 = -X'p              Hess E2 = -beta X'(diag(p) - p p')X
    grad E  = q - X'p           Hess E  = I - beta X'(diag(p) - p p')X

I and Hess lse = -Hess E2 are positive semi-definite, so E1 is convex and E2 concave. Arguments and errors are those of
`triptych.recall`.

Source: Ramsauer et al. 2020, arXiv:2008.02217, eq. 2 and 3, differentiated.
Checked by tests/recall/test_derivatives.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.recall.checks import check_beta, check_states, shape_error
from triptych.recall.kernels import average
from triptych.recall.separation import SOFTMAX, Separation


def attention(patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX) -> Tensor:
    """The weights p = y(beta X q) over patterns; rows are >= 0 and sum to one. Shapes: (N, D), (B, D) to (B, N).

    The one function of this package that always makes N x B numbers.
    """
    check_beta(beta)
    check_states(patterns, state, name="state")
    return separation.weights(beta * (state @ patterns.T))


def convex_gradient(state: Tensor) -> Tensor:
    """grad E1(q) = q. Shapes: (B, D) to (B, D)."""
    return state


def concave_gradient(patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX) -> Tensor:
    """grad E2(q) = -X' y(beta X q), with y softmax unless said otherwise. Shapes: (N, D), (B, D) to (B, D)."""
    check_beta(beta)
    check_states(patterns, state, name="state")
    return -average(patterns, state, beta=beta, separation=separation)


def energy_gradient(patterns: Tensor, state: Tensor, *, beta: float, separation: Separation = SOFTMAX) -> Tensor:
    """grad E(q) = q - X' y(beta X q), zero exactly at the fixed points. Shapes: (N, D), (B, D) to (B, D)."""
    return convex_gradient(state) + concave_gradient(patterns, state, beta=beta, separation=separation)


def convex_hessian(state: Tensor) -> Tensor:
    """Hess E1 = I for each row. Shapes: (B, D) to (B, D, D)."""
    width = state.shape[1]
    return torch.eye(width, dtype=state.dtype, device=state.device).expand(len(state), width, width)


def lse_hessian(patterns: Tensor, state: Tensor, *, beta: float) -> Tensor:
    """Hess lse = -Hess E2 = beta X'(diag(p) - p p')X, symmetric. Shapes: (N, D), (B, D) to (B, D, D).

    Computed as beta A'A with rows A_i = sqrt(p_i) (x_i - X'p), which rounding cannot make indefinite. It needs
    B x N x D numbers: use `lse_hessian_product` for large stores.
    """
    weights = attention(patterns, state, beta=beta)
    centred = patterns - (weights @ patterns).unsqueeze(1)  # (B, N, D)
    scaled = weights.sqrt().unsqueeze(-1) * centred
    return beta * (scaled.mT @ scaled)


def energy_hessian(patterns: Tensor, state: Tensor, *, beta: float) -> Tensor:
    """Hess E = I - beta X'(diag(p) - p p')X. Shapes: (N, D), (B, D) to (B, D, D)."""
    return convex_hessian(state) - lse_hessian(patterns, state, beta=beta)


def lse_hessian_product(patterns: Tensor, state: Tensor, vectors: Tensor, *, beta: float) -> Tensor:
    """beta X'(diag(p) - p p')X v for one vector v per state, without any D x D matrix.

    Shapes: (N, D), (B, D), (B, D) to (B, D).
    """
    if vectors.shape != state.shape:
        raise shape_error("vectors", vectors, f"{tuple(state.shape)}, one per state")
    weights = attention(patterns, state, beta=beta)
    along = vectors @ patterns.T  # (B, N): how much each score changes along v
    along = along - (weights * along).sum(1, keepdim=True)
    return beta * (weights * along) @ patterns


def energy_hessian_product(patterns: Tensor, state: Tensor, vectors: Tensor, *, beta: float) -> Tensor:
    """Hess E v = v - beta X'(diag(p) - p p')X v. Shapes: (N, D), (B, D), (B, D) to (B, D)."""
    return vectors - lse_hessian_product(patterns, state, vectors, beta=beta)
