"""Capacity: the share of partial cues that a memory completes, against the number of patterns it stores.

Patterns are random signs. A cue has a share of its pattern's coordinates; the others are random signs for the binary
networks, which may change every coordinate, and unknown to the continuous ones.

Published for random patterns: the classic network breaks near N = 0.14 D (Amit, Gutfreund and Sompolinsky 1985), the
polynomial one of degree n holds about D^(n-1) / (2 (2n-3)!! log D) without error (Krotov and Hopfield 2016,
arXiv:1606.01164), the exponential one exponentially many in D (Demircigil et al. 2017, arXiv:1702.01929; Ramsauer et
al. 2020, arXiv:2008.02217, for continuous states).  Checked by tests/experiments/test_experiments.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from triptych.config.recall import CapacityNetworks, Network
from triptych.errors import check_choice
from triptych.experiments.patterns import cosines, known_places, random_signs
from triptych.recall.classic import classic_retrieve, hebbian_weights
from triptych.recall.dense import Polynomial, dense_retrieve
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import SOFTMAX, Entmax

CLASSIC_LIMIT = 0.14  # of D


@dataclass(frozen=True)
class CapacityTrial:
    """One network on one memory: the share of its cues that were recalled."""

    network: str
    patterns: int
    seed: int
    recalled: float


class Quartiles(NamedTuple):
    """Of a share over seeds, at one number of patterns."""

    patterns: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Capacity:
    """All trials, of memories of patterns of one width."""

    width: int
    trials: tuple[CapacityTrial, ...]

    def curve(self, network: str) -> list[Quartiles]:
        """Median and quartiles over seeds, by rising number of patterns."""
        trials = [trial for trial in self.trials if trial.network == network]
        counts = sorted({trial.patterns for trial in trials})
        return [Quartiles(n, *quartiles([t.recalled for t in trials if t.patterns == n])) for n in counts]

    def capacity(self, network: str) -> int:
        """The largest number of patterns up to which the median share is everywhere at least one half; 0 for none."""
        held = list(takewhile(lambda point: point.median >= 0.5, self.curve(network)))
        return held[-1].patterns if held else 0

    @property
    def networks(self) -> list[str]:
        """In the order in which they were tried."""
        return list(dict.fromkeys(trial.network for trial in self.trials))


def measure_capacity(
    names: Sequence[str],
    counts: Sequence[int],
    *,
    width: int,
    seeds: Sequence[int],
    known: float,
    cues: int,
    success: float,
    networks: CapacityNetworks,
) -> Capacity:
    """Try every network on the same memories and cues.

    Args:
        names: of the networks: classic, polynomial, exponential, sparse.
        counts: N, each >= 1.
        width: D.
        seeds: one memory of every count for each.
        known: share of a cue's coordinates that are its pattern's, in (0, 1].
        cues: tried on a memory, at most one for each pattern.
        networks: their settings, the recipe's table.
    """
    for name in names:
        check_choice(name, get_args(Network), field="network")
    trials = []
    for count in counts:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + count)
            patterns = random_signs(count, width, generator)
            wanted = patterns[: min(cues, count)]
            known_valid = known_places(len(wanted), width, known, generator)
            cue = torch.where(known_valid, wanted, random_signs(len(wanted), width, generator))
            for name in names:
                reached = cosines(_recalled(name, networks, patterns, cue, known_valid), wanted) > success
                trials.append(CapacityTrial(name, count, seed, reached.double().mean().item()))
    return Capacity(width, tuple(trials))


def polynomial_limit(width: int, degree: int) -> float:
    """D^(n-1) / (2 (2n-3)!! log D), patterns held without error.

    Source: Krotov and Hopfield 2016, arXiv:1606.01164, section 2.
    """
    odd = math.prod(range(1, 2 * degree - 2, 2))
    return float(width ** (degree - 1)) / (2 * odd * math.log(width))


def _recalled(name: str, settings: CapacityNetworks, patterns: Tensor, cue: Tensor, known_valid: Tensor) -> Tensor:
    """States (B, D) that cues (B, D), with random signs where they are not known, lead a network to."""
    most = settings.max_steps
    if name == "classic":
        return classic_retrieve(hebbian_weights(patterns), cue, max_sweeps=most).state
    if name == "polynomial":
        return dense_retrieve(patterns, cue, interaction=Polynomial(settings.degree), max_sweeps=most).state
    separation = SOFTMAX if name == "exponential" else Entmax(settings.alpha)
    return retrieve(
        patterns, cue, beta=settings.beta, max_steps=most, separation=separation, known_valid=known_valid
    ).state


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return low, median, high
