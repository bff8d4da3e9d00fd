"""Decoding in NumPy: the decoders of `triptych.spell.decoding`, to the same results.

Letters in shapes: B batch rows, T target length, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from triptych.errors import RecipeError, did_you_mean
from triptych.runtime.network import Array, StepModel
from triptych.runtime.settings import settings_of

Method = Literal["greedy", "beam", "sample"]

_RULES: Mapping[str, tuple[Any, str]] = {
    "beam_size": (lambda value: value >= 1, "an integer >= 1"),
    "n_best": (lambda value: value >= 1, "an integer >= 1"),
    "length_penalty": (lambda value: 0 <= value < math.inf, "a number >= 0"),
    "samples": (lambda value: value >= 1, "an integer >= 1"),
    "temperature": (lambda value: 0 < value < math.inf, "a number > 0"),
    "top_k": (lambda value: value >= 0, "an integer >= 0, 0 for all symbols"),
    "top_p": (lambda value: 0 < value <= 1, "a number above 0 and at most 1"),
    "seed": (lambda value: value >= 0, "an integer >= 0"),
    "max_length_factor": (lambda value: 0 < value < math.inf, "a number > 0"),
    "max_length_extra": (lambda value: value >= 0, "an integer >= 0"),
    "batch_size": (lambda value: value >= 1, "an integer >= 1"),
}


@dataclass(frozen=True)
class Decoding:
    """How to decode: the recipe's table `[decoding]`, with the same names and defaults.

    Attributes:
        method: "greedy", "beam" or "sample".
        beam_size, n_best, length_penalty: of beam; scores are log-probability / length ** length_penalty.
        samples, temperature, top_k, top_p, seed: of sample; top_k 0 and top_p 1 keep all symbols.
        max_length_factor, max_length_extra: the longest target is factor * source length + extra symbols.
        batch_size: sources decoded at once.
    Raises:
        RecipeError: a value out of range, or an unknown method.
    """

    method: Method = "greedy"
    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 0.0
    samples: int = 3
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    max_length_factor: float = 3.0
    max_length_extra: int = 10
    batch_size: int = 256

    def __post_init__(self) -> None:
        methods = get_args(Method)
        if self.method not in methods:
            hint = did_you_mean(str(self.method), methods)
            raise RecipeError(f"decoding.method is {self.method!r}; expected one of {', '.join(methods)}. {hint}")
        for name, (holds, rule) in _RULES.items():
            value = getattr(self, name)
            whole = isinstance(getattr(type(self), name), int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not holds(value):
                raise RecipeError(f"decoding.{name} is {value!r}; expected {rule}.")
        if self.method == "beam" and self.n_best > self.beam_size:
            raise RecipeError(
                f"decoding.n_best is {self.n_best}; expected at most decoding.beam_size = {self.beam_size}. "
                "Raise decoding.beam_size to see more hypotheses."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decoding:
        """The settings by name.

        Raises:
            RecipeError: an unknown name, or a value that breaks its rule.
        """
        return settings_of(cls, values)

    @property
    def candidates(self) -> int:
        """Candidates per source, at most."""
        return {"greedy": 1, "beam": self.n_best, "sample": self.samples}[self.method]

    def limits(self, lengths: Array) -> Array:
        """Longest target of each source, the end symbol not counted. Shapes (B,)."""
        return np.maximum((lengths * self.max_length_factor + self.max_length_extra).astype(np.int64), 1)


@dataclass(frozen=True)
class Hypothesis:
    """One decoded target.

    Attributes:
        symbols: target indices, without start and end symbols.
        log_probability: the model's, of the symbols, and of the end symbol when finished.
        score: what the decoder ranked by.
        finished: False where the length limit cut it.
        attention: weights over source positions, one row per symbol and one for the end. Shape (T, S) or None.
    """

    symbols: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool
    attention: Array | None = None


@dataclass(frozen=True)
class Batch:
    """Encoded sources, padded at the end.

    Attributes:
        symbols: source indices. Shape (B, S), int64.
        lengths: real symbols in each row, >= 1. Shape (B,), int64.
        row_ids: numbers that set the rows' random streams apart. B of them.
    """

    symbols: Array
    lengths: Array
    row_ids: Sequence[int]

    @classmethod
    def of(cls, sources: Sequence[Sequence[int]], row_ids: Sequence[int]) -> Batch:
        """Sources side by side."""
        lengths = np.array([len(source) for source in sources], dtype=np.int64)
        symbols = np.zeros((len(sources), int(lengths.max())), dtype=np.int64)
        for row, source in enumerate(sources):
            symbols[row, : len(source)] = source
        return cls(symbols, lengths, row_ids)


def decode(
    model: StepModel, batch: Batch, settings: Decoding, *, with_attention: bool = False
) -> list[list[Hypothesis]]:
    """Decode a batch by the method that the settings name: one list per row, best first or as drawn.

    Raises:
        TriptychError: nothing can be produced for a row.
    """
    from triptych.runtime.beam import beam_search
    from triptych.runtime.paths import greedy, sample

    search = {"greedy": greedy, "beam": beam_search, "sample": sample}[settings.method]
    return search(model, batch, settings, with_attention=with_attention)
