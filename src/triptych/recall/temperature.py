"""Choice of a memory's inverse temperature: the one that recalls held-out noisy cues best.

For unit patterns and normal noise of standard deviation s, the average with weights softmax(x·q / s²) is the posterior
mean of the pattern, so of all single updates the one with beta = 1/s² is nearest to it on average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.errors import DataError, TriptychError
from triptych.recall.checks import check_beta, check_states, check_tensor, shape_error
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import SOFTMAX, Separation

_NEARLY_BEST = 0.001


@dataclass(frozen=True)
class TemperatureSearch:
    """Accuracy of each candidate.

    Attributes:
        beta: the smallest candidate whose error is within 0.1 % of the patterns' mean square of the least.
        candidates: in increasing order.
        error: mean squared distance of the recalled state from the right pattern. One per candidate.
        success: share of cues whose recalled state is nearer to the right pattern than to any other. One per candidate.
    """

    beta: float
    candidates: tuple[float, ...]
    error: tuple[float, ...]
    success: tuple[float, ...]


def tune_beta(
    patterns: Tensor,
    cue: Tensor,
    target: Tensor,
    *,
    candidates: Sequence[float] | None = None,
    max_steps: int = 20,
    separation: Separation = SOFTMAX,
) -> TemperatureSearch:
    """Recall from cues whose right pattern is known, at every candidate; see `triptych.recall` for the rest.

    Args:
        patterns: X. Shape (N, D).
        cue: noisy or partial versions of patterns, kept out of everything else. Shape (B, D), B >= 1.
        target: the row of the right pattern of each. Shape (B,), int64.
        candidates: inverse temperatures, at least one; by default powers of two from 1/4 to 4,096 over the patterns'
            mean square, which must not be zero.
    Checked by tests/recall/test_temperature.py, against the posterior mean.
    """
    check_states(patterns, cue, name="cue")
    check_tensor(target, name="target")
    if target.shape != cue.shape[:1] or not len(target):
        raise shape_error("target", target, f"({cue.shape[0]},) with at least one row")
    square = patterns.double().square().sum(1).mean().item()
    tried = _candidates(square) if candidates is None else sorted(candidates)
    if not tried:
        raise TriptychError(field="candidates", value=tried, expected="at least one number > 0")
    for beta in tried:
        check_beta(beta)
    right = patterns[target]
    error, success = [], []
    for beta in tried:
        state = retrieve(patterns, cue, beta=beta, max_steps=max_steps, separation=separation).state
        gaps = (state - right).square().sum(1)
        nearest = torch.cdist(state, patterns).amin(1).square()
        error.append(gaps.mean().item())
        success.append((gaps <= nearest + 1e-5 * square).float().mean().item())
    best = next(place for place, value in enumerate(error) if value <= min(error) + _NEARLY_BEST * square)
    return TemperatureSearch(tried[best], tuple(tried), tuple(error), tuple(success))


def _candidates(square: float) -> list[float]:
    """Powers of two over the patterns' mean square, where all of them are numbers."""
    found = [2.0**power / square for power in range(-2, 13)] if square > 0 else []
    if not found or not all(0 < beta < math.inf for beta in found):
        message = f"The mean square of the patterns is {square:g}; no inverse temperature can be chosen from that."
        hint = "Scale the patterns, or give beta yourself."
        raise DataError(message, field="patterns", value=square, hint=hint)
    return found


def noisy_cues(patterns: Tensor, *, noise: float, n_cues: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cues (B, D) made of patterns with normal noise, and the rows (B,) they were made of.

    Args:
        patterns: Shape (N, D).
        noise: expected length of the noise, as a share of each pattern's length, > 0.
        n_cues: how many at most; every pattern is used once at most.
        seed: of both draws.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(patterns.shape[0], generator=generator)[:n_cues]
    chosen = patterns[rows]
    length = torch.linalg.vector_norm(chosen, dim=1, keepdim=True) / math.sqrt(patterns.shape[1])
    return chosen + noise * length * torch.randn(chosen.shape, generator=generator), rows
