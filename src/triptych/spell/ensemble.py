"""Several models that predict as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triptych.spell.decoding.contract import SourceBatch, StepModel


@dataclass(frozen=True)
class EnsembleState:
    """The members' states, row by row the same hypotheses."""

    members: tuple[Any, ...]

    @property
    def attention(self) -> Tensor | None:
        """Mean of the members' weights; None when one of them has none. Shape (B, S)."""
        weights = [member.attention for member in self.members]
        if any(weight is None for weight in weights):
            return None
        return torch.stack(weights).mean(0)

    def select(self, index: Tensor) -> EnsembleState:
        """Rows by index, in every member."""
        return EnsembleState(tuple(member.select(index) for member in self.members))


class Ensemble:
    """A step model whose next-symbol probabilities are the mean of its members'.

    Args:
        members: at least one model, all over the same vocabularies.
    """

    def __init__(self, members: Sequence[StepModel[Any]]) -> None:
        self.members = tuple(members)

    @property
    def start_symbol(self) -> int:
        """The members' own."""
        return self.members[0].start_symbol

    @property
    def end_symbol(self) -> int:
        """The members' own."""
        return self.members[0].end_symbol

    def start(self, batch: SourceBatch) -> EnsembleState:
        """All members' states before the first symbol."""
        return EnsembleState(tuple(member.start(batch) for member in self.members))

    def step(self, symbols: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
        """Feed one symbol per row to every member. Shapes: symbols (B,), log-probabilities (B, V)."""
        steps = [member.step(symbols, inner) for member, inner in zip(self.members, state.members, strict=True)]
        log_probs = torch.logsumexp(torch.stack([log_probs for log_probs, _ in steps]), dim=0)
        return log_probs - math.log(len(self.members)), EnsembleState(tuple(after for _, after in steps))
