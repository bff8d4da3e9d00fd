"""Greedy decoding: the most probable symbol, again and again."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.spell.decoding.contract import Hypothesis, LengthLimit, SourceBatch, StateT, StepModel
from triptych.spell.decoding.single_path import follow


@torch.inference_mode()
def greedy(
    model: StepModel[StateT], batch: SourceBatch, *, limit: LengthLimit, with_attention: bool = False
) -> list[Hypothesis]:
    """Take the most probable symbol at each step until the end symbol; ties go to the lowest index.

    Args:
        model: what to decode with, in evaluation mode.
        batch: B sources, on the model's device.
        limit: longest target; a hypothesis that reaches it and does not end there is `finished=False`.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        B hypotheses; score = log-probability, less the penalty of a lexicon.
    Raises:
        TriptychError: a row's log-probabilities are all -inf, or nan.
    """
    hypotheses = follow(model, batch, _most_probable, limit=limit, with_attention=with_attention)
    return [only for (only,) in hypotheses]


def _most_probable(log_probs: Tensor, _paths: Tensor, _length: int) -> Tensor:
    return log_probs.argmax(1)
