"""Decoding: from a model's next-symbol probabilities to whole targets. Start at `decode`."""

from triptych.spell.decoding.beam import beam_search
from triptych.spell.decoding.constrained import Constrained
from triptych.spell.decoding.contract import Hypothesis, LengthLimit, SourceBatch, State, StepModel
from triptych.spell.decoding.dispatch import Decoding, decode
from triptych.spell.decoding.greedy import greedy
from triptych.spell.decoding.sampling import Sampling, nucleus, sample, top_k

__all__ = [
    "Constrained",
    "Decoding",
    "Hypothesis",
    "LengthLimit",
    "Sampling",
    "SourceBatch",
    "State",
    "StepModel",
    "beam_search",
    "decode",
    "greedy",
    "nucleus",
    "sample",
    "top_k",
]
