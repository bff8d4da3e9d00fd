"""Several models that predict as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.decoding.contract import Array, Sources, StepModel, log_sum_exp


@dataclass(frozen=True)
class EnsembleState:
    """The members' states, row by row the same hypotheses."""

    members: tuple[Any, ...]

    @property
    def attention(self) -> Array | None:
        """Mean of the members' weights; None when one of them has none. Shape (B, S)."""
        weights = [member.attention for member in self.members]
        return None if any(weight is None for weight in weights) else np.mean(weights, axis=0)

    def select(self, index: Array) -> EnsembleState:
        """Rows by index, in every member."""
        return EnsembleState(tuple(member.select(index) for member in self.members))


class Ensemble:
    """A step model whose next-symbol probabilities are the mean of its members'.

    Args:
        members: at least one model, all over the same vocabularies.
    """

    def __init__(self, members: Sequence[StepModel[Any]]) -> None:
        self.members = tuple(members)

    def start(self, sources: Sources) -> EnsembleState:
        """All members' states before the first symbol."""
        return EnsembleState(tuple(member.start(sources) for member in self.members))

    def step(self, symbols: Array, state: EnsembleState) -> tuple[Array, EnsembleState]:
        """Feed one symbol per row to every member. Shapes: symbols (B,), log-probabilities (B, V)."""
        steps = [member.step(symbols, inner) for member, inner in zip(self.members, state.members, strict=True)]
        total = log_sum_exp(np.stack([log_probs for log_probs, _ in steps]), axis=0)
        log_probs = total - total.dtype.type(math.log(len(self.members)))
        return np.minimum(log_probs, 0), EnsembleState(tuple(after for _, after in steps))
