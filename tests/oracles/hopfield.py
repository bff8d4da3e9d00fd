"""Second truths for associative memories: the definitions with plain numbers, and certificates of optimality."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext

import torch
from torch import Tensor

Rows = Sequence[Sequence[float]]


def exact_lse(scores: Sequence[float], beta: float, *, mean: bool = False) -> float:
    """log(sum exp(beta z)) / beta, or with the mean in the sum's place, in 80-digit arithmetic after the leading 1."""
    with localcontext() as context:
        context.Emax, context.Emin = 10**17, -(10**17)
        factor = Decimal(beta)
        # exp(1e-112) is 1 to 111 digits: what tells it from exp(0) lies behind them.
        zeros = max((-(factor * Decimal(score)).adjusted() for score in scores if score), default=0)
        context.prec = 80 + max(0, zeros)
        total = sum(((factor * Decimal(score)).exp() for score in scores), Decimal(0))
        return float((total / len(scores) if mean else total).ln() / factor)


def exact_energy(patterns: Rows, state: Sequence[float], beta: float) -> float:
    """E(q) = -lse(beta, X q) + log(N)/beta + q·q/2 + M²/2, every term in 80-digit arithmetic."""
    with localcontext() as context:
        context.prec = 80
        context.Emax, context.Emin = 10**17, -(10**17)
        factor, q = Decimal(beta), [Decimal(value) for value in state]
        rows = [[Decimal(value) for value in row] for row in patterns]
        scores = [sum((x * y for x, y in zip(row, q, strict=True)), Decimal(0)) for row in rows]
        lse = sum(((factor * score).exp() for score in scores), Decimal(0)).ln() / factor
        largest = max(sum((x * x for x in row), Decimal(0)) for row in rows)
        square = sum((y * y for y in q), Decimal(0))
        return float(-lse + Decimal(len(rows)).ln() / factor + square / 2 + largest / 2)


def softmax_update(patterns: Rows, state: Sequence[float], beta: float) -> list[float]:
    """X' softmax(beta X q) with plain floats."""
    scores = [beta * math.fsum(x * y for x, y in zip(row, state, strict=True)) for row in patterns]
    votes = [math.exp(score - max(scores)) for score in scores]
    total = math.fsum(votes)
    return [
        math.fsum(vote * row[d] for vote, row in zip(votes, patterns, strict=True)) / total for d in range(len(state))
    ]


def optimality_gap(scores: Tensor, weights: Tensor, slope: Callable[[Tensor], Tensor]) -> float:
    """How far weights are from maximising theta·p - Omega(p) on the simplex; 0 certifies that they do.

    For convex Omega the conditions of Karush, Kuhn and Tucker suffice: theta - grad Omega(p) has one value wherever
    p > 0, and nowhere a larger one.

    Args:
        scores: theta. Shape (N,).
        weights: p. Shape (N,).
        slope: grad Omega, up to a constant.
    """
    reward = scores - slope(weights)
    support = weights > 0
    level = reward[support]
    spread = (level.max() - level.min()).item()
    beyond = (reward[~support] - level.min()).clamp_min(0).max().item() if bool((~support).any()) else 0.0
    outside = abs(weights.sum().item() - 1) + weights.clamp_max(0).abs().sum().item()
    return max(spread, beyond, outside)


def top_k_conjugate(scores: Sequence[float], k: int) -> float:
    """The largest log-sum-exp of any k of the scores, by looking at all of them."""
    return max(math.log(math.fsum(math.exp(score) for score in chosen)) for chosen in itertools.combinations(scores, k))


def flip_sweep(
    energy: Callable[[list[float]], float], state: Sequence[float], order: Sequence[int], *, slack: float = 0.0
) -> list[float]:
    """Each coordinate in turn takes the sign of the lower energy, and keeps its own where both are equal."""
    found = list(state)
    for i in order:
        flipped = [*found[:i], -found[i], *found[i + 1 :]]
        if energy(flipped) < energy(found) - slack:
            found = flipped
    return found


def random_signs(rows: int, width: int, seed: int) -> Tensor:
    """Independent -1 and 1. Shape (rows, width), float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (rows, width), generator=generator).double() * 2 - 1


def flipped(patterns: Tensor, share: float, seed: int) -> Tensor:
    """Patterns with a share of each row's signs turned."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(patterns.shape, generator=generator).argsort(1) < round(share * patterns.shape[1])
    return torch.where(places, -patterns, patterns)
