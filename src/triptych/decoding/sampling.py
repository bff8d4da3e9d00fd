"""Sampling: symbols drawn by their probability, from all of them or from the most probable ones only."""

from __future__ import annotations

import numpy as np

from triptych.config.decoding import SpellDecoding
from triptych.decoding.contract import (
    IMPOSSIBLE,
    Array,
    Hypothesis,
    Sources,
    StateT,
    StepModel,
    length_limits,
    log_softmax,
)
from triptych.decoding.greedy import follow
from triptych.errors import ShapeError

ROUNDING = 1e-6  # relative; by how much sums of probabilities that were rounded to float32 may miss a mass


def sample(
    model: StepModel[StateT], sources: Sources, settings: SpellDecoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Draw hypotheses symbol by symbol; the filters apply in the order temperature, top_k, top_p.

    Each sample has its own stream of random numbers, made from the seed, the row's id and the sample's place. With ids
    that stay with the rows, the samples of a row thus depend neither on its batch nor on the device (up to the rounding
    of the model, which may differ between batch sizes), and asking for more samples keeps the first ones.

    Args:
        model: what to decode with, in evaluation mode.
        sources: B of them, with the rows' ids.
        settings: samples, temperature, top_k, top_p, seed and the length limits; a hypothesis that reaches its limit
            and does not end there is `finished=False`.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row with `settings.samples` hypotheses in drawing order; the same one may come twice.
        log_probability is the model's own, without temperature and filters; score is that less a lexicon's penalty.
    Raises:
        ShapeError: the number of row_ids is not B.
        TriptychError: a row's log-probabilities are all -inf, or nan.
    Source: Holtzman et al. 2020, arXiv:1904.09751.
    """
    if len(sources.row_ids) != len(sources):
        raise ShapeError(
            f"row_ids has {len(sources.row_ids)} numbers; expected {len(sources)}, one per row.",
            hint="Pass one for each source.",
        )
    draws = uniform_draws(sources, settings)

    def choose(log_probs: Array, paths: Array, length: int) -> Array:
        return inverse_distribution(filtered(log_probs, settings), draws[paths, length])

    return follow(model, sources, choose, settings, copies=settings.samples, with_attention=with_attention)


def filtered(log_probs: Array, settings: SpellDecoding) -> Array:
    """The distribution to draw from: tempered, then cut to top_k, then to the nucleus; normalised. Shape (B, V)."""
    result = log_softmax(log_probs / log_probs.dtype.type(settings.temperature))
    if settings.top_k:
        result = top_k(result, settings.top_k)
    return nucleus(result, settings.top_p) if settings.top_p < 1 else result


def nucleus(log_probs: Array, p: float) -> Array:
    """Keep the smallest set of symbols whose probability mass reaches p, and renormalise.

    Symbols are taken in order of falling probability, of equal ones the lowest index first, until their mass is >= p up
    to the rounding of its terms; the most probable symbol is always kept.

    Args:
        log_probs: normalised log-probabilities. Shape (B, V), not all -inf in a row.
        p: mass to reach, 0 < p < 1.
    Returns:
        Log-probabilities of the same shape, -inf outside the nucleus.
    Source: Holtzman et al. 2020, arXiv:1904.09751, section 3.1. Checked by tests/decoding/test_sampling.py.
    """
    order = np.argsort(-log_probs, axis=1, kind="stable")
    mass = np.exp(np.take_along_axis(log_probs, order, axis=1).astype(np.float64)).cumsum(1)
    before = np.concatenate([np.zeros((len(mass), 1)), mass[:, :-1]], axis=1)
    dropped = np.zeros(log_probs.shape, dtype=bool)
    np.put_along_axis(dropped, order, before >= p * (1 - ROUNDING), axis=1)
    return log_softmax(np.where(dropped, IMPOSSIBLE, log_probs))


def top_k(log_probs: Array, k: int) -> Array:
    """Keep the k >= 1 most probable symbols, of equal ones the lowest index first, and renormalise. Shape (B, V)."""
    order = np.argsort(-log_probs, axis=1, kind="stable")
    kept = log_probs.copy()
    np.put_along_axis(kept, order[:, k:], IMPOSSIBLE, axis=1)
    return log_softmax(kept)


def uniform_draws(sources: Sources, settings: SpellDecoding) -> Array:
    """Random numbers in [0, 1) for every symbol that could be drawn, float64.

    Returns:
        One line per path (row * samples + sample), one column per step; columns past a row's limit are 0, and never
        needed. Shape (B samples, 1 + the largest limit).
    """
    limits = length_limits(settings, sources.lengths).tolist()
    draws = np.zeros((len(sources), settings.samples, 1 + max(limits, default=0)))
    for row, (row_id, limit) in enumerate(zip(sources.row_ids, limits, strict=True)):
        # Drawn to the row's own limit, so that its numbers do not depend on the other rows' lengths.
        stream = np.random.default_rng([settings.seed, row_id])
        draws[row, :, : limit + 1] = stream.random((settings.samples, limit + 1))
    return draws.reshape(-1, draws.shape[-1])


def inverse_distribution(log_probs: Array, uniform: Array) -> Array:
    """The symbol at which the cumulative probability first exceeds a uniform number: a draw from the distribution.

    In float64, where `uniform * total` stays below `total`, so that a symbol without probability is never drawn.

    Args:
        log_probs: log-probabilities, normalised. Shape (B, V).
        uniform: numbers in [0, 1), float64. Shape (B,).
    Returns:
        Symbols (B,), int64.
    """
    cumulative = np.exp(log_probs.astype(np.float64)).cumsum(1)
    return np.asarray((cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(1))
