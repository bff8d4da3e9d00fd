"""One function for every way to decode, and the settings that choose it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from triptych.errors import RecipeError, did_you_mean
from triptych.spell.decoding.beam import beam_search, check_beam
from triptych.spell.decoding.contract import Hypothesis, LengthLimit, SourceBatch, StateT, StepModel
from triptych.spell.decoding.greedy import greedy
from triptych.spell.decoding.sampling import Sampling, sample

Method = Literal["greedy", "beam", "sample"]


@dataclass(frozen=True)
class Decoding:
    """How to decode. Settings of the methods that are not in use are checked, and kept for when the method changes.

    Attributes:
        method: "greedy", "beam" or "sample".
        beam_size, n_best, length_penalty: of beam; see `beam_search`.
        samples, temperature, top_k, top_p, seed: of sample; see `Sampling`.
        max_length_factor, max_length_extra: of all; the longest target is factor * source length + extra symbols.
    Raises:
        RecipeError: a value out of range, or an unknown method.
    """

    method: Method = "greedy"
    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 0.0
    samples: int = 1
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    max_length_factor: float = 3.0
    max_length_extra: int = 10

    def __post_init__(self) -> None:
        methods = get_args(Method)
        if self.method not in methods:
            known = ", ".join(methods)
            hint = did_you_mean(str(self.method), methods)
            raise RecipeError(f"decoding.method is {self.method!r}; expected one of {known}. {hint}")
        check_beam(beam_size=self.beam_size, n_best=self.n_best, length_penalty=self.length_penalty)
        _ = self.sampling
        if not 0 <= self.max_length_factor < math.inf:
            raise RecipeError(
                f"decoding.max_length_factor is {self.max_length_factor}; expected a number >= 0. "
                "Use 0 to limit the length by decoding.max_length_extra alone."
            )
        if self.max_length_extra < 0:
            raise RecipeError(
                f"decoding.max_length_extra is {self.max_length_extra}; expected an integer >= 0. "
                "Lower decoding.max_length_factor for shorter targets."
            )

    @property
    def sampling(self) -> Sampling:
        """The settings of the method "sample"."""
        return Sampling(self.samples, self.temperature, self.top_k, self.top_p, self.seed)

    @property
    def limit(self) -> LengthLimit:
        """Longest target for a source; at least one symbol."""
        return LengthLimit(self.max_length_factor, self.max_length_extra)


def decode(
    model: StepModel[StateT],
    batch: SourceBatch,
    settings: Decoding,
    *,
    row_ids: Sequence[int] | None = None,
    with_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Decode a batch by the method that the settings name.

    Args:
        model: what to decode with, in evaluation mode.
        batch: B sources, on the model's device.
        settings: the method and its parameters.
        row_ids: numbers that set the rows' random streams apart, for the method "sample"; see `sample`.
        with_attention: fill `Hypothesis.attention`, where the model has any.
    Returns:
        One list per row: its one hypothesis (greedy), the n_best, best first (beam), or the samples as drawn (sample).
    Raises:
        ShapeError: the number of row_ids is not B.
        TriptychError: nothing can be produced for a row, or a log-probability is nan.
    """
    limit = settings.limit
    if settings.method == "beam":
        return beam_search(
            model,
            batch,
            beam_size=settings.beam_size,
            n_best=settings.n_best,
            length_penalty=settings.length_penalty,
            limit=limit,
            with_attention=with_attention,
        )
    if settings.method == "sample":
        return sample(model, batch, settings.sampling, limit=limit, row_ids=row_ids, with_attention=with_attention)
    return [[only] for only in greedy(model, batch, limit=limit, with_attention=with_attention)]
