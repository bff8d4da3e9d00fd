"""Sampling: symbols drawn by their probability, from all of them or from the most probable ones only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.errors import RecipeError, ShapeError
from triptych.spell.decoding.contract import Hypothesis, LengthLimit, SourceBatch, StateT, StepModel
from triptych.spell.decoding.single_path import follow


@dataclass(frozen=True)
class Sampling:
    """How to draw. The filters apply in the order temperature, top_k, top_p.

    Attributes:
        samples: hypotheses drawn per row, >= 1.
        temperature: divides the log-probabilities, > 0; below 1 sharpens the distribution, above 1 flattens it.
        top_k: draw from this many most probable symbols only, >= 1; None for all.
        top_p: draw from the nucleus of this mass only, 0 < top_p <= 1; None for all.
        seed: any integer >= 0.
    Raises:
        RecipeError: a value out of range.
    """

    samples: int = 1
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise RecipeError(
                f"decoding.samples is {self.samples}; expected an integer >= 1. Use 1 for one sample per source."
            )
        if not 0 < self.temperature < math.inf:
            raise RecipeError(
                f"decoding.temperature is {self.temperature}; expected a number > 0. "
                "Use --decode greedy for no randomness."
            )
        if self.top_k is not None:
            _check_top_k(self.top_k)
        if self.top_p is not None:
            _check_top_p(self.top_p)
        if self.seed < 0:
            raise RecipeError(f"decoding.seed is {self.seed}; expected an integer >= 0. Use 0 where any will do.")


def _check_top_k(k: int) -> None:
    if k < 1:
        raise RecipeError(f"decoding.top_k is {k}; expected an integer >= 1. Leave it out to sample from all symbols.")


def _check_top_p(p: float) -> None:
    if not 0 < p <= 1:
        raise RecipeError(
            f"decoding.top_p is {p}; expected a number above 0 and at most 1. Use 1 to sample from all symbols."
        )


@torch.inference_mode()
def sample(
    model: StepModel[StateT],
    batch: SourceBatch,
    sampling: Sampling,
    *,
    limit: LengthLimit,
    row_ids: Sequence[int] | None = None,
    with_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Draw hypotheses symbol by symbol.

    Each sample has its own stream of random numbers, made from the seed, the row's id and the sample's place. With ids
    that stay with the rows, the samples of a row thus depend neither on its batch nor on the device (up to the rounding
    of the model, which may differ between batch sizes), and asking for more samples keeps the first ones.

    Args:
        model: what to decode with, in evaluation mode.
        batch: B sources, on the model's device.
        sampling: what to draw from and how often.
        limit: longest target; a hypothesis that reaches it and does not end there is `finished=False`.
        row_ids: a number >= 0 for each row, such as its place in the whole data. Default: its place in the batch.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row with `sampling.samples` hypotheses in drawing order; the same one may come twice.
        log_probability is the model's own, without temperature and filters; score is that less a lexicon's penalty.
    Raises:
        ShapeError: the number of row_ids is not B.
        TriptychError: a row's log-probabilities are all -inf, or nan.
    Source: Holtzman et al. 2020, arXiv:1904.09751.
    """
    rows = len(batch.lengths)
    if row_ids is not None and len(row_ids) != rows:
        raise ShapeError(f"row_ids has {len(row_ids)} numbers; expected {rows}, one per row. Pass one for each source.")
    limits = limit.of(batch.lengths).tolist()
    draws = uniform_draws(sampling, range(rows) if row_ids is None else row_ids, limits).to(batch.symbols.device)

    def choose(log_probs: Tensor, paths: Tensor, length: int) -> Tensor:
        return inverse_distribution(filtered(log_probs, sampling), draws[paths, length])

    return follow(model, batch, choose, copies=sampling.samples, limit=limit, with_attention=with_attention)


def filtered(log_probs: Tensor, sampling: Sampling) -> Tensor:
    """The distribution to draw from: tempered, then cut to top_k, then to the nucleus; normalised. Shape (..., V)."""
    result = log_probs.div(sampling.temperature).log_softmax(-1)
    if sampling.top_k is not None:
        result = top_k(result, sampling.top_k)
    if sampling.top_p is not None:
        result = nucleus(result, sampling.top_p)
    return result


def nucleus(log_probs: Tensor, p: float) -> Tensor:
    """Keep the smallest set of symbols whose probability mass reaches p, and renormalise.

    Symbols are taken in order of falling probability, of equal ones the lowest index first, until their mass is >= p;
    the most probable symbol is always kept.

    Args:
        log_probs: log-probabilities, normalised here if they are not. Shape (..., V), not all -inf in a row.
        p: mass to reach, 0 < p <= 1; 1 keeps every symbol.
    Returns:
        Log-probabilities of the same shape, -inf outside the nucleus.
    Raises:
        RecipeError: p is out of range.
    Source: Holtzman et al. 2020, arXiv:1904.09751, section 3.1. Checked by tests/spell/decoding/test_sampling.py.
    """
    _check_top_p(p)
    log_probs = log_probs.log_softmax(-1)
    if p == 1:
        return log_probs
    ordered, order = log_probs.sort(dim=-1, descending=True, stable=True)
    mass_before = F.pad(ordered.double().exp().cumsum(-1)[..., :-1], (1, 0))
    return _drop(log_probs, order, mass_before >= p)


def top_k(log_probs: Tensor, k: int) -> Tensor:
    """Keep the k most probable symbols, of equal ones the lowest index first, and renormalise.

    Args:
        log_probs: log-probabilities, normalised here if they are not. Shape (..., V), not all -inf in a row.
        k: symbols to keep, >= 1; all of them where V <= k.
    Returns:
        Log-probabilities of the same shape, -inf for the other symbols.
    Raises:
        RecipeError: k < 1.
    """
    _check_top_k(k)
    order = log_probs.argsort(dim=-1, descending=True, stable=True)
    beyond = torch.arange(log_probs.shape[-1], device=log_probs.device) >= k
    return _drop(log_probs, order, beyond.expand_as(order))


def _drop(log_probs: Tensor, order: Tensor, dropped: Tensor) -> Tensor:
    """Renormalised log_probs without the symbols `order[i]` for which `dropped[i]`. All shapes (..., V)."""
    by_symbol = torch.empty_like(order, dtype=torch.bool).scatter_(-1, order, dropped)
    return log_probs.masked_fill(by_symbol, -math.inf).log_softmax(-1)


def uniform_draws(sampling: Sampling, row_ids: Sequence[int], limits: Sequence[int]) -> Tensor:
    """Random numbers in [0, 1) for every symbol that could be drawn, float64, on the CPU.

    Args:
        sampling: its seed and number of samples K.
        row_ids: what sets a row's numbers apart from another row's. B of them.
        limits: longest target of each row. B of them.
    Returns:
        One line per path (row * K + sample), one column per step; columns past a row's limit are 0, and never needed.
        Shape (B K, 1 + the largest limit).
    """
    draws = np.zeros((len(row_ids), sampling.samples, 1 + max(limits, default=0)))
    for row, (row_id, limit) in enumerate(zip(row_ids, limits, strict=True)):
        # Drawn to the row's own limit, so that its numbers do not depend on the other rows' lengths.
        draws[row, :, : limit + 1] = np.random.default_rng([sampling.seed, row_id]).random(
            (sampling.samples, limit + 1)
        )
    return torch.from_numpy(draws.reshape(-1, draws.shape[-1]))


def inverse_distribution(log_probs: Tensor, uniform: Tensor) -> Tensor:
    """The symbol at which the cumulative probability first exceeds a uniform number: a draw from the distribution.

    In float64, where `uniform * total` stays below `total`, so that a symbol without probability is never drawn.

    Args:
        log_probs: log-probabilities, normalised. Shape (B, V).
        uniform: numbers in [0, 1), float64. Shape (B,).
    Returns:
        Symbols (B,), int64.
    """
    cumulative = log_probs.double().exp().cumsum(1)
    return (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(1)
