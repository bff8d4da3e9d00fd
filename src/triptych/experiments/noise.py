"""Noise: the share of noisy cues that lead back to their pattern, against the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.experiments.patterns import cosines
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import Separation


@dataclass(frozen=True)
class NoiseTrial:
    """One memory with one setting, asked once for every pattern at one level of noise.

    Attributes:
        separation: its name.
        beta: inverse temperature.
        noise: standard deviation, in units of a pattern's root mean square.
        draw: seed of the noise.
        recalled: share of cues recalled.
        cosine: to the pattern, mean over cues.
    """

    separation: str
    beta: float
    noise: float
    draw: int
    recalled: float
    cosine: float


def measure_noise(
    patterns: Tensor,
    *,
    separations: Mapping[str, Separation],
    betas: Sequence[float],
    noise: Sequence[float],
    draws: int,
    success: float,
    max_steps: int,
) -> tuple[NoiseTrial, ...]:
    """Retrieve every pattern from itself with normal noise on it; all settings see the same cues.

    Args:
        patterns: of norm sqrt(D). Shape (N, D).
        noise: standard deviations, >= 0.
        draws: how often at every level, >= 1.
    """
    trials = []
    for level in noise:
        for draw in range(draws):
            generator = torch.Generator().manual_seed(draw)
            cue = patterns + level * torch.randn(patterns.shape, generator=generator)
            for name, separation in separations.items():
                for beta in betas:
                    state = retrieve(patterns, cue, beta=beta, max_steps=max_steps, separation=separation).state
                    near = cosines(state, patterns)
                    share = (near > success).double().mean().item()
                    trials.append(NoiseTrial(name, beta, level, draw, share, near.mean().item()))
    return tuple(trials)
