"""One function for every way to decode."""

from __future__ import annotations

from triptych.config.decoding import SpellDecoding
from triptych.decoding.beam import beam_search
from triptych.decoding.contract import Hypothesis, Sources, StateT, StepModel
from triptych.decoding.greedy import greedy
from triptych.decoding.sampling import sample


def decode(
    model: StepModel[StateT], sources: Sources, settings: SpellDecoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Decode a batch by the method that the settings name.

    Args:
        model: what to decode with, in evaluation mode.
        sources: B of them; their row_ids set the random numbers of the method "sample" apart.
        settings: the method and its parameters.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row: its only hypothesis (greedy), the n_best, best first (beam), or the samples as drawn (sample).
    Raises:
        ShapeError: the number of row_ids is not B.
        TriptychError: nothing can be produced for a row, or a log-probability is nan.
    """
    match settings.method:
        case "greedy":
            return greedy(model, sources, settings, with_attention=with_attention)
        case "beam":
            return beam_search(model, sources, settings, with_attention=with_attention)
        case "sample":
            return sample(model, sources, settings, with_attention=with_attention)
