"""Several models that predict as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.decoding.contract import UNKNOWN, Array, Sources, StepModel, copies, log_sum_exp


@dataclass(frozen=True)
class EnsembleState:
    """The members' states, row by row the same hypotheses.

    Attributes:
        members: the states.
        widths: log-probabilities of each member per row: V, or V + S of one that copies. Before the first step 0.
    """

    members: tuple[Any, ...]
    widths: tuple[int, ...]

    @property
    def attention(self) -> Array | None:
        """Mean of the members' weights; None when one of them has none. Shape (B, S)."""
        weights = [member.attention for member in self.members]
        return None if any(weight is None for weight in weights) else np.mean(weights, axis=0)

    def select(self, index: Array) -> EnsembleState:
        """Rows by index, in every member."""
        return EnsembleState(tuple(member.select(index) for member in self.members), self.widths)


class Ensemble:
    """A step model whose next-symbol probabilities are the mean of its members'.

    Members that copy may stand beside others, for which a symbol beyond their vocabulary is impossible, and unknown
    where it is fed.

    Args:
        members: at least one model, all over the same vocabularies.
    """

    def __init__(self, members: Sequence[StepModel[Any]]) -> None:
        self.members = tuple(members)
        self.copies = any(copies(member) for member in self.members)

    def start(self, sources: Sources) -> EnsembleState:
        """All members' states before the first symbol."""
        return EnsembleState(tuple(member.start(sources) for member in self.members), (0,) * len(self.members))

    def step(self, symbols: Array, state: EnsembleState) -> tuple[Array, EnsembleState]:
        """Feed one symbol per row to every member. Shapes: symbols (B,), log-probabilities (B, V)."""
        steps = [
            member.step(_known(symbols, width), inner)
            for member, inner, width in zip(self.members, state.members, state.widths, strict=True)
        ]
        widths = tuple(log_probs.shape[1] for log_probs, _ in steps)
        total = log_sum_exp(np.stack([_widened(log_probs, max(widths)) for log_probs, _ in steps]), axis=0)
        log_probs = total - total.dtype.type(math.log(len(self.members)))
        return np.minimum(log_probs, 0), EnsembleState(tuple(after for _, after in steps), widths)


def _known(symbols: Array, width: int) -> Array:
    """The symbols that a member can be fed; the first step feeds the start symbol, which all of them know."""
    return np.where(symbols < width, symbols, UNKNOWN) if width and (symbols >= width).any() else symbols


def _widened(log_probs: Array, width: int) -> Array:
    """Log-probabilities (B, <= width) with impossible symbols up to that width."""
    missing = width - log_probs.shape[1]
    return np.pad(log_probs, ((0, 0), (0, missing)), constant_values=-np.inf) if missing else log_probs
