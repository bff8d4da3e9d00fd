"""Greedy decoding: the most probable symbol, again and again."""

from __future__ import annotations

import numpy as np

from triptych.config.decoding import SpellDecoding
from triptych.decoding.contract import Array, Hypothesis, Sources, StateT, StepModel
from triptych.decoding.single_path import follow


def greedy(
    model: StepModel[StateT], sources: Sources, settings: SpellDecoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Take the most probable symbol at each step until the end symbol; ties go to the lowest index.

    Args:
        model: what to decode with, in evaluation mode.
        sources: B of them.
        settings: the length limits; a hypothesis that reaches its limit and does not end there is `finished=False`.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row with its only hypothesis; score = log-probability, less the penalty of a lexicon.
    Raises:
        TriptychError: a row's log-probabilities are all -inf, or nan.
    """
    return follow(model, sources, _most_probable, settings, with_attention=with_attention)


def _most_probable(log_probs: Array, _paths: Array, _length: int) -> Array:
    return np.asarray(log_probs.argmax(1))
