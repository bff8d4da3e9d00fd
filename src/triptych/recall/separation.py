"""Separation functions, from scores to weights: softmax, and sparse ones that retrieve a pattern exactly.

Each is the regularised maximum y(theta) = argmax_p theta·p - Omega(p) over the probability simplex, for a convex
negentropy Omega that is least at the uniform weights u = 1/N. With the conjugate
Omega*(theta) = max_p theta·p - Omega(p), whose gradient is y(theta), the energy

    E(q) = -(Omega*(beta X q) + Omega(u)) / beta + q·q/2 + M²/2

is minimised by q <- X' y(beta X q), and 0 <= E <= 2M² on the patterns' hull whatever Omega is: for softmax it is the
energy of `triptych.recall.energy`. The bracket is called potential(theta) here, mean(theta) <= potential <= max(theta).

Source: Santos, Niculae, McNamee and Martins 2024, arXiv:2411.08590 (Hopfield-Fenchel-Young energies,
E(q) = -Omega*(X q) + Psi(q), with Psi(q) = q·q/2 and the temperature of their softmax example), and 2024,
arXiv:2402.13725, for margins and exact retrieval.
Errors are those of `triptych.recall`.  Checked by tests/recall/test_separation.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from entmax import entmax15, entmax_bisect, sparsemax
from torch import Tensor

from triptych.errors import TriptychError
from triptych.recall.checks import check_count, number

# Sorting only the largest scores is enough where few weights are positive; the package sorts more where it is not.
_SORTED_FIRST = 64


class Separation(Protocol):
    """A function from scores to weights, with its negentropy."""

    def weights(self, scores: Tensor) -> Tensor:
        """y(theta): each row >= 0 and summing to one. Shapes: (B, N) to (B, N)."""

    def negentropy(self, weights: Tensor) -> Tensor:
        """Omega(p) of weights that `weights` can give. Shapes: (B, N) to (B,)."""

    def uniform_negentropy(self, count: int) -> float:
        """Omega(1/N), its least value, for N = `count`."""

    @property
    def margin(self) -> float:
        """A score ahead of all others by this much takes all the weight; infinite where nothing suffices."""


@dataclass(frozen=True)
class Softmax:
    """Omega(p) = sum p log p; the weights are exp(theta) / sum exp(theta), never exactly zero."""

    def weights(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=-1)

    def negentropy(self, weights: Tensor) -> Tensor:
        return _shannon(weights)

    def uniform_negentropy(self, count: int) -> float:
        return -math.log(count)

    @property
    def margin(self) -> float:
        return math.inf


@dataclass(frozen=True)
class Entmax:
    """Omega(p) = sum (p^alpha - p) / (alpha (alpha - 1)), Tsallis' negentropy; alpha = 2 is sparsemax.

    Args:
        alpha: > 1; larger is sparser, and 1 would be softmax. 1.5 and 2 are exact, others by bisection.
    Source: Peters, Niculae and Martins 2019, arXiv:1905.05702; sparsemax: Martins and Astudillo 2016, arXiv:1602.02068.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 1 < number(self.alpha) < math.inf:
            raise TriptychError(
                field="alpha", value=self.alpha, expected="a finite number > 1", hint="Use Softmax() for alpha = 1."
            )

    def weights(self, scores: Tensor) -> Tensor:
        # Less the largest, weights are the same, and rounding cannot swallow the thresholds.
        shifted = scores - scores.detach().amax(-1, keepdim=True)
        if self.alpha == 2:
            found: Tensor = sparsemax(shifted, dim=-1, k=_SORTED_FIRST)
        elif self.alpha == 1.5:
            found = entmax15(shifted, dim=-1, k=_SORTED_FIRST)
        else:
            found = entmax_bisect(shifted, alpha=self.alpha, dim=-1)
        return found

    def negentropy(self, weights: Tensor) -> Tensor:
        return (weights.pow(self.alpha) - weights).sum(-1) / (self.alpha * (self.alpha - 1))

    def uniform_negentropy(self, count: int) -> float:
        return (math.pow(count, 1 - self.alpha) - 1) / (self.alpha * (self.alpha - 1))

    @property
    def margin(self) -> float:
        return 1 / (self.alpha - 1)


@dataclass(frozen=True)
class TopK:
    """Softmax over the k largest scores, the others zero.

    Its conjugate is the largest log-sum-exp of any k scores. That is a maximum of convex functions, hence convex, and
    the weights are a subgradient of it (the gradient where the k-th score has no equal beyond it): the update descends.
    Omega is sum p log p on weights of at most k patterns, and Omega(1/N) = -log k.

    Args:
        k: >= 1; where fewer patterns are stored, all of them.
    """

    k: int

    def __post_init__(self) -> None:
        check_count(self.k, name="k", hint="Use 1 for the pattern of largest score.")

    def weights(self, scores: Tensor) -> Tensor:
        largest, places = scores.topk(min(self.k, scores.shape[-1]), dim=-1)
        return torch.zeros_like(scores).scatter(-1, places, torch.softmax(largest, dim=-1))

    def negentropy(self, weights: Tensor) -> Tensor:
        return _shannon(weights)

    def uniform_negentropy(self, count: int) -> float:
        return -math.log(min(self.k, count))

    @property
    def margin(self) -> float:
        return 0.0 if self.k == 1 else math.inf


SOFTMAX = Softmax()
SPARSEMAX = Entmax(alpha=2)


def potential(separation: Separation, scores: Tensor, weights: Tensor | None = None) -> Tensor:
    """Omega*(theta) + Omega(1/N), the part of the energy that scores pay for.

    Computed as m + (theta - m)·y - Omega(y) + Omega(1/N) with m the largest score, in float64: an error in the weights
    costs only its square, and the last two terms cancel where all scores are close.

    Args:
        separation: gives Omega.
        scores: theta. Shape (B, N).
        weights: y(theta) where it is known already. Shape (B, N).
    Returns:
        Shape (B,), in the dtype of the scores; between the mean and the largest score of each row.
    """
    if weights is None:
        weights = separation.weights(scores)
    largest = scores.detach().amax(-1)
    exact = weights.double()
    exact = exact / exact.sum(-1, keepdim=True)
    gain = ((scores - largest.unsqueeze(-1)).double() * exact).sum(-1) - separation.negentropy(exact)
    return (largest + gain + separation.uniform_negentropy(scores.shape[-1])).to(scores.dtype)


def _shannon(weights: Tensor) -> Tensor:
    """sum p log p, with 0 log 0 = 0. Shapes: (B, N) to (B,)."""
    # The clamp changes no value and keeps the gradient finite at 0, where the weights themselves do not move.
    return torch.xlogy(weights, weights.clamp_min(torch.finfo(weights.dtype).tiny)).sum(-1)
